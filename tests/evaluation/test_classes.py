"""Samples whose classes are known beforehand are counted as what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

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
    values,
    with_wrong_labels,
)
from zoo import DataSpec, Graph, Port
from zoo.errors import UsageError
from zoo.evaluation.classes import (
    MIN_DIVERSITY,
    SampleReport,
    classify_samples,
    count_classes,
    diversity,
    draw_classes,
)
from zoo.evaluation.extractor import as_extractor

TEST = with_wrong_labels(stripes(118, 3), every=7)  # so that nobody can be right on all of them
DATA = store(STRIPES, train=stripes(120, 1), validation=stripes(30, 2), test=TEST)


def model(function: Callable[..., Tensor], *, label: tuple[str, ...] = ()) -> Toy:
    """A model that draws what a function of a latent, and perhaps a label, says."""
    inputs = [Port.latent("latent", 2), *([Port.label("label", label)] if label else [])]
    return Toy(
        STRIPES, {"generate": Graph(function, inputs, [Port.image("image", STRIPES.pictures)])}
    )


def classified(toy: Toy, count: int) -> SampleReport:
    extractor = as_extractor(striped_classifier(), DATA)
    return classify_samples(trained(toy), DATA, "test", count, extractor)


def real_images(latent: Tensor, label: Tensor) -> Tensor:
    """Give the test images of the class that is asked for, in turn."""
    so_far: Counter[int] = Counter()
    chosen = []
    for number in label.tolist():
        of_the_class = np.flatnonzero(TEST["label"] == number)
        chosen.append(of_the_class[so_far[number]])
        so_far[number] += 1
    return values(TEST["image"][chosen])


def test_real_images_of_the_class_asked_for_are_as_often_right_as_the_classifier() -> None:
    counts = np.bincount(TEST["label"])
    assert len(set(counts)) > 1, "the classes are not equally many, but equally often asked for"
    each = int(counts.min())
    report = classified(model(real_images, label=STRIPES.classes), 3 * each + 2)
    assert report.samples.images == 3 * each
    everything = classified(model(lambda latent: latent.new_zeros(len(latent), 1, 8, 8)), 10).real
    assert everything == report.real
    chosen = np.concatenate([np.flatnonzero(TEST["label"] == k)[:each] for k in range(3)])
    extractor = as_extractor(striped_classifier(), DATA)
    likeliest = extractor.probabilities(TEST["image"]).argmax(axis=1)
    right = likeliest == TEST["label"]
    assert report.real.right_of_all == right.mean() == extractor.accuracy
    assert 0.8 < extractor.accuracy < 0.9, "one label of seven is wrong"
    assert report.samples.right_of_all == pytest.approx(right[chosen].mean())
    assert report.samples.right is not None
    for k, share in enumerate(report.samples.right):
        assert share == pytest.approx(right[chosen][TEST["label"][chosen] == k].mean())
    assert all(report.samples.found)


def test_the_wrong_class_is_not_what_was_asked_for() -> None:
    def next_class(latent: Tensor, label: Tensor) -> Tensor:
        return real_images(latent, (label + 1) % 3)

    right = classified(model(real_images, label=STRIPES.classes), 90).samples.right_of_all
    wrong = classified(model(next_class, label=STRIPES.classes), 90).samples.right_of_all
    assert right is not None
    assert wrong is not None
    assert right > 0.8
    assert wrong < 0.2


def test_a_picture_repeated_for_each_class_is_right_and_yet_finds_none() -> None:
    """The extractor alone praises it: nearly all as asked."""
    pictures = values(stripes(3, 8)["image"])
    samples = classified(
        model(lambda latent, label: pictures[label], label=STRIPES.classes), 90
    ).samples
    assert samples.right_of_all == 1
    assert min(samples.recognisable) > 0.3
    assert samples.diversity == (0.0, 0.0, 0.0)
    assert samples.found == (False, False, False)


def test_a_few_pictures_again_and_again_find_no_class() -> None:
    """Two of them are far apart, but each has others that are the same."""
    pictures = values(stripes(12, 8)["image"])

    def draw(latent: Tensor, label: Tensor) -> Tensor:
        return pictures[label + 3 * (torch.arange(len(label)) % 4)]

    samples = classified(model(draw, label=STRIPES.classes), 90).samples
    assert samples.diversity == (0.0, 0.0, 0.0)
    assert not any(samples.found)


def test_one_collapsed_class_is_the_one_that_is_not_found() -> None:
    def draw(latent: Tensor, label: Tensor) -> Tensor:
        images = real_images(latent, label)
        images[label == 1] = values(stripes(3, 8)["image"][1:2])
        return images

    samples = classified(model(draw, label=STRIPES.classes), 90).samples
    assert samples.found == (True, False, True)
    rows, columns, checks = samples.diversity
    assert columns is not None
    assert columns < MIN_DIVERSITY
    assert rows == pytest.approx(1, abs=0.1)
    assert checks == pytest.approx(1, abs=0.1)


def test_real_images_are_as_different_as_real_images() -> None:
    report = classified(model(real_images, label=STRIPES.classes), 90)
    for judgement in (report.samples, report.real):
        assert all(level == pytest.approx(1, abs=0.1) for level in judgement.diversity)
        assert judgement.mean_diversity == pytest.approx(1, abs=0.1)
    answer = report.to_json()
    assert answer["min_diversity"] == MIN_DIVERSITY
    assert len(answer["samples"]["diversity"]) == 3
    assert answer["real"]["mean_diversity"] == report.real.mean_diversity


def test_the_same_number_of_images_is_compared() -> None:
    """Among a hundred images the nearest is nearer than among ten."""
    images = stripes(300, 5)["image"][::3]
    few = stripes(30, 6)["image"][::3]
    for some, others in ((few, images), (images, few)):
        assert diversity(some, others) == pytest.approx(1, abs=0.15)


def test_of_fewer_than_eight_images_no_diversity_is_told() -> None:
    images = stripes(60, 5)["image"][::3]
    assert diversity(images[:7], images) is None
    assert diversity(images, images[:7]) is None
    assert diversity(images[:8], images) is not None
    same = np.repeat(images[:1], 20, axis=0)
    assert diversity(images, same) is None, "the real ones are all the same themselves"


def test_without_a_diversity_a_class_is_found_by_its_share() -> None:
    pictures = values(stripes(3, 8)["image"])
    few = classified(
        model(lambda latent, label: pictures[label], label=STRIPES.classes), 15
    ).samples
    assert few.diversity == (None, None, None)
    assert few.mean_diversity is None
    assert few.found == (True, True, True)


def test_of_one_picture_one_class_is_seen() -> None:
    picture = values(stripes(3, 8)["image"][1:2])
    report = classified(model(lambda latent: picture.expand(len(latent), -1, -1, -1)), 50)
    assert report.samples.classified == (0.0, 1.0, 0.0)
    assert report.samples.recognisable == (0.0, 1.0, 0.0)
    assert report.samples.found == (False, False, False)
    assert report.samples.diversity == (None, 0.0, None)
    assert report.samples.right is None
    assert report.real.found == (True, True, True)
    assert report.to_json()["real"]["classes_found"] == 3


def test_noise_without_a_label_is_drawn_the_same_every_time() -> None:
    images = values(stripes(120, 8)["image"]).unflatten(0, (40, 3))  # 40 of each class

    def stripes_of(latent: Tensor) -> Tensor:
        return images[torch.arange(len(latent)) % 40, (latent[:, 0] > 0).long()]

    first, second = (classified(model(stripes_of), 200).samples for _ in range(2))
    assert first == second
    assert first.images == 200
    assert sum(first.classified) == pytest.approx(1)
    assert first.classified[0] == pytest.approx(0.5, abs=0.1)
    assert first.classified[2] == 0


def test_a_class_is_found_from_a_fifth_of_an_equal_share_of_recognisable_samples() -> None:
    """Five classes, 100 images: four of them have to be recognisable."""
    sure = [0] * 93 + [1] * 4 + [2] * 3
    probabilities = np.full((110, 5), 0.025, np.float32)
    probabilities[np.arange(100), sure] = 0.9
    report = count_classes(probabilities[:100], None, [None] * 5)
    assert report.found == (True, True, False, False, False)
    assert report.recognisable == pytest.approx((0.93, 0.04, 0.03, 0, 0))

    probabilities[np.arange(93, 97), 1] = 0.89
    report = count_classes(probabilities[:100], None, [None] * 5)
    assert report.found == (True, False, False, False, False)
    assert report.classified == pytest.approx((0.93, 0.04, 0.03, 0, 0))
    assert report.recognisable == pytest.approx((0.93, 0, 0.03, 0, 0))


def test_a_class_that_nobody_asks_for_has_no_share_of_right_ones() -> None:
    probabilities = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    report = count_classes(probabilities, np.array([0, 1, 1, 1]), [None] * 3)
    assert report.right == (1.0, pytest.approx(1 / 3), None)
    assert report.right_of_all == 0.5


def test_samples_come_in_the_range_that_their_port_says() -> None:
    """A model that draws in [0, 1] is shown the extractor as one that draws in [-1, 1]."""
    picture = values(stripes(3, 8)["image"][1:2])
    port = Port("image", "image", ("batch", 1, 8, 8), range=(0.0, 1.0))

    def draw(latent: Tensor) -> Tensor:
        return ((picture + 1) / 2).expand(len(latent), -1, -1, -1)

    toy = Toy(STRIPES, {"generate": Graph(draw, [Port.latent("latent", 2)], [port])})
    assert classified(toy, 20).samples.recognisable == (0.0, 1.0, 0.0)


def test_classes_of_other_data_are_an_error() -> None:
    with raises(UsageError, "other-classes", "cat, dog", "rows, columns, checks"):
        classified(model(real_images, label=("cat", "dog")), 20)


def test_a_model_that_draws_nothing_is_an_error() -> None:
    image = Port.image("image", STRIPES.pictures)
    toy = Toy(STRIPES, {"same": Graph(lambda image: image, [image], [image])})
    with raises(UsageError, "does-not-apply", "toy"):
        classified(toy, 20)


def test_data_without_labels_are_an_error() -> None:
    plain = DataSpec.of_images("plain", 1, 8, 8)
    splits = {name: {"image": split["image"]} for name, split in DATA.splits.items()}
    toy = model(lambda latent: torch.zeros(len(latent), 1, 8, 8))
    with raises(UsageError, "no-labels", "plain"):
        draw_classes(trained(toy), store(plain, **splits), "test", 20)
