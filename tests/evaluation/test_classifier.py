"""A classifier of the data: as good as is said, trained once, read back only when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.errors import raises
from tests.evaluation.toys import STRIPES, store, stripes, with_wrong_labels
from zoo import DataSpec
from zoo.catalog.dataset import cache_home
from zoo.data.location import locate_data
from zoo.data.store import Store, open_store
from zoo.errors import UsageError, ZooError
from zoo.evaluation.classifier import Classifier, Network, find_classifier

STRIPED = store(STRIPES, train=stripes(120, 1), validation=stripes(30, 2), test=stripes(60, 3))


def find(data: Store = STRIPED) -> tuple[Classifier, list[str]]:
    """Return the classifier of some data and what the user was told."""
    said: list[str] = []
    return find_classifier(data, said.append), said


@pytest.mark.slow
def test_a_classifier_of_a_small_part_of_fashion_mnist_is_as_good_as_is_said() -> None:
    data = open_store(locate_data("fashion-mnist-small"))
    classifier, said = find(data)
    assert classifier.accuracy >= 0.88
    test = data.splits["test"]
    probabilities = classifier.probabilities(test["image"])
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    right = probabilities.argmax(axis=1) == test["label"]
    assert right.mean() == classifier.accuracy
    sure = probabilities.max(axis=1) >= 0.9
    assert right[sure].mean() > 0.95, "what it is sure of is right"
    assert "training a classifier on 4,750 images of fashion-mnist-small" in said[0]
    assert f"right on {classifier.accuracy:.1%} of 1,000 test images" in said[1]


@pytest.mark.slow
@pytest.mark.parametrize("size", [28, 32])
def test_fashion_mnist_is_classified_better_than_ninety_per_cent(
    shared_data: Path, size: int
) -> None:
    data = open_store(locate_data(str(shared_data / "fashion-mnist")), size=(size, size))
    classifier, _ = find(data)
    assert len(data.splits["test"]["image"]) == 10_000
    assert classifier.accuracy >= 0.90


def test_the_second_time_it_is_read_back() -> None:
    made, said = find()
    again, quiet = find()
    assert len(said) == 2
    assert not quiet
    assert again.accuracy == made.accuracy
    images = STRIPED.splits["test"]["image"]
    assert np.array_equal(again.probabilities(images), made.probabilities(images))


def test_the_same_data_give_the_same_classifier_and_the_noise_of_others_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first, _ = find()
    assert torch.equal(torch.rand(3), wanted)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    second, said = find()
    assert said, "trained anew"
    for key, tensor in first.network.state_dict().items():
        assert torch.equal(tensor, second.network.state_dict()[key])


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def not_a_number(path: Path) -> None:
    change(path, lambda tensors: tensors["layers.0.weight"].fill_(torch.nan))


def another_shape(path: Path) -> None:
    change(path, lambda tensors: tensors.update({"layers.0.weight": torch.zeros(16, 3, 3, 3)}))


def a_tensor_less(path: Path) -> None:
    change(path, lambda tensors: tensors.pop("layers.0.weight"))


def a_tensor_more(path: Path) -> None:
    change(path, lambda tensors: tensors.update(extra=torch.zeros(1)))


def no_accuracy(path: Path) -> None:
    safetensors.torch.save_file(safetensors.torch.load_file(path), path)


def change(path: Path, how: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = safetensors.torch.load_file(path)
    how(tensors)
    safetensors.torch.save_file(tensors, path, {"accuracy": "1.0"})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a trained classifier."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        find()
        (file,) = (cache_home() / "classifiers").iterdir()
        return file


@pytest.mark.parametrize(
    "damage", [cut_short, not_a_number, another_shape, a_tensor_less, a_tensor_more, no_accuracy]
)
def test_a_damaged_file_is_trained_anew(damage: Callable[[Path], None], whole: Path) -> None:
    file = cache_home() / "classifiers" / whole.name
    file.parent.mkdir(parents=True)
    shutil.copyfile(whole, file)
    _, said = find()
    assert not said, "it is whole"
    damage(file)
    _, said = find()
    assert said, "it was not believed"
    assert file.read_bytes() == whole.read_bytes()


def test_other_images_labels_or_classes_have_a_classifier_of_their_own() -> None:
    find()
    others = [
        {"train": stripes(120, 9)},
        {"train": with_wrong_labels(stripes(120, 1), every=4)},
        {"test": stripes(60, 9)},
    ]
    for other in others:
        _, said = find(store(STRIPES, **{**STRIPED.splits, **other}))
        assert said
    names = DataSpec.of_images("stripes", 1, 8, 8, classes=("a", "b", "c"))
    _, said = find(store(names, **STRIPED.splits))
    assert said
    called_otherwise = DataSpec.of_images("another-name", 1, 8, 8, classes=STRIPES.classes)
    _, said = find(store(called_otherwise, **STRIPED.splits))
    assert not said, "the name of the data does not matter"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (28, 28), (8, 64), (45, 33), (128, 128)])
def test_images_of_every_size_go_through(size: tuple[int, int], channels: int) -> None:
    spec = DataSpec.of_images("any", channels, *size, classes=("a", "b", "c"))
    images = np.zeros((2, *size, channels), np.uint8)
    assert Classifier(Network(spec).eval(), 0.0).probabilities(images).shape == (2, 3)


def test_a_test_split_without_labels_is_not_asked() -> None:
    unlabelled = {"image": stripes(60, 3)["image"]}
    _, said = find(store(STRIPES, **{**STRIPED.splits, "test": unlabelled}))
    assert "30 validation images" in said[1]


def test_without_labels_there_is_none() -> None:
    splits = {name: {"image": split["image"]} for name, split in STRIPED.splits.items()}
    with raises(UsageError, "no-labels", "plain"):
        find(store(DataSpec.of_images("plain", 1, 8, 8), **splits))


def test_images_can_be_too_small() -> None:
    spec = DataSpec.of_images("dots", 1, 7, 9, classes=("a", "b"))
    dots = {"image": np.zeros((9, 7, 9, 1), np.uint8), "label": np.zeros(9, np.int64)}
    with raises(UsageError, "wrong-size", "dots", "8×8"):
        find(store(spec, train=dots, test=dots))


def test_a_cache_that_cannot_be_written_to_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    with raises(ZooError, "cache-unusable", tmp_path / "file"):
        find()
