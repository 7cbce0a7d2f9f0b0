"""How much faster a training step is with one network or another compiled, measured in turn."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch

from zoo.model.inference import as_written
from zoo.training import devices
from zoo.training.batch_size import release_memory
from zoo.training.compiling import NO_COMPILER, first_line, why_not_compiled
from zoo.training.config import Job
from zoo.training.devices import Ranks
from zoo.training.players import networks_of
from zoo.training.train import setup_training
from zoo.training.trainer import Budget, train_steps

WARM_UP_STEPS = 2  # with the network as it is written, and with the network compiled
SECONDS = 2.0  # of steps that are measured, of each network …
FEWEST_PAIRS = 7  # … but so many of both kinds
LEAST_GAIN = 1.05  # what is less may be noise, and would not pay for the compilation


@dataclass(frozen=True)
class CompileTrial:
    """What compiling one network changes in a training step.

    The gain is the time of a step with the network as it is written, divided by the time with the
    network compiled. Both numbers are None where torch cannot compile it.
    """

    network: str
    compile_seconds: float | None
    gain: float | None
    why_not: str = ""  # why torch cannot compile it

    @property
    def pays(self) -> bool:
        """Whether the network is to be compiled in the training."""
        return self.gain is not None and self.gain >= LEAST_GAIN


def try_compiling(job: Job) -> Iterator[CompileTrial]:
    """Measure the networks of a training, and yield what was found of each.

    Each has a new model with the seed of the training, in which no other network is compiled. The
    training begins anew afterwards: nothing stays of the trials but compiled code in the cache.
    Where there is no compiler, the first network is the last one.

    Raises:
        UsageError: the training has several ranks, or its device cannot be used.
        ZooError: the model cannot be trained at all.
    """
    networks = tuple(networks_of(job.build()))
    ranks = devices.start_ranks(replace(job.settings, compile=networks))
    for network in networks:
        settings = replace(job.settings, compile=(network,))
        try:
            trial = _measure(replace(job, settings=settings), ranks)
        finally:
            torch.compiler.reset()
            release_memory(ranks)
        yield trial
        if trial.why_not == NO_COMPILER:
            return


def _measure(job: Job, ranks: Ranks) -> CompileTrial:
    """Take steps of a new training with its one network compiled, and steps without, in turn."""
    (network,) = job.settings.compile
    state, batches = setup_training(job, ranks)
    steps = train_steps(state, batches, Budget(math.inf, math.inf))

    def step_seconds(is_compiled: bool) -> float:
        with nullcontext() if is_compiled else as_written(state.model):
            began = time.perf_counter()
            next(steps)
            devices.synchronise(ranks.device)
            return time.perf_counter() - began

    plain = min(step_seconds(False) for _ in range(WARM_UP_STEPS))
    try:
        first = sum(step_seconds(True) for _ in range(WARM_UP_STEPS))
        gain = _median_gain(step_seconds)
    except Exception as problem:  # steps without compilation went well
        return CompileTrial(network, None, None, why_not_compiled(problem) or first_line(problem))
    compiling = max(0.0, first - WARM_UP_STEPS * plain / gain)
    return CompileTrial(network, round(compiling, 1), round(gain, 3))


def _median_gain(step_seconds: Callable[[bool], float]) -> float:
    """Return by which factor compiled steps are shorter; pairs in turn, as machines vary."""
    gains: list[float] = []
    end = time.monotonic() + SECONDS
    while len(gains) < FEWEST_PAIRS or time.monotonic() < end:
        gains.append(step_seconds(False) / step_seconds(True))
    return statistics.median(gains)
