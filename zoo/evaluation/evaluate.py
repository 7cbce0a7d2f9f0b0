"""All that is measured of a trained model on a split of data, family after family of metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from zoo.data.batches import common_rows, in_order
from zoo.data.store import Store
from zoo.errors import UsageError
from zoo.evaluation.classes import SampleReport, classify_samples
from zoo.evaluation.extractor import Extractor
from zoo.evaluation.measurement import FAMILIES, IMPORTANCE_SAMPLES
from zoo.evaluation.pairs import Translation, measure_pairs
from zoo.measurements import EvaluationRecord, Measurement
from zoo.model.contract import Goal
from zoo.model.inference import (
    affordable_samples,
    device_of,
    evaluation_batch,
    mean_metrics,
    samplers,
)
from zoo.model.weights import Trained
from zoo.ports import DataSpec, is_pictorial

SAMPLES = 1000  # that are compared with real pictures …
MOST_ROUNDS = 100_000  # … or fewer, where each takes many rounds of a loop


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a model on a split.

    Attributes:
        model: its name.
        step: training steps that its weights have had.
        data: what was measured on.
        split: of the data.
        items: rows of the split.
        metrics: the model's own, means over the items.
        measurements: those of the families, each with its spread and its protocol.
        pairs: how near translations are to true partners.
        classes: how an extractor sees samples and real pictures.
        goal: of the model: which of its metrics is best where.
    """

    model: str
    step: int
    data: DataSpec
    split: str
    items: int
    metrics: dict[str, float]
    measurements: list[Measurement]
    pairs: list[Translation]
    classes: SampleReport | None
    goal: Goal | None = None

    def record(self, weights_sha256: str) -> EvaluationRecord:
        """Return all numbers as ``evaluation.json`` keeps them beside the weights."""
        known = {each.name for each in self.measurements}  # more precisely than by the model
        best = self.goal and self.goal.metric
        own = [
            Measurement(name, value, self.goal.direction if self.goal and name == best else "")
            for name, value in self.metrics.items()
            if name not in known
        ]
        pairs = [each for way in self.pairs for each in way.measurements()]
        return EvaluationRecord(
            weights_sha256, self.data.name, self.split, self.items,
            (*own, *self.measurements, *pairs),
        )  # fmt: skip


def evaluate(  # noqa: PLR0913 - all but four by name, and each has its own default
    trained: Trained,
    store: Store,
    split: str,
    find_extractor: Callable[[Store], Extractor],
    *,
    families: Sequence[str] = (),
    samples: int | None = None,
    seeds: int = 1,
    importance_samples: int = IMPORTANCE_SAMPLES,
    binarise: bool = False,
) -> Evaluation:
    """Measure a model by some families of metrics, or by all that apply.

    Samples are measured where no metric of the model says how good it is, or where their number is
    given, or the family is.

    Args:
        trained: the model.
        store: data of the model's kind.
        split: of the data, which is measured on.
        find_extractor: returns an extractor of the data; called only where samples are measured.
        families: of `FAMILIES`; all, when empty.
        samples: to draw.
        seeds: of the noise of samples; each number is the mean over them.
        importance_samples: of the bound of log p(x).
        binarise: measure on pixels that are drawn black or white, once.

    Raises:
        UsageError: samples are asked for, and cannot be drawn or compared; or pixels black or
            white of a model without a likelihood.
        ZooError: what `find_extractor` raises.
    """
    # these import torchmetrics, which takes a second
    from zoo.evaluation import codes, likelihood, reconstruction  # noqa: PLC0415
    from zoo.evaluation.samples import measure_samples  # noqa: PLC0415

    model, wanted = trained.model, families or FAMILIES
    if binarise:
        if not likelihood.has_likelihood(model):
            raise UsageError(
                f"{trained.identity.model} has no likelihood, which --binarise is for",
                hint="the same command without --binarise",
                code="does-not-apply",
            )
        store = likelihood.binarised(store, split)
    metrics, items = validation_metrics(trained, store, split)
    measurements: list[Measurement] = []
    if "likelihood" in wanted and likelihood.has_likelihood(model):
        measurements += likelihood.measure_likelihood(
            model, store, split, importance_samples, binary=binarise
        )
    if "image" in store.splits[split]:
        images = store.splits[split]["image"]
        if "reconstruction" in wanted:
            for graph in reconstruction.reconstructors(model):
                measurements += reconstruction.measure_reconstruction(model, graph, images)
        if "code" in wanted:
            for graph in codes.encoders(model):
                measurements += codes.measure_code(model, graph, store, split)
    pairs = measure_pairs(model, store, split) if "pairs" in wanted else []
    classes = None
    if (
        samples
        or "samples" in families
        or ("samples" in wanted and needs_extractor(trained, store, split))
    ):
        count = samples or _affordable(trained, SAMPLES)
        found, classes = measure_samples(trained, store, split, count, seeds, find_extractor)
        measurements += found
    return Evaluation(
        trained.identity.model,
        trained.identity.step,
        store.spec,
        split,
        items,
        metrics if "model" in wanted else {},
        measurements,
        pairs,
        classes,
        model.goal,
    )


