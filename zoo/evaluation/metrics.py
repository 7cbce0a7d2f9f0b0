"""The metrics of a trained model on a split of data, and in which direction each improves.

Of a translator trained without pairs: how near it comes to the true partners, where these are
known. Images are compared as pictures of 256 grey levels a channel, which is what a user gets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.data.batches import common_rows, in_order
from zoo.data.store import Store
from zoo.evaluation.classes import classify_samples
from zoo.model.contract import Model
from zoo.model.inference import (
    affordable_samples,
    device_of,
    domains_of,
    evaluation_batch,
    map_images,
    mappers,
    mean_metrics,
    samplers,
)
from zoo.model.weights import Trained
from zoo.ports import is_pictorial

Pixels = NDArray[np.uint8]

SAMPLES = 1000  # that are classified …
MOST_ROUNDS = 100_000  # … or fewer, where each takes many rounds of a loop
AT_ONCE = 64  # images; the numbers of more take memory without need


@dataclass(frozen=True)
class Metric:
    """One metric, such as ``"elbo"``."""

    name: str
    value: float
    better: Literal["lowest", "highest", ""] = ""  # empty where the direction is not known
    graph: str = ""  # that was measured; empty for a metric of the whole model


def compute_metrics(
    trained: Trained, store: Store, split: str, log: Callable[[str], None]
) -> Iterator[Metric]:
    """Compute the metrics one after the other, and yield each when it is computed.

    The model's own metrics; the error to true partners, where the data has pairs; and for samples
    of labelled data, if no metric of the model has a direction, the share that a classifier
    recognises. The data has the model's image size and channels.
    """
    metrics, _ = validation_metrics(trained, store, split)
    goal = trained.model.goal
    for name, value in metrics.items():
        yield Metric(name, value, goal.direction if goal and name == goal.metric else "")
    for way in measure_pairs(trained.model, store, split):
        yield Metric(f"error_{way.source}_to_{way.target}", way.error, "lowest", way.graph)
    if needs_classifier(trained, store, split):
        graphs = trained.model.graphs()
        graph = next(
            each for each in samplers(trained.model) if is_pictorial(graphs[each].outputs[0])
        )
        count = affordable_samples(graphs[graph], SAMPLES, MOST_ROUNDS)
        samples = classify_samples(trained, store, split, count, log).samples
        yield Metric("recognisable", sum(samples.recognisable), "highest", graph)


def validation_metrics(trained: Trained, store: Store, split: str) -> tuple[dict[str, float], int]:
    """Return the model's own metrics, averaged over the images of a split, and their number.

    Of two domains, as many images are taken as the smaller one has. The metrics are empty if the
    model declares none.
    """
    images = store.splits[split]
    size = evaluation_batch(trained.model.data)
    batches = in_order(images, store.spec, size, device_of(trained.model))
    metrics = mean_metrics(trained.model, batches)
    return metrics, common_rows(images)


def needs_classifier(trained: Trained, store: Store, split: str) -> bool:
    """Whether samples can be classified, and no metric of the model says how good it is."""
    labelled = all("label" in store.splits[each] for each in ("train", split))
    graphs = trained.model.graphs()
    draws_pictures = any(is_pictorial(graphs[name].outputs[0]) for name in samplers(trained.model))
    return trained.model.goal is None and draws_pictures and labelled


@dataclass(frozen=True)
class Translation:
    """One way between two domains, measured; an error is a mean absolute error on [0, 1].

    Nearest is the share of the images of which the true partner is the nearest of all partners,
    by that error.
    """

    graph: str
    source: str  # domain of the images that go in
    target: str  # domain of the images that come out
    pairs: int  # images that went in, each with its true partner
    error: float  # of what comes out against the true partner
    copying: float  # of what goes in against the true partner
    nearest: float  # of what comes out
    nearest_copying: float  # of what goes in

    @property
    def ratio(self) -> float | None:
        """Error as a share of that of copying; None where both domains show the same."""
        return self.error / self.copying if self.copying else None

    def to_json(self) -> dict[str, Any]:
        """Return all figures as plain JSON values."""
        return {**asdict(self), "ratio": self.ratio}


def translators(model: Model) -> dict[tuple[str, str], str]:
    """Return the graphs from one domain of the data to the other, by where from and where to."""
    found: dict[tuple[str, str], str] = {}
    sides = model.data.sides
    for name in mappers(model):
        way = domains_of(model.graphs()[name])
        if way in (sides, sides[::-1]):
            found.setdefault(way, name)
    return found


def measure_pairs(model: Model, store: Store, split: str) -> list[Translation]:
    """Measure every way between the domains on a split of true pairs; none where either lacks."""
    if split not in store.pairs:
        return []
    found = []
    for way, graph in translators(model).items():
        images, partners = (store.splits[split][model.data.side_of(domain)] for domain in way)
        portions = range(0, len(images), AT_ONCE)
        translated = np.concatenate(
            [map_images(model, graph, images[start : start + AT_ONCE]) for start in portions]
        )
        error, nearest = _compare(translated, partners)
        copying, nearest_copying = _compare(images, partners)
        found.append(
            Translation(graph, *way, len(images), error, copying, nearest, nearest_copying)
        )
    return found


def _compare(images: Pixels, partners: Pixels) -> tuple[float, float]:
    """Return the mean error to the own partner, and the share of which no partner is nearer."""
    error = nearest = 0.0
    for start in range(0, len(images), AT_ONCE):
        some = _flat(images[start : start + AT_ONCE])
        parts = [
            torch.cdist(some, _flat(partners[begin : begin + AT_ONCE]), p=1)
            for begin in range(0, len(partners), AT_ONCE)
        ]
        distances = torch.cat(parts, dim=1)  # (some, partners), sums over pixels
        own = distances.diagonal(offset=start)
        error += float(own.double().sum())
        nearest += float((own <= distances.min(dim=1).values).sum())
    size = images[0].size
    return error / (255 * size * len(images)), nearest / len(images)


def _flat(images: Pixels) -> torch.Tensor:
    """Return one row of grey levels an image, (N, H·W·C)."""
    return torch.from_numpy(images.reshape(len(images), -1).astype(np.float32))
