from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from zoo_translation.pix2pix import Pix2Pix, Pix2PixConfig, UNet

from tests.errors import raises
from tests.process import error_of, zoo
from zoo import DataSpec, Update, UsageError
from zoo.api.jobs import create_job
from zoo.catalog.lookup import find_model
from zoo.model.inference import map_images
from zoo.options import configure, options_of
from zoo.training import devices
from zoo.training.train import setup_training


def pairs(height: int = 32, width: int = 32, channels: int = 3, **options: object) -> DataSpec:
    names = {"domains": ("line", "colour"), **options}
    return DataSpec.of_images("drawings", channels, height, width, **names).with_images(order=0)


def build(data: DataSpec | None = None, **options: object) -> Pix2Pix:
    torch.manual_seed(0)
    small = {"features": 4, "discriminator_features": 8, "patch_levels": 2}
    return Pix2Pix(configure(Pix2PixConfig, {**small, **options}), data or pairs())


def batch_of(count: int = 3, channels: int = 3) -> dict[str, Tensor]:
    return {side: torch.rand(count, channels, 32, 32) * 2 - 1 for side in "ab"}


def round_of(model: Pix2Pix, batch: dict[str, Tensor]) -> dict[str, Update]:
    """The updates of a round in which nobody moves."""
    return {update.player: update for update in model.training_step(batch)}


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("direction", ["a-to-b", "b-to-a"])
def test_the_terms_are_the_equations_of_the_paper(norm: str, direction: str) -> None:
    model = build(norm=norm, direction=direction, dropout=0, l1_weight=7, enlarge=1.0, flip=False)
    batch = batch_of()
    updates = round_of(model, batch)
    x, y = (batch[side] for side in ("ab" if direction == "a-to-b" else "ba"))
    with torch.no_grad():
        made = model.generator(x)
        on_real, on_made = (model.discriminator(torch.cat([x, each], 1)) for each in (y, made))

    def cross_entropy(logits: Tensor, target: float) -> Tensor:
        return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    wanted = {
        "discriminator": {
            "real": cross_entropy(on_real, 1) / 2, "fake": cross_entropy(on_made, 0) / 2
        },
        "generator": {"fool": cross_entropy(on_made, 1), "l1": 7 * (y - made).abs().mean()},
    }  # fmt: skip
    assert list(updates) == ["discriminator", "generator"]
    for player, terms in wanted.items():
        assert updates[player].terms.keys() == terms.keys()
        for name, term in terms.items():
            torch.testing.assert_close(updates[player].terms[name].detach(), term, msg=name)


def test_a_discriminator_that_guesses_has_the_loss_that_is_said() -> None:
    model = build()
    for parameter in model.discriminator.parameters():
        nn.init.zeros_(parameter)
    terms = round_of(model, batch_of())["discriminator"].terms
    said = model.players()["discriminator"].loss_at_random_guess
    assert (
        sum(float(term.detach()) for term in terms.values())
        == pytest.approx(said)
        == pytest.approx(math.log(2))
    )


