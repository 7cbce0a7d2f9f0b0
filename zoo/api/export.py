"""Exporting from Python, and what `zoo export` does once its words are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo.api.data import open_held_out, read_size, run_of, source_for
from zoo.api.load import Target, target_word, trained_target
from zoo.api.loaded_model import LoadedModel
from zoo.api.targets import extras_named
from zoo.errors import NotFoundError, UsageError
from zoo.identity import Precision
from zoo.messages import Log, say, silent
from zoo.ports import Fit

if TYPE_CHECKING:
    from zoo.data.store import Store
    from zoo.exporting.bundle import Bundle, CompareMetrics, MetricComparison
    from zoo.exporting.card import CardFacts
    from zoo.exporting.quality import CalibrationData
    from zoo.model.weights import Trained
    from zoo.runtime.session import Session

MOST_BATCH = 4096
MAX_LOSS = 5.0  # percent
SEEDS = 3  # of samples that are measured for a card
PRECISIONS: Mapping[str, Precision] = {
    "half": "float16 weights",
    "half_arithmetic": "float16",
    "int8": "int8",
}


def export(  # noqa: PLR0913 - all but two by name, and each has its own default
    target: Target,
    folder: str | os.PathLike[str] | None = None,
    *,
    io: Literal["float", "uint8"] = "float",
    opset: int | None = None,
    batch: int | None = None,
    size: int | tuple[int, int] | None = None,
    half: bool = False,
    half_arithmetic: bool = False,
    int8: bool = False,
    optimise: bool = False,
    max_quality_loss: float | None = None,
    data: str | os.PathLike[str] | None = None,
    fit: Fit | None = None,
    onnx: bool = True,
    card: bool = False,
    web: bool = False,
    binarise: bool = False,
    log: Log | None = say,
) -> Bundle:
    """Write every graph of a trained model as an ONNX file that was compared with the model.

    As ``zoo export --onnx``, ``--web`` and ``--card`` do.

    Args:
        target: what `zoo.load` takes or returned, of weights.
        folder: to write; ``exports/RUN`` where a run is named or was loaded, else
            ``exports/MODEL``, when not given.
        io: uint8: pixels (batch, height, width, channels) in and out.
        opset: version of ONNX's operators.
        batch: rows of every batch; any number, when not given.
        size: of pictures, where the model takes any: height and width, or one number for both.
        half: store weights in 16 bits; compute in 32.
        half_arithmetic: compute in 16 bits as well.
        int8: weights, and convolutions, in 8 bits.
        optimise: let ONNX Runtime simplify the graph.
        max_quality_loss: refuse smaller files that lose more, in percent; 5, when not given.
        data: pictures for smaller files, and to measure for the card; what the run was trained on,
            when not given.
        fit: how pictures of other proportions are brought to the size.
        onnx: False writes weights, pictures and card alone.
        card: measure the model as ``zoo eval`` does, for the card and ``evaluation.json``.
        web: write a page as well, one HTML file that runs the files in a browser.
        binarise: measure for the card on pixels drawn black or white.
        log: takes messages; on stderr, when not given; None for silence.

    Returns:
        The files that were written, and what was measured of each.

    Raises:
        UsageError: options exclude each other, or cannot be had of this model.
        NotFoundError: there is no such target or data.
        PluginError: torch, onnx or the model's plugin is not installed.
        ZooError: a file does not give what the model gives, or loses too much; none is left.
    """
    log = log or silent
    return export_target(
        target, folder, io=io, opset=opset, batch=batch,
        size=read_size(list(size) if isinstance(size, tuple) else size),
        half=half, half_arithmetic=half_arithmetic, int8=int8, optimise=optimise,
        max_quality_loss=max_quality_loss, data=data, fit=fit, onnx=onnx, web=web, card=card,
        binarise=binarise, log=log,
    )  # fmt: skip


def export_target(  # noqa: PLR0913 - all but two by name
    target: Target,
    folder: str | os.PathLike[str] | None,
    *,
    max_quality_loss: float | None,
    data: str | os.PathLike[str] | None,
    fit: Fit | None,
    onnx: bool,
    web: bool,
    card: bool,
    binarise: bool,
    log: Log,
    on_step: Callable[[str], object] = silent,
    **form: Any,
) -> Bundle:
    """Do what `export` does, and call `on_step` with what comes next.

    `form` are the other arguments of `export`, the size as height and width.
    """
    smaller = [name for name in PRECISIONS if form[name]]
    if len(smaller) > 1:
        both = " and ".join(map(_flag, smaller))
        raise UsageError(
            f"{both} exclude each other", hint=_flag(smaller[0]), code="conflicting-options"
        )
    precision = PRECISIONS[smaller[0]] if smaller else "float32"
    if binarise and not card:
        raise UsageError(
            "--binarise is for the figures of the card", hint="with --card", code="does-not-apply"
        )
    unused = (max_quality_loss,) if card else (data, fit, max_quality_loss)
    if precision == "float32" and any(each is not None for each in unused):
        raise UsageError(
            "--max-quality-loss is for smaller files, --data and --fit for these and the card",
            hint=f"with {' or '.join(map(_flag, PRECISIONS))}",
            code="conflicting-options",
        )
    _check_form(form)
    runtime = None
    if web:  # first: whether it is there is known at once
        from zoo.exporting.web_page import find_runtime

        runtime = find_runtime()
    place = None if data is None else os.fspath(data)
    trained = trained_target(target, place, log)
    with extras_named():
        from zoo.exporting.bundle import NO_DATA, export_bundle
        from zoo.exporting.card import CardFacts
        from zoo.exporting.variants import Variant

    facts = _card_facts(trained, place, fit, log, binarise=binarise) if card else CardFacts()
    variant = Variant(form["io"], form["opset"], form["batch"], form["size"], precision,
                      form["optimise"])  # fmt: skip
    if not onnx and variant != Variant():
        raise UsageError(
            "sizes, precisions and forms are of ONNX files",
            hint="with --onnx, or without these options",
            code="does-not-apply",
        )
    calibration, compare_metrics = (
        _calibration(trained, place, fit, log) if variant.is_reduced else (NO_DATA, None)
    )
    return export_bundle(
        trained,
        Path("exports", _name_of(target, trained)) if folder is None else Path(folder),
        variant if onnx else None,
        calibration=calibration,
        compare_metrics=compare_metrics,
        max_loss=MAX_LOSS if max_quality_loss is None else max_quality_loss,
        card=replace(facts, licence=_licence(trained)),
        web=runtime,
        log=on_step,
    )


def _card_facts(
    trained: Trained, data: str | None, fit: Fit | None, log: Log, *, binarise: bool
) -> CardFacts:
    """Measure a model for its card, on data that it has not seen, and take that to be shown."""
    from zoo.api.extractors import find_extractor
    from zoo.evaluation.evaluate import draws_classes, evaluate
    from zoo.evaluation.measurement import FAMILIES
    from zoo.exporting.card import CardFacts
    from zoo.manifest import sha256_of

    store, split = open_held_out(trained, source_for(trained, data, log), fit, log=log)
    log(f"measuring {trained.identity.model} on the {split} split of {store.spec.name}")
    measure = partial(
        evaluate, trained, store, split, partial(find_extractor, None, log=log),
        seeds=SEEDS, binarise=binarise,
    )  # fmt: skip
    others = [name for name in FAMILIES if name != "samples"]
    try:
        found = measure(families=[*FAMILIES] if draws_classes(trained, store, split) else others)
    except NotFoundError as problem:
        if problem.code != "no-classifier":
            raise
        log(f"note: {problem.message}; zoo eval TARGET --extractor RUN measures them")
        found = measure(families=others)
    return CardFacts(found.record(sha256_of(trained.path)), images=store.splits[split])


def _licence(trained: Trained) -> str:
    """Return under which licence weights are published; nothing where the registry has no row."""
    from zoo.catalog.registry import read_registry
    from zoo.manifest import sha256_of

    sha256 = sha256_of(trained.path)
    rows = (row for row in read_registry().weights if row.file.sha256 == sha256)
    return next((row.licence for row in rows), "")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_form(form: Mapping[str, Any]) -> None:
    """Raise a `UsageError` where a program asks for what the command could not be asked for."""
    if form["io"] not in {"float", "uint8"}:
        raise UsageError(f"io = {form['io']!r}: float or uint8", code="bad-value")
    batch = form["batch"]
    if batch is not None and not (isinstance(batch, int) and 0 < batch <= MOST_BATCH):
        raise UsageError(
            f"batch = {str(batch)[:40]}: not a number from 1 to {MOST_BATCH}", code="bad-value"
        )


def _name_of(target: Target, trained: Trained) -> str:
    """Return what an export is called: as the run or weights that were named, else as the model."""
    from zoo.catalog.lookup import weights_called

    run = run_of(trained.path)
    word = "" if isinstance(target, LoadedModel) else target_word(target)
    if run is not None and (not word or word == "@last" or Path(word).name == run.name):
        return run.name
    weights = weights_called(word)
    is_named = weights is not None and weights.model == trained.identity.model
    return word if is_named else trained.identity.model


def _calibration(
    trained: Trained, data: str | None, fit: Fit | None, log: Log
) -> tuple[CalibrationData, CompareMetrics | None]:
    """Find the data of a model, and a function that measures exported files on it.

    Without `data`, that is what the run was trained on. Where it is not here, there is no data,
    which is enough for graphs whose inputs are drawn.
    """
    from zoo.exporting.quality import CalibrationData

    try:
        source = source_for(trained, data, log)
    except (UsageError, NotFoundError) as problem:
        if data is not None:
            raise
        log(f"note: {problem.message}; --data NAME|PATH measures the model's quality as well")
        return CalibrationData(), None
    store, split = open_held_out(trained, source, fit, log=log)
    compare_metrics = partial(_compare_metrics, trained, store, split, log)
    return CalibrationData(store.splits["train"], store.splits[split]), compare_metrics


def _compare_metrics(
    trained: Trained, store: Store, split: str, log: Log, sessions: Mapping[str, Session]
) -> list[MetricComparison]:
    """Compute the metrics of a model, and again with exported files in place of its functions."""
    from zoo.api.extractors import find_extractor
    from zoo.evaluation.evaluate import compute_metrics, needs_extractor
    from zoo.exporting.bundle import MetricComparison
    from zoo.exporting.quality import substitute_graphs

    extractor = None
    if needs_extractor(trained, store, split):
        try:
            extractor = find_extractor(None, store, log)
        except NotFoundError as problem:
            log(f"note: samples are not compared: {problem.message}")
    substituted = substitute_graphs(trained, sessions)
    found = []
    missed = []
    before, after = (
        compute_metrics(each, store, split, extractor) for each in (trained, substituted)
    )
    for old, new in zip(before, after, strict=True):
        # graphs that were called so far: metrics are computed one after the other
        graphs = (new.graph,) if new.graph else substituted.called
        if graphs:
            worse = new.value - old.value if old.better == "lowest" else old.value - new.value
            loss = 100 * worse / abs(old.value) if old.better and old.value else None
            found.append(MetricComparison(old.name, old.value, new.value, loss, graphs))
        else:
            missed.append(old.name)
    if missed:
        log(f"note: {', '.join(missed)} not measured with these files, which take other sizes than "
            f"the pictures of {store.spec.name}, or have no part in it")  # fmt: skip
    return found
