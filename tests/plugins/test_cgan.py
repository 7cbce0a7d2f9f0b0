from __future__ import annotations

from itertools import combinations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy
from zoo_gans.cgan import ConditionalGAN, ConditionalGANConfig

from tests.errors import raises
from tests.plugins.plain_loop import clothes
from zoo import DataSpec, UsageError
from zoo.catalog.lookup import find_model
from zoo.options import configure

CLASSES = ("dress", "boot", "bag")
GREY = DataSpec.of_images("grey", channels=1, height=28, width=28, classes=CLASSES)


def build(data: DataSpec = GREY) -> ConditionalGAN:
    torch.manual_seed(0)
    return ConditionalGAN(configure(ConditionalGANConfig, {"features": 8}), data)


def labels(count: int) -> Tensor:
    return torch.arange(count) % len(CLASSES)


def test_terms_are_cross_entropies_given_the_class() -> None:
    model = build()
    batch = {"image": clothes(40), "label": labels(40)}
    torch.manual_seed(7)
    fake = model.generator(torch.randn(40, model.config.latent_size), labels(40))
    on_real = model.discriminator(batch["image"], labels(40)).double().sigmoid()
    on_fake = model.discriminator(fake, labels(40)).double().sigmoid()
    torch.manual_seed(7)
    updates = list(model.training_step(batch))
    found = {key: value for update in updates for key, value in update.terms.items()}
    wanted = {
        "real": binary_cross_entropy(on_real, torch.ones_like(on_real)),
        "fake": binary_cross_entropy(on_fake, torch.zeros_like(on_fake)),
        "fool": binary_cross_entropy(on_fake, torch.ones_like(on_fake)),
    }
    assert set(found) == set(wanted)
    for key, value in wanted.items():
        assert found[key].item() == pytest.approx(value.item(), rel=1e-4)


def test_the_same_noise_gives_another_image_for_each_class() -> None:
    model = build().eval()
    latent = torch.randn(3, model.config.latent_size)
    with torch.no_grad():
        by_noise = model.generator(latent, torch.tensor([0, 0, 0]))
        by_class = model.generator(latent[:1].expand(3, -1), labels(3))
    assert distances(by_class).min() > 0.3 * distances(by_noise).min()


def distances(images: Tensor) -> Tensor:
    return torch.stack([(one - other).norm() for one, other in combinations(images, 2)])


def test_the_same_image_is_judged_otherwise_for_each_class() -> None:
    model = build().eval()
    with torch.no_grad():
        logits = model.discriminator(clothes(1).expand(3, -1, -1, -1), labels(3))
    for one, other in combinations(logits.tolist(), 2):
        assert abs(one - other) > 1e-4


def test_both_networks_learn_what_the_classes_mean() -> None:
    model = build()
    judging, drawing = model.training_step({"image": clothes(9), "label": labels(9)})
    for update, network in ((judging, model.discriminator), (drawing, model.generator)):
        embedding = network.embedding.weight
        loss = torch.stack(list(update.terms.values())).sum()
        (gradient,) = torch.autograd.grad(loss, embedding, retain_graph=True)
        assert gradient.abs().sum(dim=1).min() > 0  # of every class


def test_the_label_port_names_the_classes_of_the_data() -> None:
    latent, label = build().graphs()["generate"].inputs
    assert (latent.name, label.name) == ("latent", "label")
    assert label.classes == CLASSES
    assert label.range == (0.0, 2.0)


def test_data_without_classes_is_refused() -> None:
    assert find_model("cgan").card.needs == {
        "image": "image",
        "label": "label",
    }  # the trainer refuses others
    with raises(UsageError, "wrong-data", "cgan", "zoo data list"):
        build(DataSpec.of_images("grey", channels=1, height=28, width=28))
