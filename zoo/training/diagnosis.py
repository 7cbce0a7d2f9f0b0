"""Numbers in, a verdict or none out: how each illness is told, from `zoo.training.illnesses` on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.model.contract import Goal
from zoo.training.illnesses import ILLNESSES, Verdict
from zoo.training.symptoms import Diversity


def discriminator_won(player: str, loss: float, chance: float, step: int) -> Verdict | None:
    """Judge the mean loss of a judge over a window, against that of one who cannot tell."""
    share = loss / chance
    if share >= ILLNESSES["discriminator-won"].limits["share"]:
        return None
    return Verdict.of(
        "discriminator-won",
        step,
        f"the {player}'s loss is {loss:.2g}, {_percent(share)} of the {chance:.3g} of one who "
        "cannot tell real from generated",
        {"loss": loss, "chance": chance, "share": share},
    )


def vanishing_gradient(player: str, norm: float, began: float, step: int) -> Verdict | None:
    """Judge the mean norm of a player's gradient over a window, against that of the first one."""
    share = norm / began if began else 1.0
    if share >= ILLNESSES["vanishing-gradient"].limits["share"]:
        return None
    return Verdict.of(
        "vanishing-gradient",
        step,
        f"the {player}'s gradient has a norm of {norm:.2g}, {_percent(share)} of the {began:.2g} "
        "that it began with",
        {"norm": norm, "began": began, "share": share},
    )


def not_converging(player: str, loss: float, began: float, step: int) -> Verdict | None:
    """Judge how far the loss of a lonely player has fallen since the first window."""
    limits = ILLNESSES["not-converging"].limits
    fall = (began - loss) / max(abs(began), 1e-12)
    if step < limits["steps"] or fall >= limits["fall"]:
        return None
    way = "fell" if fall >= 0 else "rose"
    return Verdict.of(
        "not-converging",
        step,
        f"the {player}'s loss began at {began:.4g} and is {loss:.4g}: it {way} by "
        f"{_percent(abs(fall))}",
        {"began": began, "loss": loss, "fall": fall},
    )


def overfitting(
    validations: Sequence[tuple[float, float]], goal: Goal, step: int
) -> Verdict | None:
    """Judge a history of training loss and goal, one pair a validation."""
    limits = ILLNESSES["overfitting"].limits
    sign = 1 if goal.direction == "lowest" else -1
    errors = [sign * reached for _, reached in validations]
    best = min(range(len(errors)), key=errors.__getitem__)
    since = errors[best + 1 :]
    enough = len(since) >= limits["validations"]
    latest = since[-int(limits["validations"]) :]
    worse = (min(latest, default=errors[best]) - errors[best]) / max(abs(errors[best]), 1e-12)
    (train_then, reached_then), (train_now, reached_now) = validations[best], validations[-1]
    if not enough or worse < limits["worse"] or train_now >= train_then:
        return None
    return Verdict.of(
        "overfitting",
        step,
        f"{goal.metric} of held-out images was {reached_then:.4g} and is {reached_now:.4g}, "
        f"{len(since)} validations later, while the training loss fell from {train_then:.4g} to "
        f"{train_now:.4g}",
        {"best": reached_then, "now": reached_now, "worse": worse, "validations": float(len(since)),
         "training_then": train_then, "training_now": train_now},
    )  # fmt: skip


def collapse(found: Sequence[Diversity], step: int) -> Verdict | None:
    """Judge how different the pictures of each graph are, or of each class of it."""
    limits = ILLNESSES["collapse"].limits
    ill = [each for each in found if each.level < limits["level"]]
    if step < limits["steps"] or not ill:
        return None
    worst = min(ill, key=lambda each: each.level)
    if not worst.drawn:
        what = (
            f"what {worst.graph} makes of {worst.images} images differs {worst.spread:.0%} as much"
        )
        what += " as real ones"
    else:
        what = f"{worst.images} samples of {worst.graph}{_classes(found, ill, worst)} differ "
        what += f"{worst.spread:.0%} as much as real images, each from the one most like it "
        what += f"{worst.nearest:.0%} as much"
    numbers = {"level": worst.level, "spread": worst.spread, "nearest": worst.nearest}
    return Verdict.of("collapse", step, what, {**numbers, "images": float(worst.images)})


def dead_units(
    layers: Mapping[str, tuple[int, int]], metrics: Mapping[str, float], step: int
) -> Verdict | None:
    """Judge the share of dead units by layer, and the one that a model tells itself."""
    limits = ILLNESSES["dead-units"].limits
    shares = {name: dead / units for name, (dead, units) in layers.items()}
    if "dead_units" in metrics:
        shares["the model"] = metrics["dead_units"]
    if step < limits["steps"] or not shares:
        return None
    layer = max(shares, key=shares.__getitem__)
    if shares[layer] < limits["share"]:
        return None
    of = f" ({layers[layer][0]} of {layers[layer][1]} units)" if layer in layers else ""
    return Verdict.of(
        "dead-units",
        step,
        f"{shares[layer]:.0%} of the units of {layer} never change{of}",
        shares,
    )


def posterior_collapse(nats: Sequence[float], step: int) -> Verdict | None:
    """Judge KL(q(z|x) ‖ p(z)) by latent dimension, in nats."""
    limits = ILLNESSES["posterior-collapse"].limits
    total, active = sum(nats), sum(each >= limits["active"] for each in nats)
    if step < limits["steps"] or not nats or total >= limits["nats"]:
        return None
    return Verdict.of(
        "posterior-collapse",
        step,
        f"the code tells {total:.2g} nats of an image; {active} of {len(nats)} latent dimensions "
        "are active",
        {"nats": total, "active": float(active), "dimensions": float(len(nats))},
    )


def _classes(found: Sequence[Diversity], ill: Sequence[Diversity], worst: Diversity) -> str:
    """Return the class that a verdict is about, and how many more have it."""
    if not worst.group:
        return ""
    asked = sum(each.graph == worst.graph for each in found)
    names = [each.group for each in ill if each.graph == worst.graph]
    return f" for {worst.group} (the worst of {len(names)} in {asked} classes: {', '.join(names)})"


def _percent(share: float) -> str:
    """Return a share in percent with two digits that count, however small it is."""
    return f"{100 * share:.2g}%"
