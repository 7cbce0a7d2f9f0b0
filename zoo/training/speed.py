"""How fast this machine computes, and which share of that a training reached."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo.errors import UsageError
from zoo.training import devices
from zoo.training.config import Job, Settings
from zoo.training.train import setup_training
from zoo.training.trainer import training_step

DTYPES = {"32": torch.float32, "bf16": torch.bfloat16}  # by the precision of a training
SIDE = 1536  # of the square matrices that are multiplied
COPIED_BYTES = 2**28  # beyond every cache
SECONDS = 0.3  # of each measurement, after a first go
COUNTED_IMAGES = 32  # of a batch whose FLOPs are counted; they grow with the rows


@dataclass(frozen=True)
class MachineSpeed:
    """What a device computes at most, as measured, and the precision that ``auto`` takes on it."""

    device: str
    threads: int  # of the CPU
    gflops: dict[str, float]  # GFLOP/s of a square matrix product by precision: ``32``, ``bf16``
    copied_gb_per_second: float  # read and written, of a large array
    precision: str
    reason: str


@dataclass(frozen=True)
class RunSpeed:
    """How much a run computed, and its share of what this machine computes at most.

    The share is None where the run was trained on another kind of device, or on several.
    """

    device: str
    precision: str
    items: str  # what the images are called, where they are others
    compiled: list[str]  # networks
    images_per_second: float  # the median over the rows of its metrics
    gflop_per_image: float  # of matrix products and convolutions in a training step
    gflops: float  # GFLOP/s that it reached
    share: float | None
    why_no_share: str


def measure_machine(like: str = "auto") -> MachineSpeed:
    """Measure a device in about a second: of the kind of another, or else what ``auto`` takes."""
    settings = Settings()
    try:
        kind = devices.device_kind(replace(settings, device=like.partition(":")[0]))  # type: ignore[arg-type] # checked there
    except UsageError:
        kind = devices.device_kind(settings)
    device = torch.device(kind)
    rates = {name: _product_rate(device, dtype) for name, dtype in DTYPES.items()}
    precision, reason = devices.explain_precision(settings, device.type)
    return MachineSpeed(
        str(device), torch.get_num_threads(), rates, _copy_rate(device), precision, reason
    )


def measure_run(
    job: Job, machine: MachineSpeed, facts: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]
) -> RunSpeed | None:
    """Return how much a run computed; None where its metrics have no speed.

    Args:
        job: the run's, whose training step is counted on the CPU.
        machine: this machine, as measured.
        facts: ``run.json``.
        rows: ``metrics.jsonl``.
    """
    speeds = [row["images_per_second"] for row in rows if row.get("images_per_second")]
    if not speeds:
        return None
    speed, flop = statistics.median(speeds), flop_per_image(job)
    device, precision = str(facts.get("device")), str(facts.get("precision"))
    reached, why = flop * speed / 1e9, ""
    if device.partition(":")[0] != machine.device.partition(":")[0]:
        why = f"it was trained on {device}, and {machine.device} was measured"
    elif facts.get("devices", 1) != 1:
        why = f"it was trained on {facts.get('devices')} devices, and one was measured"
    elif precision not in machine.gflops:
        why = f"its precision is {precision}, which was not measured"
    share = None if why else reached / machine.gflops[precision]
    compiled = list(facts.get("compiled", []))
    return RunSpeed(device, precision, job.items, compiled, speed, flop / 1e9, reached, share, why)


class NoModules:
    """Stands in for the tracker of modules of torch's counter, which refuses gradient penalties."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def flop_per_image(job: Job) -> float:
    """Return the FLOPs of matrix products and convolutions of one training step, by image.

    The step is the first one of a new model, on the CPU, with at most `COUNTED_IMAGES` images.
    """
    size = min(job.settings.batch_size, COUNTED_IMAGES)
    settings = replace(
        job.settings, device="cpu", devices=None, strategy="auto", precision="32",
        batch_size=size, init_from=None, compile=(),
    )  # fmt: skip
    job = replace(job, settings=settings)
    state, batches = setup_training(job, devices.Ranks(torch.device("cpu")))
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = NoModules()  # type: ignore[assignment]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own switch, about GPUs of Intel
        # as plain products: the recurrent layers of oneDNN are not counted
        with torch.backends.mkldnn.flags(enabled=False), counter:
            training_step(state, next(iter(batches.epoch(0))), 1)
    return counter.get_total_flops() / batches.batch_size


def _product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the GFLOP/s of a square matrix product: the best of several."""
    left, right = (torch.randn(SIDE, SIDE, device=device).to(dtype) for _ in range(2))
    with torch.no_grad():
        return 2 * SIDE**3 / _best_seconds(lambda: left @ right, device) / 1e9


def _copy_rate(device: torch.device) -> float:
    """Return the GB/s that copying a large array reads and writes: the best of several."""
    source = torch.zeros(COPIED_BYTES // 4, device=device)
    target = torch.zeros_like(source)
    return 2 * COPIED_BYTES / _best_seconds(lambda: target.copy_(source), device) / 1e9


def _best_seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return the shortest time that some work takes, after a first go."""
    times: list[float] = []
    work()
    end = time.monotonic() + SECONDS
    while not times or time.monotonic() < end:
        devices.synchronise(device)
        began = time.perf_counter()
        work()
        devices.synchronise(device)
        times.append(time.perf_counter() - began)
    return min(times)
