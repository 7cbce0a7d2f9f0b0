"""Signals that ask a training to end: it finishes the step, saves, and says how to go on."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# SIGUSR1 is how clusters warn before they take a machine away.
NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")
ASKING = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], int]]:
    """Let the first signal ask for a stop and the second stop at once.

    Yields:
        A function that returns the number of the signal that came, or 0.
    """
    asked = 0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        del frame
        if asked:
            raise KeyboardInterrupt
        asked = number

    before = {number: signal.signal(number, ask) for number in ASKING}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(number: int) -> int:
    """Return the exit code of a command that was asked to stop: 130 after Ctrl-C, else 143."""
    return 130 if number == signal.SIGINT else 143
