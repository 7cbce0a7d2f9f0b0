"""One number that was measured of a model, how far it is to be trusted, and how it came about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Spread:
    """The interval that a number stays in when it is measured again, and what was varied for it.

    `of` is ``bootstrap`` (95 % of the means of resampled items) or ``seeds`` (least and greatest of
    all seeds).
    """

    low: float
    high: float
    of: Literal["bootstrap", "seeds"]


@dataclass(frozen=True)
class Measurement:
    """One number, such as an ELBO.

    Args:
        name: of the metric.
        value: of all items, or the mean of all seeds.
        better: empty where the direction is not known.
        graph: that was measured; empty for a metric of the whole model.
        unit: such as ``nats`` or ``dB``; empty for a plain number.
        spread: None where it is not known.
        protocol: what else another number must share to be comparable.
    """

    name: str
    value: float
    better: Literal["lowest", "highest", ""] = ""
    graph: str = ""
    unit: str = ""
    spread: Spread | None = None
    protocol: Mapping[str, Any] = field(default_factory=dict)


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
