from __future__ import annotations

from math import cos, log, pi, sin

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from zoo_autoencoders.adversarial_ae import (
    LONG,
    WIDE,
    AdversarialAutoencoder,
    AdversarialAutoencoderConfig,
)

from tests.plugins.plain_loop import clothes
from zoo import DataSpec, Update, UsageError
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28, classes=list("abcdefghij"))
LABEL = torch.arange(8) % 10


def build(data: DataSpec = GREY, **options: object) -> AdversarialAutoencoder:
    torch.manual_seed(0)
    options = {"hidden": "40,30", "latent_size": 3, **options}
    return AdversarialAutoencoder(configure(AdversarialAutoencoderConfig, options), data)


def updates(model: AdversarialAutoencoder) -> dict[str, Update]:
    torch.manual_seed(7)
    return {
        each.player: each for each in model.training_step({"image": clothes(8), "label": LABEL})
    }


@pytest.mark.parametrize("posterior", ["deterministic", "gaussian"])
@pytest.mark.parametrize("prior", ["normal", "mixture"])
def test_terms_are_the_equations(posterior: str, prior: str) -> None:
    model = build(posterior=posterior, prior=prior)
    found = updates(model)
    torch.manual_seed(7)
    z = code(model, posterior)  # of the reconstruction
    noise = torch.randn(8, 3)
    x = (clothes(8) + 1) / 2
    error = binary_cross_entropy_with_logits(model.decoder(z), x, reduction="sum") / 8
    assert found["autoencoder"].terms["reconstruction"].item() == pytest.approx(
        error.item(), rel=1e-5
    )
    z = code(model, posterior)
    given = model.place(noise, LABEL) if prior == "mixture" else noise
    on_prior, on_codes = (probability(model, each, prior) for each in (given, z))
    wanted = {
        "prior": -on_prior.log().mean(),
        "codes": -(1 - on_codes).log().mean(),
        "fool": -on_codes.log().mean(),
    }
    for name, value in (*found["discriminator"].terms.items(), *found["generator"].terms.items()):
        assert value.item() == pytest.approx(wanted[name].item(), rel=1e-4)


def code(model: AdversarialAutoencoder, posterior: str) -> Tensor:
    mu, logvar = model.encoder(clothes(8))
    if posterior == "deterministic":
        assert logvar is None
        return mu
    return mu + torch.sqrt(torch.exp(logvar)) * torch.randn(8, 3)


def probability(model: AdversarialAutoencoder, z: Tensor, prior: str) -> Tensor:
    with_classes = torch.cat([z, torch.eye(10)[LABEL]], dim=1)
    logit = model.discriminator(with_classes if prior == "mixture" else z)
    return (1 / (1 + torch.exp(-logit.double()))).float()


def test_the_discriminator_moves_no_encoder() -> None:
    model = build()
    found = updates(model)
    torch.stack([*found["discriminator"].terms.values()]).sum().backward()
    assert all(each.grad is None for each in model.encoder.parameters())
    assert any(each.grad is not None for each in model.discriminator.parameters())


def test_a_guess_at_random_costs_what_the_player_says() -> None:
    model = build()
    with torch.no_grad():
        for parameter in model.discriminator.parameters():
            parameter.zero_()
    terms = updates(model)["discriminator"].terms
    assert sum(each.item() for each in terms.values()) == pytest.approx(2 * log(2), rel=1e-6)
    assert model.players()["discriminator"].loss_at_random_guess == pytest.approx(2 * log(2))


@pytest.mark.parametrize("number", [0, 3, 9])
def test_a_class_of_the_mixture_lies_on_its_ray(number: int) -> None:
    model = build(prior="mixture", radius=4.0)
    label = torch.full((200_000,), number)
    z = model.place(torch.randn(200_000, 3), label).double().numpy()
    angle = 2 * pi * number / 10
    outwards = np.array([cos(angle), sin(angle)])
    across = np.array([-sin(angle), cos(angle)])
    np.testing.assert_allclose(z[:, :2].mean(axis=0), 4 * outwards, atol=0.01)
    assert (z[:, :2] @ outwards).std() == pytest.approx(4 * LONG, rel=0.01)
    assert (z[:, :2] @ across).std() == pytest.approx(4 * WIDE, rel=0.01)
    assert z[:, 2].std() == pytest.approx(1, rel=0.01)


def test_samples_of_a_mixture_are_those_of_its_classes() -> None:
    model = build(prior="mixture").eval()
    assert set(model.graphs()) == {"encode", "decode", "reconstruct", "generate"}
    noise = torch.randn(8, 3)
    with torch.no_grad():
        made = model.generate(noise, LABEL)
        assert torch.equal(made, model.decode(model.place(noise, LABEL)))


def test_a_mixture_needs_classes_and_a_plane() -> None:
    without = DataSpec.of_images("grey", channels=1, height=28, width=28)
    with pytest.raises(UsageError) as problem:
        build(without, prior="mixture")
    assert problem.value.code == "wrong-data"
    with pytest.raises(UsageError) as problem:
        build(prior="mixture", latent_size=1)
    assert problem.value.code == "bad-value"
    assert set(build(without).graphs()) == {"encode", "decode", "reconstruct"}
