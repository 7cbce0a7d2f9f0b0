"""Measures a model while it is trained, and keeps the alerts that are active.

Adversarial training fails in ways that no single loss shows. What is looked for stands in
`zoo.training.monitors`. Everything is measured in evaluation mode, on noise and images that are the
same every time, and leaves the random numbers of the training as they were.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from zoo.data.batches import common_rows, in_order
from zoo.modalities import modality_of
from zoo.model.checks import check_itself, monitors_of
from zoo.model.contract import Batch, Goal, Graph, Model
from zoo.model.inference import (
    affordable_samples,
    device_of,
    draw_samples,
    evaluating,
    evaluation_batch,
    images_for,
    map_images,
    mappers,
    relative_distances,
    samplers,
    some_of,
)
from zoo.ports import Port
from zoo.records import typed
from zoo.training.devices import memory_format
from zoo.training.monitors import MONITORS, Alert
from zoo.training.trainer import Means, StepResult

Pixels = np.ndarray[Any, Any]
Split = Mapping[str, Pixels]

IMAGES = 256  # compared, of a graph; fewer, where images are large
IMAGES_OF_A_CLASS = 32
MIN_IMAGES = 8  # with fewer nothing is measured
MAX_CLASSES = 10  # that are compared
CAN_DIE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid)  # leaky ones always pass something on
MIN_RANGE = 0.01  # a unit whose outputs differ by less is dead

WINDOW = 50  # steps whose means are checked together


@dataclass(frozen=True)
class Watched:
    """What the monitors know about the model that is trained."""

    players: Sequence[str]  # names of all of them
    losses_at_random_guess: Mapping[str, float]  # of the players that have one
    goal: Goal | None
    has_posterior: bool  # whether the model measures the KL of its code


@dataclass(frozen=True)
class WindowMeans:
    """Means over some training steps in a row, by player, and those of the first window.

    A loss is the sum of all terms of a player; `step` is the last step of the window.
    """

    model: Watched
    step: int
    losses: Mapping[str, float]
    gradient_norms: Mapping[str, float]
    first_losses: Mapping[str, float]
    first_gradient_norms: Mapping[str, float]


@dataclass(frozen=True)
class Diversity:
    """How different the pictures of a graph are, as a share of real images of the same number."""

    graph: str
    sampled: bool  # whether they come from noise alone, and not from images
    label: str  # the class that was asked for; empty where none was
    images: int  # pictures compared
    spread: float  # mean distance of two of them; near 0 when all are alike
    nearest: float  # mean distance of each to the one most like it; near 0 when a few are repeated

    @property
    def level(self) -> float:
        """Both in one number, their geometric mean.

        Of what is made of images the spread alone: a mapping may well bring images nearer to one
        another, as one that takes their noise away does.
        """
        return math.sqrt(self.spread * self.nearest) if self.sampled else self.spread


@dataclass(frozen=True)
class Validation:
    """Measurements at one validation."""

    model: Watched
    step: int
    metrics: Mapping[str, float]  # the model's own
    diversities: Sequence[Diversity]  # of each graph that makes pictures, or of each class of it
    latent_kl: Sequence[float]  # KL(q(z|x) ‖ p(z)) by latent dimension, in nats; or empty
    dead_units: Mapping[str, tuple[int, int]]  # by layer, how many, and of how many
    history: Sequence[tuple[float, float]]  # training loss and goal at each validation so far


@dataclass
class WatcherState:
    """What a watcher remembers from step to step, and a checkpoint holds."""

    steps: int = 0  # in the window, which is not yet full
    losses: Means = field(default_factory=Means)
    gradient_norms: Means = field(default_factory=Means)
    first_losses: dict[str, float] = field(default_factory=dict)  # means of the first window
    first_gradient_norms: dict[str, float] = field(default_factory=dict)
    steps_in_a_row: dict[str, int] = field(default_factory=dict)  # with an alert: monitor/player
    losses_since_validation: Means = field(default_factory=Means)
    history: list[tuple[float, float]] = field(default_factory=list)  # as in `Validation`
    alerts: list[Alert] = field(default_factory=list)  # that are active


class Watcher:
    """Runs all monitors on one training.

    An alert is active until the same monitor finds no more of it: at the next window of steps, or
    at the next validation. A monitor has one active alert at a time. Measured are images that are
    not trained on, by name as in a split of a store.
    """

    def __init__(self, model: Model, held_out: Split) -> None:
        self._model, self._held_out = model, held_out
        players = model.players()
        self._watched = Watched(
            players=list(players),
            losses_at_random_guess={
                name: player.loss_at_random_guess
                for name, player in players.items()
                if player.loss_at_random_guess
            },
            goal=model.goal,
            has_posterior=type(model).latent_kl is not Model.latent_kl,
        )
        self._state = WatcherState()

    @property
    def alerts(self) -> list[Alert]:
        """The alerts that are active."""
        return list(self._state.alerts)

    @property
    def unwatched(self) -> dict[str, str]:
        """The monitors that cannot check this model, each with the reason."""
        reasons = {name: each.why_unwatched(self._watched) for name, each in MONITORS.items()}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def after_step(self, result: StepResult) -> list[Alert]:
        """Add a step to the window, which is checked once it is full; return the new alerts."""
        state = self._state
        losses: dict[str, float] = {}
        for name, value in result.terms.items():
            player = name.partition("/")[0]
            losses[player] = losses.get(player, 0.0) + value
        state.losses_since_validation.add(losses)
        state.losses.add(losses)
        state.gradient_norms.add(result.gradient_norms)
        state.steps += 1
        if state.steps < WINDOW:
            return []
        losses, norms = state.losses.means(), state.gradient_norms.means()
        state.steps, state.losses, state.gradient_norms = 0, Means(), Means()
        state.first_losses = state.first_losses or losses
        state.first_gradient_norms = state.first_gradient_norms or norms
        window = WindowMeans(self._watched, result.step, losses, norms,
                             state.first_losses, state.first_gradient_norms)  # fmt: skip
        return self._update({
            name: self._first_lasting(name, monitor.check_window(window))
            for name, monitor in MONITORS.items()
            if monitor.checks == "windows"
        })  # fmt: skip

    def after_validation(self, result: StepResult, metrics: Mapping[str, float]) -> list[Alert]:
        """Measure the model at a validation, check the measurements; return the new alerts."""
        with record_activations(self._model) as ranges:
            diversities = measure_diversity(self._model, self._held_out)
        dead_units = {
            layer: (int((greatest - least < MIN_RANGE).sum()), len(least))
            for layer, (least, greatest) in ranges.items()
        }
        validation = Validation(
            model=self._watched,
            step=result.step,
            metrics=metrics,
            diversities=diversities,
            latent_kl=measure_latent_kl(self._model, self._held_out),
            dead_units=dead_units,
            history=self._add_to_history(metrics),
        )
        found = {
            name: monitor.check_validation(validation)
            for name, monitor in MONITORS.items()
            if monitor.checks == "validations"
        }
        return self._update(found | self._check_itself(result.step))

    def state(self) -> dict[str, Any]:
        """Return the state of the monitors, as plain JSON values."""
        return asdict(self._state)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the state to what `state` returned.

        Raises:
            ValueError: it is not such a state.
        """
        self._state = typed(state, WatcherState)

    def _check_itself(self, step: int) -> dict[str, Alert | None]:
        """Return what the model's own monitors say of held-out data, by name."""
        monitors = monitors_of(type(self._model))
        batch = _held_out_batch(self._model, self._held_out) if monitors else None
        if batch is None:
            return {}
        found: dict[str, Alert | None] = {}
        with evaluating(self._model):
            for each in monitors:
                what = check_itself(self._model, each, batch)
                message = f"{each.title} at step {step}: {what}"
                found[each.name] = (
                    Alert(each.name, step, {}, message, each.advice) if what else None
                )
        return found

    def _update(self, found: Mapping[str, Alert | None]) -> list[Alert]:
        """Set which alerts are active, by monitor; return those that are new."""
        active = {alert.monitor: alert for alert in self._state.alerts}
        new = []
        for monitor, alert in found.items():
            if alert is None:
                active.pop(monitor, None)
            elif monitor not in active:
                active[monitor] = alert
                new.append(alert)
        self._state.alerts = list(active.values())
        return new

    def _first_lasting(self, name: str, found: Mapping[str, Alert | None]) -> Alert | None:
        """Return the alert of the first player that has had one for long enough."""
        monitor, in_a_row = MONITORS[name], self._state.steps_in_a_row
        lasting = []
        for player, alert in found.items():
            key = f"{name}/{player}"
            in_a_row[key] = in_a_row.get(key, 0) + WINDOW if alert else 0
            if alert and (not monitor.must_last or in_a_row[key] >= monitor.limits["steps"]):
                lasting.append(alert)
        return lasting[0] if lasting else None

    def _add_to_history(self, metrics: Mapping[str, float]) -> list[tuple[float, float]]:
        """Add the training loss and the goal; return the history, which is empty without both."""
        state, goal, players = self._state, self._model.goal, self._watched.players
        losses = state.losses_since_validation.means()
        state.losses_since_validation = Means()
        if len(players) > 1 or not losses or goal is None or goal.metric not in metrics:
            return []
        state.history.append((losses[players[0]], metrics[goal.metric]))
        return state.history