def compute_metrics(
    trained: Trained, store: Store, split: str, extractor: Extractor | None
) -> Iterator[Measurement]:
    """Compute what a change of the model's files may spoil, one number after the other.

    The model's own metrics; the error to true partners, where the data has pairs; and for samples
    of labelled data, if no metric of the model has a direction, the share that the extractor
    recognises, if there is one. The data has the model's image size and channels.
    """
    metrics, _ = validation_metrics(trained, store, split)
    goal = trained.model.goal
    for name, value in metrics.items():
        yield Measurement(name, value, goal.direction if goal and name == goal.metric else "")
    for way in measure_pairs(trained.model, store, split):
        yield Measurement(f"error_{way.source}_to_{way.target}", way.error, "lowest", way.graph)
    if extractor and needs_extractor(trained, store, split):
        count = _affordable(trained, SAMPLES)
        report = classify_samples(trained, store, split, count, extractor).samples
        graph = _drawn_graphs(trained)[0]
        yield Measurement("recognisable", sum(report.recognisable), "highest", graph)


def validation_metrics(trained: Trained, store: Store, split: str) -> tuple[dict[str, float], int]:
    """Return the model's own metrics, averaged over the images of a split, and their number.

    Of two domains, as many images are taken as the smaller one has. The metrics are empty if the
    model declares none; those of networks that the weight file leaves out are missing.
    """
    images = store.splits[split]
    size = evaluation_batch(trained.model.data)
    batches = in_order(images, store.spec, size, device_of(trained.model))
    metrics = mean_metrics(trained.model, batches)
    if trained.left_out:  # what networks say that the file does not hold
        metrics = {name: value for name, value in metrics.items() if not math.isnan(value)}
    return metrics, common_rows(images)


def needs_extractor(trained: Trained, store: Store, split: str) -> bool:
    """Whether samples can be classified, and no metric of the model says how good it is."""
    return trained.model.goal is None and draws_classes(trained, store, split)


def draws_classes(trained: Trained, store: Store, split: str) -> bool:
    """Whether the model draws pictures, and the data has labels to compare them by."""
    labelled = all("label" in store.splits[each] for each in ("train", split))
    return bool(_drawn_graphs(trained)) and labelled


def _drawn_graphs(trained: Trained) -> list[str]:
    """Return the graphs that draw pictures."""
    graphs = trained.model.graphs()
    return [name for name in samplers(trained.model) if is_pictorial(graphs[name].outputs[0])]


def _affordable(trained: Trained, most: int) -> int:
    """Return how many samples to draw of the first graph that draws pictures."""
    graphs, drawn = trained.model.graphs(), _drawn_graphs(trained)
    return affordable_samples(graphs[drawn[0]], most, MOST_ROUNDS) if drawn else most
