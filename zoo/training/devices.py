"""Devices, precision and communication between ranks, through Lightning Fabric."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import warnings
from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy
from lightning_fabric.utilities.exceptions import MisconfigurationException

from zoo.errors import UsageError, ZooError
from zoo.model.contract import Model
from zoo.training.config import Settings
from zoo.training.ranks import World, announced

RANK_TIMEOUT = timedelta(minutes=10)  # a rank that waits longer than this has lost its partners


def start_fabric(settings: Settings) -> Fabric:
    """Start the ranks and return the Fabric object of this process.

    Raises:
        UsageError: this machine has no such device, or not as many.
    """
    # Fabric's warnings are advice to programmers, not to users.
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    device, world = _device(settings), _world(settings)
    devices = world.local_size if world else settings.devices or 1
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(settings.deterministic)
    try:
        fabric = Fabric(
            accelerator=device,
            devices=devices,
            num_nodes=world.machines if world else 1,
            strategy=_strategy(settings, devices, world),
            # the trainer casts to mixed precision: Fabric's own refuses a gradient penalty
            precision="32-true",
        )
    except MisconfigurationException as problem:
        wanted = f"{devices} {device} devices"
        raise UsageError(f"{wanted} cannot be had here", cause=str(problem)[:200]) from None
    fabric.launch()
    return fabric


def autocast(fabric: Fabric, settings: Settings) -> AbstractContextManager[Any]:
    """Return the context in which forward passes run."""
    device = fabric.device.type
    return torch.autocast(device, torch.bfloat16, enabled=precision(settings, device) == "bf16")


def precision(settings: Settings, device: str) -> str:
    """Return what ``auto`` stands for on a device: bf16 on GPUs that have it, else 32."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if device == "cuda" and torch.cuda.is_bf16_supported() else "32"


def max_over_ranks(fabric: Fabric, *numbers: float) -> list[float]:
    """Return the maximum of each number over all ranks, so that all take the same decision."""
    if fabric.world_size == 1:
        return list(numbers)
    mine = torch.tensor(numbers, dtype=torch.float64, device=fabric.device)
    torch.distributed.all_reduce(mine, op=torch.distributed.ReduceOp.MAX)
    return list(mine.tolist())


def mean_over_ranks(fabric: Fabric, values: torch.Tensor) -> list[float]:
    """Return the mean of each value over all ranks; what is not finite on one rank stays so."""
    if fabric.world_size > 1:
        torch.distributed.all_reduce(values)
        values /= fabric.world_size
    return list(values.tolist())


def check_ranks_agree(model: Model, fabric: Fabric) -> list[str]:
    """Return a digest of all parameters a rank, in the order of ranks; all are equal.

    Raises:
        ZooError: the ranks hold different weights.
    """
    digests = [each.hex() for each in gather_bytes(fabric, _digest(model.parameters()))]
    if len(set(digests)) > 1:
        raise ZooError("the ranks ended with different weights", cause="a bug of zoo's")
    return digests


def check_same_checkpoint(fabric: Fabric, step: int) -> None:
    """Check that all ranks go on from the same step.

    Raises:
        ZooError: they have not.
    """
    if max_over_ranks(fabric, step, -step) != [step, -step]:
        raise ZooError(
            "the ranks would go on from different checkpoints",
            cause="they do not see the same folder runs/, or another process writes there",
        )


def gather_bytes(fabric: Fabric, mine: bytes) -> list[bytes]:
    """Return the bytes that each rank gives, in the order of ranks."""
    if fabric.world_size == 1:
        return [mine]
    (longest,) = max_over_ranks(fabric, len(mine))
    padded = len(mine).to_bytes(8) + mine.ljust(int(longest), b"\0")
    tensor = torch.frombuffer(bytearray(padded), dtype=torch.uint8).to(fabric.device)
    found = [torch.empty_like(tensor) for _ in range(fabric.world_size)]
    torch.distributed.all_gather(found, tensor)
    everything = [each.cpu().numpy().tobytes() for each in found]
    return [each[8 : 8 + int.from_bytes(each[:8])] for each in everything]


