"""Signals that end a verb which writes: none is lost, and none leaves anything half-written."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from zoo.cli.output import say

ENDING = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, a container that stops, a terminal that closes


@contextmanager
def heard() -> Iterator[Callable[[str], None]]:
    """Let signals end the block like Ctrl-C, and yield what is told what the block does next.

    It shows that on a terminal, and ends the block if a signal came that a library swallowed:
    Python raises inside whatever runs, and inside of some finalisers that has no effect.

    Raises:
        KeyboardInterrupt: there was a signal.
    """
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    came: list[int] = []

    def hear(number: int, _: Any) -> None:
        came.append(number)
        raise KeyboardInterrupt

    def report(next_step: str) -> None:
        if came:
            raise KeyboardInterrupt
        if next_step and sys.stderr.isatty():
            say(next_step)

    before = {number: signal.signal(number, hear) for number in numbers}
    try:
        yield report
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_interrupts() -> None:
    """Ignore Ctrl-C from now on: the command is at its end, and has said so."""
    if threading.current_thread() is not threading.main_thread():
        return
    while True:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        except KeyboardInterrupt:  # just before
            continue
        return
