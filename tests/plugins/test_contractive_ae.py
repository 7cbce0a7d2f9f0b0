from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.func import jacrev, vmap
from torch.nn.functional import binary_cross_entropy
from zoo_autoencoders.contractive_ae import (
    ContractiveAutoencoder,
    ContractiveAutoencoderConfig,
    TiedNetwork,
)

from tests.plugins.plain_loop import clothes, train
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)


def build(**options: object) -> ContractiveAutoencoder:
    torch.manual_seed(0)
    options = {"hidden_units": 20, **options}
    return ContractiveAutoencoder(configure(ContractiveAutoencoderConfig, options), GREY)


def norms_by_torch_func(model: ContractiveAutoencoder, image: Tensor) -> Tensor:
    """‖J_f(x)‖² by torch.func, image by image, in double precision."""
    x = ((image + 1) / 2).double().flatten(1)
    return vmap(jacrev(partial(plain, model.network.double())))(x).square().sum(dim=(1, 2))


def plain(network: TiedNetwork, x: Tensor) -> Tensor:
    for layer in network.layers:
        x = torch.sigmoid(layer(x))
    return x


def test_the_closed_form_of_one_layer_is_the_jacobian_by_autograd() -> None:
    model, image = build(), clothes(5)
    x = (image + 1) / 2
    closed = model.network.one_layer_norm(model.network.encode(x))
    by_autograd = model.network.jacobian(x).square().sum(dim=(1, 2))
    torch.testing.assert_close(closed, by_autograd, rtol=1e-5, atol=1e-8)
    wanted = norms_by_torch_func(build(), image).float()
    torch.testing.assert_close(closed, wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("hidden", ["30", "40,30"])
def test_the_penalty_of_deeper_encoders_is_that_of_the_whole(hidden: str) -> None:
    model, image = build(hidden=hidden), clothes(5)
    _, found = model.network((image + 1) / 2)
    wanted = norms_by_torch_func(build(hidden=hidden), image).float()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-8)


def test_the_jacobian_is_that_of_finite_differences() -> None:
    network = build(hidden="30").network.double()
    x = ((clothes(2) + 1) / 2).double().flatten(1)
    jacobian = network.jacobian(x)
    direction = torch.randn(784, dtype=torch.float64)
    nudge = 1e-6
    with torch.no_grad():
        there, back = (plain(network, x + sign * nudge * direction) for sign in (1, -1))
    torch.testing.assert_close(jacobian @ direction, (there - back) / (2 * nudge),
                               rtol=1e-4, atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("hidden", ["", "30"])
def test_terms_are_the_equation(hidden: str) -> None:
    model, image = build(hidden=hidden, contraction_weight=0.7), clothes(6)
    (update,) = model.training_step({"image": image})
    y = (model.reconstruct(image) + 1) / 2
    wanted = binary_cross_entropy(y, (image + 1) / 2, reduction="none").flatten(1).sum(dim=1)
    assert update.terms["reconstruction"].item() == pytest.approx(wanted.mean().item(), rel=1e-5)
    norm = norms_by_torch_func(build(hidden=hidden), image).mean().item()
    assert update.terms["contraction"].item() == pytest.approx(0.7 * norm, rel=1e-4)


@pytest.mark.parametrize("hidden", ["", "30"])
def test_the_gradient_of_the_penalty_is_that_of_its_definition(hidden: str) -> None:
    model, image = build(hidden=hidden), clothes(3)
    weight = model.network.layers[0].weight
    _, norm = model.network((image + 1) / 2)
    (found,) = torch.autograd.grad(norm.sum(), weight)
    other = build(hidden=hidden)
    total = norms_by_torch_func(other, image).sum()
    (wanted,) = torch.autograd.grad(total, other.network.layers[0].weight)
    torch.testing.assert_close(found, wanted.float(), rtol=1e-4, atol=1e-7)


def test_validation_needs_no_gradient_of_the_caller() -> None:
    model = build(hidden="30")
    with torch.no_grad():
        metrics = model.validation_step({"image": clothes(4)})
    assert metrics["contraction"].item() > 0
    assert not any(each.requires_grad for each in metrics.values())


def test_a_greater_weight_contracts_more() -> None:
    reached = []
    for weight in (0.0, 10.0):
        model = build(contraction_weight=weight, hidden_units=40)
        list(train(model, clothes(200), steps=150, batch_size=50))
        with torch.no_grad():
            metrics = model.validation_step({"image": clothes(200)})
        reached.append(metrics["contraction"].item())
    assert reached[1] < 0.5 * reached[0]
