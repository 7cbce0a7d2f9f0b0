"""How a training is doing: watched while it goes on, told in verdicts.

Adversarial training fails in ways that no single loss shows. What is looked for stands in
`zoo.training.illnesses`, with the limits and their reasons; how it is told from numbers in
`zoo.training.diagnosis`; where the numbers come from in `zoo.training.symptoms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from zoo.model.contract import Model
from zoo.training import diagnosis, symptoms
from zoo.training.illnesses import ILLNESSES, Verdict
from zoo.training.loop import Moment
from zoo.training.window import Means

WINDOW = 50  # steps that are brought together before they are judged
GRADIENT = "gradient norm"


class Health:
    """Watches one training and says what ails it.

    A verdict holds until the same look finds its illness gone: at the next window of steps, or at
    the next validation. An illness has one verdict at a time.

    Args:
        model: that is trained.
        held_out: images that are not trained on, by name as in a split of a store.
    """

    def __init__(self, model: Model, held_out: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self._model, self._held_out = model, held_out
        players = model.players()
        self._players = list(players)
        self._judges = {name: player.chance for name, player in players.items() if player.chance}
        self._window, self._steps = Means(), 0
        self._beginning: dict[str, float] = {}  # means of the first window
        self._in_a_row: dict[str, int] = {}  # steps of ill windows, by illness and player
        self._since_validation = Means()
        self._validations: list[tuple[float, float]] = []  # training loss and goal
        self._holding: dict[str, Verdict] = {}

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts that hold now."""
        return list(self._holding.values())

    @property
    def unwatched(self) -> dict[str, str]:
        """The illnesses that this model cannot be seen to have, each with the reason."""
        found: dict[str, str] = {}
        if len(self._players) > 1:
            game = "several players play, and their losses rise and fall with one another"
            found |= dict.fromkeys(("not-converging", "overfitting"), game)
        elif self._model.goal is None:
            found["overfitting"] = "the model names no metric of held-out images as its goal"
        if not self._judges:
            nobody = "no player says what its loss is when it cannot tell real from generated"
            found |= dict.fromkeys(("vanishing-gradient", "discriminator-won"), nobody)
        if type(self._model).latent_kl is Model.latent_kl:
            found["posterior-collapse"] = "the model has no posterior q(z|x)"
        return found

    def after_step(self, moment: Moment) -> list[Verdict]:
        """Take note of a step; return the verdicts that are new."""
        losses: dict[str, float] = {}
        for name, value in moment.terms.items():
            player = name.partition("/")[0]
            losses[player] = losses.get(player, 0.0) + value
        self._since_validation.add(losses)
        self._window.add(losses)
        self._window.add({f"{name}/{GRADIENT}": norm for name, norm in moment.gradients.items()})
        self._steps += 1
        if self._steps < WINDOW:
            return []
        means = self._window.means()
        self._window, self._steps = Means(), 0
        self._beginning = self._beginning or means
        return self._conclude(
            {
                "discriminator-won": self._discriminator_won(means, moment.step),
                "vanishing-gradient": self._vanishing_gradient(means, moment.step),
                "not-converging": self._not_converging(means, moment.step),
            }
        )

    def after_epoch(self, moment: Moment, metrics: Mapping[str, float]) -> list[Verdict]:
        """Look at the model at a validation; return the verdicts that are new.

        Args:
            moment: of the validation.
            metrics: what it gave.
        """
        with symptoms.watching(self._model) as units:
            made = symptoms.diversities(self._model, self._held_out)
        nats = symptoms.latent_kl(self._model, self._held_out)
        return self._conclude(
            {
                "collapse": diagnosis.collapse(made, moment.step),
                "posterior-collapse": diagnosis.posterior_collapse(nats, moment.step),
                "dead-units": diagnosis.dead_units(units.dead(), metrics, moment.step),
                "overfitting": self._overfitting(metrics, moment.step),
            }
        )

    def state(self) -> dict[str, Any]:
        """Return everything that is remembered, as plain JSON values."""
        return {
            "window": asdict(self._window),
            "steps": self._steps,
            "beginning": dict(self._beginning),
            "in_a_row": dict(self._in_a_row),
            "since_validation": asdict(self._since_validation),
            "validations": [list(each) for each in self._validations],
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what `state` returned."""
        self._window, self._steps = Means(**state["window"]), state["steps"]
        self._beginning = dict(state["beginning"])
        self._in_a_row = dict(state["in_a_row"])
        self._since_validation = Means(**state["since_validation"])
        self._validations = [(train, goal) for train, goal in state["validations"]]
        verdicts = map(Verdict.from_json, state["verdicts"])
        self._holding = {verdict.illness: verdict for verdict in verdicts}

    def _conclude(self, found: Mapping[str, Verdict | None]) -> list[Verdict]:
        """Keep what holds, and return what is new."""
        new = []
        for illness, verdict in found.items():
            if verdict is None:
                self._holding.pop(illness, None)
            elif illness not in self._holding:
                self._holding[illness] = verdict
                new.append(verdict)
        return new

    def _lasting(self, illness: str, player: str, verdict: Verdict | None) -> Verdict | None:
        """Return a verdict once there has been one in windows enough in a row."""
        key = f"{illness}/{player}"
        self._in_a_row[key] = self._in_a_row.get(key, 0) + WINDOW if verdict else 0
        return verdict if self._in_a_row[key] >= ILLNESSES[illness].limits["steps"] else None

    def _discriminator_won(self, means: Mapping[str, float], step: int) -> Verdict | None:
        lasting = [
            self._lasting(
                "discriminator-won",
                player,
                diagnosis.discriminator_won(player, means[player], chance, step),
            )
            for player, chance in self._judges.items()
            if player in means
        ]
        return next(filter(None, lasting), None)

    def _vanishing_gradient(self, means: Mapping[str, float], step: int) -> Verdict | None:
        norms = {player: f"{player}/{GRADIENT}" for player in self._players}
        lasting = [
            self._lasting(
                "vanishing-gradient",
                player,
                diagnosis.vanishing_gradient(player, means[key], self._beginning[key], step),
            )
            for player, key in norms.items()
            if self._judges and player not in self._judges
            if key in means and key in self._beginning
        ]
        return next(filter(None, lasting), None)

    def _not_converging(self, means: Mapping[str, float], step: int) -> Verdict | None:
        if len(self._players) > 1 or self._players[0] not in means:
            return None
        (player,) = self._players
        return diagnosis.not_converging(player, means[player], self._beginning[player], step)

    def _overfitting(self, metrics: Mapping[str, float], step: int) -> Verdict | None:
        losses, goal = self._since_validation.means(), self._model.goal
        self._since_validation = Means()
        if len(self._players) > 1 or not losses or goal is None or goal.metric not in metrics:
            return None
        self._validations.append((losses[self._players[0]], metrics[goal.metric]))
        return diagnosis.overfitting(self._validations, goal, step)
