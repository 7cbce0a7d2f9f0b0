from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli
from torch.nn.functional import binary_cross_entropy_with_logits
from zoo_autoencoders.hashing_ae import (
    HashingAutoencoder,
    HashingAutoencoderConfig,
    entropy_of_bits,
)

from tests.plugins.plain_loop import clothes, train
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)


def build(**options: object) -> HashingAutoencoder:
    torch.manual_seed(0)
    options = {"hidden": "60", "bits": 12, **options}
    return HashingAutoencoder(configure(HashingAutoencoderConfig, options), GREY)


def test_the_term_is_the_equation_with_its_noise() -> None:
    model, image = build(sigma=3.0), clothes(8)
    torch.manual_seed(5)
    (update,) = model.training_step({"image": image})
    torch.manual_seed(5)
    f = model.encoder(image)
    f = f - f.sum(dim=0) / 8
    h = 1 / (1 + torch.exp(-(f + 3.0 * torch.randn(8, 12))))
    error = binary_cross_entropy_with_logits(model.decoder(h), (image + 1) / 2, reduction="sum")
    assert update.terms["reconstruction"].item() == pytest.approx(error.item() / 8, rel=1e-5)


def test_codes_are_bits_of_the_sign() -> None:
    model, image = build(), clothes(50)
    with torch.no_grad():
        model.mean.copy_(torch.randn(12) / 10)
        code, f = model.encode(image), model.encoder(image) - model.mean
    assert set(code.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(code.bool(), f > 0)


def test_bits_are_1_for_half_of_the_images() -> None:
    model = build(lr=5e-3)
    list(train(model, clothes(300), steps=150, batch_size=50))
    with torch.no_grad():
        share = model.encode(clothes(300)).mean(dim=0)
    assert share.min() > 0.2
    assert share.max() < 0.8


def test_entropy_is_that_of_a_coin_in_bits() -> None:
    share = torch.linspace(0.001, 0.999, 40)
    wanted = Bernoulli(share).entropy() / torch.tensor(2.0).log()
    torch.testing.assert_close(entropy_of_bits(share), wanted, rtol=1e-4, atol=1e-5)
    assert entropy_of_bits(torch.tensor([0.0, 1.0])).abs().max() < 1e-4


def test_noise_drives_the_units_to_bits() -> None:
    """With noise, thresholding loses little; without, the code is not made for it."""
    lost = {}
    for sigma in (0.0, 4.0):
        model = build(sigma=sigma, lr=5e-3)
        list(train(model, clothes(300), steps=400, batch_size=50))
        with torch.no_grad():
            lost[sigma] = torch.sigmoid(model.encoder(clothes(300)))
    middle = {sigma: ((h > 0.1) & (h < 0.9)).float().mean().item() for sigma, h in lost.items()}
    assert middle[4.0] < 0.5 * middle[0.0]
