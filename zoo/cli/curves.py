"""The numbers of a run as lines of text: each term with its first and last value and its course."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

LEVELS = "▁▂▃▄▅▆▇█"
WIDTH = 40  # characters of a course at most


@dataclass(frozen=True)
class Curve:
    """One term of training or one metric of validation, over a run.

    Args:
        name: as in ``metrics.jsonl``.
        split: ``train`` or ``validation``.
        points: how many there are.
        first: the earliest value.
        last: the latest value.
        course: the values in between as a row of blocks, from the least to the greatest.
    """

    name: str
    split: str
    points: int
    first: float
    last: float
    course: str

    def to_json(self) -> dict[str, Any]:
        """Return the curve as plain JSON values."""
        return asdict(self)


def curves(rows: Iterable[Mapping[str, Any]]) -> list[Curve]:
    """Return the curves of the rows of ``metrics.jsonl``, training first."""
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        for name, value in row["values"].items():
            values.setdefault((row["split"], name), []).append(value)
    return [
        Curve(name, split, len(each), each[0], each[-1], course(each))
        for (split, name), each in sorted(values.items(), key=lambda item: item[0][0])
    ]


def course(values: Sequence[float]) -> str:
    """Return numbers as a row of blocks; neighbours are averaged where there are many."""
    columns = min(WIDTH, len(values))
    edges = [place * len(values) // columns for place in range(columns + 1)]
    means = [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]
    low, high = min(means), max(means)
    if low == high:
        return LEVELS[0] * columns
    last = len(LEVELS) - 1
    return "".join(LEVELS[round((mean - low) / (high - low) * last)] for mean in means)
