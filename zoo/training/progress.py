"""How a training tells the user where it stands: one live line on a terminal, else plain lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Display

from zoo.training.loop import Moment
from zoo.training.window import Window

PLAIN_LINE_EVERY_SECONDS = 30.0
LIVE_LINE_EVERY_SECONDS = 0.5


class Progress:
    """Shows moments on stderr while the ``with`` block lasts; values are means since the last."""

    def __init__(self, epochs: int | None) -> None:
        self._epochs = epochs
        self._window = Window()
        self._illnesses = ""
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

    def tell(self, message: str) -> None:
        """Say something at once, in lines of its own."""
        if self._display is not None:
            self._display.console.print(message, markup=False, highlight=False)
        else:
            sys.stderr.write(message + "\n")
            sys.stderr.flush()

    def step(
        self, moment: Moment, metrics: Mapping[str, float], illnesses: Sequence[str] = ()
    ) -> None:
        """Take note of a step, the latest validation and what ails the run; show it now and then.

        Args:
            moment: what the step came to.
            metrics: of the latest validation.
            illnesses: titles of the verdicts that hold.
        """
        self._illnesses = f"  ! {', '.join(illnesses)}" if illnesses else ""
        self._window.add_step(moment.terms, moment.images)
        worth_a_line = moment.epoch_ends or moment.is_last
        if self._display is not None:
            if moment.is_last or self._window.seconds() >= LIVE_LINE_EVERY_SECONDS:
                self._show(self._display, moment)
        elif worth_a_line or self._window.seconds() >= PLAIN_LINE_EVERY_SECONDS:
            self._say(moment, metrics if worth_a_line else {})

    def _show(self, display: Display, moment: Moment) -> None:
        display.update(
            self._task,
            completed=moment.done,
            description=self._place(moment),
            terms=f"{_values(self._window.means())}  {self._speed()}{self._illnesses}",
        )
        self._window = Window()

    def _say(self, moment: Moment, metrics: Mapping[str, float]) -> None:
        parts = [self._place(moment), f"step {moment.step}", _values(self._window.means())]
        if metrics:
            parts.append("validation " + _values(metrics))
        left = moment.position.seconds * (1 - moment.done) / moment.done
        parts += [self._speed(), f"{_clock(left)} left"]
        sys.stderr.write("  ".join(parts) + self._illnesses + "\n")
        sys.stderr.flush()
        self._window = Window()

    def _speed(self) -> str:
        return f"{self._window.images_per_second():,.0f} images/s"

    def _place(self, moment: Moment) -> str:
        epoch = moment.epoch if moment.epoch_ends else moment.epoch + 1
        return f"epoch {epoch}/{self._epochs}" if self._epochs else f"epoch {epoch}"


def _values(values: Mapping[str, float]) -> str:
    return " ".join(f"{name.rpartition('/')[2]} {value:.4g}" for name, value in values.items())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
