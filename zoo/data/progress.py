"""Downloads that say how far they are: bars on a terminal, otherwise plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.data.download import PATIENCE, DownloadProgress, OnProgress, cached_state, fetch
from zoo.messages import Log, say

if TYPE_CHECKING:
    from zoo.catalog.dataset import Downloadable

EVERY = 10.0  # seconds between two plain lines about one file


def fetch_with_progress(
    row: Downloadable, log: Log = say, *, patience: float | None = None
) -> Path:
    """Return the folder of a data set or weights; before a download, say how large it is.

    Progress and mirrors that fail are told as well. A server may be silent for `patience` seconds.
    """
    if cached_state(row) == "yes":
        return fetch(row)
    log(f"{row.title}: {describe_size(row)}; licence: {row.licence}")
    try:
        with download_display(log) as report:
            return fetch(row, report=report, patience=patience or PATIENCE)
    except KeyboardInterrupt:
        log("stopped; the same command goes on where this one stopped")
        raise


def describe_size(row: Downloadable) -> str:
    """Return the size of a download in words."""
    from rich import filesize  # noqa: PLC0415 - as below

    if row.embedded:
        return "in the package"
    return "unknown size" if row.bytes is None else filesize.decimal(row.bytes)


@contextmanager
def download_display(log: Log = say) -> Iterator[OnProgress]:
    """Yield what a download reports to: bars on a terminal, otherwise plain lines."""
    if log is not say or not sys.stderr.isatty():
        yield _plain_lines(log)
        return
    from rich import progress  # noqa: PLC0415 - most commands download nothing
    from rich.console import Console  # noqa: PLC0415

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

        def report(update: DownloadProgress) -> None:
            if update.note:
                bars.console.print(_sentence(update))
                return
            if update.file not in tasks:
                tasks[update.file] = bars.add_task(update.file, total=update.total)
            bars.update(tasks[update.file], completed=update.done, total=update.total)

        yield report


def _plain_lines(log: Log) -> OnProgress:
    from rich import filesize  # noqa: PLC0415 - as above

    printed: dict[str, float] = {}

    def report(update: DownloadProgress) -> None:
        if update.note:
            log(_sentence(update))
            return
        now, complete = time.monotonic(), update.done == update.total
        if complete or now - printed.get(update.file, 0.0) >= EVERY:
            printed[update.file] = now
            of = "" if update.total is None else f" of {filesize.decimal(update.total)}"
            log(f"{update.file}: {filesize.decimal(update.done)}{of}")

    return report


def _sentence(update: DownloadProgress) -> str:
    return f"{update.file}: {update.note}" if update.file else update.note
