from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy
from zoo_gans.dcgan import DCGAN, DCGANConfig

from tests.plugins.plain_loop import clothes
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)
LARGE = DataSpec.of_images("large", channels=3, height=64, width=64)


def build(data: DataSpec = GREY, **options: object) -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(configure(DCGANConfig, {"features": 4, **options}), data)


def terms(model: DCGAN) -> dict[str, Tensor]:
    torch.manual_seed(7)
    updates = list(model.training_step({"image": clothes(40)}))
    assert [update.player for update in updates] == ["discriminator", "generator"]
    return {key: value for update in updates for key, value in update.terms.items()}


def judged(model: DCGAN) -> tuple[Tensor, Tensor]:
    """Return D(x) and D(G(z)) as the next training step will find them, in double precision."""
    torch.manual_seed(7)
    fake = model.generator(torch.randn(40, model.config.latent_size))
    return (
        model.discriminator(clothes(40)).double().sigmoid(),
        model.discriminator(fake).double().sigmoid(),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_terms_are_cross_entropies_and_only_real_labels_are_smoothed(smoothing: float) -> None:
    model = build(label_smoothing=smoothing)
    real, fake = judged(model)
    found = terms(model)
    wanted = {
        "real": binary_cross_entropy(real, torch.full_like(real, 1 - smoothing)),
        "fake": binary_cross_entropy(fake, torch.zeros_like(fake)),
        "fool": binary_cross_entropy(fake, torch.ones_like(fake)),
    }
    for key, value in wanted.items():
        assert found[key].item() == pytest.approx(value.item(), rel=1e-4)


def test_a_smoothed_label_is_best_met_by_a_doubt_of_its_size() -> None:
    logits = torch.linspace(-6, 6, 1201)
    model = build(label_smoothing=0.1)
    model.discriminator = nn.Sequential(nn.Flatten(), Verdict(logits))
    best = min(range(len(logits)), key=lambda index: _real_term(model, index))
    assert logits[best].sigmoid().item() == pytest.approx(0.9, abs=0.002)


class Verdict(nn.Module):
    """A discriminator that gives every image one logit of a list."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits, self.index = logits, 0

    def forward(self, image: Tensor) -> Tensor:
        return self.logits[self.index].expand(len(image))


def _real_term(model: DCGAN, index: int) -> float:
    verdict = model.discriminator[1]
    assert isinstance(verdict, Verdict)
    verdict.index = index
    return next(model.training_step({"image": clothes(2)})).terms["real"].item()


def test_the_paper_has_1024_maps_of_4_by_4_and_batch_norm_everywhere_but_next_to_the_image() -> (
    None
):
    with torch.device("meta"):
        model = build(LARGE, features=128)
    up = [each for each in model.generator if isinstance(each, nn.ConvTranspose2d)]
    assert [each.in_channels for each in up] == [1024, 512, 256, 128]
    project = model.generator[0]
    assert isinstance(project, nn.Linear)
    assert (project.in_features, project.out_features) == (100, 1024 * 4 * 4)
    assert _normalised(model.generator) == [1024, 512, 256, 128]
    assert _normalised(model.discriminator) == [256, 512, 1024]
    kinds = [type(each) for each in model.generator]
    assert (nn.ConvTranspose2d, nn.Tanh) in pairwise(kinds)


def _normalised(network: nn.Sequential) -> list[int]:
    return [each.num_features for each in network if isinstance(each, nn.BatchNorm2d)]


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_first_weights_are_the_papers(spectral_norm: bool) -> None:
    model = build(features=64, spectral_norm=spectral_norm)
    convolution = model.discriminator[2]
    assert isinstance(convolution, nn.Conv2d)
    first = (
        convolution.parametrizations.weight.original  # type: ignore[union-attr,index] # torch's own names
        if spectral_norm
        else convolution.weight
    )
    assert first.std().item() == pytest.approx(0.02, rel=0.03)
    project = model.generator[0]
    assert isinstance(project, nn.Linear)
    assert project.weight.std().item() == pytest.approx(0.02, rel=0.03)


def test_spectral_norm_keeps_the_largest_singular_value_of_every_layer_at_1() -> None:
    model = build(spectral_norm=True, lr=1e-2)
    optimiser = torch.optim.Adam(model.discriminator.parameters(), lr=1e-2)
    for _ in range(30):  # far enough for the weights to have moved
        update = next(model.training_step({"image": clothes(20)}))
        optimiser.zero_grad()
        torch.stack(list(update.terms.values())).sum().backward()
        optimiser.step()
    layers = [each for each in model.discriminator if isinstance(each, nn.Conv2d | nn.Linear)]
    assert len(layers) == 3
    model.discriminator(clothes(1))  # takes in the last step
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1.0, abs=0.1)


def test_spectral_norm_replaces_batch_norm_in_the_discriminator_alone() -> None:
    model = build(spectral_norm=True)
    assert _normalised(model.discriminator) == []
    assert _normalised(model.generator) == [8, 4]
