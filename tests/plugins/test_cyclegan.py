from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from zoo_translation.cyclegan import CycleGAN, CycleGANConfig, Discriminator

from tests.errors import raises
from zoo import DataSpec, Update, UsageError
from zoo.catalog.lookup import find_model
from zoo.options import configure, options_of


def photos(height: int, width: int) -> DataSpec:
    return DataSpec.of_images("photos", 3, height, width, domains=("horse", "zebra"))


SPEC = photos(32, 32)


def build(data: DataSpec = SPEC, **options: object) -> CycleGAN:
    torch.manual_seed(0)
    small = {
        "features": 4,
        "discriminator_features": 8,
        "blocks": 1,
        "patch_levels": 2,
        "enlarge": 1.0,
        "flip": False,
    }
    return CycleGAN(configure(CycleGANConfig, {**small, **options}), data)


def two_batches(count: int = 3) -> dict[str, Tensor]:
    return {"a": torch.rand(count, 3, 32, 32) * 2 - 1, "b": torch.rand(count, 3, 32, 32) * 2 - 1}


def round_of(model: CycleGAN, batch: dict[str, Tensor]) -> dict[str, Update]:
    """The updates of a round in which nobody moves."""
    game: Iterator[Update] = model.training_step(batch)
    return {update.player: update for update in game}


def test_the_terms_are_the_equations_of_the_paper() -> None:
    model = build(cycle_weight=7, identity_weight=0.3)
    batch = two_batches()
    updates = round_of(model, batch)
    a, b = batch["a"], batch["b"]
    to_b, to_a = model.a_to_b, model.b_to_a
    with torch.no_grad():
        judge_a, judge_b = model.discriminator_a, model.discriminator_b
        wanted = {
            "fool_zebra_to_horse": ((judge_a(to_a(b)) - 1) ** 2).mean(),
            "fool_horse_to_zebra": ((judge_b(to_b(a)) - 1) ** 2).mean(),
            "cycle_horse": 7 * (to_a(to_b(a)) - a).abs().mean(),
            "cycle_zebra": 7 * (to_b(to_a(b)) - b).abs().mean(),
            "identity_horse": 7 * 0.3 * (to_a(a) - a).abs().mean(),
            "identity_zebra": 7 * 0.3 * (to_b(b) - b).abs().mean(),
            "real_horse": ((judge_a(a) - 1) ** 2).mean() / 2,
            "fake_horse": (judge_a(to_a(b)) ** 2).mean() / 2,
            "real_zebra": ((judge_b(b) - 1) ** 2).mean() / 2,
            "fake_zebra": (judge_b(to_b(a)) ** 2).mean() / 2,
        }
    found = {**updates["generators"].terms, **updates["discriminators"].terms}
    assert found.keys() == wanted.keys()
    for name, term in found.items():
        torch.testing.assert_close(term.detach(), wanted[name], msg=name)


def test_the_generators_move_first() -> None:
    game = build().training_step(two_batches())
    assert [update.player for update in game] == ["generators", "discriminators"]


def test_without_an_identity_weight_there_is_no_identity_term() -> None:
    terms = round_of(build(identity_weight=0), two_batches())["generators"].terms
    assert set(terms) == {
        "fool_zebra_to_horse",
        "fool_horse_to_zebra",
        "cycle_horse",
        "cycle_zebra",
    }


def test_discriminators_see_images_of_earlier_rounds() -> None:
    model = build(pool_size=4)
    for _ in range(4):
        round_of(model, two_batches())
    assert int(model.made_a.filled) == int(model.made_b.filled) == 4
    assert not torch.equal(model.made_a.images, model.made_b.images)


def test_the_papers_preset_has_the_papers_networks() -> None:
    """Parameters of the networks of Zhu et al. at 256 pixels, without biases before a norm."""
    preset = find_model("cyclegan").card.find_preset("paper")
    of_model = {key: preset[key] for key in preset if key in options_of(CycleGANConfig)}
    model = CycleGAN(configure(CycleGANConfig, of_model), photos(256, 256))
    residual = 9 * 2 * 256 * 256 * 9
    down = 3 * 64 * 49 + 64 * 128 * 9 + 128 * 256 * 9
    assert count(model.a_to_b) == down + residual + 256 * 128 * 9 + 128 * 64 * 9 + 64 * 3 * 49 + 3
    patches = (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) * 16
    assert count(model.discriminator_a) == patches + 64 + 1


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("levels", "pixels"), [(1, 16), (2, 34), (3, 70)])
def test_a_patch_is_as_large_as_said(levels: int, pixels: int) -> None:
    torch.manual_seed(0)
    network = Discriminator(1, 2, levels)
    for module in network.modules():
        if isinstance(module, nn.InstanceNorm2d):  # it looks at the whole image
            module.forward = lambda x: x  # type: ignore[method-assign] # passes all
    image = torch.rand(1, 1, 128, 128, requires_grad=True)
    patches = network(image)
    patches[0, 0, patches.shape[2] // 2, patches.shape[3] // 2].backward()
    assert image.grad is not None
    rows = image.grad[0, 0].abs().sum(dim=1).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == pixels


@pytest.mark.parametrize("size", [(32, 32), (8, 9), (37, 51), (30, 61)])
def test_a_picture_comes_back_at_its_own_size(size: tuple[int, int]) -> None:
    generator = build().a_to_b
    image = torch.rand(2, 3, *size) * 2 - 1
    with torch.no_grad():
        translated = generator(image)
    assert translated.shape == image.shape
    assert translated.abs().max() <= 1


def test_with_a_skip_what_is_added_is_nothing_at_first() -> None:
    generator = build(skip=True).a_to_b
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.zero_()
        torch.testing.assert_close(generator(image), 0.98 * image)


def test_blocks_follow_from_the_size_unless_they_are_given() -> None:
    def blocks(pixels: int, **options: object) -> int:
        data = photos(pixels, pixels)
        model = CycleGAN(configure(CycleGANConfig, {"features": 1, **options}), data)
        return sum(type(layer).__name__ == "Residual" for layer in model.a_to_b.layers)

    assert (blocks(128), blocks(256), blocks(256, blocks=2)) == (6, 9, 2)


def test_images_without_a_single_patch_are_refused() -> None:
    with raises(UsageError, "wrong-size", "16x40", "patch_levels=3", "--size 24"):
        build(photos(16, 40), patch_levels=3)
    model = build(photos(24, 40), patch_levels=3)
    assert model.discriminator_a(torch.rand(1, 3, 24, 40)).numel() > 0


def test_graphs_speak_of_the_domains() -> None:
    graphs = build().graphs()
    assert list(graphs) == ["horse_to_zebra", "zebra_to_horse", "horse_cycle", "zebra_cycle"]
    ports = graphs["horse_to_zebra"].inputs[0], graphs["horse_to_zebra"].outputs[0]
    assert [port.domain for port in ports] == ["horse", "zebra"]
    assert [port.shape for port in ports] == [("batch", 3, "height", "width")] * 2
    nameless = build(DataSpec.of_images("x", 1, 32, 32, domains=("夏", "冬")))
    assert list(nameless.graphs()) == ["a_to_b", "b_to_a", "a_cycle", "b_cycle"]
