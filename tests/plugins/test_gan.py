from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo_gans.gan import GAN, GANConfig

from tests.plugins.plain_loop import clothes
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)
OBJECTIVES = pytest.mark.parametrize("objective", ["minimax", "non-saturating"])


def build(**options: object) -> GAN:
    torch.manual_seed(0)
    return GAN(configure(GANConfig, {"hidden": "50,60", **options}), GREY)


def confident(model: GAN, logit: float) -> None:
    """Let the discriminator give every image about this logit."""
    for layer in model.discriminator:
        if isinstance(layer, nn.Linear) and layer.out_features == 1:
            with torch.no_grad():
                layer.bias.fill_(logit)


def judged(model: GAN) -> tuple[Tensor, Tensor]:
    """Return D(x) and D(G(z)) as the next training step will find them, in double precision."""
    torch.manual_seed(7)
    fake = model.generator(torch.randn(40, model.config.latent_size))
    return (
        model.discriminator(clothes(40)).double().sigmoid(),
        model.discriminator(fake).double().sigmoid(),
    )


def terms(model: GAN) -> dict[str, Tensor]:
    torch.manual_seed(7)
    updates = list(model.training_step({"image": clothes(40)}))
    assert [update.player for update in updates] == ["discriminator", "generator"]
    return {key: value for update in updates for key, value in update.terms.items()}


@OBJECTIVES
def test_the_discriminator_minimises_minus_equation_1(objective: str) -> None:
    model = build(objective=objective)
    real, fake = judged(model)
    found = terms(model)
    assert found["real"].item() == pytest.approx(-real.log().mean().item(), rel=1e-5)
    assert found["fake"].item() == pytest.approx(-(1 - fake).log().mean().item(), rel=1e-5)


def test_minimax_is_equation_1_for_the_generator() -> None:
    model = build(objective="minimax")
    wanted = (1 - judged(model)[1]).log().mean()
    assert terms(model)["fool"].item() == pytest.approx(wanted.item(), rel=1e-5)


def test_non_saturating_is_minus_the_logarithm_of_the_verdict() -> None:
    model = build(objective="non-saturating")
    wanted = -judged(model)[1].log().mean()
    assert terms(model)["fool"].item() == pytest.approx(wanted.item(), rel=1e-5)


def generator_gradient(objective: str, logit: float) -> float:
    model = build(objective=objective)
    confident(model, logit)
    terms(model)["fool"].backward(inputs=list(model.generator.parameters()))
    gradients = [each.grad for each in model.generator.parameters() if each.grad is not None]
    return torch.nn.utils.get_total_norm(gradients).item()


def test_minimax_gradients_vanish_when_the_discriminator_is_confident_others_do_not() -> None:
    undecided, sure = 0.0, -20.0
    minimax = [generator_gradient("minimax", logit) for logit in (undecided, sure)]
    other = [generator_gradient("non-saturating", logit) for logit in (undecided, sure)]
    assert minimax[0] == pytest.approx(other[0], rel=0.1)  # both slopes are ½
    assert minimax[1] < 1e-8 * minimax[0]
    assert other[1] == pytest.approx(2 * other[0], rel=0.1)


@OBJECTIVES
@pytest.mark.parametrize("logit", [-3.0, 0.0, 2.0])
def test_pull_is_the_size_of_the_slope_in_the_logit(objective: str, logit: float) -> None:
    model = build(objective=objective).eval()
    confident(model, logit)
    at = model.discriminator(model.generator(torch.randn(500, model.config.latent_size)))
    (slope,) = torch.autograd.grad(model.fool(at).sum(), at)
    with torch.no_grad():
        metrics = model.validation_step({"image": clothes(500)})
    assert metrics["pull"].item() == pytest.approx(-slope.mean().item(), rel=0.02)


def test_validation_tells_what_the_discriminator_makes_of_both_kinds() -> None:
    model = build().eval()
    confident(model, 5.0)
    with torch.no_grad():
        metrics = model.validation_step({"image": clothes(50)})
    assert metrics["judged_fake"].item() == pytest.approx(0.993, abs=0.002)
    assert metrics["judged_real"].item() == pytest.approx(0.993, abs=0.002)
