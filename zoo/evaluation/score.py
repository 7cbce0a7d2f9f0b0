"""A trained model's own validation metrics on a split of a data set."""

from __future__ import annotations

from zoo.data.batches import common_rows, in_order
from zoo.data.store import Store
from zoo.model.inference import device_of, evaluation_batch, mean_metrics
from zoo.model.weights import Trained


def score(trained: Trained, store: Store, split: str) -> tuple[dict[str, float], int]:
    """Return the metrics averaged over the images of a split, and how many images these are.

    Of two domains, as many images are taken as the smaller one has. There are no metrics where the
    model declares none.
    """
    images = store.splits[split]
    size = evaluation_batch(trained.model.data)
    metrics = mean_metrics(trained.model, in_order(images, size, device_of(trained.model)))
    return metrics, common_rows(images)
