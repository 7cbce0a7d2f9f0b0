"""Training in a process of its own, which is started again from its last checkpoint if it crashes.

A new process, because one whose partners are gone cannot be trusted to find them again.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from zoo.errors import UsageError
from zoo.training.ranks import announced
from zoo.training.run import ATTEMPT, Run
from zoo.training.runs import all_runs
from zoo.training.signals import ASKING

CRASHED = 1  # exit code of what may go better another time, as that of a lost rank
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
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", *words],
        start_new_session=True,
        env={**os.environ, ATTEMPT: attempt},
    )
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
        for number, handler in before.items():
            signal.signal(number, handler)
    return process.returncode, was_stopped


def _run_of(attempt: str) -> Run | None:
    """Return the run that an attempt trained, if it came so far."""
    return next((run for run in reversed(all_runs()) if run.fact("attempt") == attempt), None)
