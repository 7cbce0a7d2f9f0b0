"""Monitors: what can go wrong in a training, from which limits on it is an alert, and what helps.

Each monitor is one class: its limits, its advice, and how it is found in measurements, which are
taken by `zoo.training.watch`. The limits were set between runs that were made to fail on purpose
and good ones of all first-party models; the reasons say between which numbers. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.errors import UnhealthyError
from zoo.records import typed

if TYPE_CHECKING:
    from zoo.training.watch import Validation, Watched, WindowMeans

NO_RANDOM_GUESS = "no player of the model has a loss at random guess"
SEVERAL_PLAYERS = "the model has several players, and their losses depend on one another"


@dataclass(frozen=True)
class Alert:
    """Something that a monitor found, by which numbers, or texts, and what to try."""

    monitor: str
    step: int
    evidence: Mapping[str, float | str]
    message: str
    advice: str

    @property
    def title(self) -> str:
        """The message without its numbers."""
        return self.message.partition(" at step ")[0]


class AlertError(UnhealthyError):
    """A training ends because of an alert."""

    def __init__(self, alert: Alert) -> None:
        super().__init__(alert.message, hint=alert.advice)
        self.alert = alert


class Monitor:
    """Something that can go wrong in a training.

    A subclass that checks windows overrides `check_window`, one that checks validations
    `check_validation`.

    Attributes:
        name: as in ``--fail-on``.
        title: beginning of the message of an alert.
        checks: what is checked: each step by the trainer itself, windows, or validations.
        limits: numbers that decide; ``steps`` and ``validations``: how many come before an alert.
        must_last: whether the windows with an alert must be ``steps`` long in a row.
        reason: why the limits are what they are.
        advice: one line: what to try.
        explanation: what happens in such a training, for somebody who has not seen it before.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    checks: ClassVar[Literal["steps", "windows", "validations"]]
    limits: ClassVar[Mapping[str, float]] = {}
    must_last: ClassVar[bool] = False
    reason: ClassVar[str]
    advice: ClassVar[str]
    explanation: ClassVar[str]

    def why_unwatched(self, model: Watched) -> str | None:
        """Return why this monitor cannot check a model; None if it can."""
        del model
        return None

    def check_window(self, window: WindowMeans) -> Mapping[str, Alert | None]:
        """Return an alert or None for each player that can be checked."""
        raise NotImplementedError

    def check_validation(self, validation: Validation) -> Alert | None:
        """Return an alert, or None if all is well or there are too few measurements."""
        raise NotImplementedError

    def alert(self, step: int, what: str, evidence: Mapping[str, float | str]) -> Alert:
        """Return an alert of this monitor."""
        message = f"{self.title} at step {step}: {what}"
        return Alert(self.name, step, evidence, message, self.advice)

    def alert_below(
        self, share: float, step: int, what: str, evidence: Mapping[str, float | str]
    ) -> Alert | None:
        """Return an alert if a share is below the limit of that name."""
        is_low = share < self.limits["share"]
        return self.alert(step, what, {**evidence, "share": share}) if is_low else None


class Diverged(Monitor):
    """A loss, a gradient or a metric is not finite."""

    name = "diverged"
    title = "training diverged"
    checks = "steps"
    reason = "a number that is not finite makes every number after it so"
    advice = "a smaller --lr; what checkpoints there are from before are good"
    explanation = (
        "A loss, a gradient or a metric became infinite or not a number. Usually the steps were "
        "too long: each overshot the valley and landed higher up on its other side, until the "
        "numbers no longer fitted. The training stopped before the networks were updated by it."
    )


