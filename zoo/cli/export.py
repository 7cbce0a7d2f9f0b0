"""`zoo export`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import arguments
from zoo.cli.output import print_json, say
from zoo.errors import NotFoundError, UsageError, ZooError

if TYPE_CHECKING:
    from zoo.data.store import Store
    from zoo.exporting.bundle import Bundle, CompareMetrics, MetricComparison
    from zoo.exporting.exporter import ExportedGraph
    from zoo.exporting.quality import CalibrationData
    from zoo.identity import Precision
    from zoo.model.weights import Trained
    from zoo.ports import Fit
    from zoo.runtime.session import Session

ENDING = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, a container that stops, a terminal that closes
MOST_BATCH = 4096
MAX_LOSS = 5.0  # percent
NEGLIGIBLE_LOSS = 0.05  # percent
PRECISIONS: Mapping[str, Precision] = {
    "--half": "float16 weights",
    "--half-arithmetic": "float16",
    "--int8": "int8",
}


def _size(_: Any, __: Any, text: str | None) -> tuple[int, int] | None:
    """Read ``256x256``; None for ``dynamic``."""
    return None if text == "dynamic" else arguments.read_size(text)


def _batch(_: Any, __: Any, text: str | None) -> int | None:
    """Read a number of rows; None for ``dynamic``."""
    if text is None or text == "dynamic":
        return None
    if not (text.isdecimal() and len(text) < 6 and 0 < int(text) <= MOST_BATCH):
        raise UsageError(
            f"--batch {text[:40]}: not a number from 1 to {MOST_BATCH}, or dynamic",
            code="bad-value",
        )
    return int(text)


@click.command("export")
@arguments.target_argument
@click.option("--onnx", "as_onnx", is_flag=True, help="Write ONNX files (the only format so far).")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder to write [exports/MODEL, or exports/RUN for a run].")  # fmt: skip
@click.option("--io", type=arguments.SuggestingChoice(["float", "uint8"]), default="float",
              show_default=True,
              help="uint8: pixels (batch, height, width, channels) in and out.")  # fmt: skip
@click.option("--opset", type=click.IntRange(1, 1000), help="Version of ONNX's operators.")
@click.option("--batch", callback=_batch, metavar="dynamic|N",
              help="Rows of every batch. [default: dynamic]")  # fmt: skip
@click.option("--size", callback=_size, metavar="dynamic|N|HxW",
              help="Size of pictures, where the model takes any. [default: dynamic]")  # fmt: skip
@click.option("--half", is_flag=True, help="Store weights in 16 bits; compute in 32.")
@click.option("--half-arithmetic", is_flag=True, help="Compute in 16 bits as well.")
@click.option("--int8", is_flag=True, help="Weights, and convolutions, in 8 bits.")
@click.option("--optimise", "--optimize", is_flag=True, help="Let ONNX Runtime simplify the graph.")
@click.option("--max-quality-loss", "max_loss", type=click.FloatRange(0, 100), metavar="PERCENT",
              help=f"Refuse what loses more. [default: {MAX_LOSS:g}]")  # fmt: skip
@arguments.data_option("Pictures for smaller files [what it was trained on].")
@arguments.fit_option()
@click.option("--check", is_flag=True,
              help="TARGET is an exported file or folder: verify it here again.")  # fmt: skip
@arguments.json_option
def verb(target: str, as_onnx: bool, check: bool, as_json: bool, **options: Any) -> None:
    """Export TARGET: a run, @last, a model's latest run, or a .safetensors file.

    Every graph becomes an .onnx file that is compared with the model before it takes its name.
    Files in several forms may lie beside each other, each with its form in its name.

    --half, --half-arithmetic and --int8 write smaller files. Each is held against the float file on
    pictures that the model has not seen: the root of the mean squared difference, in percent of the
    output's range. The model's own figures are measured with the files in the place of its
    functions; the loss is by how many percent they are worse.

    \b
    zoo export @last --onnx
    zoo export @last --onnx --io uint8 --batch 1
    zoo export @last --onnx --int8 --max-quality-loss 2
    zoo export --check exports/MODEL
    """  # noqa: D301 - click takes a real backspace for "do not wrap"
    if check:
        if as_onnx or any(value for name, value in options.items() if name != "io"):
            raise UsageError(
                "--check takes an exported file or folder and no other option",
                code="conflicting-options",
            )
        _verify_again(Path(target), as_json=as_json)
        return
    if not as_onnx:
        raise UsageError(
            "which format?", hint=f"zoo export {target} --onnx", code="missing-argument"
        )
    _export(target, as_json=as_json, **options)


def _export(
    target: str,
    *,
    output: Path | None,
    max_loss: float | None,
    data: str | None,
    fit: Fit | None,
    as_json: bool,
    **form: Any,
) -> None:
    smaller = [flag for flag in PRECISIONS if form[flag.strip("-").replace("-", "_")]]
    if len(smaller) > 1:
        both = " and ".join(smaller)
        raise UsageError(f"{both} exclude each other", hint=smaller[0], code="conflicting-options")
    precision = PRECISIONS[smaller[0]] if smaller else "float32"
    if precision == "float32" and (data, fit, max_loss) != (None, None, None):
        raise UsageError(
            "--data, --fit and --max-quality-loss are for smaller files",
            hint=f"with {' or '.join(PRECISIONS)}",
            code="conflicting-options",
        )
    trained = arguments.load_target(target, data)
    from zoo.exporting.bundle import NO_DATA, export_bundle
    from zoo.exporting.variants import Variant

    variant = Variant(form["io"], form["opset"], form["batch"], form["size"], precision,
                      form["optimise"])  # fmt: skip
    folder = output or Path("exports", _name_of(target, trained))
    calibration, compare_metrics = (
        _calibration(trained, data, fit) if variant.is_reduced else (NO_DATA, None)
    )
    with _interruptible() as log:
        bundle = export_bundle(
            trained,
            folder,
            variant,
            calibration=calibration,
            compare_metrics=compare_metrics,
            max_loss=MAX_LOSS if max_loss is None else max_loss,
            log=log,
        )
    paths = [click.format_filename(path) for path in bundle.files]
    if as_json:
        print_json({**bundle.to_json(), "files": paths})
        return
    for line in _report(bundle):
        say(line)
    click.echo("\n".join(path for path in paths if path.endswith(".onnx")))
    say(f"beside them in {click.format_filename(folder)}: manifest, weights, references, card")


def _name_of(target: str, trained: Trained) -> str:
    """Return what an export is called: as the run that was named, else as the model."""
    run = arguments.run_of(trained.path)
    if run is not None and (target == "@last" or Path(target).name == run.name):
        return run.name
    return trained.identity.model


@contextmanager
def _interruptible() -> Iterator[Callable[[str], None]]:
    """Let ending signals raise `KeyboardInterrupt` in the block, and yield a function that logs.

    The function shows the next step on a terminal. It raises `KeyboardInterrupt` if a signal came
    that a library swallowed: Python raises inside whatever runs, and inside of some finalisers
    that has no effect.
    """
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    received: list[int] = []

    def interrupt(number: int, _: Any) -> None:
        received.append(number)
        raise KeyboardInterrupt

    def log(next_step: str) -> None:
        if received:
            raise KeyboardInterrupt
        if next_step and sys.stderr.isatty():
            say(next_step)

    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield log
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _calibration(
    trained: Trained, data: str | None, fit: Fit | None
) -> tuple[CalibrationData, CompareMetrics | None]:
    """Find the data of a model, and a function that measures exported files on it.

    Without `data`, that is what the run was trained on. Where it is not here, there is no data,
    which is enough for graphs whose inputs are drawn.
    """
    from zoo.exporting.quality import CalibrationData

    try:
        source = arguments.source_for(trained, data)
    except (UsageError, NotFoundError) as problem:
        if data is not None:
            raise
        say(f"note: {problem.message}; --data NAME|PATH measures the model's quality as well")
        return CalibrationData(), None
    store, split = arguments.open_held_out(trained, source, fit)
    compare_metrics = partial(_compare_metrics, trained, store, split)
    return CalibrationData(store.splits["train"], store.splits[split]), compare_metrics


def _compare_metrics(
    trained: Trained, store: Store, split: str, sessions: Mapping[str, Session]
) -> list[MetricComparison]:
    """Compute the metrics of a model, and again with exported files in place of its functions."""
    from zoo.evaluation.evaluate import compute_metrics
    from zoo.exporting.bundle import MetricComparison
    from zoo.exporting.quality import substitute_graphs

    substituted = substitute_graphs(trained, sessions)
    found = []
    missed = []
    before = compute_metrics(trained, store, split, say)
    for old, new in zip(before, compute_metrics(substituted, store, split, say), strict=True):
        # graphs that were called so far: metrics are computed one after the other
        graphs = (new.graph,) if new.graph else substituted.called
        if graphs:
            worse = new.value - old.value if old.better == "lowest" else old.value - new.value
            loss = 100 * worse / abs(old.value) if old.better and old.value else None
            found.append(MetricComparison(old.name, old.value, new.value, loss, graphs))
        else:
            missed.append(old.name)
    if missed:
        say(f"note: {', '.join(missed)} not measured with these files, which take other sizes than "
            f"the pictures of {store.spec.name}, or have no part in it")  # fmt: skip
    return found


def _verify_again(path: Path, *, as_json: bool) -> None:
    """Verify a file, or all that a folder's manifest lists; raise the first error at the end."""
    from zoo.exporting.verify import check_weights, exported_files, verify_again
    from zoo.runtime.engine import bounded_memory

    found = {}
    problems = []
    with bounded_memory():  # a file of a stranger may ask for any amount
        for file in exported_files(path) if path.is_dir() else [path]:
            name = click.format_filename(file)
            try:
                differences, words = verify_again(file)
            except ZooError as problem:
                problems.append(problem)
                continue
            found[name] = {output: asdict(each) for output, each in differences.items()}
            if not as_json:
                click.echo(f"verified {name}: {words}")
        try:
            if path.is_dir() and (note := check_weights(path)):
                say(note)
        except ZooError as problem:
            problems.append(problem)
    if problems:
        for other in problems[1:]:
            say(other.message)
        raise problems[0]
    if as_json:
        print_json({"files": found, "verified": True})


