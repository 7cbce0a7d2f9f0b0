"""One number that was measured of a model, how far it is to be trusted, and how it came about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.measurements import Measurement, Spread

# Families of metrics, and what they measure.
FAMILIES = {
    "model": "what the model itself measures at each validation",
    "likelihood": "bounds of log p(x), of models with a posterior",
    "reconstruction": "of graphs that give back a picture",
    "code": "of graphs that encode a picture",
    "pairs": "translations beside the true partners",
    "samples": "pictures that are drawn, beside labelled ones",
}

IMPORTANCE_SAMPLES = 200  # k of the bound of log p(x), as most papers have it
RESAMPLES = 1000  # of the bootstrap
LEVEL = 0.95  # share of the resampled means between the two ends of an interval

Values = NDArray[np.float64]


def mean_of_items(
    name: str,
    values: Values,
    *,
    better: Literal["lowest", "highest", ""] = "",
    graph: str = "",
    unit: str = "",
    protocol: Mapping[str, Any] | None = None,
) -> Measurement:
    """Return the mean of one value an item, with its bootstrap interval."""
    return Measurement(
        name, float(values.mean()), better, graph, unit, bootstrap(values), protocol or {}
    )


def bootstrap(values: Values, seed: int = 0) -> Spread:
    """Return the interval that holds 95 % of the means of items drawn with replacement."""
    generator = np.random.default_rng(seed)
    count = len(values)
    means = [values[generator.integers(0, count, count)].mean() for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    return Spread(low, high, "bootstrap")


def over_seeds(measure: Callable[[int], Sequence[Measurement]], seeds: int) -> list[Measurement]:
    """Measure with the seeds 0, 1, …; return the mean of each number, with least and greatest."""
    runs = [measure(seed) for seed in range(seeds)]
    found = []
    for same in zip(*runs, strict=True):
        values, first = [each.value for each in same], same[0]
        spread = Spread(min(values), max(values), "seeds") if seeds > 1 else None
        found.append(
            Measurement(
                first.name, float(np.mean(values)), first.better, first.graph, first.unit, spread,
                {**first.protocol, "seeds": seeds},
            )
        )  # fmt: skip
    return found