def measure_diversity(model: Model, held_out: Split) -> list[Diversity]:
    """Measure how different the pictures are that the model samples, or translates.

    Where classes are asked for, each is compared with real images of its own; of a step of a loop,
    whose samples take many rounds, a few of all classes together. Sounds are compared like
    pictures; text is not, because symbol numbers have no distance.
    """
    graphs = model.graphs()
    found = []
    for name in samplers(model):
        is_step = graphs[name].signature.is_step
        source = _like(model, graphs[name].outputs[0], held_out)
        if source is None:
            continue
        if not is_step and (classes := _classes(graphs[name], held_out)):
            for number, label in classes:
                places = some_of(np.flatnonzero(held_out["label"] == number), IMAGES_OF_A_CLASS)
                real = np.asarray(source[places])
                made = draw_samples(model, name, count=len(real), seed=0, classes=[number])
                found.append(_compare(name, label, made, real, sampled=True))
        else:
            count = affordable_samples(graphs[name], _affordable(model))
            real = some_of(source, count)
            made = draw_samples(model, name, count=len(real), seed=0)
            found.append(_compare(name, "", made, real, sampled=True))
    for name in mappers(model):
        graph = graphs[name]
        (port,), made_domain = graph.signature.required, graph.outputs[0].domain
        given = images_for(model, port, held_out)
        wanted = images_for(model, graph.outputs[0], held_out) if made_domain else given
        count = affordable_samples(graph, _affordable(model))
        inputs = some_of(given, min(len(given), len(wanted), count))
        made = map_images(model, name, inputs)
        if made_domain:  # a reconstruction has a loss of its own
            found.append(_compare(name, "", made, some_of(wanted, len(made)), sampled=False))
    return [each for each in found if each is not None]


