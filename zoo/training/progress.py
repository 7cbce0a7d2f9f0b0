"""How a training tells the user where it stands: one live line on a terminal, else plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Display

from zoo.training.loop import Moment

PLAIN_LINE_EVERY_SECONDS = 30.0


class Progress:
    """Shows moments on stderr while the ``with`` block lasts."""

    def __init__(self, epochs: int | None) -> None:
        self._epochs = epochs
        self._began = self._last_line = time.monotonic()
        self._display: Display | None = None
        if sys.stderr.isatty():
            self._display = Display(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[terms]}", markup=False),
                console=Console(stderr=True),
            )
            self._task = self._display.add_task("starting", total=1.0, terms="")

    def __enter__(self) -> Progress:
        if self._display is not None:
            self._display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._display is not None:
            self._display.stop()

    def step(
        self,
        moment: Moment,
        terms: Mapping[str, float],
        images_per_second: float,
        metrics: Mapping[str, float],
    ) -> None:
        """Show a step: the latest mean terms, the speed and the latest validation metrics."""
        speed = f"{images_per_second:,.0f} images/s" if images_per_second else ""
        if self._display is not None:
            self._display.update(
                self._task,
                completed=moment.done,
                description=self._place(moment),
                terms=f"{_values(terms)}  {speed}",
            )
            return
        now = time.monotonic()
        over = moment.done >= 1 or moment.interrupted
        if moment.epoch_ends or over or now - self._last_line >= PLAIN_LINE_EVERY_SECONDS:
            self._last_line = now
            parts = [self._place(moment), f"step {moment.step}", _values(terms)]
            if (moment.epoch_ends or over) and metrics:
                parts.append("validation " + _values(metrics))
            parts += [speed, f"{self._left(moment, now)} left"]
            sys.stderr.write("  ".join(part for part in parts if part) + "\n")
            sys.stderr.flush()

    def _left(self, moment: Moment, now: float) -> str:
        spent = now - self._began
        return _clock(spent * (1 - moment.done) / moment.done)

    def _place(self, moment: Moment) -> str:
        epoch = moment.epoch if moment.epoch_ends else moment.epoch + 1
        return f"epoch {epoch}/{self._epochs}" if self._epochs else f"epoch {epoch}"


def _values(values: Mapping[str, float]) -> str:
    return " ".join(f"{name.rpartition('/')[2]} {value:.4g}" for name, value in values.items())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
