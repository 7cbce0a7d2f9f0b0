"""`zoo data`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from zoo.cli.completion import datasets
from zoo.cli.output import Choice, json_option, print_json, print_table, say
from zoo.cli.sources import FIT_HELP, FITS, find, read_fit, read_size

if TYPE_CHECKING:
    from zoo.catalog.dataset import Dataset
    from zoo.ports import DataSpec

SHOWN = 12  # sizes, classes or unreadable files of a check; the rest is counted


@click.group("data", invoke_without_command=True)
@json_option
@click.pass_context
def verb(context: click.Context, as_json: bool) -> None:
    """List, download or check data sets."""
    if context.invoked_subcommand is None:
        context.invoke(list_data, as_json=as_json)


@verb.command("list")
@json_option
def list_data(as_json: bool) -> None:
    """List the data sets that --data knows by name, and which of them are here.

    ZOO_REGISTRY=FILE or =URL adds the rows of a catalogue of your own.
    """
    from zoo.catalog.lookup import datasets
    from zoo.catalog.registry import read_registry
    from zoo.cli.downloading import describe_size
    from zoo.data.cache import state

    for trouble in read_registry().troubles:
        say(f"passed over: {trouble}")
    rows = datasets()
    if as_json:
        print_json([{**_facts(row), "cached": state(row)} for row in rows])
        return
    print_table(
        ["name", "images", "download", "here", "licence", "summary"],
        [
            (row.name, _images(row), describe_size(row), state(row),
             row.licence.partition(" (")[0], row.summary)
            for row in rows
        ],
    )  # fmt: skip


@verb.command("get")
@click.argument("name", shell_complete=datasets)
@click.option(
    "--timeout",
    type=click.IntRange(1, 86400),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="Leave a server that is silent, or sends less than 1 kB a second, for this long.",
)
@json_option
def get_data(name: str, timeout: int, as_json: bool) -> None:
    """Download the data set NAME, unless it is here, and print its folder.

    A download that breaks off is resumed by the same command. ZOO_HOME=FOLDER moves the cache.
    """
    from zoo.catalog.lookup import find_dataset
    from zoo.cli.downloading import fetch_aloud
    from zoo.data.cache import verified_hash

    dataset = find_dataset(name)
    folder = fetch_aloud(dataset, patience=timeout)
    if not as_json:
        click.echo(folder)
        return
    files = [
        {
            "name": file.name,
            "bytes": (folder / file.name).stat().st_size,
            "sha256": verified_hash(file, folder),
            "sha256_published": file.sha256 is not None,
        }
        for file in dataset.files
    ]
    print_json({**_facts(dataset), "path": str(folder), "files": files})


@verb.command("check")
@click.argument("data", metavar="NAME|PATH")
@click.option("--size", metavar="N|HxW", help="Image size to train at [the data's].")
@click.option("--fit", type=Choice(FITS), default="cover", help=f"{FIT_HELP} [cover].")
@json_option
def check_data(data: str, size: str | None, fit: str, as_json: bool) -> None:
    """Say what training would read of a data set, a folder or an archive.

    PATH:LAYOUT names the layout where it is not recognised.
    """
    from zoo.data.inspection import inspect
    from zoo.data.store import FEW_BAD
    from zoo.data.survey import DecodeOptions

    options = DecodeOptions(read_size(size), fit=read_fit(fit))
    found = inspect(find(data), options)
    if as_json:
        print_json(found.to_json())
        return
    spec = found.spec
    colour = "grey" if spec.channels == 1 else "colour"
    click.echo(f"layout      {found.layout}")
    for split, sides in found.splits.items():
        of_one_thing = ", in pairs" if split in found.pairs else ""
        click.echo(f"{split:<11} {_counts(_by_domain(sides, spec))}{of_one_thing}")
    if found.validation:
        held_out = _counts(_by_domain(found.validation, spec))
        click.echo(f"held out    {held_out} of the training pictures")
    click.echo(f"sizes       {_counts(found.sizes)} (height x width)")
    click.echo(f"modes       {_counts(found.modes)}")
    if found.classes:
        click.echo(f"classes     {_counts(found.classes)}")
    click.echo(f"trains at   {spec.height}x{spec.width} {colour}, fit {spec.fit}")
    if spec.value_range:
        low, high = spec.value_range
        click.echo(f"values      {low:,.6g} becomes black, {high:,.6g} white")
    for note in found.notes:
        click.echo(f"note        {note}")
    if found.unused:
        click.echo(f"unused      {found.unused:,} files")
    for bad in found.bad[:SHOWN]:
        click.echo(f"unreadable  {bad['path']}: {bad['reason']}")
    if len(found.bad) > SHOWN:
        click.echo(f"unreadable  and {len(found.bad) - SHOWN:,} more (--json lists them)")

    total = sum(found.sizes.values()) + len(found.bad)
    if len(found.bad) > FEW_BAD * total:
        click.echo("training    refuses so many unreadable files, but for --on-bad-image skip")
    if sum(found.splits.get("train", {}).values()) + sum(found.validation.values()) < 2:
        click.echo("training    needs two pictures at least")


def _by_domain(sides: Mapping[str, int], spec: DataSpec) -> dict[str, int]:
    """Return counts by the names of the domains, where there are two sides."""
    names = dict(zip("ab", spec.domains, strict=False))
    return {names.get(side, side): count for side, count in sides.items()}


def _counts(counts: Mapping[str, int]) -> str:
    """Return the first few counts in words: ``28x28: 5,000, 32x32: 12``."""
    words = [f"{name}: {count:,}" for name, count in list(counts.items())[:SHOWN]]
    return ", ".join([*words, "…"] if len(counts) > SHOWN else words)


def _facts(dataset: Dataset) -> dict[str, object]:
    """Return a row of the catalogue as plain JSON values, without its files."""
    return {
        "name": dataset.name,
        "summary": dataset.summary,
        "licence": dataset.licence,
        "layout": dataset.layout,
        "size": dataset.size,
        "channels": dataset.channels,
        "classes": dataset.classes,
        "domains": dataset.domains,
        "pairs": dataset.pairs,
        "bytes": dataset.bytes,
        "embedded": bool(dataset.embedded),
    }


def _images(dataset: Dataset) -> str:
    height, width = dataset.size or ("any", "any")
    return f"{height}x{width} {'grey' if dataset.channels == 1 else 'colour'}"