def measure_latent_kl(model: Model, held_out: Split) -> list[float]:
    """Return KL(q(z|x) ‖ p(z)) by latent dimension in nats; nothing without a posterior."""
    batch = _held_out_batch(model, held_out)
    if batch is None:
        return []
    with evaluating(model):
        found = model.latent_kl(batch)
    return [] if found is None else [float(each) for each in found]


def _held_out_batch(model: Model, held_out: Split) -> Batch | None:
    """Return rows from all over the held-out data; None where there are too few to measure."""
    rows = min(common_rows(held_out), _affordable(model))
    if rows < MIN_IMAGES:
        return None
    (batch,) = in_order(
        {name: some_of(array[: common_rows(held_out)], rows) for name, array in held_out.items()},
        model.data,
        rows,
        device_of(model),
        memory_format(model),
    )
    return batch


@contextmanager
def record_activations(model: Model) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Record what all units that can die put out in the forward passes inside the block.

    Yields:
        By layer, the least and the greatest output of each unit, or map.
    """
    ranges: dict[str, tuple[Tensor, Tensor]] = {}

    def recording(layer: str) -> Any:
        def record(module: nn.Module, inputs: Any, outputs: Tensor) -> None:
            del module, inputs
            # what is as large as a picture is its pixels, some of which never change
            if outputs.ndim > 1 and outputs[0].numel() != model.data.numbers:
                others = [dimension for dimension in range(outputs.ndim) if dimension != 1]
                least, greatest = outputs.amin(dim=others).float(), outputs.amax(dim=others).float()
                before = ranges.get(layer, (least, greatest))
                ranges[layer] = least.minimum(before[0]), greatest.maximum(before[1])

        return record

    handles = [
        module.register_forward_hook(recording(name.replace("_forward_module.", "")))
        for name, module in model.named_modules()
        if isinstance(module, CAN_DIE)
    ]
    try:
        yield ranges
    finally:
        for handle in handles:
            handle.remove()


def _classes(graph: Graph, held_out: Split) -> list[tuple[int, str]]:
    """Return the classes to ask for: of one label, those with enough held-out images."""
    labels = [port for port in graph.inputs if port.is_label and port.classes]
    if len(labels) != 1 or "label" not in held_out:
        return []
    counts = np.bincount(held_out["label"], minlength=len(labels[0].classes))
    known = enumerate(labels[0].classes)
    return [(number, name) for number, name in known if counts[number] >= MIN_IMAGES][:MAX_CLASSES]


def _like(model: Model, made: Port, held_out: Split) -> Pixels | None:
    """Return the held-out rows that what comes out of a port can be compared with, if any."""
    if not modality_of(made).comparable:
        return None
    like = [port.name for port in model.data.ports if port.kind == made.kind]
    return next((held_out[name] for name in like if name in held_out), None)


def _compare(
    graph: str, label: str, made: Pixels, real: Pixels, *, sampled: bool
) -> Diversity | None:
    """Compare pictures with real images; None with too few of them, or all real ones alike."""
    if len(made) < MIN_IMAGES:
        return None
    shares = relative_distances(made, real)
    return Diversity(graph, sampled, label, len(made), *shares) if shares else None


def _affordable(model: Model) -> int:
    """Return how many images are compared at most."""
    return min(IMAGES, evaluation_batch(model.data))
