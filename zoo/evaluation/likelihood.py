"""How probable a model with a posterior takes held-out data to be: bounds of log p(x), in nats."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from zoo.data.batches import in_order
from zoo.data.store import Store
from zoo.errors import UsageError
from zoo.evaluation.measurement import IMPORTANCE_SAMPLES, Values, mean_of_items
from zoo.measurements import Measurement
from zoo.model.contract import Model
from zoo.model.inference import device_of, evaluating

MOST_NUMBERS = 2**25  # of x, for all samples of a batch together
MOST_ROWS = 100  # of a batch
SEED = 0  # of pixels that are drawn black or white


def has_likelihood(model: Model) -> bool:
    """Whether the model tells its importance weights."""
    return type(model).log_importance_weights is not Model.log_importance_weights


def measure_likelihood(
    model: Model, store: Store, split: str, k: int = IMPORTANCE_SAMPLES, *, binary: bool = False
) -> Iterator[Measurement]:
    """Measure the evidence lower bound and the importance-weighted bound of a split.

    Both are of the same `k` samples of q(z|x) an item: their mean is the ELBO, and
    log 1/k Σ w is the bound of Burda et al. 2016, arXiv:1509.00519, eq. 8. With `binary`, the data
    are those of `binarised`, which the protocol says.
    """
    elbo, bound = bounds(model, store, split, k)
    words = f"black or white, drawn once with seed {SEED}" if binary else "grey or in colour"
    values = {"values": words, "samples": k}
    yield mean_of_items("elbo", elbo, better="highest", unit="nats", protocol=values)
    yield mean_of_items(
        "importance_weighted_bound", bound, better="highest", unit="nats", protocol=values
    )
    numbers = store.spec.numbers
    yield mean_of_items(
        "bits_per_dimension", -bound / (numbers * math.log(2)), better="lowest",
        protocol={**values, "dimensions": numbers},
    )  # fmt: skip


def binarised(store: Store, split: str) -> Store:
    """Return data whose pixels are black or white, drawn once with their value as probability.

    Of one split; the other ones stay as they are.

    Raises:
        UsageError: the data has no pictures.
    """
    if "image" not in store.splits[split]:
        raise UsageError(
            f"{store.spec.name} has no pictures to binarise",
            hint="the same command without --binarise",
            code="does-not-apply",
        )
    images = store.splits[split]["image"]
    threshold = np.random.default_rng(SEED).random(images.shape, np.float32)
    drawn = np.where(threshold * 255 < images, np.uint8(255), np.uint8(0))
    return replace(store, splits={**store.splits, split: {**store.splits[split], "image": drawn}})


def bounds(model: Model, store: Store, split: str, k: int) -> tuple[Values, Values]:
    """Return the ELBO and the importance-weighted bound of each item, in nats, each (N,)."""
    rows = max(1, min(MOST_ROWS, MOST_NUMBERS // store.spec.numbers))
    at_once = max(1, min(k, MOST_NUMBERS // (rows * store.spec.numbers)))
    portions = [min(at_once, k - start) for start in range(0, k, at_once)]
    elbos, weighted = [], []
    with evaluating(model):
        for batch in in_order(store.splits[split], store.spec, rows, device_of(model)):
            found = [model.log_importance_weights(batch, portion) for portion in portions]
            weights = torch.cat([each.double() for each in found if each is not None])  # (k, N)
            elbos.append(weights.mean(dim=0).cpu().numpy())
            weighted.append((weights.logsumexp(dim=0) - math.log(k)).cpu().numpy())
    return np.concatenate(elbos), np.concatenate(weighted)