class ModeCollapse(Monitor):
    """The pictures that a model makes are nearly all alike."""

    name = "collapse"
    title = "mode collapse"
    checks = "validations"
    limits: ClassVar = {"level": 0.43, "steps": 1000}
    reason = (
        "the level is the geometric mean of two shares of what real images have: the distance "
        "between any two, and from each to the one most like it. A conditional GAN whose sandals, "
        "sneakers and bags had each become nearly one picture had 0.39 to 0.42 in these classes, "
        "a generator that ignores its noise has 0; good runs had 0.48 or more after 1,000 steps"
    )
    advice = (
        "a smaller --lr; for a GAN spectral normalisation or a Wasserstein critic, for a VAE less "
        "beta"
    )
    explanation = (
        "The generator has found a few pictures that pass, and makes nothing else: whatever noise "
        "goes in, much the same comes out. Its loss does not show it, since each picture by itself "
        "may look good. So pictures of fixed noise are compared with as many real ones: how far "
        "two of them are apart, and how far each is from the one most like it. Real variety gives "
        "about 100% for both; 0% means one picture again and again. Of a translation it "
        "means that different images come out alike. A look at samples/ shows it."
    )

    def check_validation(self, validation: Validation) -> Alert | None:
        """Compare the diversity of each graph, or of each class of it, with the limit."""
        found = validation.diversities
        low = [each for each in found if each.level < self.limits["level"]]
        if validation.step < self.limits["steps"] or not low:
            return None
        worst = min(low, key=lambda each: each.level)
        if worst.sampled:
            of = ""
            if worst.label:
                asked = sum(each.graph == worst.graph for each in found)
                names = [each.label for each in low if each.graph == worst.graph]
                of = f" for {worst.label} (the worst of {len(names)} in {asked} classes: "
                of += f"{', '.join(names)})"
            what = (
                f"{worst.images} samples of {worst.graph}{of} differ {worst.spread:.0%} as much "
                f"as real images, each from the one most like it {worst.nearest:.0%} as much"
            )
        else:
            what = (
                f"what {worst.graph} makes of {worst.images} images differs {worst.spread:.0%} as "
                "much as real ones"
            )
        evidence = {"level": worst.level, "spread": worst.spread, "nearest": worst.nearest}
        return self.alert(validation.step, what, {**evidence, "images": float(worst.images)})


class VanishingGradient(Monitor):
    """The gradient of a generator is nearly zero."""

    name = "vanishing-gradient"
    title = "vanishing gradient"
    checks = "windows"
    limits: ClassVar = {"share": 0.05, "steps": 500}
    must_last = True
    reason = (
        "a GAN with objective=minimax and lr=1e-3 spent 500 steps and more below 3% of its first "
        "gradient, most of them below 1%; good ones never came below 20%"
    )
    advice = (
        "objective=non-saturating where the model has it, a smaller --lr, or a Wasserstein critic"
    )
    explanation = (
        "A generator learns by asking the discriminator which way to change its pictures to look "
        "more real. Once the discriminator is quite sure that they are not, it answers the same "
        "for every small change: the slope is nearly flat, and the generator stands still however "
        "long it is trained. The gradient is the size of that slope."
    )

    def why_unwatched(self, model: Watched) -> str | None:
        """Only generators that are trained by a discriminator are checked."""
        return None if model.losses_at_random_guess else NO_RANDOM_GUESS

    def check_window(self, window: WindowMeans) -> Mapping[str, Alert | None]:
        """Compare the norm of each generator's gradient with that in the first window."""
        found: dict[str, Alert | None] = {}
        discriminators = window.model.losses_at_random_guess
        for player, norm in window.gradient_norms.items():
            first = window.first_gradient_norms.get(player)
            if first is not None and discriminators and player not in discriminators:
                share = norm / first if first else 1.0
                what = (
                    f"the {player}'s gradient has a norm of {norm:.2g}, {_percent(share)} of the "
                    f"{first:.2g} in the beginning"
                )
                evidence = {"norm": norm, "first_norm": first}
                found[player] = self.alert_below(share, window.step, what, evidence)
        return found


class DiscriminatorWon(Monitor):
    """The discriminator tells real from generated images without fault."""

    name = "discriminator-won"
    title = "discriminator won"
    checks = "windows"
    limits: ClassVar = {"share": 0.02, "steps": 1000}
    must_last = True
    reason = (
        "a GAN with objective=minimax and lr=1e-3 spent 1,000 steps below 0.1% of the loss at "
        "random guess; a good GAN fell below 2% for 500 steps and came back, and no good run "
        "stayed below 19% for 1,000"
    )
    advice = (
        "a smaller --lr, label_smoothing=0.1 or spectral_norm=true where the model has them, "
        "or more images"
    )
    explanation = (
        "The two networks should become better at the same pace. Here the discriminator tells real "
        "from generated nearly without fault, so that the generator no longer finds out what would "
        "improve its pictures. A falling loss of the discriminator is no success: halfway "
        "between zero and the loss at random guess is a good place, and at random guess the "
        "generator has won."
    )

    def why_unwatched(self, model: Watched) -> str | None:
        """Only players with a loss at random guess are checked."""
        return None if model.losses_at_random_guess else NO_RANDOM_GUESS

    def check_window(self, window: WindowMeans) -> Mapping[str, Alert | None]:
        """Compare the loss of each discriminator with its loss at random guess."""
        found: dict[str, Alert | None] = {}
        for player, at_random in window.model.losses_at_random_guess.items():
            if player in window.losses:
                loss = window.losses[player]
                share = loss / at_random
                what = (
                    f"the {player}'s loss is {loss:.2g}, {_percent(share)} of its loss at random "
                    f"guess, {at_random:.3g}"
                )
                evidence = {"loss": loss, "loss_at_random_guess": at_random}
                found[player] = self.alert_below(share, window.step, what, evidence)
        return found


