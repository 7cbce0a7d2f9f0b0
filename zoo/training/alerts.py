"""Alerts of a training, and the measurements that they are found in. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from zoo.errors import UnhealthyError
from zoo.records import typed

if TYPE_CHECKING:
    from zoo.model.contract import Goal


@dataclass(frozen=True)
class Alert:
    """Something that a monitor found in a training.

    Args:
        monitor: name of the monitor in `zoo.training.monitors.MONITORS`.
        step: at which it was found.
        evidence: the numbers that it was found by; text for what is no finite number.
        message: one line with the numbers.
        advice: one line: what to try.
    """

    monitor: str
    step: int
    evidence: Mapping[str, float | str]
    message: str
    advice: str

    def to_json(self) -> dict[str, Any]:
        """Return the alert as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Alert:
        """Read what `to_json` wrote; other keys are ignored.

        Raises:
            ValueError: a part is missing or of the wrong type.
        """
        return typed(value, cls)


class AlertError(UnhealthyError):
    """A training ends because of an alert.

    Args:
        alert: the alert.
    """

    def __init__(self, alert: Alert) -> None:
        super().__init__(alert.message, hint=alert.advice)
        self.alert = alert


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
    """Means over some training steps in a row, by player.

    Args:
        model: the model that is trained.
        step: the last one of them.
        losses: sums of all terms.
        gradient_norms: norms of the gradients.
        first_losses: losses in the first window of the training.
        first_gradient_norms: norms of the gradients in the first window.
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


def alert_history(rows: Iterable[Mapping[str, Any]]) -> list[tuple[Alert, int | None]]:
    """Return the alerts among the events of a run, each with the step at which it ended.

    None is for an alert that is still active; rows that cannot be read are skipped.
    """
    found: list[tuple[Alert, int | None]] = []
    for row in rows:
        active = [place for place, (each, end) in enumerate(found) if end is None
                  and each.monitor == row.get("monitor")]  # fmt: skip
        if row.get("event") == "recovered" and active:
            found[active[0]] = found[active[0]][0], int(row.get("step") or 0)
        elif row.get("event") == "alert" and not active:
            with suppress(ValueError):
                found.append((Alert.from_json(row), None))
    return found
