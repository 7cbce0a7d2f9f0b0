from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence
from zoo_autoencoders.sparse_ae import SparseAutoencoder, SparseAutoencoderConfig, kl_to_rho

from tests.plugins.plain_loop import clothes, train
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)


def build(**options: object) -> SparseAutoencoder:
    torch.manual_seed(0)
    options = {"hidden_units": 64, **options}
    return SparseAutoencoder(configure(SparseAutoencoderConfig, options), GREY)


@pytest.mark.parametrize("rho", [0.01, 0.05, 0.5, 0.9])
def test_penalty_is_the_divergence_of_two_coins(rho: float) -> None:
    rho_hat = torch.linspace(0.001, 0.999, 50)
    wanted = kl_divergence(Bernoulli(torch.tensor(rho)), Bernoulli(rho_hat))
    torch.testing.assert_close(kl_to_rho(rho, rho_hat), wanted, rtol=1e-4, atol=1e-6)
    assert kl_to_rho(rho, torch.tensor(rho)).item() == pytest.approx(0, abs=1e-7)


def test_penalty_stays_finite_when_a_sigmoid_saturates() -> None:
    saturated = torch.tensor([0.0, 1.0], requires_grad=True)
    penalty = kl_to_rho(0.05, saturated).sum()
    penalty.backward()
    assert penalty.isfinite()
    assert saturated.grad is not None
    assert saturated.grad.isfinite().all()


def test_terms_are_the_equation() -> None:
    model, image = build(rho=0.1, sparsity_weight=2.0), clothes(30)
    (update,) = model.training_step({"image": image})
    activations = model.encoder(image).double()
    rho_hat, rho = activations.mean(dim=0), torch.tensor(0.1, dtype=torch.float64)
    kl = kl_divergence(Bernoulli(rho), Bernoulli(rho_hat)).sum()
    error = (image - model.reconstruct(image)) / 2
    half_squares = 0.5 * (error**2).sum() / 30
    assert update.terms["sparsity"].item() == pytest.approx(2 * kl.item(), rel=1e-4)
    assert update.terms["reconstruction"].item() == pytest.approx(half_squares.item(), rel=1e-4)


def test_mean_activation_is_drawn_to_rho() -> None:
    reached = {}
    for weight in (0.0, 3.0):
        model = build(rho=0.1, sparsity_weight=weight, lr=0.01)
        list(train(model, clothes(200), steps=250, batch_size=50))
        with torch.no_grad():
            metrics = model.eval().validation_step({"image": clothes(200)})
        reached[weight] = metrics["mean_activation"].item()
    assert reached[3.0] == pytest.approx(0.1, abs=0.03)
    assert abs(reached[0.0] - 0.1) > 0.1


def test_units_that_say_nothing_are_dead_whether_silent_or_always_on() -> None:
    model = build(hidden_units=10)
    linear = model.encoder[1]
    assert isinstance(linear, torch.nn.Linear)

    def dead() -> float:
        with torch.no_grad():
            return float(model.eval().validation_step({"image": clothes(50)})["dead_units"])

    assert dead() == 0
    with torch.no_grad():
        linear.weight[:3] = 0
        linear.bias[:3] = torch.tensor([-20.0, 0.0, 20.0])
    assert dead() == pytest.approx(0.3)
