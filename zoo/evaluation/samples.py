"""How near the samples of a model come to real pictures, and to those it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.data.store import Store
from zoo.evaluation.classes import (
    SampleReport,
    draw_classes,
    drawing_graph,
    picture_graph,
    report_classes,
)
from zoo.evaluation.distances import NEIGHBOURS, frechet_distance, kernel_distance, overlap
from zoo.evaluation.extractor import Extractor
from zoo.evaluation.measurement import over_seeds
from zoo.grids import grid, interleave
from zoo.measurements import Measurement
from zoo.model.inference import draw_samples, some_of
from zoo.model.weights import Trained

FEWEST = 50  # items of each set, of which a distance says something
COLUMNS, SHOWN = 8, 3  # samples in a row of a page, and training pictures below each
AT_ONCE = 256  # pictures whose distances to all training pictures are held at a time

Pixels = NDArray[np.uint8]
FindExtractor = Callable[[Store], Extractor]


def measure_samples(
    trained: Trained,
    store: Store,
    split: str,
    count: int,
    seeds: int,
    find_extractor: FindExtractor,
) -> tuple[list[Measurement], SampleReport]:
    """Measure samples by an extractor of labelled data, and in its features.

    `find_extractor` is called once it is known that samples can be drawn and compared.

    The distances are to as many real images of the split as there are samples. They are no FID:
    that one is of another network.

    Returns:
        The numbers, each a mean over seeds of the noise, and the classes of the first seed.

    Raises:
        UsageError: as `draw_classes` and `find_extractor` do.
    """
    drawing_graph(trained, store, split)
    extractor = find_extractor(store)
    real = some_of(store.splits[split]["image"], count)
    features = extractor.features(real)
    training = store.splits["train"]["image"]
    reports = []
    own_distance = nearest_distances(real, training).mean()

    def measure(seed: int) -> Iterator[Measurement]:
        samples = draw_classes(trained, store, split, count, seed)
        report = report_classes(samples, store, split, extractor)
        reports.append(report)
        protocol = {
            "samples": len(samples.images), "real_images": len(real), "split": split,
            **extractor.protocol,
        }  # fmt: skip
        figures = {
            "recognisable": sum(report.samples.recognisable),
            "classes_found": float(sum(report.samples.found)),
            "as_asked": report.samples.right_of_all,
        }
        for name, value in figures.items():
            if value is not None:
                yield Measurement(name, value, "highest", samples.graph, protocol=protocol)
        nearest = nearest_distances(samples.images, training).mean() / own_distance
        yield Measurement(
            "nearest_training_image", float(nearest), graph=samples.graph,
            protocol={**protocol, "unit": f"mean distance of the {split} images from theirs"},
        )  # fmt: skip
        if min(len(real), len(samples.images)) < FEWEST:
            return
        made = extractor.features(samples.images)
        for name, distance in (
            ("frechet_classifier_distance", frechet_distance),
            ("kernel_classifier_distance", kernel_distance),
        ):
            value = distance(features, made)
            yield Measurement(name, value, "lowest", samples.graph, protocol=protocol)
        shared = overlap(features, made)
        for name, value in vars(shared).items():
            yield Measurement(
                name, value, "highest", samples.graph, protocol={**protocol, "k": NEIGHBOURS}
            )

    return over_seeds(lambda seed: list(measure(seed)), seeds), reports[0]


def nearest_distances(images: Pixels, others: Pixels) -> NDArray[np.float64]:
    """Return the distance of each image (N, H, W, C) from the nearest of some others.

    Root mean square over pixels in [0, 1].
    """
    return _nearest(images, others, 1)[0][:, 0]


def nearest_images(images: Pixels, others: Pixels, count: int) -> Pixels:
    """Return for each image (N, H, W, C) the nearest of some others, (N, count, H, W, C)."""
    return others[_nearest(images, others, count)[1]]


def nearest_page(trained: Trained, store: Store, seed: int = 0) -> Pixels:
    """Return samples in rows, and below each the training pictures nearest to it, in their order.

    By the distance of `nearest_distances`. A model that has learnt pictures by heart shows here.

    Raises:
        UsageError: no pictures can be sampled of the model.
    """
    samples = draw_samples(trained.model, picture_graph(trained), count=2 * COLUMNS, seed=seed)
    found = nearest_images(samples, store.splits["train"]["image"], SHOWN)
    ranks = (found[:, rank] for rank in range(SHOWN))
    page = interleave(samples, *ranks, columns=COLUMNS)
    return grid(page, COLUMNS, ["sample", *(f"nearest {rank + 1}" for rank in range(SHOWN))] * 2)


def _nearest(
    images: Pixels, others: Pixels, count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return distances and places of the nearest, each (N, count)."""
    rows = torch.from_numpy(np.array(others).reshape(len(others), -1)).float() / 255
    distances, places = [], []
    for start in range(0, len(images), AT_ONCE):
        some = np.array(images[start : start + AT_ONCE])
        apart = torch.cdist(torch.from_numpy(some.reshape(len(some), -1)).float() / 255, rows)
        found = apart.topk(count, dim=1, largest=False)
        distances.append(found.values.double().numpy() / rows.shape[1] ** 0.5)
        places.append(found.indices.numpy())
    return np.concatenate(distances), np.concatenate(places)
