"""The players of a model on a device: their parameters, optimisers and gradients.

Networks may be frozen, or have a learning rate of their own, by name of the network or of a player
that has several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from zoo.errors import PluginError, UsageError, did_you_mean
from zoo.model.checks import contract_error, source_line
from zoo.model.contract import Model, Player
from zoo.training.devices import Ranks, memory_format


@dataclass
class PlayerState:
    """A player during training: its parameters on the device, its optimiser, and its gradients.

    A player whose networks are all frozen has no parameters, and its optimiser moves nothing.
    """

    player: Player
    parameters: list[nn.Parameter]
    optimiser: Optimizer
    learning_rates: list[float]
    updates: int = 0  # since the optimiser has moved
    gradients: list[Tensor | None] = field(default_factory=list)  # of these updates, where some are

    def set_learning_rates(self, progress: float) -> None:
        """Set the learning rates for the share of the training that is done."""
        factor = self.player.schedule(progress)
        for group, rate in zip(self.optimiser.param_groups, self.learning_rates, strict=True):
            group["lr"] = rate * factor

    def set_gradients(self) -> None:
        """Set the gradients to those of the updates since the optimiser has moved."""
        self.optimiser.zero_grad(set_to_none=True)
        # not left in the parameters, which another player may have as well
        for parameter, gradient in zip(self.parameters, self.gradients, strict=False):
            parameter.grad = gradient

    @property
    def can_skip(self) -> bool:
        """Whether the optimiser skips a step by itself, as gradient scalers ask fused ones to."""
        return bool(getattr(self.optimiser, "_step_supports_amp_scaling", False))

    def skip_if(self, is_bad: Tensor) -> None:
        """Let the next step of the optimiser move nothing if a truth value on the device is set."""
        self.optimiser.found_inf = is_bad.float()  # type: ignore[attr-defined] # as GradScaler does

    def move(self, norm: Tensor) -> None:
        """Count an update; with the last of `accumulate`, step the optimiser.

        `norm` is that of the gradients of all parameters together.
        """
        self.updates += 1
        if self.updates < self.player.accumulate:
            self.gradients = [each.grad for each in self.parameters]
            return
        if self.player.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.player.clip_norm, norm)
        self.optimiser.step()
        self.updates, self.gradients = 0, []


@dataclass(frozen=True)
class TrainState:
    """The model and its players on a device: all that a training step needs beside a batch."""

    model: Model
    players: Mapping[str, PlayerState]
    ranks: Ranks
    autocast: AbstractContextManager[Any]
    reads_late: bool = False  # whether values stay on the device for some steps
    frozen: Sequence[nn.Module] = ()  # networks and their parts that have no trainable parameter


def setup_players(
    model: Model,
    ranks: Ranks,
    autocast: AbstractContextManager[Any],
    learning_rates: Mapping[str, float] | None = None,
) -> TrainState:
    """Move the networks to the device, in the fastest layout; build one optimiser per player.

    `learning_rates` are those of some networks or players, before the schedule; the others have
    what the optimiser says.

    Raises:
        PluginError: some parameter of the model belongs to no player, or to two that do not say so.
        UsageError: there is a learning rate for what the model lacks, or for what is frozen.
    """
    players = model.players()
    check_players(model, players)
    rates = _rates_by_player(model, players, learning_rates or {})
    model.progress = 0.0
    model.to(ranks.device)  # with what belongs to no player, such as a pool of images
    model.to(memory_format=memory_format(model))  # type: ignore[call-overload] # torch's stub lacks it
    names = {id(child): key for key, child in model.named_children()}
    for network in {id(each): each for p in players.values() for each in p.modules}.values():
        if id(network) not in names:
            raise _no_attribute(model, network)
        if any(each.requires_grad for each in network.parameters()):
            setattr(model, names[id(network)], ranks.wrap(network))
    states = {}
    for name, player in players.items():
        parameters = list(parameters_of(player).values())
        # torch wants a parameter, or a group
        optimiser = player.optimiser(parameters) if parameters else SGD([{"params": []}])
        _set_rates(optimiser, rates[name])
        initial = [group["lr"] for group in optimiser.param_groups]
        states[name] = PlayerState(player, parameters, optimiser, initial)
    reads_late = ranks.device.type != "cpu"
    return TrainState(model, states, ranks, autocast, reads_late, frozen_modules(model))


def _no_attribute(model: Model, network: nn.Module) -> PluginError:
    """Return the error for a network of a player that is inside of another one, or nowhere."""
    kind = type(network).__name__
    path = next((key for key, each in model.named_modules() if each is network), "")
    if path:
        why = f"a player's {kind} is self.{path}, inside of self.{path.partition('.')[0]}"
        hint = f"an attribute for each network that a player names: self.{path.replace('.', '_')}"
    else:
        why, hint = f"a player's {kind} is not an attribute of the model", f"self.{kind.lower()}"
    return contract_error(model, why, where=source_line(model.players), hint=hint)


def freeze(model: Model, names: Iterable[str]) -> None:
    """Freeze networks, by their names or by those of players, before the players are set up.

    Raises:
        UsageError: the model has none of such a name, or nothing is left to train.
    """
    for name in names:
        for network in networks_called(model, name, "freeze"):
            network.requires_grad_(False)
    if not any(each.requires_grad for each in model.parameters()):
        raise UsageError(
            f"all networks of {type(model).__name__} are frozen: nothing is left to train",
            hint="leave out one --freeze",
            code="nothing-to-train",
        )


def networks_of(model: Model) -> dict[str, nn.Module]:
    """Return the networks of a model by name: its direct parts that have parameters."""
    return {key: each for key, each in model.named_children() if list(each.parameters())}


def networks_called(model: Model, name: str, option: str) -> Sequence[nn.Module]:
    """Return the network of the model that has a name, or all those of a player.

    Raises:
        UsageError: there is neither.
    """
    networks = networks_of(model)
    if name in networks:
        return [networks[name]]
    players = model.players()
    if name in players:
        return players[name].modules
    known = list(dict.fromkeys([*networks, *players]))
    raise UsageError(
        f"{option} = {name[:40]!r}: {type(model).__name__} has no such network or player."
        f"{did_you_mean(name, known)}",
        hint=f"one of: {', '.join(known)}",
        code="bad-value",
    )


def _rates_by_player(
    model: Model, players: Mapping[str, Player], rates: Mapping[str, float]
) -> dict[str, dict[int, float]]:
    """Return by player the learning rates of parameters that have one of their own, by identity.

    That of a network is stronger than that of a player.

    Raises:
        UsageError: the model has none of such a name, or it is frozen.
    """
    networks = dict(model.named_children())
    for name in rates:
        found = networks_called(model, name, "learning_rates")
        if not any(each.requires_grad for network in found for each in network.parameters()):
            raise UsageError(
                f"learning_rates = {name!r}: it is frozen",
                hint="either --freeze or --lr",
                code="bad-value",
            )
    of_networks = {
        id(each): rate
        for name, rate in rates.items()
        if name in networks
        for each in networks[name].parameters()
    }
    return {
        name: {
            key: of_networks.get(key, rates.get(name, 0.0))
            for key in parameters_of(player)
            if key in of_networks or name in rates
        }
        for name, player in players.items()
    }


def _set_rates(optimiser: Optimizer, rates: Mapping[int, float]) -> None:
    """Move the parameters that have a learning rate of their own to groups of their own."""
    for group in list(optimiser.param_groups):
        by_rate: dict[float, list[nn.Parameter]] = {}
        for each in group["params"]:
            if id(each) in rates:
                by_rate.setdefault(rates[id(each)], []).append(each)
        group["params"] = [each for each in group["params"] if id(each) not in rates]
        for rate, parameters in by_rate.items():
            optimiser.add_param_group({**group, "params": parameters, "lr": rate})


def frozen_modules(model: Model) -> list[nn.Module]:
    """Return the networks, and parts of networks, all of whose parameters are frozen."""
    found = []
    for module in model.modules():
        parameters = list(module.parameters())
        if parameters and not any(each.requires_grad for each in parameters):
            found.append(module)
    return found


def check_players(model: Model, players: Mapping[str, Player]) -> None:
    """Check that every trainable parameter of the model belongs to a player.

    It may belong to several if all of these but one say that they share.

    Raises:
        PluginError: one belongs to nobody, or to two players that do not say so.
    """
    owners: dict[int, str] = {}  # the ones that do not share, where there are some
    for name, player in players.items():
        for key in parameters_of(player):
            if key not in owners or players[owners[key]].shared:
                owners[key] = name
            elif not player.shared:
                why = f"{owners[key]!r} and {name!r} share a parameter"
                raise contract_error(
                    model,
                    f"{why}, and neither is Player(..., shared=True)",
                    where=source_line(model.players),
                )
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in owners:
            why = f"parameter {name!r} belongs to no player"
            raise contract_error(model, why, where=source_line(model.players))


def parameters_of(player: Player) -> dict[int, nn.Parameter]:
    """Return the trainable parameters of a player, each once, by the identity of the tensor."""
    return {
        id(parameter): parameter
        for module in player.modules
        for parameter in module.parameters()
        if parameter.requires_grad
    }
