"""Data to stdout, messages to stderr: tables, JSON, plain lines, and how far a download is."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from zoo.catalog.dataset import Downloadable
    from zoo.data.download import DownloadProgress, OnProgress

IN_ASCII = str.maketrans(
    {"≥": ">=", "≤": "<=", "×": "x", "…": "...", "─": "-"}
    | dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True))
)

PIPE_WIDTH = 160  # characters of a table that no terminal shows
TEXT_WIDTH = 72  # characters of the line between two texts
GAP = 3  # characters between the columns of a table
LAST_COLUMN = 20  # characters that the last column needs to be read
EVERY = 10.0  # seconds between two plain lines about one file


def print_json(value: Any) -> None:
    """Print one JSON value on stdout, and note in the context of the command that it was."""
    encoding = getattr(sys.stdout, "encoding", None) or ""
    only_ascii = encoding.lower().replace("-", "") != "utf8"
    click.echo(json.dumps(value, indent=2, ensure_ascii=only_ascii))
    context = click.get_current_context(silent=True)
    if context is not None and isinstance(context.obj, list):
        context.obj.append(value)


def print_texts(texts: Sequence[str]) -> None:
    """Print texts on stdout, a line of hyphens between two."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    for number, text in enumerate(texts):
        if number:
            click.echo("-" * TEXT_WIDTH)
        click.echo(text.encode(encoding, "replace").decode(encoding))


def is_first_rank() -> bool:
    """Whether this process is the only one of a training, or the first of several.

    What the environment announces is not checked here, so that the first rank can report errors.
    """
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    # the first as zoo sets it, then those of srun and mpirun
    others = ("LOCAL_RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
    return all(os.environ.get(name, "0") == "0" for name in others)


def say(message: str) -> None:
    """Print a message on stderr, where it disturbs no pipe; of several ranks, one speaks.

    A message may quote a registry, a server or a plugin: what could steer the terminal becomes
    a question mark.
    """
    if is_first_rank():
        shown = (char if char.isprintable() or char == "\n" else "?" for char in message)
        click.echo("".join(shown), err=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stdout; where it is too wide for the terminal, one block of lines a row.

    Names stay whole either way, so that they can be copied; the last column folds.
    """
    cells = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(_wide, column)) for column in zip(columns, *cells, strict=True)]
    width = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns  # COLUMNS, or the terminal's
    left = width - sum(widths[:-1]) - GAP * len(widths[:-1]) - 2  # for the last column
    if left >= min(LAST_COLUMN, widths[-1]):
        _print_grid(columns, cells, [*widths[:-1], min(widths[-1], left)])
        return
    for row in cells:
        click.echo(row[0])
        for column, cell in zip(columns[1:], row[1:], strict=True):
            if cell:
                click.echo(f"  {column:<13} {cell}")


def _print_grid(
    columns: Sequence[str], cells: Sequence[Sequence[str]], widths: Sequence[int]
) -> None:
    """Print lines of columns; rich's own table takes half a millisecond a row."""
    header = _line(columns, widths)
    click.echo(" " + (header if "NO_COLOR" in os.environ else click.style(header, bold=True)))
    click.echo(" " + _printable("─") * (sum(widths) + GAP * (len(widths) - 1)))
    for row in cells:
        first, *rest = _fold(row[-1], widths[-1])
        click.echo(" " + _line([*row[:-1], first], widths))
        for part in rest:
            click.echo(" " + _line([""] * (len(row) - 1) + [part], widths))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - _wide(cell)) for cell, width in zip(cells, widths, strict=True)]
    return (" " * GAP).join(padded).rstrip()


def _fold(text: str, width: int) -> list[str]:
    """Break text into lines, between words where that is possible."""
    if _wide(text) <= width:
        return [text]
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if _wide(longer) <= width:
            lines[-1] = longer
            continue
        lines.append("")
        for char in word:
            if _wide(lines[-1] + char) > width:
                lines.append("")
            lines[-1] += char
    return [line for line in lines if line] or [""]


def _wide(text: str) -> int:
    """Return how many places of a terminal a text takes; Chinese characters take two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "FW")
        for char in text
    )


def _printable(cell: object) -> str:
    """Return text without control characters and with only what the terminal can show."""
    text = "".join(char if char.isprintable() else " " for char in str(cell))
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(IN_ASCII)
    return text.encode(encoding, "replace").decode(encoding)


def fetch_with_progress(row: Downloadable, *, patience: float | None = None) -> Path:
    """Return the folder of a data set or weights; before a download, say how large it is.

    Progress and mirrors that fail go to stderr. A server may be silent for `patience` seconds.
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


def describe_size(row: Downloadable) -> str:
    """Return the size of a download in words."""
    from rich import filesize

    if row.embedded:
        return "in the package"
    return "unknown size" if row.bytes is None else filesize.decimal(row.bytes)


@contextmanager
def download_display() -> Iterator[OnProgress]:
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

        def report(update: DownloadProgress) -> None:
            if update.note:
                bars.console.print(_sentence(update))
                return
            if update.file not in tasks:
                tasks[update.file] = bars.add_task(update.file, total=update.total)
            bars.update(tasks[update.file], completed=update.done, total=update.total)

        yield report


def _plain_lines() -> OnProgress:
    from rich import filesize

    printed: dict[str, float] = {}

    def report(update: DownloadProgress) -> None:
        if update.note:
            say(_sentence(update))
            return
        now, complete = time.monotonic(), update.done == update.total
        if complete or now - printed.get(update.file, 0.0) >= EVERY:
            printed[update.file] = now
            of = "" if update.total is None else f" of {filesize.decimal(update.total)}"
            say(f"{update.file}: {filesize.decimal(update.done)}{of}")

    return report


def _sentence(update: DownloadProgress) -> str:
    return f"{update.file}: {update.note}" if update.file else update.note
