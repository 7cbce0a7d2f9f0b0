"""Numbers that were measured of a model, and ``evaluation.json``, which keeps them beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zoo.errors import NotFoundError
from zoo.records import read_json

EVALUATION = "evaluation.json"


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


@dataclass(frozen=True)
class EvaluationRecord:
    """What ``evaluation.json`` holds: what was measured of one weight file."""

    weights_sha256: str
    data: str  # name of what was measured on
    split: str  # of the data
    items: int  # rows of the split
    measurements: tuple[Measurement, ...]


def read_evaluation(folder: Path) -> EvaluationRecord | None:
    """Return what was measured of the weights in a folder; None where nothing was.

    Raises:
        NotFoundError: the file cannot be read, or is another program's.
    """
    path = folder / EVALUATION
    try:
        return read_json(path, EvaluationRecord)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as problem:
        raise NotFoundError(
            f"{path} cannot be used",
            cause=str(problem)[:300],
            hint="zoo export TARGET --card",
            code="damaged-evaluation",
        ) from None
