"""Data to stdout, messages to stderr: tables, JSON and plain lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def print_json(value: Any) -> None:
    """Print one JSON value on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=not _speaks_unicode(sys.stdout)))


def say(message: str) -> None:
    """Print a message on stderr, where it disturbs no pipe."""
    click.echo(message, err=True)


def console() -> Console:
    """Return a rich console on stdout that is as wide as its reader can use."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 160
    return Console(width=width, highlight=False, markup=False, safe_box=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stdout; every cell is shown as it stands, markup or not."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    screen = console()
    with screen.capture() as capture:
        screen.print(table)
    for line in capture.get().strip("\n").splitlines():
        click.echo(line.rstrip())


def _printable(cell: object) -> str:
    """Return text without control characters and with only what the terminal can show."""
    text = "".join(char if char.isprintable() else " " for char in str(cell))
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def _speaks_unicode(stream: IO[str]) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"