def is_lost_rank(problem: BaseException) -> bool:
    """Whether an exception means that another rank has gone."""
    words = str(problem)
    return isinstance(problem, RuntimeError) and ("gloo" in words or "NCCL" in words)


def stop_fabric(fabric: Fabric) -> None:
    """Leave the process group of the ranks; call it after the models are released.

    In this order, because a gloo process that exits while it holds models often aborts.
    """
    if fabric.world_size > 1 and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _digest(tensors: Iterable[torch.Tensor]) -> bytes:
    """Return the sha256 of the tensors' bytes, in order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()


def _device(settings: Settings) -> str:
    """Return the kind of device to use: cpu, cuda or mps.

    Raises:
        UsageError: this machine has no such device.
    """
    mps: bool = torch.backends.mps.is_available()
    available = {"cuda": torch.cuda.is_available(), "mps": mps, "cpu": True}
    if settings.device == "auto":
        return next(name for name, is_available in available.items() if is_available)
    if not available[settings.device]:
        usable = ", ".join(name for name, is_available in available.items() if is_available)
        raise UsageError(
            f"no {settings.device} device here", hint=f"--device auto (this machine has {usable})"
        )
    return settings.device


def _world(settings: Settings) -> World | None:
    """Return the world that the environment announces.

    Raises:
        UsageError: the settings ask for another number of devices.
    """
    world = announced()
    if world and settings.devices not in {None, world.local_size}:
        raise UsageError(
            f"{world.launcher} has started {world.local_size} processes on this machine, and "
            f"--devices asks for {settings.devices}",
            hint=f"leave --devices out: {world.launcher} decides how many there are",
        )
    return world


def _strategy(settings: Settings, devices: int, world: World | None) -> str | Strategy:
    """Return how the ranks work together: DDP, or ``auto`` for a single process."""
    if devices == 1 and world is None and settings.strategy == "auto":
        return "auto"
    environment = AnnouncedEnvironment(world) if world else None
    # A rank's BatchNorm statistics are its own: sending them along in every forward pass would
    # overwrite buffers that a backward pass still needs.
    return DDPStrategy(
        cluster_environment=environment, broadcast_buffers=False, timeout=RANK_TIMEOUT
    )


class AnnouncedEnvironment(ClusterEnvironment):
    """A world that another program has started, as Fabric asks for it.

    Args:
        world: the world.
    """

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    @property
    def creates_processes_externally(self) -> bool:
        """Whether the other ranks are there already."""
        return True

    @property
    def main_address(self) -> str:
        """The machine of the first rank: ``MASTER_ADDR``, or the first one of SLURM's list.

        Raises:
            UsageError: there are several machines, and nothing says which is the first.
        """
        named = os.environ.get("MASTER_ADDR", "")
        nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "")
        if not named and self._world.launcher == "srun" and nodes:
            named = str(SLURMEnvironment.resolve_root_node_address(nodes))
        if not named and self._world.machines > 1:
            raise UsageError(
                f"{self._world.launcher} announces {self._world.machines} machines, and nothing "
                "says where the first one is",
                hint="MASTER_ADDR=HOST MASTER_PORT=29500 in the environment of all",
            )
        return named or "127.0.0.1"

    @property
    def main_port(self) -> int:
        """The port of the first rank: ``MASTER_PORT``, or one that all derive from the job."""
        job = os.environ.get("SLURM_JOB_ID") or os.environ.get("PMIX_NAMESPACE") or "zoo"
        usual = 15000 + int(hashlib.sha256(job.encode()).hexdigest(), 16) % 10000
        return int(os.environ.get("MASTER_PORT", usual))

    @staticmethod
    def detect() -> bool:
        """Whether there is such a world."""
        return announced() is not None

    def world_size(self) -> int:
        """Return the number of ranks."""
        return self._world.size

    def set_world_size(self, size: int) -> None:
        """Ignore what Fabric would set: the world is there."""

    def global_rank(self) -> int:
        """Return the rank of this process."""
        return self._world.rank

    def set_global_rank(self, rank: int) -> None:
        """Ignore what Fabric would set: the world is there."""

    def local_rank(self) -> int:
        """Return the rank of this process on its machine."""
        return self._world.local_rank

    def node_rank(self) -> int:
        """Return the number of this machine."""
        return self._world.machine
