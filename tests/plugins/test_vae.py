from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from zoo_autoencoders.vae import VAE, VAEConfig, kl_to_standard_normal

from tests.plugins.plain_loop import clothes
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)
LATENT = 6


def build(**options: object) -> VAE:
    torch.manual_seed(0)
    options = {"hidden": "50", "latent_size": LATENT, **options}
    return VAE(configure(VAEConfig, options), GREY)


def terms(model: VAE, count: int = 40) -> dict[str, Tensor]:
    torch.manual_seed(7)
    (update,) = model.training_step({"image": clothes(count)})
    return update.terms


def test_kl_is_the_divergence_of_two_normals() -> None:
    mu, logvar = torch.randn(2, 50, LATENT)
    wanted = kl_divergence(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mu, logvar), wanted)


def test_bernoulli_likelihood_is_its_equation_on_grey_values() -> None:
    image, logits = clothes(5), torch.randn(5, 1, 28, 28) * 3
    x, p = ((image + 1) / 2).double(), logits.double().sigmoid()
    wanted = (x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(dim=1)
    torch.testing.assert_close(build().log_likelihood(image, logits), wanted.float())


def test_gaussian_likelihood_is_a_normal_density_around_the_decoded_mean() -> None:
    image, logits = clothes(5), torch.randn(5, 1, 28, 28)
    density = Normal(logits.sigmoid(), 0.3).log_prob((image + 1) / 2)
    model = build(likelihood="gaussian", sigma=0.3)
    torch.testing.assert_close(model.log_likelihood(image, logits), density.flatten(1).sum(dim=1))


def test_elbo_is_minus_reconstruction_minus_kl() -> None:
    with torch.no_grad():
        metrics = build().eval().validation_step({"image": clothes(30)})
    wanted = -(metrics["reconstruction"] + metrics["kl"]).item()
    assert metrics["elbo"].item() == pytest.approx(wanted, rel=1e-6)


def test_training_minimises_minus_the_elbo() -> None:
    model = build(samples=1)
    loss = torch.stack(list(terms(model).values())).sum()
    torch.manual_seed(7)
    elbo = model.validation_step({"image": clothes(40)})["elbo"]
    assert loss.item() == pytest.approx(-elbo.item(), rel=1e-5)


def test_beta_weighs_the_kl_alone() -> None:
    plain, heavy = terms(build()), terms(build(beta=4.0))
    assert heavy["kl"].item() == pytest.approx(4 * plain["kl"].item(), rel=1e-5)
    assert heavy["reconstruction"].item() == plain["reconstruction"].item()


def test_a_kl_below_the_free_bits_costs_the_same_and_pulls_at_nothing() -> None:
    model = build(free_bits=5.0)
    kl = terms(model)["kl"]
    assert kl.item() == pytest.approx(5.0 * LATENT)  # an untrained posterior is near the prior
    kl.backward()
    assert not any(each.grad is not None and each.grad.any() for each in model.parameters())


def test_a_kl_above_the_free_bits_costs_what_it_is() -> None:
    free = build(free_bits=0.5)
    with torch.no_grad():
        free.encoder.mu.bias.fill_(3.0)  # 4.5 nats a dimension
    plain = build()
    plain.load_state_dict(free.state_dict())
    assert terms(free)["kl"].item() == pytest.approx(terms(plain)["kl"].item())


def test_reconstruct_decodes_the_mean_of_the_posterior() -> None:
    model = build().eval()
    with torch.no_grad():
        mu, _ = model.encoder(clothes(3))
        assert torch.equal(model.reconstruct(clothes(3)), model.decode(mu))


def test_more_samples_estimate_the_same_bound_with_less_noise() -> None:
    model, image = build(), clothes(1)
    one, many = (
        torch.stack([model.bound(image, samples)[0] for _ in range(200)]) for samples in (1, 16)
    )
    assert many.std() < 0.5 * one.std()
    assert abs(many.mean() - one.mean()) < 4 * one.std() / 200**0.5


def test_without_hidden_layers_it_is_linear_and_still_a_vae() -> None:
    assert set(terms(build(hidden=""))) == {"reconstruction", "kl"}


def test_importance_weights_are_the_densities_of_their_draws() -> None:
    model, images, samples = build(), clothes(6), 5
    with torch.no_grad():
        torch.manual_seed(3)
        weights = model.log_importance_weights({"image": images}, samples)
        torch.manual_seed(3)
        mu, logvar = model.encoder(images)
        posterior = Normal(mu, (logvar / 2).exp())
        z = mu + (logvar / 2).exp() * torch.randn(samples, *mu.shape)
        logits = torch.stack([model.decoder(each) for each in z])
        wanted = model.log_likelihood(images, logits)
        wanted = wanted + (Normal(0.0, 1.0).log_prob(z) - posterior.log_prob(z)).sum(dim=-1)
    assert weights.shape == (samples, 6)
    torch.testing.assert_close(weights, wanted, rtol=1e-5, atol=1e-3)


def test_binarised_pixels_are_drawn_anew_with_the_grey_value_as_probability() -> None:
    torch.manual_seed(0)
    model, grey = build(binarise=True), torch.full((1, 1, 100, 100), 0.4)  # white with 0.7
    first, second = model.observed(grey), model.observed(grey)
    assert set(first.unique().tolist()) == {-1.0, 1.0}
    assert not first.equal(second)
    assert (first == 1).float().mean().item() == pytest.approx(0.7, abs=0.02)
    assert model.observed(first).equal(first)  # what is black or white stays
    assert build().observed(grey) is grey


def test_the_bound_of_a_binarised_model_is_of_the_drawn_pixels() -> None:
    model, image = build(binarise=True, samples=1), clothes(40)
    torch.manual_seed(7)
    drawn = model.observed(image)
    log_likelihood, _ = model.bound(drawn, samples=1)
    terms_of_a_step = terms(model)
    assert terms_of_a_step["reconstruction"].item() == pytest.approx(-log_likelihood.mean().item())
