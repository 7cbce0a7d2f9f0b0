"""`zoo data`: what there is, downloads, what training would read, and what the cache holds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.api.data import fetch_source, read_decode_options
from zoo.catalog.dataset import Dataset
from zoo.catalog.lookup import datasets, find_dataset
from zoo.catalog.registry import read_registry
from zoo.cli import arguments
from zoo.cli.output import print_json, print_table
from zoo.data.download import cached_state, verified_hash
from zoo.data.inventory import Cached, inventory, remove
from zoo.data.progress import describe_size, fetch_with_progress
from zoo.errors import NotFoundError, UsageError, ZooError, did_you_mean
from zoo.messages import say
from zoo.ports import PICTORIAL

if TYPE_CHECKING:
    from zoo.data.survey import Inspection
    from zoo.ports import Fit

SHOWN = 12  # sizes, classes or unreadable files of a check; the rest is counted


@click.group("data", invoke_without_command=True)
@arguments.json_option
@click.pass_context
def verb(context: click.Context, as_json: bool) -> None:
    """List, download or check data sets, and remove what the cache holds of them."""
    if context.invoked_subcommand is None:
        context.invoke(list_data, cached=False, as_json=as_json)


@verb.command("list")
@click.option("--cached", is_flag=True, help="List what lies in the cache: size, last use, source.")
@arguments.json_option
def list_data(cached: bool, as_json: bool) -> None:
    """List the data sets that --data knows by name, and which of them are here.

    ZOO_REGISTRY=FILE or =URL adds the rows of a catalogue of your own.
    """
    if cached:
        _list_cached(as_json)
        return
    for trouble in read_registry().troubles:
        say(f"passed over: {trouble}")
    rows = datasets()
    if as_json:
        print_json([{**_facts(row), "cached": cached_state(row)} for row in rows])
        return
    print_table(
        ["name", "holds", "download", "here", "licence", "summary"],
        [
            (row.name, _items(row),
             describe_size(row), cached_state(row), row.licence.partition(" (")[0], row.summary)
            for row in rows
        ],
    )  # fmt: skip


@verb.command("get")
@click.argument("name", shell_complete=arguments.complete_datasets)
@click.option("--timeout", type=click.IntRange(1, 86400), default=30, show_default=True,
              metavar="SECONDS", help="Leave a server that is silent, or sends less than 1 kB a "
              "second, for this long.")  # fmt: skip
@arguments.json_option
def get_data(name: str, timeout: int, as_json: bool) -> None:
    """Download the data set NAME, unless it is here, and print its folder.

    A download that breaks off is resumed by the same command. ZOO_HOME=FOLDER moves the cache.
    """
    dataset = find_dataset(name)
    folder = fetch_with_progress(dataset, patience=timeout)
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
@arguments.size_option
@arguments.fit_option("cover")
@arguments.length_option
@arguments.rate_option
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="PAGE.png",
              help="Write a picture of examples: classes in rows, pairs side by side.")  # fmt: skip
@arguments.json_option
def check_data(
    data: str,
    size: str | None,
    fit: Fit | None,
    length: int | None,
    rate: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Say what training would read of a data set, a folder or an archive.

    PATH:LAYOUT names the layout where it is not recognised.
    """
    if output and output.suffix.lower() != ".png":
        raise UsageError(
            f"{output} is no name for a PNG picture", hint="-o page.png", code="bad-output"
        )
    from zoo.data.survey import inspect

    source = fetch_source(data)
    options = read_decode_options(size=size, fit=fit, length=length, rate=rate)
    found = inspect(source, options)
    if output:
        from zoo.data.examples import draw_examples
        from zoo.pictures import write_png

        output.parent.mkdir(parents=True, exist_ok=True)
        write_png(output, draw_examples(source, found.spec, options))
        say(f"examples in {click.format_filename(output)}")
    if as_json:
        print_json(found.to_json())
        return
    for what, words in _inspection_lines(found):
        click.echo(f"{what:<11} {words}")


def _inspection_lines(found: Inspection) -> Iterator[tuple[str, str]]:
    """Yield what was found of a data set, a line each."""
    from zoo.data.store import FEW_BAD
    from zoo.modalities import modality_of

    spec = found.spec
    items = modality_of(spec.ports[0]).items
    total = sum(sum(sides.values()) for sides in found.splits.values()) + len(found.bad)
    yield "layout", found.layout
    for split, sides in found.splits.items():
        in_pairs = ", in pairs" if split in found.pairs else ""
        yield split, _counts(sides, spec.domains) + in_pairs
    if found.validation:
        yield "held out", f"{_counts(found.validation, spec.domains)} of the training {items}"
    for what, counts in found.counts.items():
        yield what, _counts(counts)
    if found.classes:
        yield "classes", _counts(found.classes)
    for port in spec.ports:
        yield port.domain or port.name, f"{port.kind}, {modality_of(port).describe(port)}"
    for note in found.notes:
        yield "note", note
    if found.unused:
        yield "unused", f"{found.unused:,} files"
    for bad in found.bad[:SHOWN]:
        yield "unreadable", f"{bad['path']}: {bad['reason']}"
    if len(found.bad) > SHOWN:
        yield "unreadable", f"and {len(found.bad) - SHOWN:,} more (--json lists them)"
    if len(found.bad) > FEW_BAD * total:
        yield "training", "refuses so many unreadable files, but for --on-bad-image skip"
    if sum(found.splits.get("train", {}).values()) + sum(found.validation.values()) < 2:
        yield "training", f"needs two {items} at least"


