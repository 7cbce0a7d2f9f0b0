"""A folder with everything that a trained model needs to be used elsewhere.

One ``.onnx`` file a graph and variant, ``manifest.json``, the weights, references to verify the
files with, a card and pictures.
"""

from __future__ import annotations

import glob
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from zoo import pictures
from zoo.atomic import naming, write_json, write_text
from zoo.errors import NotFoundError, PluginError, UsageError, ZooError
from zoo.exporting.browser import PageCheck, check_page
from zoo.exporting.card import CARD, PICTURES, CardFacts, render_card
from zoo.exporting.exporter import ExportedGraph, GraphExporter
from zoo.exporting.metadata import versions
from zoo.exporting.quality import CalibrationData
from zoo.exporting.variants import Variant, check_applies
from zoo.exporting.web_page import RUNTIME, WebRuntime, page_manifest, render_page
from zoo.identity import Identity, Manifest, PageFile
from zoo.manifest import MANIFEST, facts_of, read_manifest
from zoo.measurements import EVALUATION, EvaluationRecord, read_evaluation
from zoo.model.inference import samplers
from zoo.model.previews import overview, previewed
from zoo.model.weights import Trained
from zoo.ports import slugify
from zoo.records import to_plain
from zoo.runtime.reference import FOLDER, Difference, write_reference
from zoo.runtime.session import Session, open_session

GRAPH_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
WEIGHTS = "model.safetensors"
STALE = 3600.0  # seconds after which a temporary folder is of an export that was killed
PLAIN = Variant()
NO_DATA = CalibrationData()
NOTHING_MORE = CardFacts()


@dataclass(frozen=True)
class MetricComparison:
    """A metric of the model, and the same with exported files in the place of its functions."""

    name: str  # of the metric
    model: float  # its value for the model in torch
    files: float  # its value with the files
    # by how many percent the files are worse; None if the better direction is not known
    loss: float | None
    graphs: tuple[str, ...]  # whose files were run


# Computes the metrics with the sessions, by graph, in the place of the model's functions.
CompareMetrics = Callable[[Mapping[str, Session]], Sequence[MetricComparison]]


@dataclass(frozen=True)
class Page:
    """A page that runs exported files, and what came of running it."""

    path: Path
    bytes: int
    check: PageCheck


@dataclass(frozen=True)
class Bundle:
    """What an export has written."""

    files: list[Path]  # every file, the ONNX files first
    removed: list[Path]  # files of other weights that were there
    # the ONNX files by graph; their paths are those before they were moved
    graphs: dict[str, ExportedGraph]
    metrics: Sequence[MetricComparison] = ()  # of files of reduced precision
    page: Page | None = None  # that runs the files in a browser

    @property
    def differences(self) -> dict[str, Difference]:
        """How much every output differs, by ``graph/output``."""
        return {
            f"{name}/{output}": difference
            for name, graph in self.graphs.items()
            for output, difference in graph.differences.items()
        }

    @property
    def ill_conditioned(self) -> dict[str, list[str]]:
        """By graph, kinds of inputs on which the model only amplifies rounding errors."""
        found = {name: graph.ill_conditioned for name, graph in self.graphs.items()}
        return {name: kinds for name, kinds in found.items() if kinds}

    def to_json(self) -> dict[str, Any]:
        """Return what ``zoo export --json`` prints."""
        differences = self.differences
        return {
            "files": [str(path) for path in self.files],
            "removed": [str(path) for path in self.removed],
            "verified": True,
            "trials": sum(graph.trials for graph in self.graphs.values()),
            "ill_conditioned": self.ill_conditioned,
            "max_abs_difference": {name: each.greatest for name, each in differences.items()},
            "mean_abs_difference": {name: each.mean for name, each in differences.items()},
            "savings": {
                name: {
                    "size": graph.savings.size,
                    "speed": graph.savings.speed,
                    "losses": {key: loss.to_json() for key, loss in graph.savings.losses.items()},
                }
                for name, graph in self.graphs.items()
                if graph.savings
            },
            "metrics": [asdict(each) for each in self.metrics],
            "page": self.page and {**asdict(self.page), "path": str(self.page.path)},
        }


