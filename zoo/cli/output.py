"""Data to stdout, messages to stderr: tables, JSON and plain lines."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import IO, Any

import click

from zoo.errors import did_you_mean

IN_ASCII = str.maketrans(
    {"≥": ">=", "≤": "<=", "×": "x", "…": "...", "─": "-"}
    | dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True))
)

GAP = 3  # characters between the columns of a table
LAST_COLUMN = 20  # characters that the last column needs to be read

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def print_json(value: Any) -> None:
    """Print one JSON value on stdout, and note in the context of the command that it was."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=not _speaks_unicode(sys.stdout)))
    context = click.get_current_context(silent=True)
    if context is not None and isinstance(context.obj, list):
        context.obj.append(value)


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
    widths = [max(map(_wide, column)) for column in zip(columns, *cells, strict=True)]
    left = _width() - sum(widths[:-1]) - GAP * len(widths[:-1]) - 2  # for the last column
    if left < min(LAST_COLUMN, widths[-1]):
        _print_blocks(columns, cells)
    else:
        _print_grid(columns, cells, [*widths[:-1], min(widths[-1], left)])


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
