from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from zoo_translation.colouriser import (
    Colouriser,
    ColouriserConfig,
    UNet,
    join,
    saturation,
    split,
)

from tests.errors import raises
from tests.process import error_of
from zoo import DataSpec, Update, UsageError
from zoo.options import configure

SPEC = DataSpec.of_images("photos", 3, 16, 16)


def build(data: DataSpec = SPEC, **options: object) -> Colouriser:
    torch.manual_seed(0)
    small = {"features": 4, "discriminator_features": 4, "patch_levels": 1, "flip": False}
    return Colouriser(configure(ColouriserConfig, {**small, **options}), data)


def photos(count: int = 5, height: int = 16, width: int = 16) -> Tensor:
    return torch.rand(count, 3, height, width) * 2 - 1


def luma(image: Tensor) -> Tensor:
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(1, 3, 1, 1)
    return (weights * image.double()).sum(dim=1, keepdim=True)


def updates_of(model: Colouriser, batch: dict[str, Tensor]) -> dict[str, Update]:
    return {update.player: update for update in model.training_step(batch)}


def test_lightness_and_chroma_are_those_of_a_jpeg_file() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    wanted = np.asarray(Image.fromarray(pixels).convert("YCbCr")).astype(float)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    lightness, chroma = split(image)
    found = torch.cat([(lightness + 1) * 127.5, chroma * 127.5 + 128], dim=1)[0].permute(1, 2, 0)
    assert np.abs(found.numpy() - wanted).max() < 1.01  # Pillow rounds, and may round twice


def test_a_picture_is_put_together_again() -> None:
    image = photos()
    torch.testing.assert_close(join(*split(image)), image, atol=1e-5, rtol=0)


def test_the_lightness_is_kept_whatever_colours_are_predicted() -> None:
    lightness = torch.cat(
        [
            torch.rand(3, 1, 16, 16) * 2 - 1,
            torch.tensor([[-1.0, 1.0]]).view(2, 1, 1, 1).expand(2, 1, 16, 16),
        ]
    )
    chroma = torch.rand(5, 2, 16, 16) * 2 - 1  # most of it beyond what RGB can show
    coloured = join(lightness, chroma)
    assert coloured.abs().max() <= 1
    assert (luma(coloured) - lightness).abs().max() < 1e-6
    model = build().eval()
    with torch.no_grad():
        torch.nn.init.normal_(model.network.end.weight, std=10)
        assert (luma(model.colourise(lightness)) - lightness).abs().max() < 1e-6


def test_a_colour_that_does_not_fit_keeps_its_hue() -> None:
    lightness = torch.full((1, 1, 1, 1), 0.8)
    for chroma in ([0.5, -0.7], [-0.8, 0.1], [0.3, 0.9]):
        planes = torch.tensor(chroma).view(1, 2, 1, 1)
        strong, weak = join(lightness, planes), join(lightness, 0.02 * planes)
        hues = [
            colorsys.rgb_to_hsv(*((each.flatten() + 1) / 2).tolist())[0] for each in (strong, weak)
        ]
        assert hues[0] == pytest.approx(hues[1], abs=1e-4)
        assert strong.max() == pytest.approx(1, abs=1e-6)


def test_the_regression_is_half_the_squared_error_of_chroma() -> None:
    model, image = build(), photos()
    lightness = luma(image).float()
    blue, red = image[:, 2:] - lightness, image[:, :1] - lightness
    wanted = torch.cat([blue / 1.772, red / 1.402], dim=1)
    (update,) = updates_of(model, {"image": image}).values()
    with torch.no_grad():
        difference = model.network(lightness) - wanted
    torch.testing.assert_close(update.terms["chroma"].detach(), (difference**2).mean() / 2)


def test_the_adversarial_terms_are_those_of_pix2pix() -> None:
    model, image = build(loss="adversarial", l1_weight=7), photos()
    updates = updates_of(model, {"image": image})
    assert list(updates) == ["colouriser", "discriminator"]
    assert model.goal is None  # or a pale picture of the beginning would be the best
    assert build().goal is not None
    lightness, chroma = split(image)
    with torch.no_grad():
        guess = model.network(lightness)
        real = model.discriminator(torch.cat([lightness, chroma], dim=1))
        fake = model.discriminator(torch.cat([lightness, guess], dim=1))
        ones, zeros = torch.ones_like(real), torch.zeros_like(real)
        wanted = {
            "fool": binary_cross_entropy_with_logits(fake, ones),
            "l1": 7 * (guess - chroma).abs().mean(),
            "real": binary_cross_entropy_with_logits(real, ones) / 2,
            "fake": binary_cross_entropy_with_logits(fake, zeros) / 2,
        }
    found = {**updates["colouriser"].terms, **updates["discriminator"].terms}
    assert found.keys() == wanted.keys()
    for name, term in found.items():
        torch.testing.assert_close(term.detach(), wanted[name], msg=name)


def test_metrics_compare_with_the_real_and_with_the_grey_picture() -> None:
    model, image = build().eval(), photos()
    with torch.no_grad():
        found = model.validation_step({"image": image})
        made = model.colourise(luma(image).float())
    pixels, grey = (image.double().numpy() + 1) / 2, (luma(image).numpy() + 1) / 2
    error = np.sqrt((((made.double().numpy() + 1) / 2 - pixels) ** 2).mean(axis=(1, 2, 3))).mean()
    of_grey = np.sqrt(((grey - pixels) ** 2).mean(axis=(1, 2, 3))).mean()
    assert found["error"].item() == pytest.approx(error, rel=1e-5)
    assert found["grey_error"].item() == pytest.approx(of_grey, rel=1e-5)
    assert found["real_saturation"] > found["saturation"] > 0
    assert saturation(torch.zeros(1, 2, 4, 4)) == 0


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (9, 7), (37, 50)])
def test_a_picture_comes_back_at_its_own_size(size: tuple[int, int]) -> None:
    network = UNet(4).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 1, *size)).shape == (2, 2, *size)


def test_grey_data_is_refused() -> None:
    with raises(UsageError, "wrong-data", "clothes", "--data emoji-mixed"):
        build(DataSpec.of_images("clothes", 1, 28, 28))
    words = ("train", "colouriser", "--data", "fashion-mnist-small")
    assert "emoji-mixed" in error_of(*words, code=2, error="wrong-data")


def test_pictures_without_a_single_patch_are_refused() -> None:
    with raises(UsageError, "wrong-size", "patch_levels=3", "--size 24"):
        build(loss="adversarial", patch_levels=3)
    assert build(patch_levels=3)  # nobody judges patches
    data = DataSpec.of_images("photos", 3, 24, 24)
    model = build(data, loss="adversarial", patch_levels=3)
    assert model.discriminator(torch.rand(1, 3, 24, 24)).numel() > 0
