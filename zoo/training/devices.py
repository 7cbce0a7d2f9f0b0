"""Devices, precision and communication between ranks, through Lightning Fabric."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import warnings
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy
from lightning_fabric.utilities.exceptions import MisconfigurationException

from zoo.errors import UsageError, ZooError
from zoo.model.contract import Model
from zoo.training.config import Settings
from zoo.training.launch import World, announced

RANK_TIMEOUT = timedelta(minutes=10)  # a rank that waits longer than this has lost its partners


def start_fabric(settings: Settings) -> Fabric:
    """Start the ranks and return the Fabric object of this process.

    Raises:
        UsageError: this machine has no such device, or not as many, or more are announced.
    """
    # Fabric's warnings are advice to programmers, not to users.
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    device, world = _device(settings), announced()
    if world and settings.devices not in {None, world.local_size}:
        raise UsageError(
            f"{world.launcher} has started {world.local_size} processes on this machine, and "
            f"--devices asks for {settings.devices}",
            hint=f"leave --devices out: {world.launcher} decides how many there are",
            code="bad-launch",
        )
    devices = world.local_size if world else settings.devices or 1
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(settings.deterministic)
    strategy: str | Strategy = "auto"
    if devices > 1 or world or settings.strategy == "ddp":
        # A rank's BatchNorm statistics are its own: sending them along in every forward pass would
        # overwrite buffers that a backward pass still needs.
        environment = _environment(world) if world else None
        strategy = DDPStrategy(
            cluster_environment=environment, broadcast_buffers=False, timeout=RANK_TIMEOUT
        )
    try:
        fabric = Fabric(
            accelerator=device,
            devices=devices,
            num_nodes=world.machines if world else 1,
            strategy=strategy,
            # the trainer casts to mixed precision: Fabric's own refuses a gradient penalty
            precision="32-true",
        )
    except MisconfigurationException as problem:
        wanted = f"{devices} {device} devices"
        raise UsageError(
            f"{wanted} cannot be had here", cause=str(problem)[:200], code="device-unavailable"
        ) from None
    fabric.launch()
    return fabric


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
    """Return a sha256 of all parameters a rank, in the order of ranks; all are equal.

    Raises:
        ZooError: the ranks hold different weights.
    """
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    digests = [each.hex() for each in gather_bytes(fabric, digest.digest())]
    if len(set(digests)) > 1:
        raise ZooError(
            "the ranks ended with different weights", cause="a bug of zoo's", code="ranks-differ"
        )
    return digests


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


def _device(settings: Settings) -> str:
    """Return the kind of device to use: cpu, cuda or mps.

    Raises:
        UsageError: this machine has no such device.
    """
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    usable = [name for name, is_available in found.items() if is_available] + ["cpu"]
    if settings.device == "auto":
        return usable[0]
    if settings.device not in usable:
        raise UsageError(
            f"no {settings.device} device here",
            hint=f"--device auto (this machine has {', '.join(usable)})",
            code="device-unavailable",
        )
    return settings.device


def _environment(world: World) -> ClusterEnvironment:
    """Describe a world that another program has started to Fabric, in torchrun's variables.

    The first rank is at ``MASTER_ADDR`` and ``MASTER_PORT``; without them on the first machine of
    SLURM's list, at a port that all ranks derive from the job.

    Raises:
        UsageError: there are several machines, and nothing says which is the first.
    """
    host = os.environ.get("MASTER_ADDR", "")
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "")
    if not host and world.launcher == "srun" and nodes:
        host = str(SLURMEnvironment.resolve_root_node_address(nodes))
    if not host and world.machines > 1:
        raise UsageError(
            f"{world.launcher} announces {world.machines} machines, and nothing says where the "
            "first one is",
            hint="MASTER_ADDR=HOST MASTER_PORT=29500 in the environment of all",
            code="bad-launch",
        )
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("PMIX_NAMESPACE") or "zoo"
    port = 15000 + int(hashlib.sha256(job.encode()).hexdigest(), 16) % 10000
    os.environ.setdefault("MASTER_PORT", str(port))
    os.environ |= {
        "MASTER_ADDR": host or "127.0.0.1",
        "WORLD_SIZE": str(world.size),
        "RANK": str(world.rank),
        "LOCAL_WORLD_SIZE": str(world.local_size),
        "LOCAL_RANK": str(world.local_rank),
        "GROUP_RANK": str(world.rank // world.local_size),
    }
    return TorchElasticEnvironment()