def export_bundle(  # noqa: PLR0913 - all but three by name, and each has its own default
    trained: Trained,
    folder: Path,
    variant: Variant | None = PLAIN,
    *,
    calibration: CalibrationData = NO_DATA,
    compare_metrics: CompareMetrics | None = None,
    max_loss: float = 0.0,
    card: CardFacts = NOTHING_MORE,
    web: WebRuntime | None = None,
    log: Callable[[str], object] = str,
) -> Bundle:
    """Export every graph of a model into a folder, which stays as it was where anything fails.

    Args:
        trained: the model.
        folder: made where it is missing. What an earlier export of the same weights left there
            stays beside the new files; that of other weights is removed.
        variant: of the graphs; None writes no ONNX files.
        calibration: images to make and measure files of reduced precision with.
        compare_metrics: computes the metrics of the model with files of reduced precision.
        max_loss: of such a file, in percent: of an output's range, and of a metric.
        card: what the card says beside what the weights say of themselves.
        web: what runs the files in a page; without it, no page is written.
        log: called with the next step; an exception of it ends the export, and nothing is written.

    Raises:
        PluginError: a graph's name cannot be the name of a file.
        UsageError: there is no such variant, or the folder holds files of another model.
        ZooError: a graph cannot be exported, does not verify or loses too much.
    """
    _check_names(trained)
    if variant is not None:
        check_applies(trained.model.graphs(), variant)
    folder.parent.mkdir(parents=True, exist_ok=True)  # first: its errors name the place
    earlier = _earlier(folder, trained.identity)
    _remove_stale(folder)
    with _private_folders(folder) as (building, scratch):
        shutil.copyfile(trained.path, building / WEIGHTS)
        graphs: dict[str, ExportedGraph] = {}
        metrics: Sequence[MetricComparison] = ()
        suffix, limit = "", None
        if variant is not None:
            sha256 = facts_of(building / WEIGHTS).sha256
            exporter = GraphExporter(trained, variant, sha256, calibration, max_loss)
            graphs = _export_graphs(trained, exporter, building, scratch, log)
            if variant.is_reduced and compare_metrics is not None:
                log("measuring the model with these files")
                graphs, metrics = _with_quality(graphs, compare_metrics, max_loss)
            suffix, limit = variant.suffix, max_loss if variant.is_reduced else None
        manifest = _add_the_rest(trained, graphs, suffix, building, earlier, folder, card)
        page = None
        if web is not None:
            log("writing the page")
            keys = {f"{name}{suffix}" for name in graphs}
            manifest, page = _add_page(manifest, keys, web, building, limit)
        write_json(building / MANIFEST, to_plain(manifest))
        log("")
        files, removed = _move(building, folder, _files_of(earlier))
        if page is not None:
            page = replace(page, path=folder / page.path.name)
        return Bundle(files, removed, graphs, metrics, page)


def _export_graphs(
    trained: Trained, exporter: GraphExporter, building: Path, scratch: Path,
    log: Callable[[str], object],
) -> dict[str, ExportedGraph]:  # fmt: skip
    """Export every graph to its file in `building`."""
    graphs = {}
    for name in trained.model.graphs():
        log(f"exporting {name}")
        path = building / file_name(trained.identity, name, exporter.variant)
        with naming(path):
            graphs[name] = exporter.export(name, path, scratch)
    return graphs


@contextmanager
def _private_folders(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield two temporary folders beside an export's, which errors of the disk do not name."""
    with naming(folder), ExitStack() as stack:
        made = []
        for _ in range(2):
            prefix = f".{folder.name[:80]}."
            path = Path(tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=folder.parent))
            stack.callback(shutil.rmtree, path, ignore_errors=True)
            made.append(path)
        yield made[0], made[1]


