"""The process of a training: signals that end it, and a supervisor that resumes it after a crash.

The supervisor starts the training in a process of its own, and a new one after a crash, because a
rank that has lost the others cannot be trusted to find them again. Imports no torch.
"""

from __future__ import annotations

import math
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from zoo.errors import UsageError
from zoo.training.ranks import announced
from zoo.training.run import ATTEMPT, Run, all_runs

# SIGUSR1 is how clusters warn before they take a machine away, SIGHUP comes when a terminal closes.
STOP_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)
]
KEY_REPEAT = 0.1  # seconds; a key that is held down repeats sooner than a person presses it
CRASHED = 1  # exit code after which another try may succeed, as that of a lost rank
SUPERVISOR = "ZOO_SUPERVISOR"  # environment variable: number of a pipe that closes with it
GRACE = 20.0  # seconds to save a checkpoint in
KEPT = {"--json", "--debug", "--no-color"}  # options that do not concern the training


class SecondSignal(KeyboardInterrupt):
    """Ctrl-C was pressed after an earlier signal: the training is to stop at once.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], int]]:
    """Turn the first signal into a request to stop; Ctrl-C after it stops at once.

    Clusters may send several kinds of signals, one after the other; only Ctrl-C counts twice.

    Yields:
        A function that returns the number of the signal that came, or 0.
    """
    asked, last, is_stopping = 0, -math.inf, False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked, last, is_stopping
        del frame
        before, last = last, time.monotonic()
        if asked and number == signal.SIGINT and last - before >= KEY_REPEAT and not is_stopping:
            is_stopping = True
            raise SecondSignal(number)
        asked = asked or number

    # Signals that the parent process ignores, as nohup does with SIGHUP, stay ignored.
    handled = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in handled}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is ask:  # and not ignored meanwhile
                signal.signal(number, handler)


def exit_code(number: int) -> int:
    """Return the exit code of a command that was asked to stop: 130 after Ctrl-C, else 143."""
    return 130 if number == signal.SIGINT else 143


def supervise(retries: int, log: Callable[[str], None]) -> int:
    """Run the command that this process was started with, without ``--retries``.

    Args:
        retries: how often to resume after a crash.
        log: prints a line to the user.

    Returns:
        The exit code of the last try.

    Raises:
        UsageError: another program starts the ranks, and would have to start them again.
    """
    if announced():
        raise UsageError(
            "--retries is for a training whose ranks zoo starts itself",
            hint="--max-restarts of torchrun, or --requeue of SLURM, with zoo train --resume RUN",
        )
    words, run = without_retries(sys.argv[1:]), None
    for left in reversed(range(retries + 1)):
        attempt = secrets.token_hex(8)
        code, was_stopped = _try(words, attempt)
        run = _run_of(attempt) or run
        if not left or run is None or was_stopped or not (code < 0 or code == CRASHED):
            break
        log(f"the training crashed; resuming run {run.name}, {left - 1} tries are left")
        kept = [word for word in words if word in KEPT]
        words = ["train", "--resume", run.name, *kept]
    return code if code >= 0 else 128 - code  # as a shell says that a signal killed it


def end_with_supervisor() -> None:
    """End this process, and the ranks that it starts, when its supervisor ends.

    A supervisor that was killed cannot forward Ctrl-C any more. The training saves a checkpoint as
    on SIGTERM, and is killed if that takes too long.
    """
    handle = os.environ.pop(SUPERVISOR, "")  # so that the ranks do not take it for theirs
    if handle.isdecimal():
        threading.Thread(target=_watch, args=[int(handle)], daemon=True).start()


def _watch(handle: int) -> None:
    """Wait until a pipe is closed, then end all processes of the group."""
    with suppress(OSError):
        while os.read(handle, 1):
            pass
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(os.getpgrp(), number)
        time.sleep(GRACE)


def without_retries(words: list[str]) -> list[str]:
    """Return the words of a command without ``--retries N``."""
    found = []
    rest = iter(words)
    for word in rest:
        if word == "--retries":
            next(rest, None)
        elif not word.startswith("--retries="):
            found.append(word)
    return found


def _try(words: list[str], attempt: str) -> tuple[int, bool]:
    """Train once; forward signals, and kill all ranks at the end.

    Returns:
        The exit code, below 0 where a signal killed it, and whether somebody asked it to stop.
    """
    alive, ours = os.pipe()  # ends when this process does, however that is
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", *words],
        start_new_session=True,
        pass_fds=[alive],
        env={**os.environ, ATTEMPT: attempt, SUPERVISOR: str(alive)},
    )
    os.close(alive)
    was_stopped = False

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal was_stopped
        del frame
        was_stopped = True
        process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in STOP_SIGNALS}
    try:
        process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        os.close(ours)
        for number, handler in before.items():
            signal.signal(number, handler)
    return process.returncode, was_stopped


def _run_of(attempt: str) -> Run | None:
    """Return the run that an attempt trained, if it was created."""
    return next((run for run in reversed(all_runs()) if run.fact("attempt") == attempt), None)
