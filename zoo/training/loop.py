"""The one training loop. It knows players, updates and batches, and names no model."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.data.batches import Batches
from zoo.errors import PluginError, UnhealthyError, ZooError
from zoo.model.contract import Batch, Model, Player, Update
from zoo.training.engine import agree
from zoo.training.settings import Settings


@dataclass(frozen=True)
class Seat:
    """A player who has sat down: its parameters on the device and its optimiser."""

    parameters: list[nn.Parameter]
    optimiser: Optimizer
    rates: list[float]
    schedule: Callable[[float], float]

    def set_rate(self, done: float) -> None:
        """Set the learning rates for the share of the training that is done."""
        factor = self.schedule(done)
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor


@dataclass(frozen=True)
class Table:
    """The model with its players seated: all that a round needs beside a batch."""

    model: Model
    seats: Mapping[str, Seat]
    fabric: Fabric
    autocast: AbstractContextManager[Any]


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


def sit_down(model: Model, fabric: Fabric, autocast: AbstractContextManager[Any]) -> Table:
    """Give every player its optimiser and put its networks on the device, wrapped by Fabric.

    Raises:
        PluginError: the players do not share out the model's parameters as the contract says.
    """
    players = model.players()
    check_players(model, players)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
    seats = {}
    for name, player in players.items():
        for network in player.modules:
            setattr(model, _attribute(model, network), fabric.setup_module(network))
        parameters = [each for module in player.modules for each in module.parameters()]
        optimiser = fabric.setup_optimizers(player.optimiser(parameters))
        assert isinstance(optimiser, Optimizer)  # one goes in, one comes out
        rates = [group["lr"] for group in optimiser.param_groups]
        seats[name] = Seat(parameters, optimiser, rates, player.schedule)
    return Table(model, seats, fabric, autocast)


def check_players(model: Model, players: Mapping[str, Player]) -> None:
    """Check that every parameter of the model belongs to exactly one player.

    Raises:
        PluginError: one belongs to nobody or to two.
    """
    owners: dict[int, str] = {}
    for name, player in players.items():
        for parameter in (each for module in player.modules for each in module.parameters()):
            if id(parameter) in owners:
                raise _broken(model, f"{owners[id(parameter)]!r} and {name!r} share a parameter")
            owners[id(parameter)] = name
    for name, parameter in model.named_parameters():
        if id(parameter) not in owners:
            raise _broken(model, f"parameter {name!r} belongs to no player")


def play(
    table: Table, batches: Batches, budget: Budget, wants_to_stop: Callable[[], bool]
) -> Iterator[Moment]:
    """Train until the budget is spent or somebody wants to stop; yield after every round.

    Raises:
        UnhealthyError: a term is not finite; no network has moved because of it.
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

    The sum of the terms is differentiated with respect to that player's parameters alone, so a
    forgotten ``detach`` may waste time but cannot move the wrong network.
    """
    seen: dict[str, float] = {}
    table.model.train()
    game = table.model.training_step(batch)
    while True:
        with table.autocast:
            update = next(game, None)
        if update is None:
            return seen
        if update.player not in table.seats:
            raise _broken(
                table.model, f"an update is for {update.player!r}, who is not among players()"
            )
        seen |= _read_terms(update, step)
        seat = table.seats[update.player]
        loss = torch.stack(list(update.terms.values())).sum()
        seat.optimiser.zero_grad(set_to_none=True)
        table.fabric.backward(loss, inputs=seat.parameters)
        seat.optimiser.step()


def check_finite(values: Mapping[str, float], step: int) -> None:
    """Check the terms of a step, or the metrics of a validation.

    Raises:
        UnhealthyError: one is infinite or not a number.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise UnhealthyError(
                f"training diverged at step {step}: {name} is {value}",
                cause="usually a learning rate that is too high",
                hint="a smaller --lr; the checkpoints written before are good",
            )


def _read_terms(update: Update, step: int) -> dict[str, float]:
    values = torch.stack([term.detach().float() for term in update.terms.values()]).tolist()
    terms = {
        f"{update.player}/{name}": value for name, value in zip(update.terms, values, strict=True)
    }
    check_finite(terms, step)
    return terms


def check_ranks_agree(model: Model, fabric: Fabric) -> str:
    """Return a digest of all parameters, equal on every rank.

    Raises:
        ZooError: the ranks ended with different weights.
    """
    digest = digest_of(parameter for parameter in model.parameters())
    number = float(int(digest[:12], 16))  # 48 bits, which a float64 holds exactly
    highest, lowest = agree(fabric, number, -number)
    if highest != -lowest:
        raise ZooError("the ranks ended with different weights", cause="a bug of zoo's")
    return digest


def digest_of(tensors: Iterator[Tensor]) -> str:
    """Return the sha256 of the tensors' bytes, in order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _attribute(model: Model, network: nn.Module) -> str:
    for name, child in model.named_children():
        if child is network:
            return name
    raise _broken(model, f"a player's {type(network).__name__} is not an attribute of the model")


def _broken(model: Model, why: str) -> PluginError:
    return PluginError(
        f"{type(model).__name__} ({type(model).__module__}) breaks the contract: {why}",
        hint="see zoo/model/contract.py",
    )
