"""Trainings to measure: whole ones, zoo's loop alone, and a bare loop of torch.

Only `own_loop`, `planned_steps` and `train_whole` know zoo's trainer.
"""

from __future__ import annotations

import io
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext, redirect_stderr
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from benchmarks.measuring import Contender, calls_within, timed
from zoo.api.jobs import create_job
from zoo.catalog.card import Card, Paper
from zoo.catalog.lookup import ModelEntry
from zoo.catalog.plugins import Plugin
from zoo.data.batches import Batches, length
from zoo.data.location import locate_data
from zoo.data.store import open_store
from zoo.model.contract import Batch, Model, Update
from zoo.training import devices
from zoo.training.config import DATA_OPTIONS, Job, resolve
from zoo.training.train import setup_training, train
from zoo.training.trainer import Budget, train_steps


@dataclass(frozen=True)
class Loop:
    """Zoo's training loop without what reports: an item of `steps` is one training step."""

    model: Model
    batches: Batches
    steps: Iterator[object]


def job_of(model: str, **options: Any) -> Job:
    """Return what `zoo train MODEL` with these options would train, its data decoded."""
    asked = {name: options.pop(name, None) for name in ("data", "preset", *DATA_OPTIONS)}
    with redirect_stderr(io.StringIO()):
        return create_job(model=model, layers=[options], **asked)


def job_of_class(model_class: type[Model], data: str, **settings: Any) -> Job:
    """Return what `zoo train` would train, for a model that no plugin brings."""
    paper = Paper("none", "none", 2026, "https://example.org")
    place = f"{model_class.__module__}:{model_class.__name__}"
    card = Card("benchmarked", "a model of a benchmark", "generation", place, paper)
    entry = ModelEntry(card, Plugin("zoo-benchmarks", "0", "benchmarks", (card,)))
    size = settings.pop("size", None)
    store = open_store(locate_data(data), **({"size": (size, size)} if size else {}))
    config, resolved = resolve(model_class.Config, vars(model_class.training_defaults), [settings])
    return Job(entry, model_class, config, resolved, data, store)


def own_loop(job: Job, steps: int) -> Loop:
    """Set up a training as `zoo train` does, and return its loop of at most so many steps."""
    ranks = devices.start_ranks(job.settings)
    state, batches = setup_training(job, ranks)
    return Loop(state.model, batches, train_steps(state, batches, Budget(steps, math.inf)))