def _report(bundle: Bundle) -> Iterator[str]:
    """Yield lines that say what was measured of an export."""
    for name, graph in bundle.graphs.items():
        yield from _report_graph(name, graph)
    for each in bundle.metrics:
        yield (f"{each.name}: {each.model:.4g}, with these files {each.files:.4g}"
               f"{_in_words(each.loss)} (in the place of {', '.join(each.graphs)})")  # fmt: skip
    for kinds in sorted(set(map(tuple, bundle.ill_conditioned.values()))):
        names = [name for name, found in bundle.ill_conditioned.items() if tuple(found) == kinds]
        yield (f"note: {', '.join(names)}: on inputs that are {' or '.join(kinds)}, the model "
               "only amplifies rounding errors; compared no closer than these")  # fmt: skip
    if bundle.removed:
        yield f"removed {len(bundle.removed)} files of other weights, such as {bundle.removed[0]}"


def _report_graph(name: str, graph: ExportedGraph) -> Iterator[str]:
    """Yield lines that say what was measured of one file."""
    losses = graph.savings.losses if graph.savings else {}
    for output, difference in graph.differences.items():
        if output in losses:
            psnr = losses[output].psnr
            words = f"loss {difference.loss:.2g} %" + (f", PSNR {psnr:.1f} dB" if psnr else "")
            yield f"measured {name}/{output} against the float file: {words}"
        else:
            words = f"greatest difference {difference.greatest:.2g}, mean {difference.mean:.2g}"
            checks = graph.checks[output]
            if "rounds" in checks:
                after = checks["greatest_after_rounds"]
                words += f"; {after:.2g} after {checks['rounds']:.0f} rounds"
            yield f"verified {name}/{output}: {words}"
    if graph.savings and graph.savings.size == 1:
        yield f"{name}: nothing to simplify, the file is as large as the plain one"
    elif graph.savings:
        batch = graph.description.signature.inputs[0].shape[0]
        rows = f"{batch} rows" if isinstance(batch, int) and batch > 1 else "one row"
        yield (
            f"{name}: {graph.savings.size:.0%} of the plain file's bytes, "
            f"{graph.savings.speed:.2f} times as fast ({rows} at a time, here)"
        )


def _in_words(loss: float | None) -> str:
    """Return by how much a figure is worse."""
    if loss is None:
        return ""
    if abs(loss) < NEGLIGIBLE_LOSS:
        return ", as good"
    return f", {abs(loss):.2f} % {'worse' if loss > 0 else 'better'}"
