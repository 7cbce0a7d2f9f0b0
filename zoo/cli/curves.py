"""The numbers of a run as lines of text: each term with its first and last value and its trend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from zoo.training.curves import Series
from zoo.training.run import MetricsRow

LEVELS = "▁▂▃▄▅▆▇█"
WIDTH = 40  # characters of a trend at most


@dataclass(frozen=True)
class Curve:
    """One term of training or one metric of validation, over a run.

    Args:
        name: as in ``metrics.jsonl``.
        split: ``train`` or ``validation``.
        points: how many there are.
        first: the earliest value.
        last: the latest value.
        trend: the values in between as a row of blocks, from the least to the greatest.
    """

    name: str
    split: str
    points: int
    first: float
    last: float
    trend: str

    def to_json(self) -> dict[str, Any]:
        """Return the curve as plain JSON values."""
        return asdict(self)


def curves(rows: Iterable[MetricsRow]) -> list[Curve]:
    """Return the curves of the rows of ``metrics.jsonl``, training first.

    However many rows there are, only some hundred means of each curve are kept.
    """
    found: dict[tuple[str, str], Series] = {}
    for row in rows:
        for name, value in row["values"].items():
            found.setdefault((row["split"], name), Series()).add(row["step"], value)
    return [
        Curve(name, split, each.count, each.first, each.last, trend([y for _, y in each.points()]))
        for (split, name), each in sorted(found.items(), key=lambda item: item[0][0])
    ]


def trend(values: Sequence[float]) -> str:
    """Return numbers as a row of blocks; neighbours are averaged where there are many."""
    columns = min(WIDTH, len(values))
    edges = [place * len(values) // columns for place in range(columns + 1)]
    means = [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]
    low, high = min(means), max(means)
    if low == high:
        return LEVELS[0] * columns
    last = len(LEVELS) - 1
    return "".join(LEVELS[round((mean - low) / (high - low) * last)] for mean in means)