def planned_steps(job: Job) -> tuple[int, int]:
    """Return how many steps a training takes, and how many images it uses in them."""
    rows, settings = length(job.store.splits["train"]), job.settings
    batch = min(settings.batch_size, rows)
    steps = int(Budget.of(settings, rows // batch).steps)
    return steps, steps * batch


def in_own_process(function: Callable[..., float], *arguments: object) -> float:
    """Return what a function returns in a new process, where nothing is imported or warm yet."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def train_whole(job: Job) -> float:
    """Train in a new run folder; return the seconds from the first step to the end."""
    began: list[float] = []

    class Watched(job.model_class):  # type: ignore[name-defined,misc]
        def training_step(self, batch: Batch) -> Iterator[Update]:
            if not began:
                began.append(time.perf_counter())
            updates: Iterator[Update] = super().training_step(batch)
            return updates

    with redirect_stderr(io.StringIO()):
        train(replace(job, model_class=Watched), lambda _: None, lambda: 0)
    return time.perf_counter() - began[0]


def train_steps_alone(job: Job, steps: int) -> float:
    """Take the steps of a training that reports nothing; return their seconds."""
    loop = own_loop(job, steps)
    return timed(lambda: _exhaust(itertools.islice(loop.steps, steps)))()


def _exhaust(steps: Iterable[object]) -> None:
    for _ in steps:
        pass


@dataclass(frozen=True)
class Conditions:
    """What a loop chooses for a model: the type of autocast, if any, and strides of batches."""

    autocast: torch.dtype | None
    strides: Mapping[str, tuple[int, ...]]
    device: str

    @property
    def precision(self) -> str:
        """The number format in a word."""
        return "fp32" if self.autocast is None else str(self.autocast).removeprefix("torch.")

    def casting(self) -> AbstractContextManager[Any]:
        """Return the context in which networks are called."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device, self.autocast)

    def laid_out(self, batch: Batch) -> Batch:
        """Return a batch in the memory layout that the model was given."""
        return {
            name: each
            if each.stride() == self.strides[name]
            else each.new_empty_strided(each.shape, self.strides[name]).copy_(each)
            for name, each in batch.items()
        }


def conditions_of(loop: Loop) -> Conditions:
    """Take one step of a loop and return what the model saw in it."""
    found: list[Conditions] = []
    original: Callable[[Batch], Iterator[Update]] = loop.model.training_step

    def watched(batch: Batch) -> Iterator[Update]:
        kind = next(iter(batch.values())).device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        strides = {name: each.stride() for name, each in batch.items()}
        found.append(Conditions(dtype, strides, kind))
        yield from original(batch)

    loop.model.training_step = watched  # type: ignore[method-assign]
    next(loop.steps)
    del loop.model.training_step  # which uncovers the method of the class
    return found[0]


def layout_of(model: nn.Module) -> str:
    """Return the memory layout of a model's convolutions in a word."""
    weights = [each for each in model.parameters() if each.ndim == 4 and min(each.shape[1:]) > 1]
    if not weights:
        return "none"
    last = all(each.is_contiguous(memory_format=torch.channels_last) for each in weights)
    return "channels last" if last else "contiguous"


def bare_loop(job: Job, own: Loop, conditions: Conditions) -> Loop:
    """Return the loop that a person would write for this model alone.

    The weights begin as those of zoo's loop are now, in the same memory layout; batches come in the
    same order, optimisers and networks are the same. Nothing is checked and nothing reported.
    """
    model = job.build()
    copy_tensors(own.model, model)
    model.train()
    return Loop(model, own.batches, _bare_steps(model, own.batches, conditions))


def _bare_steps(model: Model, batches: Batches, conditions: Conditions) -> Iterator[None]:
    optimisers: dict[str, tuple[Optimizer, list[nn.Parameter]]] = {}
    for name, player in model.players().items():
        parameters = [each for network in player.modules for each in network.parameters()]
        optimisers[name] = (player.optimiser(parameters), parameters)
    for epoch in itertools.count():
        for batch in batches.epoch(epoch):
            _bare_step(model, optimisers, conditions, conditions.laid_out(batch))
            yield


def _bare_step(
    model: Model,
    optimisers: Mapping[str, tuple[Optimizer, list[nn.Parameter]]],
    conditions: Conditions,
    batch: Batch,
) -> None:
    """Differentiate each player's loss with respect to its own parameters, and move them."""
    updates = model.training_step(batch)
    while True:
        with conditions.casting():
            update = next(updates, None)
            loss = sum(update.terms.values()) if update else None
        if update is None:
            return
        assert isinstance(loss, Tensor)
        optimiser, parameters = optimisers[update.player]
        optimiser.zero_grad(set_to_none=True)
        loss.backward(inputs=parameters)
        optimiser.step()


@torch.no_grad()
def copy_tensors(source: nn.Module, target: nn.Module) -> None:
    """Give one model the values and the memory layouts of another one of its class."""
    for mine, other in zip(_tensors(target), _tensors(source), strict=True):
        assert mine.shape == other.shape
        mine.data = other.detach().clone()


def _tensors(model: nn.Module) -> Sequence[Tensor]:
    """Return parameters and buffers, in an order that wrapped networks do not change."""
    return [*model.parameters(), *model.buffers()]


def block(loop: Loop, count: int) -> Contender:
    """Return a contender that takes so many steps of a loop; its seconds are those of one step."""

    def run() -> float:
        began = time.perf_counter()
        taken = sum(1 for _ in itertools.islice(loop.steps, count))
        assert taken == count, "the loop has ended"
        return (time.perf_counter() - began) / count

    return run


def steps_within(loop: Loop, seconds: float) -> int:
    """Return how many steps of a loop fit into so many seconds."""
    return calls_within(block(loop, 1), seconds)