class NotConverging(Monitor):
    """The loss of a model with one player does not fall."""

    name = "not-converging"
    title = "not converging"
    checks = "windows"
    limits: ClassVar = {"fall": 0.05, "steps": 1000}
    reason = (
        "good autoencoders fell by 45% or more in 1,000 steps, one with lr=1e-7 by 0.04%. Only "
        "for models of one player: of several, the losses depend on one another, and none of them "
        "has to fall"
    )
    advice = "a greater --lr if it was set small, a smaller one if the loss jumps; check the images"
    explanation = (
        "The model has been trained for a while, and its loss is about where it began. Either "
        "its steps are too short to get anywhere, or so long that it jumps about, or there is "
        "nothing to be learnt from the images as they were given. The curve tells the first two "
        "apart: flat, or jagged."
    )

    def why_unwatched(self, model: Watched) -> str | None:
        """Only models of one player are checked."""
        return None if len(model.players) == 1 else SEVERAL_PLAYERS

    def check_window(self, window: WindowMeans) -> Mapping[str, Alert | None]:
        """Compare the loss with that in the first window."""
        player = window.model.players[0]
        if len(window.model.players) > 1 or player not in window.losses:
            return {}
        first, loss = window.first_losses[player], window.losses[player]
        fall = (first - loss) / max(abs(first), 1e-12)
        if window.step < self.limits["steps"] or fall >= self.limits["fall"]:
            return {player: None}
        way = "fell" if fall >= 0 else "rose"
        what = (
            f"the {player}'s loss began at {first:.4g} and is {loss:.4g}: it {way} by "
            f"{_percent(abs(fall))}"
        )
        evidence = {"first_loss": first, "loss": loss, "fall": fall}
        return {player: self.alert(window.step, what, evidence)}


class PosteriorCollapse(Monitor):
    """The code of a variational autoencoder says nothing about an image."""

    name = "posterior-collapse"
    title = "posterior collapse"
    checks = "validations"
    limits: ClassVar = {"nats": 2.3, "active": 0.01, "steps": 500}
    reason = (
        "2.3 nats, ln 10, are just enough to tell ten kinds of image apart. A VAE on Fashion-MNIST "
        "carries 12.7 nats, with beta=4 5.5, with beta=30 1.4 and with beta=200 none; a dimension "
        "counts as active from 0.01 nats"
    )
    advice = "a smaller beta, or free_bits=0.1"
    explanation = (
        "A variational autoencoder pays for every bit of what its code says of an image (the KL "
        "term). If that price is too high, it is cheapest to say nothing: the code of every image "
        "is the same noise, and the decoder draws one average picture. KL by latent dimension "
        "shows it, in nats; one nat is 1.44 bits. That some dimensions stay unused is usual and "
        "does no harm."
    )

    def why_unwatched(self, model: Watched) -> str | None:
        """Only models with a posterior are checked."""
        return None if model.has_posterior else "the model has no posterior q(z|x)"

    def check_validation(self, validation: Validation) -> Alert | None:
        """Compare the sum of KL(q(z|x) ‖ p(z)) over the latent dimensions with the limit."""
        nats = validation.latent_kl
        total, active = sum(nats), sum(each >= self.limits["active"] for each in nats)
        if validation.step < self.limits["steps"] or not nats or total >= self.limits["nats"]:
            return None
        return self.alert(
            validation.step,
            f"the code carries {total:.2g} nats of an image; {active} of {len(nats)} latent "
            "dimensions are active",
            {"nats": total, "active": float(active), "dimensions": float(len(nats))},
        )


