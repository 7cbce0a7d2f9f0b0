from __future__ import annotations

import numpy as np
import pytest
import torch
from zoo_autoencoders.k_sparse_ae import (
    KSparseAutoencoder,
    KSparseAutoencoderConfig,
    keep_greatest,
)

from tests.plugins.plain_loop import clothes
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)


def build(**options: object) -> KSparseAutoencoder:
    torch.manual_seed(0)
    options = {"hidden_units": 50, "k": 5, "k_start": 20, **options}
    return KSparseAutoencoder(configure(KSparseAutoencoderConfig, options), GREY)


@pytest.mark.parametrize("k", [1, 7, 30])
def test_exactly_the_k_greatest_are_kept(k: int) -> None:
    z = torch.randn(20, 30)
    kept = keep_greatest(z, k).numpy()
    for row, given in zip(kept, z.numpy(), strict=True):
        places = np.argsort(given)[-k:]
        wanted = np.zeros(30, np.float32)
        wanted[places] = given[places]
        np.testing.assert_array_equal(row, wanted)


def test_of_equal_units_exactly_k_are_kept() -> None:
    assert keep_greatest(torch.ones(3, 10), 4).sum(dim=1).tolist() == [4, 4, 4]


def test_all_are_kept_where_there_are_fewer_than_k() -> None:
    z = torch.randn(3, 4)
    assert torch.equal(keep_greatest(z, 9), z)


def test_the_term_is_the_equation_with_tied_weights() -> None:
    model, image = build(), clothes(6)
    model.progress = 1.0
    with torch.no_grad():
        model.network.output_bias.normal_()
    (update,) = model.training_step({"image": image})
    w = model.network.to_code.weight.detach().double().numpy()  # (units, pixels)
    b = model.network.to_code.bias.detach().double().numpy()
    x = ((image + 1) / 2).flatten(1).double().numpy()
    total = 0.0
    for row in x:
        z = w @ row + b
        places = np.argsort(z)[-5:]
        output = w[places].T @ z[places] + model.network.output_bias.detach().double().numpy()
        total += float(((row - output) ** 2).sum())
    assert update.terms["reconstruction"].item() == pytest.approx(total / 6, rel=1e-5)


def test_the_gradient_passes_through_the_kept_units_alone() -> None:
    model = build()
    model.progress = 1.0
    image = clothes(1)
    (update,) = model.training_step({"image": image})
    update.terms["reconstruction"].backward()
    z = model.network.encode((image + 1) / 2)
    kept = keep_greatest(z, 5)[0] != 0
    assert model.network.to_code.bias.grad is not None
    assert torch.equal(model.network.to_code.bias.grad != 0, kept)


def test_k_falls_over_the_first_half_and_stays() -> None:
    model, found = build(k=5, k_start=25), []
    for progress in (0.0, 0.25, 0.5, 0.75, 1.0):
        model.progress = progress
        found.append(model.k_now())
    assert found == [25, 15, 5, 5, 5]
    model = build(k=30, k_start=10)
    model.progress = 0.0
    assert model.k_now() == 30


def test_encode_keeps_alpha_k_and_reconstruct_k() -> None:
    model, image = build(alpha=3.0), clothes(4)
    with torch.no_grad():
        code = model.encode(image)
        assert (code != 0).sum(dim=1).tolist() == [15] * 4
        assert torch.equal(model.reconstruct(image), model.decode(keep_greatest(code, 5)))


def test_units_that_are_never_among_the_greatest_are_dead() -> None:
    model = build()
    with torch.no_grad():
        model.network.to_code.bias[:40] = -100.0
        dead = model.validation_step({"image": clothes(200)})["dead_units"].item()
    assert 0.8 <= dead < 1
