"""`zoo export`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.api.data import read_size
from zoo.api.export import MAX_LOSS, MOST_BATCH
from zoo.cli import arguments
from zoo.cli.output import print_json
from zoo.errors import UsageError, ZooError
from zoo.messages import say

if TYPE_CHECKING:
    from zoo.exporting.bundle import Bundle, Page
    from zoo.exporting.exporter import ExportedGraph

ENDING = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, a container that stops, a terminal that closes
NEGLIGIBLE_LOSS = 0.05  # percent


def _size(_: Any, __: Any, text: str | None) -> tuple[int, int] | None:
    """Read ``256x256``; None for ``dynamic``."""
    return None if text == "dynamic" else read_size(text)


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
@click.option("--onnx", "as_onnx", is_flag=True, help="Write ONNX files.")
@click.option(
    "--web",
    is_flag=True,
    help="Write a page as well: one HTML file that runs them in a browser, offline.",
)
@click.option("--card", is_flag=True,
              help="Measure the model and write its card, in Hugging Face's format.")  # fmt: skip
@click.option("--binarise", "--binarize", is_flag=True,
              help="Measure for the card on pixels drawn black or white, once.")  # fmt: skip
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
@arguments.data_option("Pictures for smaller files, and for the card [what it was trained on].")
@arguments.fit_option()
@click.option("--check", is_flag=True,
              help="TARGET is an exported file or folder: verify it here again.")  # fmt: skip
@arguments.json_option
def verb(
    target: str, as_onnx: bool, web: bool, card: bool, check: bool, as_json: bool, **options: Any
) -> None:
    """Export TARGET: a run, @last, a model's latest run, or a .safetensors file.

    Every graph becomes an .onnx file that is compared with the model before it takes its name.
    Files in several forms may lie beside each other, each with its form in its name.

    --half, --half-arithmetic and --int8 write smaller files. Each is held against the float file on
    pictures that the model has not seen: the root of the mean squared difference, in percent of the
    output's range. The model's own figures are measured with the files in the place of its
    functions; the loss is by how many percent they are worse.

    --card measures the model as zoo eval does and writes README.md, evaluation.json, pictures and
    weights, which can be uploaded as they are; with --onnx, beside the ONNX files.

    \b
    zoo export @last --onnx
    zoo export @last --web
    zoo export @last --onnx --card
    zoo export @last --onnx --io uint8 --batch 1
    zoo export @last --onnx --int8 --max-quality-loss 2
    zoo export --check exports/MODEL
    """  # noqa: D301 - click takes a real backspace for "do not wrap"
    if check:
        if as_onnx or web or card or any(value for name, value in options.items() if name != "io"):
            raise UsageError(
                "--check takes an exported file or folder and no other option",
                code="conflicting-options",
            )
        _verify_again(Path(target), as_json=as_json)
        return
    if not (as_onnx or web or card):
        raise UsageError(
            "which format?", hint=f"zoo export {target} --onnx", code="missing-argument"
        )
    _export(target, as_json=as_json, onnx=as_onnx or web, web=web, card=card, **options)


def _export(
    target: str, *, output: Path | None, max_loss: float | None, as_json: bool, **form: Any
) -> None:
    from zoo.api.export import export_target

    with _interruptible() as on_step:
        bundle = export_target(
            target, output, max_quality_loss=max_loss, on_step=on_step, log=say, **form
        )
    paths = [click.format_filename(path) for path in bundle.files]
    if as_json:
        print_json({**bundle.to_json(), "files": paths})
        return
    for line in _report(bundle):
        say(line)
    folder = click.format_filename(bundle.files[0].parent)
    if not bundle.graphs:
        click.echo(str(Path(folder, "README.md")))
        say(f"beside it in {folder}: weights, pictures, figures, manifest")
        return
    click.echo("\n".join(path for path in paths if path.endswith((".onnx", ".html"))))
    say(f"beside them in {folder}: manifest, weights, references, card")


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


def _verify_again(path: Path, *, as_json: bool) -> None:
    """Verify a file, or all that a folder's manifest lists; raise the first error at the end."""
    from zoo.exporting.verify import check_others, exported_files, verify_again
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
            if path.is_dir() and (note := check_others(path)):
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
    if bundle.page:
        yield from _report_page(bundle.page)
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


def _report_page(page: Page) -> Iterator[str]:
    """Yield what is known of the page, a line for each browser."""
    size = f"page of {page.bytes / 1e6:.1f} MB"
    for run in page.check.runs:
        greatest = max(figures["greatest"] for figures in run.checks.values())
        yield (f"verified {size} in {run.browser}: greatest difference {greatest:.2g}; "
               f"first result after {run.seconds:.1f} s")  # fmt: skip
    if not page.check.runs:
        yield f"{size}, not checked in a browser: {'; '.join(page.check.why_not)}"


def _in_words(loss: float | None) -> str:
    """Return by how much a figure is worse."""
    if loss is None:
        return ""
    if abs(loss) < NEGLIGIBLE_LOSS:
        return ", as good"
    return f", {abs(loss):.2f} % {'worse' if loss > 0 else 'better'}"