def file_name(identity: Identity, graph: str, variant: Variant) -> str:
    """Return the file name of a graph: ``vae-fashion-mnist.decode.uint8.onnx``."""
    return f"{_words_of(identity)}.{graph}{variant.suffix}.onnx"


def _words_of(identity: Identity) -> str:
    """Return the beginning of file names: ``vae-fashion-mnist``."""
    return "-".join(filter(None, (slugify(identity.model), slugify(identity.data.name))))


def _check_names(trained: Trained) -> None:
    taken: set[str] = set()
    for name in trained.model.graphs():
        if not GRAPH_NAME.fullmatch(name) or name.lower() in taken:
            raise PluginError(
                f"{trained.identity.model} has a graph {name[:100]!r}, which cannot name a file",
                cause="names have letters of ASCII, digits, - and _, at most 100 of them; "
                "no two differ in capitals alone",
                code="breaks-contract",
            )
        taken.add(name.lower())


def _with_quality(
    graphs: Mapping[str, ExportedGraph], compare_metrics: CompareMetrics, max_loss: float
) -> tuple[dict[str, ExportedGraph], Sequence[MetricComparison]]:
    """Measure the model with the files; return the graphs with their metrics, and all metrics.

    Raises:
        ZooError: a metric is worse by more than `max_loss` percent.
    """
    sessions = {name: open_session(each.path) for name, each in graphs.items()}
    metrics = compare_metrics(sessions)
    for metric in metrics:
        if metric.loss is not None and not metric.loss <= max_loss:
            raise ZooError(
                f"with these files {metric.name} becomes {metric.files:.4g} from "
                f"{metric.model:.4g}, {metric.loss:.2g} % worse, more than {max_loss:g} %",
                hint="--half, which loses less; or --max-quality-loss PERCENT; no file was written",
                code="quality-loss",
            )
    measured = {}
    for name, graph in graphs.items():
        quality = {
            metric.name: {"float32": metric.model, "this": metric.files}
            for metric in metrics
            if name in metric.graphs
        }
        measured[name] = replace(graph, quality=quality)
    return measured, metrics


def _add_the_rest(
    trained: Trained, graphs: Mapping[str, ExportedGraph], suffix: str, building: Path,
    earlier: Manifest | None, folder: Path, card: CardFacts,
) -> Manifest:  # fmt: skip
    """Add references, pictures and card to the files in `building`; return the manifest."""
    entries = {}
    for name, graph in graphs.items():
        (building / FOLDER).mkdir(exist_ok=True)
        reference = building / FOLDER / f"{graph.path.stem}.npz"
        write_reference(reference, graph.examples)
        facts = replace(facts_of(reference), file=f"{FOLDER}/{reference.name}")
        entries[f"{name}{suffix}"] = graph.listed(facts)
    shown = samplers(trained.model) if card.images is None else previewed(trained.model)
    for name in shown:
        (building / PICTURES).mkdir(exist_ok=True)
        picture = overview(trained.model, name, card.images or {})
        pictures.write_png(building / PICTURES / f"{name}.png", picture)
    weights = facts_of(building / WEIGHTS)
    page = None
    if earlier and earlier.weights == weights:
        there = {key: each for key, each in earlier.files.items() if (folder / each.file).is_file()}
        entries = there | entries
        page = earlier.page
    listed = {key: each.sha256 for key, each in entries.items()}
    if page and not (page.graphs.items() <= listed.items() and (folder / page.file).is_file()):
        page = None  # it runs files that are no longer there
    if card.evaluation is None:
        card = replace(card, evaluation=_measured_earlier(folder, weights.sha256))
    if card.evaluation:
        write_json(building / EVALUATION, to_plain(card.evaluation))
    paths = [f"{PICTURES}/{name}.png" for name in shown]
    write_text(building / CARD, render_card(trained.identity, entries.values(), card, paths))
    return Manifest(
        identity=trained.identity,
        weights=weights,
        files=entries,
        written_by=versions(),
        page=page,
    )


