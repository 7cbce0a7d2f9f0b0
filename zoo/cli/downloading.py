"""How a download looks: one rich display on a terminal, otherwise a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.output import say

if TYPE_CHECKING:
    from zoo.catalog.dataset import Download
    from zoo.data.download import Progress, Report

EVERY = 10.0  # seconds between two plain lines about one file


def fetch_aloud(row: Download, *, patience: float | None = None) -> Path:
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

        def report(moment: Progress) -> None:
            if moment.note:
                bars.console.print(_sentence(moment))
                return
            if moment.file not in tasks:
                tasks[moment.file] = bars.add_task(moment.file, total=moment.total)
            bars.update(tasks[moment.file], completed=moment.done, total=moment.total)

        yield report


def _plain_lines() -> Report:
    from rich import filesize

    spoken: dict[str, float] = {}

    def report(moment: Progress) -> None:
        if moment.note:
            say(_sentence(moment))
            return
        now, complete = time.monotonic(), moment.done == moment.total
        if complete or now - spoken.get(moment.file, 0.0) >= EVERY:
            spoken[moment.file] = now
            of = "" if moment.total is None else f" of {filesize.decimal(moment.total)}"
            say(f"{moment.file}: {filesize.decimal(moment.done)}{of}")

    return report


def _sentence(moment: Progress) -> str:
    return f"{moment.file}: {moment.note}" if moment.file else moment.note
