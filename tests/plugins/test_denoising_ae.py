from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo_autoencoders.denoising_ae import DenoisingAutoencoder, DenoisingAutoencoderConfig

from tests.plugins.plain_loop import clothes, train
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)
NOISES = pytest.mark.parametrize("noise", ["gaussian", "salt-and-pepper", "masking"])


def build(**options: object) -> DenoisingAutoencoder:
    torch.manual_seed(0)
    options = {"hidden": "", "code_size": 256, "lr": 3e-3, **options}
    return DenoisingAutoencoder(configure(DenoisingAutoencoderConfig, options), GREY)


def corrupted(model: DenoisingAutoencoder, level: float) -> Tensor:
    """A hundred images of one level in [0, 1], corrupted; returned in [0, 1]."""
    image = torch.full((100, 1, 28, 28), 2 * level - 1)
    return (model.corrupt(image, model.draw_noise(image)) + 1) / 2


def test_gaussian_noise_has_the_stated_deviation() -> None:
    noisy = corrupted(build(noise="gaussian", sigma=0.1), level=0.5)
    assert noisy.mean().item() == pytest.approx(0.5, abs=0.002)
    assert noisy.std().item() == pytest.approx(0.1, rel=0.01)


def test_gaussian_noise_is_cut_to_the_range_of_pictures() -> None:
    noisy = corrupted(build(noise="gaussian", sigma=0.5), level=0.9)
    assert (noisy.min().item(), noisy.max().item()) == (0.0, 1.0)


def test_salt_and_pepper_are_equally_likely_and_leave_the_rest_alone() -> None:
    noisy = corrupted(build(noise="salt-and-pepper", share=0.3), level=0.25)
    assert (noisy == 0).float().mean().item() == pytest.approx(0.15, abs=0.005)
    assert (noisy == 1).float().mean().item() == pytest.approx(0.15, abs=0.005)
    assert (noisy == 0.25).float().mean().item() == pytest.approx(0.7, abs=0.005)


def test_masking_blackens_the_stated_share() -> None:
    noisy = corrupted(build(noise="masking", share=0.4), level=0.25)
    assert (noisy == 0).float().mean().item() == pytest.approx(0.4, abs=0.005)
    assert (noisy == 0.25).float().mean().item() == pytest.approx(0.6, abs=0.005)


@NOISES
def test_noise_is_drawn_anew_at_every_step(noise: str) -> None:
    model = build(noise=noise)

    def loss() -> float:
        (update,) = model.training_step({"image": clothes(10)})
        return update.terms["reconstruction"].item()

    torch.manual_seed(1)
    first, second = loss(), loss()
    assert first != second
    torch.manual_seed(1)
    assert loss() == first


@NOISES
def test_the_exported_noise_is_the_noise_of_training(noise: str) -> None:
    model = build(noise=noise)
    image, port = clothes(100), model.noise_port()
    drawn = torch.from_numpy(port.draw(100, np.random.default_rng(0)))
    exported = (model.corrupt(image, drawn) - image).std()
    trained = (model.corrupt(image, model.draw_noise(image)) - image).std()
    assert exported.item() == pytest.approx(trained.item(), rel=0.02)


@NOISES
def test_denoised_images_are_nearer_to_the_clean_ones_after_training(noise: str) -> None:
    model = build(noise=noise)
    list(train(model, clothes(500), steps=250, batch_size=25))
    with torch.no_grad():
        metrics = model.eval().validation_step({"image": clothes(600)[500:]})
    assert metrics["psnr_denoised"] > metrics["psnr_noisy"] + 3


def test_psnr_of_noisy_images_follows_from_the_share_of_wrong_pixels() -> None:
    model = build(noise="masking", share=0.5).eval()
    white = torch.ones(50, 1, 28, 28)
    with torch.no_grad():
        noisy = model.validation_step({"image": white})["psnr_noisy"].item()
    assert noisy == pytest.approx(10 * np.log10(1 / 0.5), abs=0.05)  # half the pixels wrong by 1
