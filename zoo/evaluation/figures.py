"""The few figures that say how good a model is, each with the direction in which it is better."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from zoo.data.store import Store
from zoo.evaluation.classes import judge_samples
from zoo.evaluation.classifier import Report
from zoo.evaluation.pairs import measure_pairs
from zoo.evaluation.score import score
from zoo.model.drawing import samplers
from zoo.model.weights import Trained

SAMPLES = 1000  # that are judged


@dataclass(frozen=True)
class Figure:
    """One figure.

    Args:
        name: such as ``"elbo"``.
        value: of it.
        better: the direction in which it is better; empty where nobody has told.
        graph: of the model, that it is a figure of; empty where it is one of the whole model.
    """

    name: str
    value: float
    better: Literal["lowest", "highest", ""] = ""
    graph: str = ""


def figures(trained: Trained, store: Store, split: str, report: Report) -> Iterator[Figure]:
    """Measure a model on a split of data, by all that is known of both; yield as it is measured.

    Its own metrics; the error to true partners, where these are known; and for samples of labelled
    data, where no metric of the model says how good it is, the share that a classifier recognises.

    Args:
        trained: the model.
        store: of its size and channels.
        split: of the images.
        report: told when a classifier has to be trained first.
    """
    metrics, _ = score(trained, store, split)
    goal = trained.model.goal
    for name, value in metrics.items():
        yield Figure(name, value, goal.direction if goal and name == goal.metric else "")
    for way in measure_pairs(trained.model, store, split):
        yield Figure(f"error_{way.source}_to_{way.target}", way.error, "lowest", way.graph)
    if can_be_judged(trained, store, split):
        judged = judge_samples(trained, store, split, SAMPLES, report).samples
        graph = samplers(trained.model)[0]
        yield Figure("recognisable", sum(judged.recognisable), "highest", graph)


def can_be_judged(trained: Trained, store: Store, split: str) -> bool:
    """Whether samples can be judged, and no metric of the model says how good it is."""
    labelled = all("label" in store.splits[each] for each in ("train", split))
    return trained.model.goal is None and bool(samplers(trained.model)) and labelled
