"""Signals that interrupt a command: none is lost, and none leaves anything half-written."""

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
def interruptible() -> Iterator[Callable[[str], None]]:
    """Let ending signals raise `KeyboardInterrupt` in the block, and yield a function that logs.

    The function shows the next step on a terminal. It raises `KeyboardInterrupt` if a signal came
    that a library swallowed: Python raises inside whatever runs, and inside of some finalisers
    that has no effect.

    Raises:
        KeyboardInterrupt: there was a signal.
    """
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    received: list[int] = []

    def interrupt(number: int, _: Any) -> None:
        received.append(number)
        raise KeyboardInterrupt

    def log(next_step: str) -> None:
        if received:
            raise KeyboardInterrupt
        if next_step and sys.stderr.isatty():
            say(next_step)

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield log
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
