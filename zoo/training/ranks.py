"""The world of ranks that torchrun, srun or mpirun announces. Imports no torch."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from zoo.errors import UsageError


@dataclass(frozen=True)
class World:
    """The processes of a training that another program has started, and which one this is.

    Args:
        launcher: the program: ``torchrun``, ``srun`` or ``mpirun``.
        size: processes on all machines together.
        rank: of this process among all.
        local_size: processes on this machine.
        local_rank: of this process on this machine.
    """

    launcher: str
    size: int
    rank: int
    local_size: int
    local_rank: int

    @property
    def machines(self) -> int:
        """How many machines take part; each has as many processes."""
        return self.size // self.local_size

    @property
    def machine(self) -> int:
        """The number of this machine."""
        return self.rank // self.local_size


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
            )
        return World(launcher, size, rank, local_size, local_rank)
    return None


def is_first_rank() -> bool:
    """Whether this process is the only one of a training, or the first of several.

    What the environment announces is not checked here, so that the first rank can report errors.
    """
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    others = ("LOCAL_RANK", "SLURM_PROCID", *VARIABLES["mpirun"][1])  # the first as zoo sets it
    return all(os.environ.get(name, "0") == "0" for name in others)


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
        )
    return None
