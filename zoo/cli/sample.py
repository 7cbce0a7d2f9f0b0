"""`zoo sample`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.completion import targets
from zoo.cli.output import json_option, print_json
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.ports import Signature


@click.command("sample")
@click.argument("target", shell_complete=targets)
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=64, help="How many [64].")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Of the noise [0].")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("samples.png"),
              help="Picture to write [samples.png].")  # fmt: skip
@json_option
def verb(target: str, count: int, seed: int, output: Path, as_json: bool) -> None:
    """Draw samples from TARGET: a run, @last, a model's latest run, or a .safetensors file."""
    from zoo import pictures
    from zoo.cli.targets import find_weights, load
    from zoo.model.drawing import draw_samples, drawable

    trained = load(find_weights(target))
    graphs = drawable(trained.model)
    samplers = [name for name, graph in graphs.items() if graph.signature.can_sample]
    if not samplers:
        header = trained.header
        raise UsageError(
            f"{header.model} cannot be sampled",
            cause=_why_not(header.graphs),
            hint=f"{_generator(header.distribution)}zoo run its exported graphs on pictures",
        )
    pixels = draw_samples(trained.model, samplers[0], count=count, seed=seed)
    if output.suffix.lower() != ".png":
        raise UsageError(f"{output} is no name for a PNG picture", hint="-o grid.png")
    output.parent.mkdir(parents=True, exist_ok=True)
    pictures.write_png(output, pictures.grid(pixels))
    if as_json:
        print_json(
            {"file": str(output), "count": count, "seed": seed, "model": trained.header.model}
        )
    else:
        click.echo(output)


def _why_not(graphs: Mapping[str, Signature]) -> str:
    """Say which input nobody knows how to draw."""
    for name, signature in graphs.items():
        for port in signature.missing:
            if port.kind == "latent":
                return f"the input {port.name!r} of {name!r} has no prior to draw it from"
    return "it only turns images into images"


def _generator(distribution: str) -> str:
    """Name a model that can be sampled, best one of the same plugin."""
    from zoo.catalog.lookup import offers

    generators = [offer for offer in offers() if offer.card.task == "generation"]
    generators.sort(key=lambda offer: offer.plugin.distribution != distribution)
    if not generators:
        return ""
    name = generators[0].card.name
    return f"a model that can, such as {name} (zoo train {name}); or "
