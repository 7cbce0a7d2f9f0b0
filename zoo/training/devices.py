"""Devices, precision, memory layout, and communication between ranks.

Lightning Fabric starts the ranks where there are several; a process that trains alone needs none.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.batches import check_shared
from zoo.errors import UsageError, ZooError
from zoo.model.contract import Model
from zoo.training.config import Settings
from zoo.training.launch import World, announced

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

RANK_TIMEOUT = timedelta(minutes=10)  # a rank that waits longer than this has lost its partners


# What a CPU must have to multiply bfloat16 numbers natively: else they are slower than float32.
NATIVE_BF16 = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")

# Layers that copy their input into the order of channels before pixels, and their output.
CHANNELS_FIRST = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


@dataclass(frozen=True)
class Ranks:
    """The processes that train together, one a device, and which of them this one is."""

    device: torch.device
    rank: int = 0
    size: int = 1
    fabric: Fabric | None = None  # none in a process that trains alone

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes the run folder."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return a network whose gradients are averaged over the ranks."""
        return network if self.fabric is None else self.fabric.setup_module(network)

    def unwrap(self, network: nn.Module) -> nn.Module:
        """Return the network that `wrap` was given, or that a model holds."""
        if self.fabric is None:
            return network
        from lightning_fabric.wrappers import is_wrapped  # noqa: PLC0415 - slow to import

        inner = network.module if is_wrapped(network) else network
        assert isinstance(inner, nn.Module)
        return inner

    def backward(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Add the gradient of a loss to those of some parameters."""
        if self.fabric is None:
            loss.backward(inputs=list(parameters))  # type: ignore[no-untyped-call] # torch's own
        else:
            self.fabric.backward(loss, inputs=parameters)


def has_several_ranks(settings: Settings) -> bool:
    """Whether a training is for several ranks, or may be one of them."""
    return (settings.devices or 1) > 1 or bool(announced()) or settings.strategy == "ddp"


def start_ranks(settings: Settings) -> Ranks:
    """Start the ranks, where there are several; return which of them this process is.

    Raises:
        UsageError: this machine has no such device, or not as many, or more are announced; the
            batch cannot be shared by them, or networks are to be compiled and there are several.
    """
    several = has_several_ranks(settings)
    if settings.compile and several:
        raise UsageError(
            "networks are compiled on one device alone, and this training is for several",
            hint="the same command without --compile; --set compile= where a run compiles some",
            code="conflicting-options",
        )
    kind, world = device_kind(settings), announced()
    if world and settings.devices not in {None, world.local_size}:
        raise UsageError(
            f"{world.launcher} has started {world.local_size} processes on this machine, and "
            f"--devices asks for {settings.devices}",
            hint=f"leave --devices out: {world.launcher} decides how many there are",
            code="bad-launch",
        )
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(settings.deterministic)
    if kind == "cuda":
        torch.backends.cudnn.benchmark = not settings.deterministic
        if settings.precision != "32":  # TF32 has the mantissa of float16
            torch.set_float32_matmul_precision("high")
    devices = world.local_size if world else settings.devices or 1
    check_shared(settings.batch_size, world.size if world else devices)
    if several:
        return _start_fabric(kind, devices, world)
    return Ranks(torch.device(kind, 0) if kind == "cuda" else torch.device(kind))


def _start_fabric(kind: str, devices: int, world: World | None) -> Ranks:
    """Start several ranks through Lightning Fabric.

    Raises:
        UsageError: this machine has not as many devices.
    """
    from lightning_fabric import Fabric  # noqa: PLC0415 - a second to import, for a lone process
    from lightning_fabric.strategies.ddp import DDPStrategy  # noqa: PLC0415
    from lightning_fabric.utilities.exceptions import MisconfigurationException  # noqa: PLC0415

    # Fabric's warnings are advice to programmers, not to users.
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning_fabric")
    try:
        fabric = Fabric(
            accelerator=kind,
            devices=devices,
            num_nodes=world.machines if world else 1,
            # A rank's BatchNorm statistics are its own: sending them along in every forward pass
            # would overwrite buffers that a backward pass still needs.
            strategy=DDPStrategy(
                cluster_environment=_environment(world) if world else None,
                broadcast_buffers=False,
                timeout=RANK_TIMEOUT,
            ),
            # the trainer casts to mixed precision: Fabric's own refuses a gradient penalty
            precision="32-true",
        )
    except MisconfigurationException as problem:
        wanted = f"{devices} {kind} devices"
        raise UsageError(
            f"{wanted} cannot be had here", cause=str(problem)[:200], code="device-unavailable"
        ) from None
    fabric.launch()
    return Ranks(fabric.device, fabric.global_rank, fabric.world_size, fabric)


def seed_everything(seed: int) -> None:
    """Start Python's, NumPy's, torch's and the devices' random generators anew."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def precision(settings: Settings, device: str) -> str:
    """Return what ``auto`` stands for on a device: bf16 where it is computed natively, else 32."""
    return explain_precision(settings, device)[0]


def explain_precision(settings: Settings, device: str) -> tuple[str, str]:
    """Return the precision of a training on a device, and in words why it is that one."""
    if settings.precision != "auto":
        return settings.precision, "as asked for"
    if device == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16", "the GPU has it") if has_bf16 else ("32", "the GPU lacks bf16")
    if device != "cpu":
        return "32", f"always on {device}"
    has = torch.cpu.get_capabilities()
    found = [name for name in NATIVE_BF16 if has.get(name)]
    if found:
        return "bf16", f"the CPU has {' and '.join(found)}"
    return "32", f"the CPU has none of {', '.join(NATIVE_BF16)}"


def memory_format(model: nn.Module) -> torch.memory_format:
    """Return the memory layout in which the model's convolutions are fastest.

    That is channels last, except with layers that work channel by channel on copies.
    """
    is_copied = any(isinstance(each, CHANNELS_FIRST) for each in model.modules())
    return torch.contiguous_format if is_copied else torch.channels_last


def layout_in_words(model: nn.Module) -> str:
    """Return the memory layout of a model's networks, as ``run.json`` says it."""
    is_last = memory_format(model) == torch.channels_last
    return "channels last" if is_last else "channels first"


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def max_over_ranks(ranks: Ranks, *numbers: float) -> list[float]:
    """Return the maximum of each number over all ranks, so that all take the same decision."""
    if ranks.size == 1:
        return list(numbers)
    mine = torch.tensor(numbers, dtype=torch.float64, device=ranks.device)
    torch.distributed.all_reduce(mine, op=torch.distributed.ReduceOp.MAX)
    return list(mine.tolist())


def mean_over_ranks(ranks: Ranks, values: Tensor) -> Tensor:
    """Return the mean of each value over all ranks; what is not finite on one rank stays so."""
    if ranks.size > 1:
        torch.distributed.all_reduce(values)
        values /= ranks.size
    return values


def check_ranks_agree(model: Model, ranks: Ranks) -> list[str]:
    """Return a sha256 of all parameters a rank, in the order of ranks; all are equal.

    Raises:
        ZooError: the ranks hold different weights.
    """
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    digests = [each.hex() for each in gather_bytes(ranks, digest.digest())]
    if len(set(digests)) > 1:
        raise ZooError(
            "the ranks ended with different weights", cause="a bug of zoo's", code="ranks-differ"
        )
    return digests


def gather_bytes(ranks: Ranks, mine: bytes) -> list[bytes]:
    """Return the bytes that each rank gives, in the order of ranks."""
    if ranks.size == 1:
        return [mine]
    (longest,) = max_over_ranks(ranks, len(mine))
    padded = len(mine).to_bytes(8) + mine.ljust(int(longest), b"\0")
    tensor = torch.frombuffer(bytearray(padded), dtype=torch.uint8).to(ranks.device)
    found = [torch.empty_like(tensor) for _ in range(ranks.size)]
    torch.distributed.all_gather(found, tensor)
    everything = [each.cpu().numpy().tobytes() for each in found]
    return [each[8 : 8 + int.from_bytes(each[:8])] for each in everything]


def is_lost_rank(problem: BaseException) -> bool:
    """Whether an exception means that another rank has gone."""
    words = str(problem)
    return isinstance(problem, RuntimeError) and ("gloo" in words or "NCCL" in words)


def stop_ranks(ranks: Ranks) -> None:
    """Leave the process group of the ranks; call it after the models are released.

    In this order, because a gloo process that exits while it holds models often aborts.
    """
    if ranks.size > 1 and torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def device_kind(settings: Settings) -> str:
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
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment  # noqa: PLC0415
    from lightning_fabric.plugins.environments.torchelastic import (  # noqa: PLC0415
        TorchElasticEnvironment,
    )

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
