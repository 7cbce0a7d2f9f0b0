"""Terms of several steps, brought together into means and a speed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Window:
    """What has been added up since the window was opened."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    steps: int = 0
    images: int = 0
    began: float = field(default_factory=time.monotonic)

    def add(self, terms: Mapping[str, float], images: int) -> None:
        """Add the terms of one step."""
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1
        self.steps += 1
        self.images += images

    def means(self) -> dict[str, float]:
        """Return the mean of each term over the steps that had it."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}

    def seconds(self) -> float:
        """Return the time since the window was opened, in seconds."""
        return time.monotonic() - self.began

    def images_per_second(self) -> float:
        """Return the speed since the window was opened."""
        return self.images / max(self.seconds(), 1e-9)
