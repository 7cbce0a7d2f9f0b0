"""The batch size that is trained fastest, and the largest that fits, each size measured in turn."""

from __future__ import annotations

import gc
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from zoo.data.batches import length
from zoo.errors import UsageError, ZooError
from zoo.options import options_of
from zoo.runtime.engine import free_memory, peak_memory, resident_memory
from zoo.training import devices
from zoo.training.config import Job, Settings
from zoo.training.devices import Ranks
from zoo.training.train import setup_training
from zoo.training.trainer import Budget, train_steps

WARM_UP_STEPS = 2
SECONDS_PER_SIZE = 0.4  # of steps that are measured, at least
SECONDS = 30.0  # for the whole search; the first size is measured however long it takes
USABLE = 0.8  # share of the available memory that a step may need
SLOWER_SIZES = 2  # so many in a row that are slower than the fastest end the search
SMALLEST_FOR_ALL = 8  # some models cannot be trained on fewer rows, such as one with BatchNorm on 1

End = Literal["all rows", "memory", "slower", "time"]


@dataclass(frozen=True)
class Trial:
    """The measurement of one batch size; `step_bytes` is the memory that a step needs, if known."""

    batch_size: int
    images_per_second: float
    step_bytes: int | None


@dataclass(frozen=True)
class Search:
    """What was found of a training's batch sizes.

    `ended_by` is what ended the search. Where it was not memory, and not all rows were one batch,
    the largest size that fits is predicted from the memory of the two largest sizes measured.
    `available_bytes` is None where the system does not tell.
    """

    fastest: int
    largest: int
    largest_is: Literal["measured", "predicted"]
    ended_by: End
    available_bytes: int | None
    seconds: float
    trials: list[Trial]


def check_lone(settings: Settings) -> None:
    """Check that a training has one rank, as a search for its batch size needs.

    Raises:
        UsageError: it has several.
    """
    if devices.has_several_ranks(settings):
        raise UsageError(
            "--batch-size auto measures one device alone, and this training is for several",
            hint="--batch-size auto --devices 1 --dry-run, then --batch-size N here, the sum "
            "over all devices",
            code="conflicting-options",
        )


def search_batch_size(job: Job) -> Search:
    """Measure powers of two, from 1 to the rows of the data, and return which is the fastest.

    Each size has a new model with the seed of the training, which begins anew afterwards: nothing
    stays of the search. The learning rate is the same for all sizes.

    Raises:
        UsageError: the training has several ranks, or its device cannot be used.
        ZooError: not even one row fits, or the model cannot be trained at all.
    """
    check_lone(job.settings)
    job = replace(job, settings=replace(job.settings, compile=()))  # each size would be compiled
    began = time.monotonic()
    ranks = devices.start_ranks(job.settings)
    available = _available(ranks)
    limit = options_of(Settings)["batch_size"].limits["at_most"] or math.inf
    most = min(length(job.store.splits["train"]), limit)
    sizes = [2**power for power in range(int(most).bit_length())]
    trials, ended_by = _try_sizes(job, ranks, sizes, available)
    fastest = max(trials, key=lambda each: each.images_per_second).batch_size
    last = trials[-1].batch_size
    largest = last
    if ended_by in {"slower", "time"}:
        largest = max([last, *(size for size in sizes if _fits(trials, size, available))])
    return Search(
        fastest,
        largest,
        "measured" if largest == last else "predicted",
        ended_by,
        available,
        round(time.monotonic() - began, 1),
        trials,
    )


def _try_sizes(
    job: Job, ranks: Ranks, sizes: Sequence[int], available: int | None
) -> tuple[list[Trial], End]:
    """Measure one size after the other; return what was measured, and what ended it.

    Raises:
        ZooError: not even the first size fits, or the model cannot be trained at all.
    """
    began, base = time.monotonic(), resident_memory() or 0
    trials: list[Trial] = []
    for size in sizes:
        spent = time.monotonic() - began
        if trials and (why := _reason_to_end(trials, size, spent, available)):
            return trials, why
        try:
            trials.append(_measure(job, ranks, size, base))
        except (ValueError, ZooError):
            if trials or size >= min(SMALLEST_FOR_ALL, sizes[-1]):
                raise
        except (RuntimeError, MemoryError) as problem:
            if not _is_out_of_memory(problem):
                raise
            if not trials:
                raise ZooError(
                    f"a step on {size} images does not fit into the memory",
                    hint="a smaller --size, or --set with a smaller model",
                    code="out-of-memory",
                ) from None
            return trials, "memory"
        finally:
            release_memory(ranks)
    return trials, "all rows"


