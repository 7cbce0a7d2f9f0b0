"""`zoo eval`."""

from __future__ import annotations

import click

from zoo.cli.completion import datasets, targets
from zoo.cli.output import Choice, json_option, print_json


@click.command("eval")
@click.argument("target", shell_complete=targets)
@click.option(
    "--data",
    metavar="NAME|PATH",
    shell_complete=datasets,
    help="Data to measure on [what the run was trained on].",
)
@click.option("--split", type=Choice(["train", "validation", "test"]),
              help="Which images [test, where the data has them, else validation].")  # fmt: skip
@json_option
def verb(target: str, data: str | None, split: str | None, as_json: bool) -> None:
    """Measure TARGET with the model's own metrics on images that it has not seen."""
    from zoo.cli.sources import decode, find
    from zoo.cli.targets import find_weights, load, trained_on

    weights = find_weights(target)
    trained = load(weights)
    from zoo.evaluation.score import score

    spec = trained.header.data
    source = find(data or trained_on(weights))
    store = decode(source, size=(spec.height, spec.width), channels=spec.channels)
    chosen = split or ("test" if "test" in store.splits else "validation")
    metrics, images = score(trained, store, chosen)  # type: ignore[arg-type] # click chose it
    if as_json:
        facts = {"data": store.spec.name, "split": chosen, "images": images}
        print_json({"model": trained.header.model, **facts, "metrics": metrics})
        return
    click.echo(f"{images:,} images of {store.spec.name}, {chosen} split")
    for name, value in metrics.items():
        click.echo(f"{name:<16} {value:.4f}")
