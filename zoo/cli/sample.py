"""`zoo sample`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli import arguments
from zoo.cli.output import print_json
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.model.weights import Trained
    from zoo.pictures import Pixels
    from zoo.ports import Fit

MOST_SAMPLES = 10_000
SAMPLES = 64
OF_A_CLASS = 8  # samples, where there is a row a class
SHOWN = 16  # images of the data


@click.command("sample")
@arguments.target_argument
@click.option("-n", "count", type=click.IntRange(1, MOST_SAMPLES),
              help="How many [64; 8 of a class; 16 of the data].")  # fmt: skip
@click.option("--class", "classes", metavar="NAME", help="Of which class: name, number, or all.")
@arguments.data_option("Pictures for a model that needs some [what it was trained on].")
@arguments.fit_option()
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Of noise [0].")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("samples.png"),
              help="Picture to write [samples.png].")  # fmt: skip
@arguments.json_option
def verb(
    target: str,
    count: int | None,
    classes: str | None,
    data: str | None,
    fit: Fit | None,
    seed: int,
    output: Path,
    as_json: bool,
) -> None:
    """Draw samples from TARGET: a run, @last, a model's latest run, or a .safetensors file.

    A model that makes pictures from noise draws some; --class all gives a row for each class, with
    its name, and the same noise in every row. A model that makes pictures of pictures shows test
    images, each above what becomes of it; where there is a way back, also that.
    """
    if output.suffix.lower() != ".png":
        raise UsageError(
            f"{output} is no name for a PNG picture", hint="-o grid.png", code="bad-output"
        )
    trained = arguments.load_target(target, data)
    from zoo import pictures
    from zoo.model.inference import mappers, samplers

    if samplers(trained.model):
        if data is not None or fit is not None:
            raise UsageError(
                f"{trained.identity.model} draws from noise and needs no data",
                hint=f"zoo sample {target}",
                code="does-not-apply",
            )
        count = count or (OF_A_CLASS if classes else SAMPLES)
        page, count = _draw(trained, count, seed, classes)
    elif mappers(trained.model):
        if classes is not None:
            raise UsageError(
                f"{trained.identity.model} has no classes to choose from", code="does-not-apply"
            )
        count = count or SHOWN
        page = _compare(trained, count, data, fit)
    else:
        raise _no_pictures(trained)
    output.parent.mkdir(parents=True, exist_ok=True)
    pictures.write_png(output, page)
    written = click.format_filename(output)
    if as_json:
        print_json({"file": written, "count": count, "seed": seed, "model": trained.identity.model})
    else:
        click.echo(written)


def _no_pictures(trained: Trained) -> UsageError:
    needs = [
        f"{name} needs {', '.join(port.name for port in graph.signature.required)}"
        for name, graph in trained.model.graphs().items()
        if graph.signature.required
    ]
    return UsageError(
        f"{trained.identity.model} makes no pictures of noise, or of pictures, alone",
        cause="; ".join(needs),
        hint="zoo export and zoo run, which takes numbers from .npz files",
        code="does-not-apply",
    )


def _draw(trained: Trained, count: int, seed: int, classes: str | None) -> tuple[Pixels, int]:
    """Return a grid of samples and how many they are; `count` is of each class, where some are."""
    from zoo import pictures
    from zoo.draws import class_labels, read_classes
    from zoo.model.inference import draw_samples, samplers

    model = trained.model
    name = samplers(model)[0]
    if classes is None:
        return pictures.grid(draw_samples(model, name, count=count, seed=seed)), count
    ports = model.graphs()[name].inputs
    chosen = read_classes(classes, ports)
    if len(chosen) * count > MOST_SAMPLES:
        raise UsageError(
            f"{count} of each of {len(chosen)} classes are too many",
            hint="fewer, or fewer classes",
            code="too-many",
        )
    samples = draw_samples(model, name, count=count, seed=seed, classes=chosen)
    if len(chosen) == 1:
        return pictures.grid(samples), len(samples)
    return pictures.grid(samples, count, class_labels(chosen, ports)), len(samples)


def _compare(trained: Trained, count: int, data: str | None, fit: Fit | None) -> Pixels:
    """Return test images of the data and what all graphs from image to image make of them."""
    from zoo.model.inference import comparison, mappers

    store = arguments.open_like_training(trained, arguments.source_for(trained, data), fit)
    images = store.splits.get("test", store.splits["validation"])
    return comparison(trained.model, mappers(trained.model), images, count)
