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
from zoo.model.contract import Goal, Graph, Model
from zoo.model.inference import (
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
)  # fmt: skip
from zoo.records import typed
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
    """What the monitors know about the model that is trained.

    Args:
        players: names of all players.
        losses_at_random_guess: of the players that have one, by name.
        goal: the metric that says which checkpoint is best, if there is one.
        has_posterior: whether the model measures the KL of its code.
    """

    players: Sequence[str]
    losses_at_random_guess: Mapping[str, float]
    goal: Goal | None
    has_posterior: bool


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
    """How different the pictures of a graph are, as a share of real images of the same number.

    Args:
        graph: the graph that made them.
        sampled: whether they come from noise alone, and not from images.
        label: the class that was asked for; empty where none was.
        images: pictures compared.
        spread: mean distance of two of them; near 0 when all are alike.
        nearest: mean distance of each to the one most like it; near 0 when a few are repeated.
    """

    graph: str
    sampled: bool
    label: str
    images: int
    spread: float
    nearest: float

    @property
    def level(self) -> float:
        """Both in one number, their geometric mean.

        Of what is made of images the spread alone: a mapping may well bring images nearer to one
        another, as one that takes their noise away does.
        """
        return math.sqrt(self.spread * self.nearest) if self.sampled else self.spread


@dataclass(frozen=True)
class Validation:
    """Measurements at one validation.

    Args:
        model: the model that is trained.
        step: at which it is.
        metrics: the model's own.
        diversities: of each graph that makes pictures, or of each class of it.
        latent_kl: KL(q(z|x) ‖ p(z)) by latent dimension, in nats; empty without a posterior.
        dead_units: by layer, how many units are dead, and of how many.
        history: training loss and goal at each validation so far; empty without a goal.
    """

    model: Watched
    step: int
    metrics: Mapping[str, float]
    diversities: Sequence[Diversity]
    latent_kl: Sequence[float]
    dead_units: Mapping[str, tuple[int, int]]
    history: Sequence[tuple[float, float]]


class Watcher:
    """Runs all monitors on one training.

    An alert is active until the same monitor finds no more of it: at the next window of steps, or
    at the next validation. A monitor has one active alert at a time.

    Args:
        model: the model that is trained.
        held_out: images that are not trained on, by name as in a split of a store.
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
        self._steps, self._losses, self._gradient_norms = 0, Means(), Means()
        self._first_losses: dict[str, float] = {}  # means of the first window
        self._first_gradient_norms: dict[str, float] = {}
        self._steps_in_a_row: dict[str, int] = {}  # of windows with an alert, by monitor/player
        self._losses_since_validation = Means()
        self._history: list[tuple[float, float]] = []  # training loss and goal, by validation
        self._active: dict[str, Alert] = {}

    @property
    def alerts(self) -> list[Alert]:
        """The alerts that are active."""
        return list(self._active.values())

    @property
    def unwatched(self) -> dict[str, str]:
        """The monitors that cannot check this model, each with the reason."""
        reasons = {name: each.why_unwatched(self._watched) for name, each in MONITORS.items()}
        return {name: reason for name, reason in reasons.items() if reason is not None}

    def after_step(self, result: StepResult) -> list[Alert]:
        """Add a step to the window, which is checked once it is full; return the new alerts."""
        losses: dict[str, float] = {}
        for name, value in result.terms.items():
            player = name.partition("/")[0]
            losses[player] = losses.get(player, 0.0) + value
        self._losses_since_validation.add(losses)
        self._losses.add(losses)
        self._gradient_norms.add(result.gradient_norms)
        self._steps += 1
        if self._steps < WINDOW:
            return []
        losses, norms = self._losses.means(), self._gradient_norms.means()
        self._steps, self._losses, self._gradient_norms = 0, Means(), Means()
        self._first_losses = self._first_losses or losses
        self._first_gradient_norms = self._first_gradient_norms or norms
        window = WindowMeans(self._watched, result.step, losses, norms,
                             self._first_losses, self._first_gradient_norms)  # fmt: skip
        return self._update({
            name: self._first_lasting(name, monitor.check_window(window))
            for name, monitor in MONITORS.items()
            if monitor.checks == "windows"
        })  # fmt: skip

    def after_validation(self, result: StepResult, metrics: Mapping[str, float]) -> list[Alert]:
        """Measure the model at a validation, check the measurements; return the new alerts."""
        with record_activations(self._model) as activations:
            diversities = measure_diversity(self._model, self._held_out)
        validation = Validation(
            model=self._watched,
            step=result.step,
            metrics=metrics,
            diversities=diversities,
            latent_kl=measure_latent_kl(self._model, self._held_out),
            dead_units=activations.dead_units(),
            history=self._add_to_history(metrics),
        )
        return self._update({
            name: monitor.check_validation(validation)
            for name, monitor in MONITORS.items()
            if monitor.checks == "validations"
        })  # fmt: skip

    def state(self) -> dict[str, Any]:
        """Return the state of the monitors, as plain JSON values."""
        return {
            "steps": self._steps,
            "losses": asdict(self._losses),
            "gradient_norms": asdict(self._gradient_norms),
            "first_losses": dict(self._first_losses),
            "first_gradient_norms": dict(self._first_gradient_norms),
            "steps_in_a_row": dict(self._steps_in_a_row),
            "losses_since_validation": asdict(self._losses_since_validation),
            "history": [list(each) for each in self._history],
            "alerts": [asdict(alert) for alert in self.alerts],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Set the state to what `state` returned."""
        self._steps = state["steps"]
        self._losses = Means(**state["losses"])
        self._gradient_norms = Means(**state["gradient_norms"])
        self._first_losses = dict(state["first_losses"])
        self._first_gradient_norms = dict(state["first_gradient_norms"])
        self._steps_in_a_row = dict(state["steps_in_a_row"])
        self._losses_since_validation = Means(**state["losses_since_validation"])
        self._history = [(loss, goal) for loss, goal in state["history"]]
        alerts = [typed(each, Alert) for each in state["alerts"]]
        self._active = {alert.monitor: alert for alert in alerts}

    def _update(self, found: Mapping[str, Alert | None]) -> list[Alert]:
        """Set which alerts are active, by monitor; return those that are new."""
        new = []
        for monitor, alert in found.items():
            if alert is None:
                self._active.pop(monitor, None)
            elif monitor not in self._active:
                self._active[monitor] = alert
                new.append(alert)
        return new

    def _first_lasting(self, name: str, found: Mapping[str, Alert | None]) -> Alert | None:
        """Return the alert of the first player that has had one for long enough."""
        lasting = []
        for player, alert in found.items():
            key = f"{name}/{player}"
            steps = self._steps_in_a_row.get(key, 0) + WINDOW if alert else 0
            self._steps_in_a_row[key] = steps
            if alert and (not MONITORS[name].must_last or steps >= MONITORS[name].limits["steps"]):
                lasting.append(alert)
        return lasting[0] if lasting else None

    def _add_to_history(self, metrics: Mapping[str, float]) -> list[tuple[float, float]]:
        """Add the training loss and the goal; return the history, which is empty without both."""
        losses, goal = self._losses_since_validation.means(), self._model.goal
        self._losses_since_validation = Means()
        players = self._watched.players
        if len(players) > 1 or not losses or goal is None or goal.metric not in metrics:
            return []
        self._history.append((losses[players[0]], metrics[goal.metric]))
        return self._history


