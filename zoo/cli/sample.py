"""`zoo sample`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.completion import datasets, targets
from zoo.cli.output import json_option, print_json
from zoo.cli.sources import fit_option
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.model.weights import Trained
    from zoo.pictures import Pixels

MOST_SAMPLES = 10_000
SAMPLES = 64
OF_A_CLASS = 8  # samples, where there is a row a class
SHOWN = 16  # images of the data


@click.command("sample")
@click.argument("target", shell_complete=targets)
@click.option("-n", "count", type=click.IntRange(1, MOST_SAMPLES),
              help="How many [64; 8 of a class; 16 of the data].")  # fmt: skip
@click.option("--class", "classes", metavar="NAME", help="Of which class: name, number, or all.")
@click.option("--data", metavar="NAME|PATH", shell_complete=datasets,
              help="Pictures for a model that needs some [what it was trained on].")  # fmt: skip
@fit_option
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Of noise [0].")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("samples.png"),
              help="Picture to write [samples.png].")  # fmt: skip
@json_option
def verb(
    target: str,
    count: int | None,
    classes: str | None,
    data: str | None,
    fit: str | None,
    seed: int,
    output: Path,
    as_json: bool,
) -> None:
    """Draw samples from TARGET: a run, @last, a model's latest run, or a .safetensors file.

    A model that makes pictures from noise draws some; --class all gives a row for each class, with
    its name, and the same noise in every row. A model that makes pictures of pictures shows test
    images, each above what becomes of it; where there is a way back, also that.
    """
    from zoo.cli.targets import find_weights, load
    from zoo.data.location import check_data_is_there

    if output.suffix.lower() != ".png":
        raise UsageError(f"{output} is no name for a PNG picture", hint="-o grid.png")
    weights = find_weights(target)
    if data is not None:
        check_data_is_there(data)
    trained = load(weights)
    from zoo import pictures
    from zoo.model.drawing import mappers, samplers

    if samplers(trained.model):
        if data is not None or fit is not None:
            raise UsageError(
                f"{trained.header.model} draws from noise and needs no data",
                hint=f"zoo sample {target}",
            )
        count = count or (OF_A_CLASS if classes else SAMPLES)
        page, count = _draw(trained, count, seed, classes)
    elif mappers(trained.model):
        if classes is not None:
            raise UsageError(f"{trained.header.model} has no classes to choose from")
        count = count or SHOWN
        page = _compare(trained, count, data, fit)
    else:
        needs = [
            f"{name} needs {', '.join(port.name for port in graph.signature.missing)}"
            for name, graph in trained.model.graphs().items()
            if graph.signature.missing
        ]
        raise UsageError(
            f"{trained.header.model} makes no pictures of noise, or of pictures, alone",
            cause="; ".join(needs),
            hint="zoo export and zoo run, which takes numbers from .npz files",
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    pictures.write_png(output, page)
    written = click.format_filename(output)
    if as_json:
        print_json({"file": written, "count": count, "seed": seed, "model": trained.header.model})
    else:
        click.echo(written)


def _draw(trained: Trained, count: int, seed: int, classes: str | None) -> tuple[Pixels, int]:
    """Return a grid of samples and how many they are; `count` is of each class, where some are."""
    from zoo import grids
    from zoo.draws import class_labels, read_classes
    from zoo.model.drawing import draw_samples, samplers

    model = trained.model
    name = samplers(model)[0]
    if classes is None:
        return grids.grid(draw_samples(model, name, count=count, seed=seed)), count
    ports = model.graphs()[name].inputs
    chosen = read_classes(classes, ports)
    if len(chosen) * count > MOST_SAMPLES:
        raise UsageError(
            f"{count} of each of {len(chosen)} classes are too many", hint="fewer, or fewer classes"
        )
    samples = draw_samples(model, name, count=count, seed=seed, classes=chosen)
    if len(chosen) == 1:
        return grids.grid(samples), len(samples)
    return grids.grid(samples, count, class_labels(chosen, ports)), len(samples)


def _compare(trained: Trained, count: int, data: str | None, fit: str | None) -> Pixels:
    """Return test images of the data and what all graphs from image to image make of them."""
    from zoo.cli.sources import decode_like, find
    from zoo.cli.targets import trained_on
    from zoo.model.drawing import comparison, mappers

    spec = trained.header.data
    source = find(data or trained_on(trained.path))
    store = decode_like(source, spec, fit)
    images = store.splits.get("test", store.splits["validation"])
    return comparison(trained.model, mappers(trained.model), images, count)