def predicted_bytes(trials: Sequence[Trial], size: int) -> float | None:
    """Return the memory of a step on `size` rows, along the line through the last two trials.

    It is None where the system does not tell, or the memory has not grown.
    """
    last = trials[-1]
    before = trials[-2] if len(trials) > 1 else Trial(0, 0.0, 0)
    if last.step_bytes is None or before.step_bytes is None:
        return None
    growth = (last.step_bytes - before.step_bytes) / (last.batch_size - before.batch_size)
    return last.step_bytes + growth * (size - last.batch_size) if growth > 0 else None


def _fits(trials: Sequence[Trial], size: int, available: int | None) -> bool:
    """Whether a batch of so many rows is known to fit, or predicted to."""
    needed = predicted_bytes(trials, size)
    return needed is not None and available is not None and needed <= USABLE * available


def _reason_to_end(
    trials: Sequence[Trial], size: int, spent: float, available: int | None
) -> End | None:
    """Return why the next size is not to be measured, or None where it is.

    Args:
        trials: what was measured, at least one.
        size: the next one.
        spent: seconds since the search began.
        available: bytes of memory, or None where unknown.
    """
    needed = predicted_bytes(trials, size)
    if needed is not None and available is not None and needed > USABLE * available:
        return "memory"
    speeds = [each.images_per_second for each in trials]
    if len(speeds) - 1 - speeds.index(max(speeds)) >= SLOWER_SIZES:
        return "slower"
    expected = (WARM_UP_STEPS + 1) * size / speeds[-1]
    return "time" if spent + max(expected, SECONDS_PER_SIZE) > SECONDS else None


def _measure(job: Job, ranks: Ranks, size: int, base: int) -> Trial:
    """Take some steps of a new training with a batch size.

    `base` is the memory of the process before the first trial: what an earlier one left counts.
    """
    speed = 0.0

    def work() -> None:
        nonlocal speed
        speed = _speed(replace(job, settings=replace(job.settings, batch_size=size)), ranks)

    if ranks.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(ranks.device)
        work()
        return Trial(size, speed, torch.cuda.max_memory_allocated(ranks.device))
    kept = (resident_memory() or 0) - base
    grown = _grown_by(work)
    return Trial(size, speed, None if grown is None else max(0, kept + grown))


def _speed(job: Job, ranks: Ranks) -> float:
    """Return the images a second of a training, without its setup and its first steps."""
    state, batches = setup_training(job, ranks)
    began = time.monotonic()
    for result in train_steps(state, batches, Budget(math.inf, math.inf)):
        now = time.monotonic()
        if result.step == WARM_UP_STEPS:
            began = now
        if result.step > WARM_UP_STEPS and now - began >= SECONDS_PER_SIZE:
            break
    return (result.step - WARM_UP_STEPS) * batches.batch_size / (now - began)


def _grown_by(work: Callable[[], None]) -> int | None:
    """Do some work; return how many bytes more the process held at most, None where unknown."""
    before = _largest_resident()
    grown = peak_memory(work)
    if grown is None and before is not None:
        grown = (_largest_resident() or 0) - before
    return grown


def _largest_resident() -> int | None:
    """Return the most bytes that the process ever held, None where the system does not tell."""
    try:
        import resource  # noqa: PLC0415 - not on every system
    except ModuleNotFoundError:
        return None
    unit = 1 if os.uname().sysname == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _available(ranks: Ranks) -> int | None:
    """Return the bytes that a training may take on its device, None where unknown."""
    if ranks.device.type == "cuda":
        return torch.cuda.mem_get_info(ranks.device)[0]
    free = free_memory(with_swap=False)
    if free is None and "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return free


def _is_out_of_memory(problem: BaseException) -> bool:
    """Whether an exception says that a device, or the machine, has not enough memory."""
    kinds = (torch.OutOfMemoryError, MemoryError)
    return isinstance(problem, kinds) or "can't allocate memory" in str(problem)


def release_memory(ranks: Ranks) -> None:
    """Return the memory of what is no longer used to the device."""
    gc.collect()
    if ranks.device.type == "cuda":
        torch.cuda.empty_cache()