def measure_diversity(model: Model, held_out: Split) -> list[Diversity]:
    """Measure how different the pictures are that the model samples, or translates.

    Where classes are asked for, each is compared with real images of its own.
    """
    graphs = model.graphs()
    found = []
    for name in samplers(model):
        if classes := _classes(graphs[name], held_out):
            for number, label in classes:
                places = some_of(np.flatnonzero(held_out["label"] == number), IMAGES_OF_A_CLASS)
                real = np.asarray(held_out["image"][places])
                made = draw_samples(model, name, count=len(real), seed=0, classes=[number])
                found.append(_compare(name, label, made, real, sampled=True))
        else:
            real = some_of(next(iter(held_out.values())), _affordable(model))
            made = draw_samples(model, name, count=len(real), seed=0)
            found.append(_compare(name, "", made, real, sampled=True))
    for name in mappers(model):
        graph = graphs[name]
        (port,), made_domain = graph.signature.missing, graph.outputs[0].domain
        given = images_for(model, port, held_out)
        wanted = images_for(model, graph.outputs[0], held_out) if made_domain else given
        inputs = some_of(given, min(len(given), len(wanted), _affordable(model)))
        made = map_images(model, name, inputs)
        if made_domain:  # a reconstruction has a loss of its own
            found.append(_compare(name, "", made, some_of(wanted, len(made)), sampled=False))
    return [each for each in found if each is not None]


def measure_latent_kl(model: Model, held_out: Split) -> list[float]:
    """Return KL(q(z|x) ‖ p(z)) by latent dimension in nats; nothing without a posterior."""
    rows = min(common_rows(held_out), _affordable(model))
    if rows < MIN_IMAGES:
        return []
    (batch,) = in_order(
        {name: some_of(array[: common_rows(held_out)], rows) for name, array in held_out.items()},
        rows,
        device_of(model),
    )
    with evaluating(model):
        found = model.latent_kl(batch)
    return [] if found is None else [float(each) for each in found]


@dataclass
class ActivationRanges:
    """The least and the greatest output of each unit, or map, of some layers."""

    least: dict[str, Tensor] = field(default_factory=dict)
    greatest: dict[str, Tensor] = field(default_factory=dict)

    def add(self, layer: str, outputs: Tensor) -> None:
        """Include outputs (N, units, …) of a layer."""
        others = [dimension for dimension in range(outputs.ndim) if dimension != 1]
        least, greatest = outputs.amin(dim=others).float(), outputs.amax(dim=others).float()
        if layer in self.least:
            least = least.minimum(self.least[layer])
            greatest = greatest.maximum(self.greatest[layer])
        self.least[layer], self.greatest[layer] = least, greatest

    def dead_units(self) -> dict[str, tuple[int, int]]:
        """Return by layer how many units are dead, and of how many."""
        return {
            layer: (int((self.greatest[layer] - least < MIN_RANGE).sum()), len(least))
            for layer, least in self.least.items()
        }


@contextmanager
def record_activations(model: Model) -> Iterator[ActivationRanges]:
    """Record the outputs of all units that can die, in every forward pass inside the block."""
    ranges = ActivationRanges()

    def recording(layer: str) -> Any:
        def record(module: nn.Module, inputs: Any, outputs: Tensor) -> None:
            del module, inputs
            # what is as large as the image is its pixels, some of which never change
            if outputs.ndim > 1 and outputs[0].numel() != model.data.pixels:
                ranges.add(layer, outputs)

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
    labels = [port for port in graph.inputs if port.kind == "label" and port.classes]
    if len(labels) != 1 or not {"image", "label"} <= held_out.keys():
        return []
    counts = np.bincount(held_out["label"], minlength=len(labels[0].classes))
    known = enumerate(labels[0].classes)
    return [(number, name) for number, name in known if counts[number] >= MIN_IMAGES][:MAX_CLASSES]


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
