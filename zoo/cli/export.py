"""`zoo export`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.completion import datasets, targets
from zoo.cli.output import Choice, json_option, print_json, say
from zoo.cli.sources import fit_option
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.export.outcome import Bundle
    from zoo.runtime.description import Precision

MOST_BATCH = 4096
MOST_LOSS = 5.0  # percent
NOTHING_TO_TELL = 0.05  # percent
PRECISIONS: Mapping[str, Precision] = {
    "--half": "float16 weights",
    "--half-arithmetic": "float16",
    "--int8": "int8",
}


def _size(_: Any, __: Any, text: str | None) -> tuple[int, int] | None:
    """Read ``256x256``; None for ``dynamic``."""
    from zoo.cli.sources import read_size

    return None if text == "dynamic" else read_size(text)


def _batch(_: Any, __: Any, text: str | None) -> int | None:
    """Read a number of rows; None for ``dynamic``."""
    if text is None or text == "dynamic":
        return None
    if not (text.isdecimal() and len(text) < 6 and 0 < int(text) <= MOST_BATCH):
        raise UsageError(f"--batch {text[:40]}: not a number from 1 to {MOST_BATCH}, or dynamic")
    return int(text)


@click.command("export")
@click.argument("target", shell_complete=targets)
@click.option("--onnx", "as_onnx", is_flag=True, help="Write ONNX files (the only format so far).")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder to write [exports/MODEL, or exports/RUN for a run].")  # fmt: skip
@click.option("--io", type=Choice(["float", "uint8"]), default="float", show_default=True,
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
@click.option("--max-quality-loss", "most_loss", type=click.FloatRange(0, 100), metavar="PERCENT",
              help=f"Refuse what loses more. [default: {MOST_LOSS:g}]")  # fmt: skip
@click.option("--data", metavar="NAME|PATH", shell_complete=datasets,
              help="Pictures for smaller files [what it was trained on].")  # fmt: skip
@fit_option
@click.option("--check", is_flag=True,
              help="TARGET is an exported file or folder: verify it here again.")  # fmt: skip
@json_option
def verb(
    target: str,
    as_onnx: bool,
    output: Path | None,
    io: str,
    opset: int | None,
    batch: int | None,
    size: tuple[int, int] | None,
    half: bool,
    half_arithmetic: bool,
    int8: bool,
    optimise: bool,
    most_loss: float | None,
    data: str | None,
    fit: str | None,
    check: bool,
    as_json: bool,
) -> None:
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
        if as_onnx or output or opset or batch or size or data or fit or optimise or half or int8:
            raise UsageError("--check takes an exported file or folder and no other option")
        from zoo.cli.export_check import verify_again

        verify_again(Path(target), as_json=as_json)
        return
    if not as_onnx:
        raise UsageError("which format?", hint=f"zoo export {target} --onnx")
    precision = _precision({"--half": half, "--half-arithmetic": half_arithmetic, "--int8": int8})
    if precision == "float32" and (data, fit, most_loss) != (None, None, None):
        raise UsageError(
            "--data, --fit and --max-quality-loss are for smaller files",
            hint=f"with {' or '.join(PRECISIONS)}",
        )
    from zoo.cli.interruption import heard
    from zoo.cli.judging import material_for
    from zoo.cli.targets import find_weights, load, name_of
    from zoo.data.source import check_source

    weights = find_weights(target)
    if data is not None:
        check_source(data)
    trained = load(weights)
    from zoo.export.bundle import NOTHING, export_bundle
    from zoo.export.form import Form

    form = Form("uint8" if io == "uint8" else "float", opset, batch, size, precision, optimise)
    folder = output or Path("exports") / name_of(target, trained)
    material, judge = material_for(trained, data, fit) if form.is_reduced else (NOTHING, None)
    with heard() as report:
        bundle = export_bundle(
            trained,
            folder,
            form,
            material=material,
            judge=judge,
            report=report,
            most_loss=MOST_LOSS if most_loss is None else most_loss,
        )
    paths = [click.format_filename(path) for path in bundle.files]
    if as_json:
        print_json({**bundle.to_json(), "files": paths})
        return
    for line in _account(bundle):
        say(line)
    click.echo("\n".join(path for path in paths if path.endswith(".onnx")))
    say(f"beside them in {click.format_filename(folder)}: manifest, weights, references, card")


def _precision(wishes: Mapping[str, bool]) -> Precision:
    wanted = [option for option, is_wanted in wishes.items() if is_wanted]
    if len(wanted) > 1:
        raise UsageError(f"{' and '.join(wanted)} exclude each other", hint=wanted[0])
    return PRECISIONS[wanted[0]] if wanted else "float32"


def _account(bundle: Bundle) -> Iterator[str]:
    """Yield lines that say what was measured of an export."""
    for name, leaf in bundle.leaves.items():
        costs = leaf.saving.costs if leaf.saving else {}
        for output, gap in leaf.gaps.items():
            if output in costs:
                psnr = costs[output].psnr
                told = f"loss {gap.loss:.2g} %" + (f", PSNR {psnr:.1f} dB" if psnr else "")
                yield f"measured {name}/{output} against the float file: {told}"
            else:
                told = f"greatest difference {gap.greatest:.2g}, mean {gap.mean:.2g}"
                yield f"verified {name}/{output}: {told}"
        if leaf.saving and leaf.saving.size == 1:
            yield f"{name}: nothing to simplify, the file is as large as the plain one"
        elif leaf.saving:
            batch = leaf.about.signature.inputs[0].shape[0]
            rows = f"{batch} rows" if isinstance(batch, int) and batch > 1 else "one row"
            yield (
                f"{name}: {leaf.saving.size:.0%} of the plain file's bytes, "
                f"{leaf.saving.speed:.2f} times as fast ({rows} at a time, here)"
            )
    for each in bundle.judgements:
        yield (f"{each.name}: {each.model:.4g}, with these files {each.files:.4g}"
               f"{_in_words(each.loss)} (in the place of {', '.join(each.graphs)})")  # fmt: skip
    for kinds in sorted(set(map(tuple, bundle.noise.values()))):
        names = [name for name, found in bundle.noise.items() if tuple(found) == kinds]
        yield (f"note: {', '.join(names)}: on inputs that are {' or '.join(kinds)}, the model's "
               "own answer is enlarged rounding errors; compared no closer than these")  # fmt: skip
    if bundle.removed:
        yield f"removed {len(bundle.removed)} files of other weights, such as {bundle.removed[0]}"


def _in_words(loss: float | None) -> str:
    """Return by how much a figure is worse."""
    if loss is None:
        return ""
    if abs(loss) < NOTHING_TO_TELL:
        return ", as good"
    return f", {abs(loss):.2f} % {'worse' if loss > 0 else 'better'}"
