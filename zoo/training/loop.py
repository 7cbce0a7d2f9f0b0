"""The one training loop. It knows players, updates and batches, and names no model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from zoo.data.batches import Batches
from zoo.errors import UnhealthyError
from zoo.model.contract import Batch, Update
from zoo.training.engine import agree, average
from zoo.training.seats import Table, breach
from zoo.training.settings import Settings


@dataclass(frozen=True)
class Budget:
    """How much training there is to be; the first limit that is met ends it."""

    steps: float
    seconds: float

    @classmethod
    def of(cls, settings: Settings, steps_per_epoch: int) -> Budget:
        """Return the budget that the settings ask for."""
        by_epochs = (settings.epochs or math.inf) * steps_per_epoch
        return cls(min(by_epochs, settings.steps or math.inf), settings.max_seconds or math.inf)

    def done(self, steps: int, seconds: float) -> float:
        """Return the share of the budget that is spent, in [0, 1]."""
        return min(1.0, max(steps / self.steps, seconds / self.seconds))


@dataclass(frozen=True)
class Moment:
    """Where the training stands after a step.

    Args:
        step: rounds played.
        epoch: passes over the data that are complete.
        done: share of the budget that is spent; 1 at the end.
        terms: every term of this round, as ``player/term``.
        images: images used in this round, over all ranks.
        epoch_ends: whether this step was the last of its epoch.
        interrupted: whether somebody asked to stop here.
    """

    step: int
    epoch: int
    done: float
    terms: Mapping[str, float]
    images: int
    epoch_ends: bool
    interrupted: bool

    @property
    def is_last(self) -> bool:
        """Whether the training ends here."""
        return self.done >= 1 or self.interrupted


def play(
    table: Table, batches: Batches, budget: Budget, wants_to_stop: Callable[[], bool]
) -> Iterator[Moment]:
    """Train until the budget is spent or somebody wants to stop; yield after every round.

    Raises:
        UnhealthyError: a term or a gradient is not finite; no network has moved because of it.
    """
    began = time.monotonic()
    step, epoch, done = 0, 0, 0.0
    while True:
        for index, batch in enumerate(batches.epoch(epoch)):
            for seat in table.seats.values():
                seat.set_rate(done)
            step += 1
            terms = play_round(table, batch, step)
            done, stop = agree(
                table.fabric, budget.done(step, time.monotonic() - began), float(wants_to_stop())
            )
            ends = index + 1 == batches.steps_per_epoch
            moment = Moment(
                step, epoch + ends, done, terms, batches.batch_size, ends, interrupted=bool(stop)
            )
            yield moment
            if moment.is_last:
                return
        epoch += 1


def play_round(table: Table, batch: Batch, step: int) -> dict[str, float]:
    """Play one round: after every update that the model yields, its player moves.

    Returns:
        Every term as ``player/term``: its mean, where the round has several moves of a player.

    The sum of the terms is differentiated with respect to that player's parameters alone, so a
    forgotten ``detach`` may waste time but cannot move the wrong network.
    """
    seen: dict[str, list[float]] = {}
    table.model.train()
    game = table.model.training_step(batch)
    while True:
        with table.autocast:
            update = next(game, None)
        if update is None:
            return {name: sum(values) / len(values) for name, values in seen.items()}
        if update.player not in table.seats:
            raise breach(table.model, f"an update is for {update.player!r}, not among players()")
        for name, value in _move(table, update, step).items():
            seen.setdefault(name, []).append(value)


def _move(table: Table, update: Update, step: int) -> dict[str, float]:
    """Let one player step; return the terms, averaged over the ranks."""
    seat = table.seats[update.player]
    terms = torch.stack([term.float() for term in update.terms.values()])
    seat.optimiser.zero_grad(set_to_none=True)
    table.fabric.backward(terms.sum(), inputs=seat.parameters)
    gradients = [each.grad for each in seat.parameters if each.grad is not None]
    gradient = torch.nn.utils.get_total_norm(gradients)
    # What is not finite on one rank is not finite in the mean: all ranks stop alike.
    values = average(table.fabric, torch.cat([terms.detach(), gradient.float().reshape(1)]))
    names = [f"{update.player}/{name}" for name in (*update.terms, "gradient norm")]
    told = dict(zip(names, values, strict=True))
    check_finite(told, step)
    seat.optimiser.step()
    del told[names[-1]]
    return told


def check_finite(values: Mapping[str, float], step: int) -> None:
    """Check the terms and the gradient of a step, or the metrics of a validation.

    Raises:
        UnhealthyError: one is infinite or not a number.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise UnhealthyError(
                f"training diverged at step {step}: {name} is {value}",
                cause="usually a learning rate that is too high",
                hint="a smaller --lr; what checkpoints there are from before are good",
            )
