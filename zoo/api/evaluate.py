"""Measuring from Python, and what `zoo eval` does once its words are read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.api.data import open_held_out, source_for
from zoo.api.load import Target, trained_target
from zoo.api.targets import extras_named
from zoo.errors import UsageError, did_you_mean
from zoo.evaluation.measurement import FAMILIES, IMPORTANCE_SAMPLES
from zoo.messages import Log, say, silent
from zoo.pictures import write_png
from zoo.ports import Fit

if TYPE_CHECKING:
    from zoo.evaluation.evaluate import Evaluation


def evaluate(  # noqa: PLR0913 - all but one by name, and each has its own default
    target: Target,
    *,
    data: str | os.PathLike[str] | None = None,
    fit: Fit | None = None,
    split: str | None = None,
    metrics: Sequence[str] = (),
    samples: int | None = None,
    seeds: int = 1,
    importance_samples: int = IMPORTANCE_SAMPLES,
    binarise: bool = False,
    extractor: Target | None = None,
    nearest: str | os.PathLike[str] | None = None,
    log: Log | None = say,
) -> Evaluation:
    """Measure a trained model on images that it has not seen, as ``zoo eval`` does.

    Args:
        target: what `zoo.load` takes or returned, of weights.
        data: name or path; what the run was trained on, when not given.
        fit: how pictures of other proportions are brought to the size.
        split: train, validation or test; test where the data has it, else validation, when not
            given.
        metrics: families of metrics, such as ``["reconstruction"]``; all that apply, when empty.
        samples: how many are compared with real pictures.
        seeds: of the noise of samples; each number is the mean over them.
        importance_samples: of the bound of log p(x).
        binarise: measure on pixels drawn black or white once, with the grey value as probability.
        extractor: what `zoo.load` takes or returned, of weights of a model that gives classes and
            features of pictures: it classifies samples. Published weights that were trained on such
            data, when not given.
        nearest: PNG to write, of samples above the training pictures that are nearest to them.
        log: takes messages; on stderr, when not given; None for silence.

    Returns:
        The model's own metrics, and measurements with their spread and protocol.

    Raises:
        UsageError: nothing can be measured, or the data is of another kind than the model's.
        NotFoundError: there is no such target or data, or nothing that classifies samples of it.
        PluginError: torch or the model's plugin is not installed.
    """
    log = log or silent
    for name in metrics:
        if name not in FAMILIES:
            raise UsageError(
                f"no family of metrics {name[:40]!r}.{did_you_mean(name, FAMILIES)}",
                hint=f"some of: {', '.join(FAMILIES)}",
                code="bad-value",
            )
    if nearest is not None and Path(nearest).suffix.lower() != ".png":
        raise UsageError(
            f"nearest: {os.fspath(nearest)!r} is no name of a .png file",
            hint="--nearest nearest.png",
            code="bad-value",
        )
    place = None if data is None else os.fspath(data)
    trained = trained_target(target, place, log)
    with extras_named():
        from zoo.api.extractors import find_extractor
        from zoo.evaluation.evaluate import evaluate as measure

    source = source_for(trained, place, log)
    store, chosen = open_held_out(trained, source, fit, split, log)
    if nearest is not None:
        from zoo.evaluation.samples import nearest_page

        write_png(Path(nearest), nearest_page(trained, store))
    found = measure(
        trained, store, chosen,
        partial(find_extractor, extractor, log=log, target=target, place=place or source.reference),
        families=metrics, samples=samples, seeds=seeds, importance_samples=importance_samples,
        binarise=binarise,
    )  # fmt: skip
    if not (found.metrics or found.measurements or found.pairs):
        raise UsageError(
            f"nothing can be measured of {found.model} on {found.data.name}"
            + (f" by {', '.join(metrics)}" if metrics else ""),
            cause="it declares no metrics; samples are classified on labelled data, "
            "translations compared on a split whose true pairs are known",
            hint="--data NAME|PATH with labels or pairs; zoo data check says what a folder holds",
            code="does-not-apply",
        )
    return found
