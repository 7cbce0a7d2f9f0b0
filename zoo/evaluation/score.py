"""A trained model's own validation metrics on a split of a data set."""

from __future__ import annotations

from typing import Literal

from zoo.data.batches import in_order, length
from zoo.data.store import Store
from zoo.errors import UsageError
from zoo.model.inference import EVALUATION_BATCH, device_of, mean_metrics
from zoo.model.weights import Trained

SplitName = Literal["train", "validation", "test"]


def score(trained: Trained, store: Store, split: SplitName) -> tuple[dict[str, float], int]:
    """Return the metrics averaged over the images of a split, and how many images these are.

    Raises:
        UsageError: the model declares no metrics, or the data has no such split.
    """
    if split not in store.splits:
        raise UsageError(
            f"{store.spec.name} has no {split} split", hint=f"--split {' or '.join(store.splits)}"
        )
    images = store.splits[split]
    metrics = mean_metrics(
        trained.model, in_order(images, EVALUATION_BATCH, device_of(trained.model))
    )
    if not metrics:
        raise UsageError(f"{trained.header.model} declares no metrics of its own")
    return metrics, length(images)
