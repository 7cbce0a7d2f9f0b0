"""A trained model as the extractor of other data: its classes, its features and its accuracy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.errors import raises
from tests.evaluation.toys import (
    STRIPES,
    Toy,
    store,
    striped_classifier,
    stripes,
    trained,
    with_wrong_labels,
)
from zoo import DataSpec, Graph, NotFoundError, Port
from zoo.api.extractors import find_extractor
from zoo.data.location import locate_data
from zoo.data.store import Store, open_store
from zoo.errors import UsageError
from zoo.evaluation.extractor import as_extractor
from zoo.manifest import sha256_of
from zoo.model.weights import save_weights

STRIPED = store(STRIPES, train=stripes(120, 1), validation=stripes(30, 2), test=stripes(60, 3))


def toy(classes: tuple[str, ...], *, is_logits: bool, data: DataSpec = STRIPES) -> Toy:
    """Return a model that gives the same three numbers for every picture."""
    numbers = torch.tensor([1.0, 2.0, 4.0]) if is_logits else torch.tensor([0.1, 0.2, 0.7])
    port = Port("numbers", "values", ("batch", 3), range=None if is_logits else (0.0, 1.0),
                classes=classes)  # fmt: skip
    image = Port.image("image", data.pictures)

    def tell(image: Tensor) -> Tensor:
        return numbers.expand(len(image), 3)

    def features(image: Tensor) -> Tensor:
        return image.flatten(1)[:, :4]

    return Toy(data, {
        "tell": Graph(tell, [image], [port]),
        "features": Graph(features, [image], [Port.latent("code", 4, prior=None)]),
    })  # fmt: skip


def test_the_accuracy_is_the_share_of_held_out_images_that_are_right() -> None:
    noisy = store(STRIPES, **{**STRIPED.splits, "test": with_wrong_labels(stripes(60, 3), 5)})
    extractor = as_extractor(striped_classifier(), noisy)
    probabilities = extractor.probabilities(noisy.splits["test"]["image"])
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    right = probabilities.argmax(axis=1) == noisy.splits["test"]["label"]
    assert extractor.accuracy == right.mean() == pytest.approx(0.8, abs=0.05)
    unlabelled = {"image": stripes(60, 3)["image"]}
    without = store(STRIPES, **{**STRIPED.splits, "test": unlabelled})
    assert as_extractor(striped_classifier(), without).accuracy > 0.9, "of the validation images"


def test_classes_in_another_order_are_told_apart_by_their_names() -> None:
    other = DataSpec.of_images("other", 1, 8, 8, classes=("checks", "rows", "columns"))
    moved = {name: {**split, "label": (split["label"] + 1) % 3}
             for name, split in STRIPED.splits.items()}  # fmt: skip
    extractor = as_extractor(striped_classifier(), store(other, **moved))
    assert extractor.accuracy > 0.9
    straight = as_extractor(striped_classifier(), STRIPED)
    images = STRIPED.splits["test"]["image"]
    assert np.array_equal(
        extractor.probabilities(images), straight.probabilities(images)[:, [2, 0, 1]]
    )


def test_files_that_do_not_name_their_classes_have_those_of_data_of_their_name() -> None:
    numbers = DataSpec.of_images("stripes", 1, 8, 8, classes=("0", "1", "2"))
    assert as_extractor(striped_classifier(), store(numbers, **STRIPED.splits)).accuracy > 0.9
    with raises(UsageError, "other-classes", "rows, columns", "0, 1, 2"):
        as_extractor(striped_classifier(), store(replace(numbers, name="digits"), **STRIPED.splits))


@pytest.mark.parametrize("is_logits", [False, True])
def test_logits_become_probabilities(is_logits: bool) -> None:
    extractor = as_extractor(trained(toy(STRIPES.classes, is_logits=is_logits)), STRIPED)
    given = np.exp([1.0, 2.0, 4.0]) / np.exp([1.0, 2.0, 4.0]).sum()
    found = extractor.probabilities(STRIPED.splits["test"]["image"][:5])
    assert np.allclose(found, given if is_logits else [0.1, 0.2, 0.7], atol=1e-6)
    assert extractor.accuracy == pytest.approx(1 / 3), "it always says checks"


def test_pictures_are_brought_to_the_size_that_the_model_takes() -> None:
    larger = DataSpec.of_images("large", 1, 16, 16, classes=STRIPES.classes)
    splits = {
        name: {**split, "image": split["image"].repeat(2, axis=1).repeat(2, axis=2)}
        for name, split in STRIPED.splits.items()
    }
    extractor = as_extractor(striped_classifier(), store(larger, **splits))
    assert extractor.accuracy > 0.9
    assert extractor.features(splits["test"]["image"]).shape == (60, 128)


def test_features_are_what_the_graph_gives() -> None:
    extractor = as_extractor(trained(toy(STRIPES.classes, is_logits=True)), STRIPED)
    images = STRIPED.splits["test"]["image"][:7]
    wanted = images.reshape(7, -1)[:, :4] / 127.5 - 1
    assert np.allclose(extractor.features(images), wanted, atol=1e-6)


def test_a_model_that_tells_no_classes_is_refused() -> None:
    image = Port.image("image", STRIPES.pictures)
    model = Toy(STRIPES, {"same": Graph(lambda image: image, [image], [image])})
    with raises(UsageError, "does-not-apply", "toy"):
        as_extractor(trained(model), STRIPED)


def test_the_protocol_says_which_weights_these_were(tmp_path: Path) -> None:
    weights = striped_classifier()
    path = tmp_path / "stripes.safetensors"
    save_weights(path, weights.model, weights.identity)
    said: list[str] = []
    extractor = find_extractor(str(path), STRIPED, said.append)
    assert extractor.protocol == {
        "extractor": "classifier",
        "extractor_data": "stripes",
        "extractor_sha256": sha256_of(path),
        "extractor_accuracy": extractor.accuracy,
    }
    assert f"right on {extractor.accuracy:.1%} of 60 test images" in said[-1]


def test_published_weights_are_taken_for_data_that_they_were_trained_on() -> None:
    said: list[str] = []
    small = open_store(locate_data("fashion-mnist-small"))
    extractor = find_extractor(None, small, said.append)
    assert extractor.trained.identity.data.name == "fashion-mnist"
    assert extractor.accuracy > 0.9
    assert "classifier, trained on fashion-mnist" in said[-1]
    doubled = open_store(locate_data("fashion-mnist-small"), size=(32, 32))
    assert find_extractor(None, replace_name(doubled, "fashion-mnist"), said.append).accuracy > 0.9


def replace_name(data: Store, name: str) -> Store:
    return replace(data, spec=replace(data.spec, name=name))


@pytest.mark.parametrize("classes", [("rows", "columns", "checks"), tuple("0123456789")])
def test_other_data_has_no_extractor(classes: tuple[str, ...]) -> None:
    """Pictures with the form of digits are told from digits by the accuracy."""
    spec = DataSpec.of_images("mine", 1, 28, 28, classes=classes)
    random = np.random.default_rng(0)
    splits = {
        name: {
            "image": random.integers(0, 256, (200, 28, 28, 1), np.uint8),
            "label": np.arange(200) % len(classes),
        }
        for name in ("train", "validation")
    }
    with raises(NotFoundError, "no-classifier", "mine", "zoo train classifier --data mine/",
                "zoo eval dcgan --data mine/ --extractor RUN"):  # fmt: skip
        find_extractor(None, store(spec, **splits), print, "dcgan", "mine/")


def test_without_labels_there_is_none() -> None:
    splits = {name: {"image": split["image"]} for name, split in STRIPED.splits.items()}
    with raises(UsageError, "no-labels", "plain"):
        find_extractor(None, store(DataSpec.of_images("plain", 1, 8, 8), **splits), print)
