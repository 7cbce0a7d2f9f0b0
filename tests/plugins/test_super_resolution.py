from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from zoo_translation.super_resolution import (
    Generator,
    SuperResolution,
    SuperResolutionConfig,
    bicubic,
    shrunk,
)

from tests.data.pictures import fill
from tests.errors import raises
from tests.process import zoo, zoo_json
from zoo import DataSpec, Goal, Update, UsageError
from zoo.grids import grid
from zoo.options import configure

SPEC = DataSpec.of_images("photos", 3, 16, 16)
GREY = DataSpec.of_images("clothes", 1, 28, 28)


def build(data: DataSpec = SPEC, **options: object) -> SuperResolution:
    torch.manual_seed(0)
    small = {"features": 4, "blocks": 1, "discriminator_features": 4}
    model = SuperResolution(configure(SuperResolutionConfig, {**small, **options}), data)
    torch.nn.init.normal_(model.generator.end.weight, std=0.1)  # as after some training
    return model


def photos(count: int = 5) -> Tensor:
    return torch.rand(count, 3, 16, 16) * 2 - 1


def updates_of(model: SuperResolution, batch: dict[str, Tensor]) -> dict[str, Update]:
    return {update.player: update for update in model.training_step(batch)}


def decibels(one: Tensor, other: Tensor) -> float:
    """PSNR on [0, 1], of each image, then the mean."""
    squared = ((one.double() - other.double()) / 2).numpy() ** 2
    return float((10 * np.log10(1 / squared.mean(axis=(1, 2, 3)))).mean())


@pytest.mark.parametrize("factor", [2, 4])
def test_a_small_picture_is_made_of_means(factor: int) -> None:
    image = photos()
    found = shrunk(image, factor).numpy()
    for row, column in ((0, 0), (1, 2), (3, 3)):
        place = (
            slice(row * factor, (row + 1) * factor),
            slice(column * factor, (column + 1) * factor),
        )
        wanted = image.numpy()[:, :, place[0], place[1]].mean(axis=(2, 3))
        np.testing.assert_allclose(found[:, :, row, column], wanted, atol=1e-6)


@pytest.mark.parametrize(("loss", "power"), [("l1", 1), ("mse", 2)])
def test_the_content_loss_is_its_equation(loss: str, power: int) -> None:
    model, image = build(loss=loss, factor=4), photos()
    (update,) = updates_of(model, {"image": image}).values()
    with torch.no_grad():
        wanted = ((model.generator(shrunk(image, 4)) - image).abs() ** power).mean()
    torch.testing.assert_close(update.terms["content"].detach(), wanted)


def test_the_discriminator_comes_in_the_second_half_with_the_terms_of_srgan() -> None:
    model, image = build(adversarial=0.25), photos()
    model.progress = 0.4
    assert list(updates_of(model, {"image": image})) == ["generator"]
    model.progress = 0.5
    updates = updates_of(model, {"image": image})
    assert list(updates) == ["generator", "discriminator"]
    with torch.no_grad():
        real = model.discriminator(image)
        fake = model.discriminator(model.generator(shrunk(image, 2)))
        ones, zeros = torch.ones(5), torch.zeros(5)
        wanted = {
            "fool": 0.25 * binary_cross_entropy_with_logits(fake, ones),
            "real": binary_cross_entropy_with_logits(real, ones),
            "fake": binary_cross_entropy_with_logits(fake, zeros),
        }
    found = {**updates["generator"].terms, **updates["discriminator"].terms}
    assert found.keys() == {"content", *wanted}
    for name, term in wanted.items():
        torch.testing.assert_close(found[name].detach(), term, msg=name)


def test_without_a_weight_there_is_no_discriminator() -> None:
    assert list(build().players()) == ["generator"]
    assert list(build(adversarial=1e-3).players()) == ["generator", "discriminator"]


def test_the_last_weights_are_taken_where_psnr_says_nothing() -> None:
    assert build().goal == Goal("psnr", "highest")
    assert build(adversarial=1e-3).goal is None


@pytest.mark.parametrize("factor", [2, 4])
def test_metrics_are_the_psnr_of_the_model_and_of_bicubic_interpolation(factor: int) -> None:
    blocks = torch.rand(5, 3, 4, 4).round() * 2 - 1  # black and white: interpolation goes beyond
    model, image = (
        build(factor=factor).eval(),
        blocks.repeat_interleave(4, 2).repeat_interleave(4, 3),
    )
    small = image.reshape(5, 3, 16 // factor, factor, 16 // factor, factor).mean(dim=(3, 5))
    with torch.no_grad():
        found = model.validation_step({"image": image})
        made = model.generator(small)
    baseline = torch.nn.functional.interpolate(small, (16, 16), mode="bicubic").clamp(-1, 1)
    assert found["psnr"].item() == pytest.approx(decibels(image, made), abs=1e-3)
    assert found["bicubic_psnr"].item() == pytest.approx(decibels(image, baseline), abs=1e-3)


@pytest.mark.parametrize("factor", [2, 4])
def test_an_untrained_network_interpolates(factor: int) -> None:
    network = Generator(3, SuperResolutionConfig(factor=factor, features=4, blocks=1))
    small = photos()
    with torch.no_grad():
        torch.testing.assert_close(network(small), bicubic(small, factor).clamp(-1, 1))


@pytest.mark.parametrize("size", [(1, 1), (5, 8), (17, 9)])
def test_pictures_of_any_size_become_larger(size: tuple[int, int]) -> None:
    for factor in (2, 4):
        with torch.no_grad():
            large = build(factor=factor, batch_norm=True).eval().generator(torch.rand(2, 3, *size))
        assert large.shape == (2, 3, factor * size[0], factor * size[1])
        assert large.abs().max() <= 1


def test_grey_pictures_are_enlarged_as_well() -> None:
    model = build(GREY, factor=4)
    graph = model.graphs()["enlarge"]
    assert [port.channels for port in (*graph.inputs, *graph.outputs)] == [1, 1]
    with torch.no_grad():
        assert model.generator(torch.rand(1, 1, 7, 7)).shape == (1, 1, 28, 28)


@pytest.mark.parametrize(("height", "width"), [(30, 16), (28, 18)])
def test_sizes_that_the_factor_does_not_divide_are_refused(height: int, width: int) -> None:
    with raises(UsageError, "wrong-size", f"{height}x{width}", "--size 28x16"):
        build(DataSpec.of_images("photos", 3, height, width), factor=4)


def test_a_photo_is_enlarged_and_previews_show_what_was_lost(tmp_path: Path) -> None:
    fill(Path("photos"), 24, height=16, width=20)
    words = ["--set", "features=4", "--set", "blocks=1", "--batch-size", "8", "--name", "large"]
    run = zoo_json("train", "super-resolution", "--data", "photos", "--steps", "4", *words)
    rows = ["input", "enlarge", "data"]
    blank = np.zeros((len(rows), 16, 20, 3), np.uint8)  # of one picture that was held out
    with Image.open(Path(run["path"], "samples", "step-0000004-enlarge.png")) as page:
        assert np.asarray(page).shape == grid(blank, 1, rows).shape
    zoo("export", "large", "--onnx", "-o", "large")
    fill(Path("others"), 1, height=21, width=33)
    zoo("run", "large", "others", "-o", "out")
    (made,) = Path("out").iterdir()
    with Image.open(made) as picture:
        assert (picture.height, picture.width, picture.mode) == (42, 66, "RGB")