@verb.command("rm")
@click.argument(
    "names", nargs=-1, metavar="[NAME|ID|PATH]…", shell_complete=arguments.complete_datasets
)
@click.option("--unused-for", type=click.FloatRange(0, 36500), metavar="DAYS",
              help="Only what was not used for so long.")  # fmt: skip
@click.option("--stale", is_flag=True,
              help="Only what is of another version, or whose source is gone.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@arguments.json_option
def remove_data(
    names: tuple[str, ...],
    unused_for: float | None,
    stale: bool,
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove downloads and decoded data from the cache.

    They are named by their data set, by the id or the source of `zoo data list --cached`, or by an
    option; several conditions must all hold. Your own files are never touched, and a process that
    uses what is removed keeps it until it ends.

    \b
    zoo data rm photos
    zoo data rm --unused-for 30
    zoo data rm --stale
    """  # noqa: D301 - click takes a real backspace for "do not wrap"
    if not (names or stale or everything or unused_for is not None):
        raise UsageError(
            "what shall be removed?",
            hint="zoo data list --cached, then a name or an id; or --unused-for 30, --stale, --all",
            code="missing-argument",
        )
    removed: list[Cached] = []
    refused: ZooError | None = None
    for each in _to_remove(names, unused_for=unused_for, stale=stale):
        try:
            if not dry_run:
                remove(each)
        except ZooError as problem:  # the others are removed all the same
            refused = problem
            continue
        removed.append(each)
        if not as_json:
            click.echo(click.format_filename(each.path))
    if as_json:
        print_json({
            "removed": [each.to_json() for each in removed],
            "bytes": sum(each.bytes for each in removed),
            "dry_run": dry_run,
        })  # fmt: skip
    else:
        say(_sum(removed, "would be removed" if dry_run else "removed"))
    if refused is not None:
        raise refused


def _to_remove(names: tuple[str, ...], *, unused_for: float | None, stale: bool) -> list[Cached]:
    """Return what lies in the cache and fulfils all conditions."""
    found = [each for each in inventory() if each.kind != "unfinished" or each.stale]
    for name in names:
        if not any(each.is_called(name) for each in found):
            known = {each.name for each in found if each.name}
            raise NotFoundError(
                f"nothing in the cache is called {name[:60]!r}.{did_you_mean(name, known)}",
                hint="zoo data list --cached",
                code="data-not-found",
            )
    return [
        each
        for each in found
        if (not names or any(each.is_called(name) for name in names))
        and (each.stale or not stale)
        and (unused_for is None or time.time() - each.used > unused_for * 86400)
    ]


def _list_cached(as_json: bool) -> None:
    from rich import filesize

    found = inventory()
    if as_json:
        print_json([each.to_json() for each in found])
        return
    if found:
        print_table(
            ["id", "kind", "data", "size", "last used", "made of"],
            [
                (each.id if each.kind == "download" else each.id[:12], each.kind,
                 f"{each.name}: {each.form}" if each.form else each.name,
                 filesize.decimal(each.bytes),
                 time.strftime("%Y-%m-%d", time.localtime(each.used)),
                 "; ".join(part for part in (each.source, each.stale) if part))
                for each in found
            ],
        )  # fmt: skip
    say(_sum(found, "zoo data rm NAME, ID or --unused-for DAYS removes some"))


def _sum(found: list[Cached], then: str) -> str:
    from rich import filesize

    things = "1 thing" if len(found) == 1 else f"{len(found):,} things"
    return f"{things}, {filesize.decimal(sum(each.bytes for each in found))}: {then}"


def _counts(counts: Mapping[str, int], domains: Sequence[str] = ()) -> str:
    """Return the first few counts in words, ``28x28: 5,000, 32x32: 12``; sides by their domains."""
    names = dict(zip("ab", domains, strict=False))
    words = [f"{names.get(name, name)}: {count:,}" for name, count in list(counts.items())[:SHOWN]]
    return ", ".join([*words, "…"] if len(counts) > SHOWN else words)


def _facts(dataset: Dataset) -> dict[str, object]:
    """Return a row of the catalogue as plain JSON values, without its files."""
    names = ("name", "summary", "licence", "kind", "layout", "size", "channels", "classes",
             "domains", "pairs", "bytes")  # fmt: skip
    facts = {name: getattr(dataset, name) for name in names}
    return {**facts, "embedded": bool(dataset.embedded)}


def _items(dataset: Dataset) -> str:
    """Return what a data set holds, in a few words."""
    if dataset.kind not in PICTORIAL:
        return dataset.kind
    colour = "grey" if dataset.channels == 1 else "colour"
    return f"{dataset.size[0]}x{dataset.size[1]} {colour}" if dataset.size else colour
