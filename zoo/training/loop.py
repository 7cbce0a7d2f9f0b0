"""The one training loop. It knows players, updates and batches, and names no model."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from zoo.data.batches import Batches
from zoo.model.contract import Batch, Update
from zoo.training.engine import agree, average
from zoo.training.illnesses import IllnessError, diverged
from zoo.training.seats import Table, breach
from zoo.training.settings import Settings
from zoo.training.window import Means

FEWEST_STEPS = 20  # between two validations at ends of epochs: each also writes a checkpoint


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
class Position:
    """Where a training stands between two steps, and so where it can go on.

    Args:
        step: rounds played.
        epoch: passes over the data that are complete.
        batch: batches of the next epoch that have been used.
        seconds: time that the training has taken so far.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Moment:
    """What a step came to.

    Args:
        position: where the training stands after it.
        done: share of the budget that is spent; 1 at the end.
        terms: every term of this round, as ``player/term``.
        gradients: norm of the gradient of each player that moved in this round.
        images: images used in this round, over all ranks.
        epoch_ends: whether this step was the last of its epoch.
        validates: whether the model is to be validated: at the end of the training, and of each
            epoch; of short epochs, once in `FEWEST_STEPS` steps or a little more.
        signal: number of the signal that asks to stop here, or 0.
        saves: whether a checkpoint is to be written.
    """

    position: Position
    done: float
    terms: Mapping[str, float]
    gradients: Mapping[str, float]
    images: int
    epoch_ends: bool
    validates: bool
    signal: int
    saves: bool

    @property
    def step(self) -> int:
        """Rounds played."""
        return self.position.step

    @property
    def epoch(self) -> int:
        """Passes over the data that are complete."""
        return self.position.epoch

    @property
    def is_last(self) -> bool:
        """Whether the training ends here."""
        return self.done >= 1 or self.signal > 0


def play(
    table: Table,
    batches: Batches,
    budget: Budget,
    *,
    start: Position = Position(),
    stop_signal: Callable[[], int] = lambda: 0,
    save_is_due: Callable[[int], bool] = lambda _: False,
) -> Iterator[Moment]:
    """Train until the budget is spent or a signal came; yield after every round.

    Args:
        table: the model with its players.
        batches: what it learns from.
        budget: how long it learns.
        start: where to go on.
        stop_signal: says whether, and by which signal, this rank was asked to stop.
        save_is_due: says whether this rank wants a checkpoint after a step, beside those at the
            end of each epoch.

    Raises:
        IllnessError: a term or a gradient is not finite; no network has moved because of it.
    """
    began = time.monotonic() - start.seconds
    step, done = start.step, budget.done(start.step, start.seconds)
    together = math.ceil(FEWEST_STEPS / batches.steps_per_epoch)  # epochs from one validation on
    for epoch in itertools.count(start.epoch):
        first = start.batch if epoch == start.epoch else 0
        for index, batch in enumerate(batches.epoch(epoch, first), start=first + 1):
            for seat in table.seats.values():
                seat.set_rate(done)
            step += 1
            terms, gradients = play_round(table, batch, step)
            seconds = time.monotonic() - began
            done, signal, due = agree(
                table.fabric, budget.done(step, seconds), stop_signal(), save_is_due(step)
            )
            ends = index == batches.steps_per_epoch
            validates = done >= 1 or (ends and (epoch + 1) % together == 0)
            position = Position(step, epoch + ends, 0 if ends else index, seconds)
            moment = Moment(
                position, done, terms, gradients, batches.batch_size, ends, validates, int(signal),
                saves=validates or due > 0 or signal > 0,
            )  # fmt: skip
            yield moment
            if moment.is_last:
                return


def play_round(table: Table, batch: Batch, step: int) -> tuple[dict[str, float], dict[str, float]]:
    """Play one round: after every update that the model yields, its player moves.

    Returns:
        Every term as ``player/term``, and the norm of each player's gradient: means, where the
        round has several moves of a player.

    The sum of the terms is differentiated with respect to that player's parameters alone, so a
    forgotten ``detach`` may waste time but cannot move the wrong network.
    """
    terms, gradients = Means(), Means()
    table.model.train()
    game = table.model.training_step(batch)
    while True:
        with table.autocast:
            update = next(game, None)
        if update is None:
            return terms.means(), gradients.means()
        if update.player not in table.seats:
            raise breach(table.model, f"an update is for {update.player!r}, not among players()")
        told, gradient = _move(table, update, step)
        terms.add(told)
        gradients.add({update.player: gradient})


def _move(table: Table, update: Update, step: int) -> tuple[dict[str, float], float]:
    """Let one player step; return the terms and the norm of its gradient, averaged over ranks."""
    seat = table.seats[update.player]
    terms = torch.stack([term.float() for term in update.terms.values()])
    seat.optimiser.zero_grad(set_to_none=True)
    table.fabric.backward(terms.sum(), inputs=seat.parameters)
    gradients = [each.grad for each in seat.parameters if each.grad is not None]
    gradient = torch.nn.utils.get_total_norm(gradients) if gradients else terms.new_zeros(())
    # What is not finite on one rank is not finite in the mean: all ranks stop alike.
    values = average(table.fabric, torch.cat([terms.detach(), gradient.float().reshape(1)]))
    names = [f"{update.player}/{name}" for name in (*update.terms, "gradient norm")]
    told = dict(zip(names, values, strict=True))
    check_finite(told, step)
    seat.optimiser.step()
    return told, told.pop(names[-1])


def check_finite(values: Mapping[str, float], step: int) -> None:
    """Check the terms and the gradient of a step, or the metrics of a validation.

    Raises:
        IllnessError: one is infinite or not a number.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise IllnessError(diverged(name, value, step))
