"""Training in a process of its own, which is started again from its last checkpoint if it crashes.

A new process, because one whose partners are gone cannot be trusted to find them again.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from zoo.errors import UsageError
from zoo.training.ranks import announced
from zoo.training.run import ATTEMPT, Run
from zoo.training.runs import all_runs
from zoo.training.signals import ASKING

CRASHED = 1  # exit code of what may go better another time, as that of a lost rank
SUPERVISOR = "ZOO_SUPERVISOR"  # environment variable: number of the pipe that its end closes
GRACE = 20.0  # seconds to save a checkpoint in
KEPT = {"--json", "--debug", "--no-color"}  # words that say nothing about the training


def supervise(retries: int, tell: Callable[[str], None]) -> int:
    """Run the command that this process was started with, without ``--retries``.

    Args:
        retries: how often to go on after a crash.
        tell: told of each.

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
        tell(f"the training crashed; going on with run {run.name}, {left - 1} tries are left")
        kept = [word for word in words if word in KEPT]
        words = ["train", "--resume", run.name, *kept]
    return code if code >= 0 else 128 - code  # as a shell says that a signal killed it


def end_with_supervisor() -> None:
    """Let this process, and the ranks that it starts, end when its supervisor does.

    A supervisor that is killed cannot hand on Ctrl-C any more. The training saves as on SIGTERM,
    and is killed if that takes too long.
    """
    handle = os.environ.pop(SUPERVISOR, "")  # so that the ranks do not take it for theirs
    if handle.isdecimal():
        threading.Thread(target=_watch, args=[int(handle)], daemon=True).start()


def _watch(handle: int) -> None:
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
    """Train once; signals are handed on, and no rank is left behind.

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

    def hand_on(number: int, frame: FrameType | None) -> None:
        nonlocal was_stopped
        del frame
        was_stopped = True
        process.send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in ASKING}
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
    """Return the run that an attempt trained, if it came so far."""
    return next((run for run in reversed(all_runs()) if run.fact("attempt") == attempt), None)
