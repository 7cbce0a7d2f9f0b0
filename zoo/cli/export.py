"""`zoo export`."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.completion import targets
from zoo.cli.output import json_option, print_json, say
from zoo.errors import UsageError


@click.command("export")
@click.argument("target", shell_complete=targets)
@click.option("--onnx", "as_onnx", is_flag=True, help="Write ONNX files (the only format so far).")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder to write [exports/MODEL, or exports/RUN for a run].")  # fmt: skip
@json_option
def verb(target: str, as_onnx: bool, output: Path | None, as_json: bool) -> None:
    """Export TARGET: a run, @last, a model's latest run, or a .safetensors file.

    Every graph becomes an .onnx file that is compared with the model before it takes its name.
    """
    if not as_onnx:
        raise UsageError("which format?", hint=f"zoo export {target} --onnx")
    from zoo.cli.targets import find_weights, load, name_of

    trained = load(find_weights(target))
    from zoo.export.bundle import export_bundle

    folder = output or Path("exports") / name_of(target, trained)
    bundle = export_bundle(trained, folder)
    paths = [click.format_filename(path) for path in bundle.files]
    if as_json:
        print_json({**bundle.to_json(), "files": paths})
        return
    for name, gap in bundle.max_abs_difference.items():
        say(f"verified {name}: greatest difference {gap:.2g}")
    click.echo("\n".join(paths))