class DeadUnits(Monitor):
    """Many units of a layer give the same output for every image."""

    name = "dead-units"
    title = "dead units"
    checks = "validations"
    limits: ClassVar = {"share": 0.5, "steps": 500}
    reason = (
        "good models had up to 20% in a layer, an autoencoder with a learning rate 50 times too "
        "high had all units of two layers"
    )
    advice = "a smaller --lr; a dead unit rarely comes back, so start anew"
    explanation = (
        "A unit is dead when it gives the same output for every image. A ReLU that is below zero "
        "for all of them passes nothing on, and no gradient comes back that could change it. Steps "
        "that are too long push units there. The layer then works with fewer units than it has."
    )

    def check_validation(self, validation: Validation) -> Alert | None:
        """Compare the share of dead units in each layer, and the model's own metric of it."""
        layers = validation.dead_units
        shares = {name: dead / units for name, (dead, units) in layers.items()}
        if "dead_units" in validation.metrics:
            shares["the model"] = validation.metrics["dead_units"]
        if validation.step < self.limits["steps"] or not shares:
            return None
        layer = max(shares, key=shares.__getitem__)
        if shares[layer] < self.limits["share"]:
            return None
        of = f" ({layers[layer][0]} of {layers[layer][1]} units)" if layer in layers else ""
        what = f"{shares[layer]:.0%} of the units of {layer} never change{of}"
        return self.alert(validation.step, what, shares)


class Overfitting(Monitor):
    """The training loss falls while the goal becomes worse on held-out images."""

    name = "overfitting"
    title = "overfitting"
    checks = "validations"
    limits: ClassVar = {"validations": 3, "worse": 0.03}
    reason = (
        "on 300 images the error of an autoencoder rose by 35% from its best, and the bound of a "
        "VAE fell by 6%; on all images both got better to the end"
    )
    advice = "more images or fewer epochs; the checkpoint called best is from before"
    explanation = (
        "The model gets better on the images it is trained on, and worse on images it has not "
        "seen: it learns its pictures by heart instead of what they have in common. More images "
        "help, a smaller model, or stopping earlier; what was best on held-out images is kept as "
        "the checkpoint best, and is what sampling and exporting use."
    )

    def why_unwatched(self, model: Watched) -> str | None:
        """Only models of one player with a goal are checked."""
        if len(model.players) > 1:
            return SEVERAL_PLAYERS
        return None if model.goal else "the model names no metric of held-out images as its goal"

    def check_validation(self, validation: Validation) -> Alert | None:
        """Compare the goal at the latest validations with its best."""
        if not validation.history or validation.model.goal is None:
            return None
        sign = 1 if validation.model.goal.direction == "lowest" else -1
        errors = [sign * reached for _, reached in validation.history]
        best = min(range(len(errors)), key=errors.__getitem__)
        since = errors[best + 1 :]
        latest = since[-int(self.limits["validations"]) :]
        worse = (min(latest, default=errors[best]) - errors[best]) / max(abs(errors[best]), 1e-12)
        train_then, reached_then = validation.history[best]
        train_now, reached_now = validation.history[-1]
        is_enough = len(since) >= self.limits["validations"]
        if not is_enough or worse < self.limits["worse"] or train_now >= train_then:
            return None
        return self.alert(
            validation.step,
            f"{validation.model.goal.metric} of held-out images was {reached_then:.4g} and is "
            f"{reached_now:.4g}, {len(since)} validations later, while the training loss fell "
            f"from {train_then:.4g} to {train_now:.4g}",
            {"best": reached_then, "now": reached_now, "worse": worse,
             "validations": float(len(since)),
             "training_then": train_then, "training_now": train_now},
        )  # fmt: skip


MONITORS: Mapping[str, Monitor] = {each.name: each() for each in Monitor.__subclasses__()}


def diverged(name: str, value: float | str, step: int) -> Alert:
    """Return the alert for a term, a gradient or a metric that is not finite."""
    return MONITORS["diverged"].alert(step, f"{name} is {value}", {name: str(value)})


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
                found.append((typed(row, Alert), None))
    return found


def _percent(share: float) -> str:
    """Return a share in percent with two significant digits, however small it is."""
    return f"{100 * share:.2g}%"
