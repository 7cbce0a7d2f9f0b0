"""Signals that ask a training to end: it finishes the step, saves, and says how to go on."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

# SIGUSR1 is how clusters warn before they take a machine away, SIGHUP comes when a terminal closes.
NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
REPEAT = 0.1  # seconds; a key that is held down repeats itself sooner than a hand can
ASKING = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]


class SecondSignal(KeyboardInterrupt):
    """Somebody who has asked for a stop already wants it at once.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], int]]:
    """Let the first signal ask for a stop, and Ctrl-C pressed after it stop at once.

    Clusters may send several kinds, one after the other; these do not add up.

    Yields:
        A function that returns the number of the signal that came, or 0.
    """
    asked, last, is_stopping = 0, -math.inf, False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked, last, is_stopping
        del frame
        before, last = last, time.monotonic()
        if asked and number == signal.SIGINT and last - before >= REPEAT and not is_stopping:
            is_stopping = True
            raise SecondSignal(number)
        asked = asked or number

    # What the parent process has us ignore, as nohup does with SIGHUP, stays ignored.
    heard = [number for number in ASKING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is ask:  # and not ignored meanwhile
                signal.signal(number, handler)


def exit_code(number: int) -> int:
    """Return the exit code of a command that was asked to stop: 130 after Ctrl-C, else 143."""
    return 130 if number == signal.SIGINT else 143
