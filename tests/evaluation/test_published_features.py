"""In the features of the published extractor, sets of pictures are the farther the worse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from zoo.api.extractors import find_extractor
from zoo.data.location import locate_data
from zoo.data.store import Store, open_store
from zoo.evaluation.distances import frechet_distance, kernel_distance, overlap
from zoo.evaluation.extractor import Extractor

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Store:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        return open_store(locate_data("fashion-mnist-small"))


@pytest.fixture(scope="module")
def extractor(small: Store) -> Extractor:
    return find_extractor(None, small, print)


def blurred(images: Pixels, labels: NDArray[np.int64], level: float) -> Pixels:
    filtered = [
        Image.fromarray(each[..., 0]).filter(ImageFilter.GaussianBlur(level)) for each in images
    ]
    return np.stack([np.asarray(each) for each in filtered])[..., None]


def noisy(images: Pixels, labels: NDArray[np.int64], level: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0, 25 * level, images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def of_fewer_classes(images: Pixels, labels: NDArray[np.int64], level: float) -> Pixels:
    """Drop the first classes, and repeat what is left."""
    left = images[labels >= int(2 * level)]
    return left[np.arange(len(images)) % len(left)]


@pytest.mark.parametrize("spoil", [blurred, noisy, of_fewer_classes])
def test_each_distance_grows_with_blur_noise_and_classes_that_are_missing(
    spoil: Callable[[Pixels, NDArray[np.int64], float], Pixels],
    small: Store,
    extractor: Extractor,
) -> None:
    test, train = small.splits["test"], small.splits["train"]
    real = extractor.features(test["image"])
    images, labels = train["image"][:1000], train["label"][:1000]
    levels = [
        extractor.features(images if not level else spoil(images, labels, level))
        for level in (0.0, 0.5, 1.0, 2.0)
    ]
    for distance in (frechet_distance, kernel_distance):
        found = [distance(real, each) for each in levels]
        assert found == sorted(found), distance.__name__
        assert found[-1] > 3 * abs(found[0]), distance.__name__
    coverage = [overlap(real, each).coverage for each in levels]
    assert coverage == sorted(coverage, reverse=True)
