"""Data to stdout, messages to stderr: tables, JSON and plain lines."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any

import click

from zoo.errors import did_you_mean
from zoo.training.ranks import is_first_rank

IN_ASCII = str.maketrans(
    {"≥": ">=", "≤": "<=", "×": "x", "…": "...", "─": "-"}
    | dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True))
)

GAP = 3  # characters between the columns of a table
LAST_COLUMN = 20  # characters that the last column needs to be read

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def print_json(value: Any) -> None:
    """Print one JSON value on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=not _speaks_unicode(sys.stdout)))


def say(message: str) -> None:
    """Print a message on stderr, where it disturbs no pipe; of several ranks, one speaks."""
    if is_first_rank():
        click.echo(message, err=True)


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
    """Print a table on stdout; where it is too wide for the terminal, one block of lines a row.

    Names stay whole either way, so that they can be copied; the last column folds.
    """
    cells = [[_printable(cell) for cell in row] for row in rows]
    whole = [max(map(len, column)) for column in zip(columns, *cells, strict=True)][:-1]
    width = _width()
    if sum(whole) + GAP * len(whole) + LAST_COLUMN > width:
        _print_blocks(columns, cells)
    else:
        _print_grid(columns, cells, width)


def _print_grid(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    plain = "NO_COLOR" in os.environ
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="" if plain else "bold")
    for place, column in enumerate(columns, start=1):
        table.add_column(column, overflow="fold", no_wrap=place < len(columns))
    for row in cells:
        table.add_row(*map(Text, row))
    screen = Console(width=width, highlight=False, markup=False, safe_box=True)
    with screen.capture() as capture:
        screen.print(table)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    click.echo("\n".join(line for line in lines if line))


def _print_blocks(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    for row in cells:
        click.echo(row[0])
        for column, cell in list(zip(columns, row, strict=True))[1:]:
            if cell:
                click.echo(f"  {column:<13} {cell}")


def _width() -> int:
    """Return the width of a table: as COLUMNS says, the terminal's, or for a pipe a wide one."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and 20 <= int(columns) <= 1000:
        return int(columns)
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 160


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
