"""Which classes the samples of a model show, by an extractor of the same data.

Source of the idea: the Inception score of Salimans et al. 2016, arXiv:1606.03498, asks one too;
here its answers are counted instead of made one number, so that a class that is missing shows.
A generator that draws one good picture of each class would pass all of that; so the pictures of a
class are also compared with one another.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.store import Store
from zoo.errors import UsageError
from zoo.evaluation.extractor import Extractor, few
from zoo.model.contract import Model
from zoo.model.inference import draw_samples, relative_distances, samplers, some_of
from zoo.model.weights import Trained
from zoo.ports import is_pictorial

CONFIDENT = 0.9  # probability of a class from which an image counts as recognisable
MIN_SHARE = 0.2  # of an equal share: recognisable samples that a class needs; 2 % of all, of ten
SEED = 0  # of the noise

# Diversity below which the pictures of a class are one, or a few again and again, and do not find
# it. Pictures that repeat have 0. One picture of Fashion-MNIST under noise of 10 of 255 grey levels
# has 0.16 to 0.24; a conditional GAN stopped early, with classes near to collapse, 0.38 or more.
MIN_DIVERSITY = 0.25
MIN_COMPARED = 8  # pictures of a class; of fewer, nothing is said
MAX_COMPARED = 100
MAX_NUMBERS = 2**24  # in the pictures compared at once

Pixels = NDArray[np.uint8]
RealImages = Callable[[int], Pixels]  # by number of the class


@dataclass(frozen=True)
class ClassReport:
    """How an extractor classifies images; every list is by class.

    Right is the share of the images meant to be of the class that are classified as it, None where
    none is meant to be, or nobody knows. The diversity is how different the images classified as it
    are from one another, as a share of what real training images of the class are; None where there
    are too few.
    """

    images: int
    classified: tuple[float, ...]  # share of the images whose most likely class it is
    recognisable: tuple[float, ...]  # the same, with a probability of at least `CONFIDENT`
    right: tuple[float | None, ...] | None
    right_of_all: float | None
    diversity: tuple[float | None, ...]

    @property
    def found(self) -> tuple[bool, ...]:
        """Whether enough images are recognisable as the class, and they are not all alike."""
        enough = MIN_SHARE / len(self.recognisable)
        return tuple(
            share >= enough and (level is None or level >= MIN_DIVERSITY)
            for share, level in zip(self.recognisable, self.diversity, strict=True)
        )

    @property
    def mean_diversity(self) -> float | None:
        """Mean over the classes of which it is known."""
        known = [level for level in self.diversity if level is not None]
        return sum(known) / len(known) if known else None

    def to_json(self) -> dict[str, Any]:
        """Return all figures as plain JSON values."""
        return {
            **asdict(self),
            "found": list(self.found),
            "classes_found": sum(self.found),
            "recognisable_of_all": sum(self.recognisable),
            "mean_diversity": self.mean_diversity,
        }


@dataclass(frozen=True)
class SampleReport:
    """Samples of a model and real images of a split, classified by one extractor."""

    names: tuple[str, ...]
    samples: ClassReport
    real: ClassReport
    split: str

    def to_json(self) -> dict[str, Any]:
        """Return all figures as plain JSON values."""
        return {
            "names": list(self.names),
            "confidence": CONFIDENT,
            "min_share": MIN_SHARE / len(self.names),
            "min_diversity": MIN_DIVERSITY,
            "samples": self.samples.to_json(),
            "real": {"split": self.split, **self.real.to_json()},
        }


@dataclass(frozen=True)
class Samples:
    """Samples (N, H, W, C) of a graph, and the class that each was asked to be of, if any."""

    graph: str
    images: Pixels
    asked: NDArray[np.int64] | None


def draw_classes(
    trained: Trained, store: Store, split: str, count: int, seed: int = SEED
) -> Samples:
    """Draw samples of a model, to be compared with the labelled images of a split.

    A model that can be asked for a class is asked for each equally often, with the same noise; the
    count of samples is rounded down to that.

    Raises:
        UsageError: the model cannot be sampled, the data has no labels, or other classes than
            the model can be asked for.
    """
    model, names = trained.model, store.spec.classes
    graph = drawing_graph(trained, store, split)
    if not _takes_class(model, graph, names):
        return Samples(graph, draw_samples(model, graph, count=count, seed=seed), None)
    each = max(1, count // len(names))
    images = draw_samples(model, graph, count=each, seed=seed, classes=range(len(names)))
    return Samples(graph, images, np.repeat(np.arange(len(names)), each))


def drawing_graph(trained: Trained, store: Store, split: str) -> str:
    """Return the graph whose samples can be compared with the labelled images of a split.

    Raises:
        UsageError: the model cannot be sampled, or the data has no labels.
    """
    graph = picture_graph(trained)
    if "label" not in store.splits[split]:
        raise UsageError(
            f"the {split} images of {store.spec.name} have no labels to compare samples with",
            code="no-labels",
        )
    return graph


def picture_graph(trained: Trained) -> str:
    """Return the graph that draws pictures from noise.

    Raises:
        UsageError: there is none.
    """
    graphs = trained.model.graphs()
    for name in samplers(trained.model):
        if is_pictorial(graphs[name].outputs[0]):
            return name
    raise UsageError(
        f"no pictures can be sampled of {trained.identity.model}", code="does-not-apply"
    )


def classify_samples(
    trained: Trained, store: Store, split: str, count: int, extractor: Extractor
) -> SampleReport:
    """Draw samples as `draw_classes` does and classify them, and real images of the split.

    Raises:
        UsageError: as `draw_classes` does.
    """
    return report_classes(draw_classes(trained, store, split, count), store, split, extractor)


def report_classes(
    samples: Samples, store: Store, split: str, extractor: Extractor
) -> SampleReport:
    """Classify samples, and the real images of a split."""
    images = store.splits[split]
    training = _training_images(store, extractor)
    real = classify_images(images["image"], images["label"], extractor, training)
    made = classify_images(samples.images, samples.asked, extractor, training)
    return SampleReport(store.spec.classes, made, real, split)


def classify_images(
    images: Pixels,
    meant: NDArray[np.int64] | None,
    extractor: Extractor,
    real: RealImages,
) -> ClassReport:
    """Classify images (N, H, W, C), and compare those of each class with one another.

    `meant` is the class that each image is meant to be of, (N,), where that is known; `real` gives
    the images of a class to compare the diversity with.
    """
    probabilities = extractor.probabilities(images)
    likeliest = probabilities.argmax(axis=1)
    levels: list[float | None] = []
    for number in range(probabilities.shape[1]):
        places = some_of(np.flatnonzero(likeliest == number), MAX_COMPARED)
        enough = len(places) >= MIN_COMPARED
        levels.append(diversity(images[places], real(number)) if enough else None)
    return count_classes(probabilities, meant, levels)


def count_classes(
    probabilities: NDArray[np.float32],
    meant: NDArray[np.int64] | None,
    diversity: Sequence[float | None],
) -> ClassReport:
    """Return the shares of the classes among images classified with the probabilities (N, K).

    `meant` is as for `classify_images`, the diversity that of the images of each class.
    """
    count, classes = probabilities.shape

    def shares(numbers: NDArray[np.int64]) -> tuple[float, ...]:
        return tuple((np.bincount(numbers, minlength=classes) / count).tolist())

    likeliest = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1) >= CONFIDENT
    right = right_of_all = None
    if meant is not None:
        is_right = likeliest == meant
        right = tuple(
            float(is_right[meant == each].mean()) if (meant == each).any() else None
            for each in range(classes)
        )
        right_of_all = float(is_right.mean())
    return ClassReport(
        count, shares(likeliest), shares(likeliest[sure]), right, right_of_all, tuple(diversity)
    )


def diversity(images: Pixels, real: Pixels) -> float | None:
    """Return how different images (N, H, W, C) are from one another, as a share of real ones.

    The geometric mean of the shares of `relative_distances`: about 1 for real images, 0 for one
    image, or a few, again and again. Of each side the same number is compared, since among more
    images the nearest is nearer. None where there are too few images, or the real ones are no
    different from one another.
    """
    affordable = max(MIN_COMPARED, MAX_NUMBERS // math.prod(images.shape[1:]))
    count = min(len(images), len(real), MAX_COMPARED, affordable)
    if count < MIN_COMPARED:
        return None
    shares = relative_distances(some_of(images, count), some_of(real, count))
    return math.sqrt(math.prod(shares)) if shares else None


def _training_images(store: Store, extractor: Extractor) -> RealImages:
    """Return a function that gives training images which are classified as what they are."""
    split = store.splits["train"]

    @functools.cache
    def of_class(number: int) -> Pixels:
        images = split["image"][some_of(np.flatnonzero(split["label"] == number), MAX_COMPARED)]
        if not len(images):
            return images
        kept: Pixels = images[extractor.probabilities(images).argmax(axis=1) == number]
        return kept

    return of_class


def _takes_class(model: Model, graph: str, names: Sequence[str]) -> bool:
    """Whether the graph takes a class of the data.

    Raises:
        UsageError: it takes a class, of other data.
    """
    labels = [port for port in model.graphs()[graph].inputs if port.is_label]
    if len(labels) != 1:
        return False
    if labels[0].classes != tuple(names):
        raise UsageError(
            f"the model draws the classes {few(labels[0].classes)}; the data has {few(names)}",
            hint="--data with what the model was trained on",
            code="other-classes",
        )
    return True
