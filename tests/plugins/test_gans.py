"""What every adversarial network of the family must do, whatever the size of its images."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from tests.errors import raises
from tests.plugins.plain_loop import clothes
from tests.process import error_of
from zoo import DataSpec, Model, UsageError
from zoo.catalog.lookup import find_model, load_class
from zoo.options import configure
from zoo.training.devices import Ranks
from zoo.training.players import setup_players
from zoo.training.trainer import training_step

CLASSES = ("dress", "boot", "bag")
CONVOLUTIONAL = pytest.mark.parametrize("name", ["dcgan", "cgan", "wgan-gp"])
ALL = pytest.mark.parametrize("name", ["gan", "dcgan", "cgan", "wgan-gp"])


def spec(height: int, width: int, channels: int = 1) -> DataSpec:
    return DataSpec.of_images("pictures", channels, height, width, classes=CLASSES)


def build(name: str, data: DataSpec, options: Mapping[str, object] = {}) -> Model:
    torch.manual_seed(0)
    made = load_class(find_model(name))
    small = {"hidden": "64,64"} if name == "gan" else {"features": 8}
    model = made(configure(made.Config, {**small, **options}), data)
    assert isinstance(model, Model)
    return model


def noise(model: Model, count: int) -> list[Tensor]:
    """Return draws for the inputs of `generate`, each row another."""
    torch.manual_seed(3)
    latent, *label = model.graphs()["generate"].inputs
    drawn = [torch.randn(count, int(latent.shape[1]))]
    return [*drawn, torch.arange(count) % len(CLASSES)] if label else drawn


def generate(model: Model, inputs: list[Tensor]) -> Tensor:
    with torch.no_grad():
        image = model.graphs()["generate"].function(*inputs)
    assert isinstance(image, Tensor)
    return image


@pytest.mark.parametrize(
    ("height", "width", "channels"),
    [(8, 8, 1), (28, 28, 2), (32, 32, 3), (48, 48, 4), (64, 64, 1), (20, 28, 3), (16, 24, 4)],
)
@CONVOLUTIONAL
def test_sizes_that_can_be_halved_are_drawn_and_judged(
    name: str, height: int, width: int, channels: int
) -> None:
    model = build(name, spec(height, width, channels), {"features": 2})
    image = generate(model, noise(model, 3))
    assert image.shape == (3, channels, height, width)
    assert image.abs().max() <= 1
    updates = list(model.training_step({"image": image, "label": torch.tensor([0, 1, 2])}))
    assert updates[-1].player == "generator"


@pytest.mark.parametrize(
    ("height", "width", "nearest"),
    [
        (30, 30, "--size 28x28 or --size 32x32"),
        (4, 4, "--size 8x8"),
        (1, 1, "--size 8x8"),
        (100, 100, "--size 96x96 or --size 112x112"),
        (32, 64, "--size 32x56 or --size 64x64"),
        (5000, 5000, "--size 3584x3584"),
    ],
)
@CONVOLUTIONAL
def test_other_sizes_are_refused_with_the_nearest_that_fit(
    name: str, height: int, width: int, nearest: str
) -> None:
    with raises(UsageError, "wrong-size", name, f"{height}×{width}") as caught:
        build(name, spec(height, width))
    assert caught.value.hint == nearest


def test_the_command_refuses_a_size_before_it_trains() -> None:
    said = error_of("train", "dcgan", "--size", "30", "--steps", "1", code=2, error="wrong-size")
    assert "30×30" in said
    assert "--size 32x32" in said


def test_the_first_gan_takes_any_size() -> None:
    model = build("gan", spec(27, 21, 3))
    assert generate(model, noise(model, 2)).shape == (2, 3, 27, 21)


@ALL
def test_a_sample_does_not_depend_on_the_others_of_its_batch(name: str) -> None:
    model = build(name, spec(28, 28)).eval()
    inputs = noise(model, 6)
    alone = generate(model, [each[:1] for each in inputs])
    torch.testing.assert_close(generate(model, inputs)[:1], alone)


@CONVOLUTIONAL
def test_in_training_the_generator_normalises_by_the_batch(name: str) -> None:
    model = build(name, spec(28, 28)).train()
    inputs = noise(model, 6)
    assert not torch.allclose(
        generate(model, inputs)[:2], generate(model, [each[:2] for each in inputs])
    )


@ALL
def test_terms_are_float_32_under_bf16_autocast(name: str) -> None:
    model = build(name, spec(28, 28))
    batch = {"image": clothes(64), "label": torch.arange(64) % len(CLASSES)}

    def terms(*, bf16: bool) -> dict[str, Tensor]:
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            updates = list(model.training_step(batch))
        return {key: value for update in updates for key, value in update.terms.items()}

    plain = terms(bf16=False)
    for key, value in terms(bf16=True).items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(plain[key].item(), abs=0.03)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gan", {"lr": 2e-3}),
        ("dcgan", {"lr": 2e-3}),
        ("dcgan", {"lr": 2e-3, "spectral_norm": True, "label_smoothing": 0.1}),
        ("cgan", {"lr": 1e-3}),
        ("wgan-gp", {"lr": 2e-3, "critic_steps": 2}),
    ],
)
def test_training_brings_samples_nearer_to_the_data(
    name: str, options: Mapping[str, object]
) -> None:
    images = avg_pool2d(clothes(500)[..., 2:26, 2:26], 3)  # 8×8
    model = build(name, spec(8, 8), options)
    cpu = Ranks(torch.device("cpu"))
    state = setup_players(model, cpu, torch.autocast("cpu", enabled=False))

    def distance() -> float:
        samples = generate(model.eval(), noise(model, 500))
        return (samples.mean(dim=0) - images.mean(dim=0)).abs().mean().item()

    before = distance()
    for step in range(160):
        torch.manual_seed(step)
        chosen = torch.randint(len(images), (50,))
        training_step(state, {"image": images[chosen], "label": chosen % len(CLASSES)}, step)
    assert distance() < 0.75 * before


def test_cards_load_without_torch() -> None:
    code = "import sys, zoo_gans; zoo_gans.zoo_models(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
