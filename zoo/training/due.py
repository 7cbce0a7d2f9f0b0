"""When a checkpoint is due beside those at the end of each epoch: by time, or by steps."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from zoo.training.settings import Settings, interval


@dataclass
class Due:
    """Counts the steps and the time since the last checkpoint.

    Args:
        steps: save at each multiple of so many steps.
        seconds: save when so much time has gone by.
    """

    steps: float
    seconds: float
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, settings: Settings) -> Due:
        """Return what ``--checkpoint-every`` asks for."""
        steps, seconds = interval(settings.checkpoint_every)
        return cls(steps or math.inf, seconds or math.inf)

    def is_due(self, step: int) -> bool:
        """Whether this rank wants a checkpoint after a step."""
        return step % self.steps == 0 or time.monotonic() - self.began >= self.seconds

    def saved(self) -> None:
        """Take note that there is one now."""
        self.began = time.monotonic()
