"""Terms of several steps, brought together into means and a speed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Means:
    """Values added up by name, each as often as it was there."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        """Add some values."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the mean of each value over the times that it was there."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}


@dataclass
class Window(Means):
    """What has been added up since the window was opened."""

    steps: int = 0
    images: int = 0
    began: float = field(default_factory=time.monotonic)

    def add_step(self, terms: Mapping[str, float], images: int) -> None:
        """Add the terms of one step."""
        self.add(terms)
        self.steps += 1
        self.images += images

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Do not count the time that the block takes."""
        stopped = time.monotonic()
        try:
            yield
        finally:
            self.began += time.monotonic() - stopped

    def state(self) -> dict[str, Any]:
        """Return all of it as JSON, with the time that has gone by."""
        return {**asdict(self), "began": -self.seconds()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Window:
        """Return a window that goes on where another one stood."""
        return cls(**{**state, "began": time.monotonic() + state["began"]})

    def seconds(self) -> float:
        """Return the time since the window was opened, in seconds."""
        return time.monotonic() - self.began

    def images_per_second(self) -> float:
        """Return the speed since the window was opened."""
        return self.images / max(self.seconds(), 1e-9)
