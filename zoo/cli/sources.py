"""The ``--data``, ``--size`` and ``--fit`` of several verbs -> a decoded store; shown downloads."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import click

from zoo.cli.output import Choice, say
from zoo.errors import UsageError, did_you_mean
from zoo.ports import Fit

if TYPE_CHECKING:
    from zoo.catalog.dataset import Download
    from zoo.data.download import Progress, Report
    from zoo.data.store import OnBadImage, Store
    from zoo.ports import DataSpec


FITS = get_args(Fit)
FIT_HELP = "How pictures of other proportions fit: cut off, surrounded by their edges, distorted"

fit_option = click.option("--fit", type=Choice(FITS), help=f"{FIT_HELP} [as in the training].")
EVERY = 10.0  # seconds between two plain lines about one file


def find(data: str) -> DataLocation:
    """Find a data set; one of the catalogue is downloaded first, where needed."""
    from zoo.catalog.lookup import dataset_called
    from zoo.data.location import locate_data

    dataset = dataset_called(data) or dataset_called(data.rpartition(":")[0])
    if dataset:
        fetch_with_progress(dataset)
    return locate_data(data)


def decode(
    source: DataLocation,
    *,
    size: tuple[int, int] | None,
    fit: Fit,
    on_bad_image: OnBadImage = "auto",
    two_domains: bool = False,
) -> Store:
    """Decode a data set, telling the user on stderr what takes time or may surprise."""
    from zoo.data.store import open_store

    source = replace(source, two_domains=two_domains)
    return open_store(source, size=size, fit=fit, on_bad_image=on_bad_image, report=say)


def decode_like(source: DataLocation, spec: DataSpec, fit: str | None = None) -> Store:
    """Decode a data set as that of a training was: size, colours, fit and range of values.

    Args:
        source: the data.
        spec: what the training's data was.
        fit: another way to bring pictures to the size, if the user wants one.
    """
    from zoo.data.store import open_store

    return open_store(
        replace(source, two_domains=bool(spec.domains)),
        size=(spec.height, spec.width),
        channels=spec.channels,
        fit=read_fit(fit) if fit else spec.fit,
        value_range=spec.value_range,
        report=say,
    )


def read_fit(text: object) -> Fit:
    """Read the name of a way to bring pictures to a size, as a configuration file has it.

    Raises:
        UsageError: there is no such way.
    """
    if text not in FITS:
        word = str(text)[:40]
        raise UsageError(
            f"{word!r} is no way to fit pictures.{did_you_mean(word, FITS)}",
            hint=f"--fit {'|'.join(FITS)}",
        )
    return cast(Fit, text)


def read_size(text: object) -> tuple[int, int] | None:
    """Read ``64`` or ``64x96`` (height x width), or the two numbers of a configuration file.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return None
    if isinstance(text, list):
        text = "x".join(map(str, text))
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", str(text))
    height = int(match[1]) if match else 0
    width = int(match[2] or match[1]) if match else 0
    if not (8 <= height <= 4096 and 8 <= width <= 4096):
        raise UsageError(
            f"{str(text)[:40]!r} is not an image size",
            hint="--size 64, or --size 64x96 (8 to 4096)",
        )
    return height, width


def fetch_with_progress(row: Download, *, patience: float | None = None) -> Path:
    """Return the folder of a row; when it must be downloaded, say first what it is.

    Size and licence, progress and mirrors that fail go to stderr.

    Args:
        row: a data set or weights.
        patience: seconds for which a server may be silent; None for the usual time.

    Raises:
        NotFoundError: it is not here and no mirror gives it.
        ZooError: the cache cannot be written to.
    """
    from zoo.data.download import PATIENCE, cached_state, fetch

    if cached_state(row) == "yes":
        return fetch(row)
    say(f"{row.title}: {describe_size(row)}; licence: {row.licence}")
    try:
        with download_display() as report:
            return fetch(row, report=report, patience=patience or PATIENCE)
    except KeyboardInterrupt:
        say("stopped; the same command goes on where this one stopped")
        raise


def describe_size(row: Download) -> str:
    """Return the size of a download in words."""
    from rich import filesize

    if row.embedded:
        return "in the package"
    return "unknown size" if row.bytes is None else filesize.decimal(row.bytes)


@contextmanager
def download_display() -> Iterator[Report]:
    """Yield what a download reports to: bars on a terminal, otherwise plain lines."""
    if not sys.stderr.isatty():
        yield _plain_lines()
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    console = Console(stderr=True, markup=False, highlight=False)
    with progress.Progress(*columns, console=console) as bars:
        tasks: dict[str, progress.TaskID] = {}

        def report(update: Progress) -> None:
            if update.note:
                bars.console.print(_sentence(update))
                return
            if update.file not in tasks:
                tasks[update.file] = bars.add_task(update.file, total=update.total)
            bars.update(tasks[update.file], completed=update.done, total=update.total)

        yield report


def _plain_lines() -> Report:
    from rich import filesize

    printed: dict[str, float] = {}

    def report(update: Progress) -> None:
        if update.note:
            say(_sentence(update))
            return
        now, complete = time.monotonic(), update.done == update.total
        if complete or now - printed.get(update.file, 0.0) >= EVERY:
            printed[update.file] = now
            of = "" if update.total is None else f" of {filesize.decimal(update.total)}"
            say(f"{update.file}: {filesize.decimal(update.done)}{of}")

    return report


def _sentence(update: Progress) -> str:
    return f"{update.file}: {update.note}" if update.file else update.note
