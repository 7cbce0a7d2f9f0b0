"""The processes of a training: signals that end it, a supervisor, and ranks that others start.

The supervisor starts the training in a process of its own, and a new one after a crash, because a
rank that has lost the others cannot be trusted to find them again. Imports no torch.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from zoo.errors import UsageError
from zoo.messages import Log
from zoo.training.run import ATTEMPT, all_runs

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
    """Ctrl-C was pressed after an earlier signal: the training is to stop at once."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def stopping_on_signals(
    numbers: Sequence[int] = STOP_SIGNALS,
) -> Iterator[Callable[[], int]]:
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
    handled = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
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


def supervise(retries: int, log: Log) -> int:
    """Run the command that this process was started with, and resume it after a crash.

    Returns:
        The exit code of the last try.

    Raises:
        UsageError: another program starts the ranks, and would have to start them again.
    """
    if announced():
        raise UsageError(
            "--retries is for a training whose ranks zoo starts itself",
            hint="--max-restarts of torchrun, or --requeue of SLURM, with zoo train --resume RUN",
            code="conflicting-options",
        )
    words, run = without_retries(sys.argv[1:]), None
    for left in reversed(range(retries + 1)):
        attempt = secrets.token_hex(8)
        code, was_stopped = _try(words, attempt)
        tried = (each for each in reversed(all_runs()) if each.fact("attempt") == attempt)
        run = next(tried, run)
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
        threading.Thread(target=_end_with_pipe, args=[int(handle)], daemon=True).start()


def _end_with_pipe(handle: int) -> None:
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


@dataclass(frozen=True)
class World:
    """The processes of a training that another program has started, and which one this is."""

    launcher: str  # ``torchrun``, ``srun`` or ``mpirun``
    size: int  # processes on all machines together
    rank: int  # of this process among all
    local_size: int  # processes on this machine
    local_rank: int

    @property
    def machines(self) -> int:
        """How many machines take part; each has as many processes."""
        return self.size // self.local_size


# By launcher, the variables of size, rank, processes on a machine, and rank there. Those of
# torchrun come first: it may have been started by srun. PyTorch's jobs on Kubernetes set the first
# two, with one process on each machine.
VARIABLES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "torchrun": (("WORLD_SIZE",), ("RANK",), ("LOCAL_WORLD_SIZE",), ("LOCAL_RANK",)),
    "srun": (
        ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"), ("SLURM_PROCID",),
        ("SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE", "SLURM_TASKS_PER_NODE"),
        ("SLURM_LOCALID",),
    ),
    "mpirun": (
        ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "PMI_RANK"),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"),
        ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"),
    ),
}  # fmt: skip


def announced() -> World | None:
    """Return the world that the environment announces; None where this process is alone.

    Raises:
        UsageError: the variables contradict one another, or the machines differ.
    """
    for launcher, names in VARIABLES.items():
        size, rank = (_number(launcher, group) for group in names[:2])
        if size is None or rank is None or size == 1 or _is_allocation_only(launcher):
            continue
        local_rank = _number(launcher, names[3])
        machines = os.environ.get("SLURM_NNODES", "") if launcher == "srun" else ""
        local_size = _number(launcher, names[2])
        if machines.isdecimal() and int(machines) and size % int(machines) == 0:
            local_size = size // int(machines)
        local_size, local_rank = local_size or 1, local_rank or 0
        if not (0 <= rank < size and 0 <= local_rank < local_size) or size % local_size:
            raise UsageError(
                f"{launcher} announces process {rank} of {size}, here {local_rank} of "
                f"{local_size}: each machine must have as many",
                hint="torchrun --nproc-per-node N, or srun --ntasks-per-node=N",
                code="bad-launch",
            )
        return World(launcher, size, rank, local_size, local_rank)
    return None


def note_on_allocation() -> str:
    """Return a note on SLURM tasks that were not started; empty if there are none."""
    if announced() is None and _is_allocation_only("srun"):
        tasks = os.environ["SLURM_NTASKS"]
        return f"SLURM has {tasks} tasks for this job and one is used: srun zoo train uses all"
    return ""


def _is_allocation_only(launcher: str) -> bool:
    """Whether SLURM's variables are those of a job, and not of a task that srun has started."""
    is_job = "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_NTASKS", "1") != "1"
    is_step = "SLURM_STEP_ID" in os.environ or shutil.which("srun") is None
    return launcher == "srun" and is_job and not is_step


def _number(launcher: str, names: tuple[str, ...]) -> int | None:
    """Return the first of some variables as a number; SLURM writes ``2(x3)`` for 2, 2 and 2."""
    for name in names:
        text = os.environ.get(name)
        if text is None:
            continue
        plain, _, repeated = text.partition("(x")
        if plain.isdecimal() and len(plain) < 7 and (not repeated or repeated.endswith(")")):
            return int(plain)
        raise UsageError(
            f"{name}={text[:40]} of the environment is no number of processes",
            cause=f"{launcher} sets it, with as many processes on each machine",
            hint=f"unset {name}, where no {launcher} was used",
            code="bad-launch",
        )
    return None
