"""The metrics of a trained model on a split of data, and in which direction each improves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from zoo.data.batches import common_rows, in_order
from zoo.data.store import Store
from zoo.evaluation.classes import classify_samples
from zoo.evaluation.pairs import measure_pairs
from zoo.model.drawing import samplers
from zoo.model.inference import device_of, evaluation_batch, mean_metrics
from zoo.model.weights import Trained

SAMPLES = 1000  # that are classified


@dataclass(frozen=True)
class Metric:
    """One metric.

    Args:
        name: such as ``"elbo"``.
        value: of it.
        better: the direction in which it improves; empty where that is not known.
        graph: of the model, that was measured; empty for a metric of the whole model.
    """

    name: str
    value: float
    better: Literal["lowest", "highest", ""] = ""
    graph: str = ""


def compute_metrics(
    trained: Trained, store: Store, split: str, log: Callable[[str], None]
) -> Iterator[Metric]:
    """Compute the metrics one after the other, and yield each when it is computed.

    The model's own metrics; the error to true partners, where the data has pairs; and for samples
    of labelled data, if no metric of the model has a direction, the share that a classifier
    recognises.

    Args:
        trained: the model.
        store: data of the model's image size and channels.
        split: of the images.
        log: called with a line when a classifier has to be trained first.
    """
    metrics, _ = validation_metrics(trained, store, split)
    goal = trained.model.goal
    for name, value in metrics.items():
        yield Metric(name, value, goal.direction if goal and name == goal.metric else "")
    for way in measure_pairs(trained.model, store, split):
        yield Metric(f"error_{way.source}_to_{way.target}", way.error, "lowest", way.graph)
    if needs_classifier(trained, store, split):
        samples = classify_samples(trained, store, split, SAMPLES, log).samples
        graph = samplers(trained.model)[0]
        yield Metric("recognisable", sum(samples.recognisable), "highest", graph)


def validation_metrics(trained: Trained, store: Store, split: str) -> tuple[dict[str, float], int]:
    """Return the model's own metrics, averaged over the images of a split, and their number.

    Of two domains, as many images are taken as the smaller one has. The metrics are empty if the
    model declares none.
    """
    images = store.splits[split]
    size = evaluation_batch(trained.model.data)
    metrics = mean_metrics(trained.model, in_order(images, size, device_of(trained.model)))
    return metrics, common_rows(images)


def needs_classifier(trained: Trained, store: Store, split: str) -> bool:
    """Whether samples can be classified, and no metric of the model says how good it is."""
    labelled = all("label" in store.splits[each] for each in ("train", split))
    return trained.model.goal is None and bool(samplers(trained.model)) and labelled