class Negative(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return -image


def test_both_sides_of_a_pair_are_cropped_and_mirrored_alike() -> None:
    model = build(enlarge=1.5, flip=True)
    model.generator = Negative()  # type: ignore[assignment] # is right for every such pair
    batch = batch_of(8)
    true = round_of(model, {"a": batch["a"], "b": -batch["a"]})["generator"].terms["l1"]
    assert float(true) == pytest.approx(0, abs=1e-4)
    shuffled = round_of(model, {"a": batch["a"], "b": -batch["a"].roll(1, 0)})
    assert float(shuffled["generator"].terms["l1"]) > 1


def test_a_training_gets_each_drawing_with_its_partner() -> None:
    for number in range(40):
        for side, blue in (("input", 0), ("target", 255)):
            path = Path("drawings/train", side, f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (number * 6, 0, blue)).save(path)
    small = {"features": 4, "discriminator_features": 4, "patch_levels": 2}
    options = {**small, "batch_size": 4, "device": "cpu"}
    job = create_job(model="pix2pix", data="drawings", layers=[options])
    _, batches = setup_training(job, devices.start_ranks(job.settings))
    reds = []
    for batch in batches.epoch(1):
        assert torch.equal(batch["a"][:, 0], batch["b"][:, 0])
        reds += batch["a"][:, 0, 0, 0].tolist()
    assert len(set(reds)) == 36
    assert reds != sorted(reds)


def test_data_that_is_not_in_pairs_is_refused() -> None:
    loose = DataSpec.of_images("photos", 3, 32, 32, domains=("horse", "zebra"))
    with raises(UsageError, "wrong-data", "photos", "paired-folders", "paired-side-by-side"):
        build(loose)
    words = ("train", "pix2pix", "--data", "emoji", "--size", "32")
    assert "paired-folders" in error_of(*words, code=2, error="wrong-data")


@pytest.mark.parametrize("size", [(16, 16), (48, 48), (64, 96), (100, 64)])
def test_sizes_that_cannot_be_halved_down_to_one_pixel_are_refused(size: tuple[int, int]) -> None:
    with raises(UsageError, "wrong-size", f"{size[0]}x{size[1]}", "--size 64"):
        build(pairs(*size))


def test_images_without_a_single_patch_are_refused() -> None:
    with raises(UsageError, "wrong-size", "patch_levels=4", "--size 64"):
        build(patch_levels=4)
    model = build(pairs(64, 64), patch_levels=4)
    assert model.discriminator(torch.rand(1, 6, 64, 64)).numel() > 0


@pytest.mark.parametrize("size", [(32, 32), (64, 32), (32, 128)])
@pytest.mark.parametrize("channels", [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_other_sizes_and_colours_go_through(
    size: tuple[int, int], channels: tuple[int, int]
) -> None:
    grey, colour = (pairs(*size, channels=each) for each in channels)
    data = DataSpec("drawings", (grey.a, colour.b))
    model = build(data, norm="batch")
    batch = {
        side: torch.rand(1, each, *size) * 2 - 1 for side, each in zip("ab", channels, strict=True)
    }
    for update in model.training_step(batch):
        assert all(term.isfinite() for term in update.terms.values())
    model.eval()
    (graph,) = model.graphs().values()
    with torch.no_grad():
        made = graph.function(batch["a"])
        assert all(value.isfinite() for value in model.validation_step(batch).values())
    assert isinstance(made, Tensor)
    assert made.shape == batch["b"].shape
    assert made.abs().max() <= 1


def test_the_error_is_told_beside_copying_and_the_best_constant_colour() -> None:
    model = build().eval()
    model.generator = Negative()  # type: ignore[assignment]
    batch = batch_of(5)
    batch["b"][:, 0][torch.rand(5, 32, 32) < 0.6] = 1  # the best constant red, and not the mean
    batch["b"][:, 1] = 0.5  # the best constant green
    metrics = {name: float(value) for name, value in model.validation_step(batch).items()}
    a, b = (batch[side].numpy() for side in "ab")
    assert metrics["error"] == pytest.approx(np.abs(-a - b).mean() / 2)
    assert metrics["copying"] == pytest.approx(np.abs(a - b).mean() / 2)
    tried = [
        np.mean([np.abs(b[:, channel] - value).mean() for channel, value in enumerate(colour)]) / 2
        for colour in ([1, 0.5, 0], [0.9, 0.5, -0.1], b.mean(axis=(0, 2, 3)))
    ]
    assert metrics["constant"] <= min(tried) + 1e-6
    assert metrics["constant"] == pytest.approx(min(tried), rel=0.01)
    assert Pix2Pix.goal is not None
    assert Pix2Pix.goal.is_better(metrics["error"] - 0.1, metrics["error"])


def test_dropout_is_for_training_only() -> None:
    model, image = build(), batch_of()["a"]
    with torch.no_grad():
        assert not torch.equal(model.generator(image), model.generator(image))
        model.eval()
        assert torch.equal(model.generator(image), model.generator(image))


def test_the_graph_speaks_of_the_domains_in_the_direction_that_is_asked_for() -> None:
    ((name, graph),) = build().graphs().items()
    assert name == "line_to_colour"
    assert [graph.inputs[0].domain, graph.outputs[0].domain] == ["line", "colour"]
    assert list(build(direction="b-to-a").graphs()) == ["colour_to_line"]
    assert list(build(pairs(domains=("夏", "冬"))).graphs()) == ["a_to_b"]


def test_it_can_be_shown_on_its_default_data() -> None:
    shown = zoo("show", "pix2pix").stdout
    assert "line_to_colour" in shown
    assert "by default openmoji" in shown


def test_what_comes_down_is_beside_what_comes_up() -> None:
    network = UNet(3, 3, features=4, levels=5, norm="instance", dropout=0.5)
    widths = [layer[1].in_channels for layer in network.up]
    assert widths == [32, 64, 32, 16, 8]
    assert sum(isinstance(layer, nn.Dropout) for layer in network.modules()) == 3


def test_the_papers_preset_has_the_papers_networks() -> None:
    """Weights of the networks of Isola et al. at 256 pixels, but for biases and normalisation."""
    preset = find_model("pix2pix").card.find_preset("paper")
    of_model = {key: preset[key] for key in preset if key in options_of(Pix2PixConfig)}
    model = Pix2Pix(configure(Pix2PixConfig, of_model), pairs(256, 256))
    down = [3, 64, 128, 256, 512, 512, 512, 512, 512]
    up = [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    made = [512, 512, 512, 512, 256, 128, 64, 3]
    encoder = sum(16 * one * other for one, other in pairwise(down))
    decoder = sum(16 * one * other for one, other in zip(up, made, strict=True))
    assert weights(model.generator) == encoder + decoder
    patches = (6 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) * 16
    assert weights(model.discriminator) == patches


def weights(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters() if each.ndim == 4)


def test_it_learns_what_copying_and_one_colour_cannot() -> None:
    """The right half of a picture becomes red where its left half is bright, else green."""
    torch.manual_seed(0)
    bright = (torch.arange(64) % 2).float()[:, None, None, None] * 2 - 1
    a = bright.expand(64, 3, 32, 32).clone()
    b = torch.cat([bright, -bright, torch.full_like(bright, -1)], 1).expand(64, 3, 32, 32)
    model = build(enlarge=1.0, norm="batch", features=8, lr=2e-3)
    optimisers = {
        name: player.optimiser([each for net in player.modules for each in net.parameters()])
        for name, player in model.players().items()
    }
    for step in range(40):
        chosen = torch.randperm(64)[:8]
        for update in model.training_step({"a": a[chosen], "b": b[chosen]}):
            optimiser = optimisers[update.player]
            optimiser.zero_grad()
            sum(update.terms.values()).backward()  # type: ignore[union-attr]
            optimiser.step()
        del step
    model.eval()
    with torch.no_grad():
        metrics = model.validation_step({"a": a, "b": b})
    assert metrics["error"] < metrics["copying"] / 2
    assert metrics["error"] < metrics["constant"] / 2
    made = map_images(model, "line_to_colour", np.full((1, 32, 32, 3), 255, np.uint8))
    assert made[0, :, :, 0].mean() > made[0, :, :, 1].mean()
