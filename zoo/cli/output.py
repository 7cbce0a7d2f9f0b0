"""Data to stdout, messages to stderr: tables, JSON and plain lines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any

import click

from zoo.errors import did_you_mean

IN_ASCII = str.maketrans({"≥": ">=", "≤": "<=", "×": "x", "…": "...", "─": "-"})

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def print_json(value: Any) -> None:
    """Print one JSON value on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=not _speaks_unicode(sys.stdout)))


def say(message: str) -> None:
    """Print a message on stderr, where it disturbs no pipe; of several ranks, one speaks."""
    if is_first_rank():
        click.echo(message, err=True)


def is_first_rank() -> bool:
    """Whether this process is the only one of a training, or the first of several."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


class Choice(click.Choice[str]):
    """A choice that names the nearest one for what is misspelt."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the choice that the value is."""
        if value in self.choices:
            return str(value)
        near = did_you_mean(str(value), self.choices)
        return self.fail(
            f"{str(value)[:40]!r} is none of {', '.join(self.choices)}.{near}", param, ctx
        )


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table on stdout; every cell is shown as it stands, markup or not."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    plain = "NO_COLOR" in os.environ
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="" if plain else "bold")
    for place, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    screen = Console(width=_width(), highlight=False, markup=False, safe_box=True)
    with screen.capture() as capture:
        screen.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    click.echo("\n".join(line for line in lines if line))


def _width() -> int | None:
    """Return the width of a table: the terminal's own, or for a file or pipe a wide one."""
    if sys.stdout is not None and sys.stdout.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and 20 <= int(columns) <= 1000 else 160


def _printable(cell: object) -> str:
    """Return text without control characters and with only what the terminal can show."""
    text = "".join(char if char.isprintable() else " " for char in str(cell))
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(IN_ASCII)
    return text.encode(encoding, "replace").decode(encoding)


def _speaks_unicode(stream: IO[str] | None) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"
