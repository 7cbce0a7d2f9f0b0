"""The illnesses of a training: what each is, from when on it is told and why, and what helps.

The limits were set between runs made ill on purpose and healthy ones of all first-party models; the
reasons say between which numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from zoo.errors import UnhealthyError
from zoo.records import typed


@dataclass(frozen=True)
class Illness:
    """One row of the table.

    Args:
        title: as a verdict begins.
        limits: numbers that decide, by name; ``steps`` is how many there must be before anything
            is said.
        reason: why the limits are what they are.
        advice: one line: what to try.
        explanation: what happens in such a training, for somebody who has not seen it before.
    """

    title: str
    limits: Mapping[str, float]
    reason: str
    advice: str
    explanation: str


@dataclass(frozen=True)
class Verdict:
    """What ails a training.

    Args:
        illness: its row in `ILLNESSES`.
        step: at which it was seen.
        evidence: the numbers it was seen by; text for what is no finite number.
        message: one line with the numbers.
        advice: one line: what to try.
    """

    illness: str
    step: int
    evidence: Mapping[str, float | str]
    message: str
    advice: str

    @classmethod
    def of(cls, illness: str, step: int, what: str, evidence: Mapping[str, float | str]) -> Verdict:
        """Return the verdict of an illness, with its title and advice."""
        row = ILLNESSES[illness]
        return cls(illness, step, evidence, f"{row.title} at step {step}: {what}", row.advice)

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Verdict:
        """Read what `to_json` wrote; what else is there is left aside.

        Raises:
            ValueError: a part is missing or of the wrong type.
        """
        return typed(value, cls)


class IllnessError(UnhealthyError):
    """A training ends because of what ails it.

    Args:
        verdict: what that is.
    """

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message, hint=verdict.advice)
        self.verdict = verdict


def histories(rows: Iterable[Mapping[str, Any]]) -> list[tuple[Verdict, int | None]]:
    """Return the verdicts among the events of a run, each with the step at which it had passed.

    None is for one that holds still; rows that cannot be read are passed over.
    """
    found: list[tuple[Verdict, int | None]] = []
    for row in rows:
        holding = [place for place, (each, passed) in enumerate(found) if passed is None
                   and each.illness == row.get("illness")]  # fmt: skip
        if row.get("event") == "recovered" and holding:
            found[holding[0]] = found[holding[0]][0], int(row.get("step") or 0)
        elif row.get("event") == "verdict" and not holding:
            with suppress(ValueError):
                found.append((Verdict.from_json(row), None))
    return found


def diverged(name: str, value: float | str, step: int) -> Verdict:
    """Return the verdict for a term, a gradient or a metric that is not finite."""
    return Verdict.of("diverged", step, f"{name} is {value}", {name: str(value)})


ILLNESSES: Mapping[str, Illness] = {
    "diverged": Illness(
        "training diverged",
        {},
        "a number that is not finite makes every number after it so",
        "a smaller --lr; what checkpoints there are from before are good",
        "A loss, a gradient or a metric became infinite or not a number. Usually the steps were "
        "too long: each overshot the valley and landed higher up on its other side, until the "
        "numbers no longer fitted. The training stopped before the networks moved by it.",
    ),
    "collapse": Illness(
        "mode collapse",
        {"level": 0.43, "steps": 1000},
        "the level is the geometric mean of two shares of what real images have: the distance "
        "between any two, and from each to the one most like it. A conditional GAN whose sandals, "
        "sneakers and bags had each become nearly one picture had 0.39 to 0.42 in these classes, "
        "a generator that ignores its noise has 0; healthy runs had 0.48 or more after 1,000 steps",
        "a smaller --lr; for a GAN spectral normalisation or a Wasserstein critic, for a VAE less "
        "beta",
        "The generator has found a few pictures that pass, and makes nothing else: whatever noise "
        "goes in, much the same comes out. Its loss does not show it, since each picture by itself "
        "may look good. So pictures of fixed noise are compared with as many real ones: how far "
        "two of them are apart, and how far each is from the one most like it. Real variety gives "
        "about 100% for both; 0% means one picture again and again. Of a translation it "
        "means that different images come out alike. A look at samples/ shows it.",
    ),
    "vanishing-gradient": Illness(
        "vanishing gradient",
        {"share": 0.05, "steps": 500},
        "a GAN with objective=minimax and lr=1e-3 spent 500 steps and more below 3% of its first "
        "gradient, most of them below 1%; healthy ones never came below 20%",
        "objective=non-saturating where the model has it, a smaller --lr, or a Wasserstein critic",
        "A generator learns by asking the discriminator which way to change its pictures to look "
        "more real. Once the discriminator is quite sure that they are not, it answers the same "
        "for every small change: the slope is nearly flat, and the generator stands still however "
        "long it is trained. The gradient is the size of that slope.",
    ),
    "discriminator-won": Illness(
        "discriminator won",
        {"share": 0.02, "steps": 1000},
        "a GAN with objective=minimax and lr=1e-3 spent 1,000 steps below 0.1% of chance; a "
        "healthy GAN fell below 2% for 500 steps and came back, and no healthy run stayed below "
        "19% for 1,000",
        "a smaller --lr, label_smoothing=0.1 or spectral_norm=true where the model has them, "
        "or more images",
        "The two networks of this game should keep pace. Here the discriminator tells real from "
        "generated nearly without fault, so that the generator no longer finds out what would "
        "improve its pictures. A falling loss of the discriminator is no success: halfway "
        "between chance and zero is a good place, and chance is where the generator has won.",
    ),
    "not-converging": Illness(
        "not converging",
        {"fall": 0.05, "steps": 1000},
        "healthy autoencoders fell by 45% or more in 1,000 steps, one with lr=1e-7 by 0.04%. Only "
        "for models of one player: in a game the losses are about one another, and none of them "
        "has to fall",
        "a greater --lr if it was set small, a smaller one if the loss jumps; check the images",
        "The model has been trained for a while, and its loss is about where it began. Either "
        "its steps are too short to get anywhere, or so long that it jumps about, or there is "
        "nothing to be learnt from the images as they were given. The curve tells the first two "
        "apart: flat, or jagged.",
    ),
    "posterior-collapse": Illness(
        "posterior collapse",
        {"nats": 2.3, "active": 0.01, "steps": 500},
        "2.3 nats, ln 10, are just enough to tell ten kinds of image apart. A VAE on Fashion-MNIST "
        "tells 12.7 nats, with beta=4 5.5, with beta=30 1.4 and with beta=200 none; a dimension "
        "counts as active from 0.01 nats",
        "a smaller beta, or free_bits=0.1",
        "A variational autoencoder pays for every bit of what its code says of an image (the KL "
        "term). If that price is too high, it is cheapest to say nothing: the code of every image "
        "is the same noise, and the decoder draws one average picture. KL by latent dimension "
        "shows it, in nats; one nat is 1.44 bits. That some dimensions stay unused is usual and "
        "does no harm.",
    ),
    "dead-units": Illness(
        "dead units",
        {"share": 0.5, "steps": 500},
        "healthy models had up to 20% in a layer, an autoencoder with a learning rate 50 times too "
        "high had all units of two layers",
        "a smaller --lr; a silent unit rarely comes back, so start anew",
        "A unit is dead when it gives the same output for every image. A ReLU that is below zero "
        "for all of them passes nothing on, and no gradient comes back that could wake it. Steps "
        "that are too long push units there. The layer then works with fewer units than it has.",
    ),
    "overfitting": Illness(
        "overfitting",
        {"validations": 3, "worse": 0.03},
        "on 300 images the error of an autoencoder rose by 35% from its best, and the bound of a "
        "VAE fell by 6%; on all images both got better to the end",
        "more images or fewer epochs; the checkpoint called best is from before",
        "The model gets better on the images it is trained on, and worse on images it has not "
        "seen: it learns its pictures by heart instead of what they have in common. More images "
        "help, a smaller model, or stopping earlier; what was best on held-out images is kept as "
        "the checkpoint best, and is what sampling and exporting use.",
    ),
}