def _add_page(
    manifest: Manifest, keys: set[str], web: WebRuntime, building: Path, limit: float | None
) -> tuple[Manifest, Page]:
    """Write the page of the files in `building` and run it; return the manifest that lists it.

    Raises:
        ZooError: it does not give in the browser what the model gives.
    """
    shown = page_manifest(manifest, keys)
    path = building / f"{_words_of(manifest.identity)}.html"
    write_text(path, render_page(shown, building, web))
    check = check_page(path, shown, building, limit)
    facts = facts_of(path)
    listed = PageFile(
        **vars(facts),
        runtime=RUNTIME,
        graphs={key: entry.sha256 for key, entry in shown.files.items()},
        checks={run.browser: run.checks for run in check.runs},
    )
    return replace(manifest, page=listed), Page(path, facts.bytes, check)


def _measured_earlier(folder: Path, sha256: str) -> EvaluationRecord | None:
    """Return what the folder says was measured of the same weights."""
    found = read_evaluation(folder)
    return found if found and found.weights_sha256 == sha256 else None


def _move(building: Path, folder: Path, listed: set[str]) -> tuple[list[Path], list[Path]]:
    """Move the files into the folder, the manifest last; of those listed there, remove the others.

    Returns the files, and those that were removed.
    """
    new = [path.relative_to(building) for path in building.rglob("*") if path.is_file()]
    new.sort(key=lambda path: (path.name == MANIFEST, path.suffix != ".onnx", path))
    wanted = _files_of(read_manifest(building))
    folder.mkdir(exist_ok=True)
    for path in new:
        (folder / path).parent.mkdir(exist_ok=True)
        (building / path).replace(folder / path)
    removed = [folder / name for name in sorted(listed - wanted) if (folder / name).is_file()]
    for path in removed:
        path.unlink()
    return [folder / path for path in new], removed


def _remove_stale(folder: Path) -> None:
    """Remove temporary folders of exports that were killed hours ago."""
    for left in folder.parent.glob(f".{glob.escape(folder.name[:80])}.*.part"):
        with suppress(OSError):
            if left.is_dir() and time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left)


def _earlier(folder: Path, identity: Identity) -> Manifest | None:
    """Return the manifest of an earlier export of the model, where there is one.

    Raises:
        UsageError: the folder holds another model's export, or files that are not an export's.
        NotFoundError: the manifest is damaged.
    """
    if folder.exists() and not folder.is_dir():
        raise ZooError(f"{folder} is a file", hint="-o another-folder", code="cannot-write")
    for inner in (folder / FOLDER, folder / PICTURES):
        if inner.is_symlink() or inner.is_file():
            raise ZooError(
                f"{inner} is a link or a file", hint="-o another-folder", code="cannot-write"
            )
    try:
        manifest = read_manifest(folder)
    except FileNotFoundError:
        for name in (CARD, WEIGHTS):
            if (folder / name).exists():
                raise UsageError(
                    f"{folder / name} is there already, and not of an export",
                    hint="-o another-folder",
                    code="already-exists",
                ) from None
        return None
    except ValueError as problem:
        raise NotFoundError(
            f"{folder / MANIFEST} is damaged: {problem}",
            hint="-o another-folder",
            code="damaged-manifest",
        ) from None
    theirs = manifest.identity
    if (theirs.distribution, theirs.model) != (identity.distribution, identity.model):
        raise UsageError(
            f"{folder} holds an export of {theirs.distribution}:{theirs.model}",
            hint="-o another-folder",
            code="already-exists",
        )
    return manifest


def _files_of(manifest: Manifest | None) -> set[str]:
    """Return the graphs' files, their references and the page that a manifest lists."""
    if manifest is None:
        return set()
    names = [entry.file for entry in manifest.files.values()]
    pages = {manifest.page.file} if manifest.page else set()
    return {*names, *(f"{FOLDER}/{Path(name).stem}.npz" for name in names), *pages}
