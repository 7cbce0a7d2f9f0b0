from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from zoo import gather_rows, mlp, normal_weights, pixel_mse, psnr


def test_mlp_joins_the_sizes_with_an_activation_after_each_layer() -> None:
    layers = mlp(7, 5, 3, activation=nn.Tanh)
    assert [type(layer) for layer in layers] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh]
    assert nn.Sequential(*layers)(torch.zeros(2, 7)).shape == (2, 3)
    assert mlp(7) == []


def test_errors_are_measured_on_the_scale_from_0_to_1_image_by_image() -> None:
    draw = np.random.default_rng(0)
    image, other = draw.uniform(-1, 1, (2, 5, 3, 8, 6)).astype("float32")
    wanted = np.mean(((image + 1) / 2 - (other + 1) / 2) ** 2, axis=(1, 2, 3))
    images = torch.from_numpy(image), torch.from_numpy(other)
    np.testing.assert_allclose(pixel_mse(*images).numpy(), wanted, rtol=1e-5)
    np.testing.assert_allclose(psnr(*images).numpy(), 10 * np.log10(1 / wanted), rtol=1e-5)


def test_psnr_of_black_against_white_is_0_and_of_equals_100() -> None:
    black, white = torch.full((1, 1, 4, 4), -1.0), torch.full((1, 1, 4, 4), 1.0)
    assert psnr(black, white).item() == pytest.approx(0)
    assert psnr(white, white).item() == pytest.approx(100)


def test_first_weights_of_adversarial_networks() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(8, 64, 4), nn.BatchNorm2d(64), nn.InstanceNorm2d(64))
    network.append(nn.ConvTranspose2d(64, 32, 4)).apply(normal_weights)
    for layer in (network[0], network[3]):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.any()
    assert network[1].weight.mean().item() == pytest.approx(1, abs=0.01)
    assert 0.01 < network[1].weight.std().item() < 0.03


def test_rows_of_one_device_are_those_that_are_given() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    gathered = gather_rows(rows)
    assert torch.equal(gathered, rows)
    assert not gathered.requires_grad
