"""The players of a model, seated: networks on the device, parameters shared, optimisers made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer

from zoo.errors import PluginError
from zoo.model.contract import Model, Player


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


def sit_down(model: Model, fabric: Fabric, autocast: AbstractContextManager[Any]) -> Table:
    """Give every player its optimiser and put its networks on the device, wrapped by Fabric.

    Raises:
        PluginError: the players do not share out the model's parameters as the contract says.
    """
    players = model.players()
    check_players(model, players)
    model.to(fabric.device)  # with what belongs to no player, such as a pool of images
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
    seats = {}
    for name, player in players.items():
        for network in player.modules:
            setattr(model, _attribute(model, network), fabric.setup_module(network))
        parameters = list(parameters_of(player).values())
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
        for key in parameters_of(player):
            if key in owners:
                raise breach(model, f"{owners[key]!r} and {name!r} share a parameter")
            owners[key] = name
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in owners:
            raise breach(model, f"parameter {name!r} belongs to no player")


def parameters_of(player: Player) -> dict[int, nn.Parameter]:
    """Return what a player moves, each parameter once, by identity; frozen ones are left out."""
    return {
        id(parameter): parameter
        for module in player.modules
        for parameter in module.parameters()
        if parameter.requires_grad
    }


def _attribute(model: Model, network: nn.Module) -> str:
    for name, child in model.named_children():
        if child is network:
            return name
    raise breach(model, f"a player's {type(network).__name__} is not an attribute of the model")


def breach(model: Model, why: str) -> PluginError:
    """Return the error for a model that breaks the contract."""
    return PluginError(
        f"{type(model).__name__} ({type(model).__module__}) breaks the contract: {why}",
        hint="see zoo/model/contract.py",
    )
