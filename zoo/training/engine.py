"""Devices, ranks and precision: all of it through Lightning Fabric."""

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
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.strategy import Strategy
from lightning_fabric.utilities.exceptions import MisconfigurationException

from zoo.errors import UsageError, ZooError
from zoo.model.contract import Model
from zoo.training.settings import Settings

RANK_TIMEOUT = timedelta(minutes=10)  # a rank that waits longer than this has lost its partners


def start(settings: Settings) -> Fabric:
    """Start the ranks and return the engine that this process is part of.

    Raises:
        UsageError: this machine has no such device, or not as many.
    """
    _silence()
    device = _device(settings)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(settings.deterministic)
    try:
        fabric = Fabric(
            accelerator=device,
            devices=settings.devices,
            strategy=_strategy(settings),
            # mixed precision is the loop's: Fabric's own refuses a gradient penalty
            precision="32-true",
        )
    except MisconfigurationException as problem:
        wanted = f"{settings.devices} {device} devices"
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


def agree(fabric: Fabric, *numbers: float) -> list[float]:
    """Return the greatest of each number over all ranks, so that all decide alike."""
    if fabric.world_size == 1:
        return list(numbers)
    mine = torch.tensor(numbers, dtype=torch.float64, device=fabric.device)
    torch.distributed.all_reduce(mine, op=torch.distributed.ReduceOp.MAX)
    return list(mine.tolist())


def average(fabric: Fabric, values: torch.Tensor) -> list[float]:
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
    digests = [each.hex() for each in gather(fabric, _digest(model.parameters()))]
    if len(set(digests)) > 1:
        raise ZooError("the ranks ended with different weights", cause="a bug of zoo's")
    return digests


def check_same_checkpoint(fabric: Fabric, step: int) -> None:
    """Check that all ranks go on from the same step.

    Raises:
        ZooError: they have not.
    """
    if agree(fabric, step, -step) != [step, -step]:
        raise ZooError(
            "the ranks would go on from different checkpoints",
            cause="they do not see the same folder runs/, or another process writes there",
        )


def gather(fabric: Fabric, mine: bytes) -> list[bytes]:
    """Return what each rank gives, in their order."""
    if fabric.world_size == 1:
        return [mine]
    (longest,) = agree(fabric, len(mine))
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


def stop(fabric: Fabric) -> None:
    """Leave the group of ranks; call it after the models are released.

    In this order, because a gloo process that exits with live models often aborts.
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
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _has_mps()}
    if settings.device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there[settings.device]:
        usable = ", ".join(name for name, usable in there.items() if usable)
        raise UsageError(
            f"no {settings.device} device here", hint=f"--device auto (this machine has {usable})"
        )
    return settings.device


def _strategy(settings: Settings) -> str | Strategy:
    if settings.devices == 1 and settings.strategy == "auto":
        return "auto"
    # A rank's BatchNorm statistics are its own: sending them along in every forward pass would
    # overwrite buffers that a backward pass still needs.
    return DDPStrategy(broadcast_buffers=False, timeout=RANK_TIMEOUT)


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _silence() -> None:
    """Keep Fabric's advice to programmers away from users."""
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning_fabric")
