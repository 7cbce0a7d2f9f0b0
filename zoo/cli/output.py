"""What verbs print on stdout: tables, JSON and texts; and where their pictures go."""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from zoo.errors import UsageError

IN_ASCII = str.maketrans(
    {"≥": ">=", "≤": "<=", "×": "x", "…": "...", "─": "-"}
    | dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True))
)

PIPE_WIDTH = 160  # characters of a table that no terminal shows
TEXT_WIDTH = 72  # characters of the line between two texts
GAP = 3  # characters between the columns of a table
LAST_COLUMN = 20  # characters that the last column needs to be read


def print_json(value: Any) -> None:
    """Print one JSON value on stdout, and note in the context of the command that it was."""
    encoding = getattr(sys.stdout, "encoding", None) or ""
    only_ascii = encoding.lower().replace("-", "") != "utf8"
    click.echo(json.dumps(value, indent=2, ensure_ascii=only_ascii))
    context = click.get_current_context(silent=True)
    if context is not None and isinstance(context.obj, list):
        context.obj.append(value)


def print_texts(texts: Sequence[str], headings: Sequence[str] = ()) -> None:
    """Print texts on stdout, each below its heading, or a line of hyphens between two."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    for number, text in enumerate(texts):
        if headings:
            click.echo("\n" * (number > 0) + _printable(headings[number]))
        elif number:
            click.echo("-" * TEXT_WIDTH)
        click.echo(text.encode(encoding, "replace").decode(encoding))


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


def png_path(output: Path | None, usual: str) -> Path:
    """Return where a picture goes; `UsageError` if that is no .png file."""
    output = output or Path(usual)
    if output.suffix.lower() == ".png" and not output.is_dir():
        return output
    raise UsageError(f"-o {output}: this view is a picture", hint=f"-o {usual}", code="bad-output")


def picture_or_movement(output: Path | None, usual: str) -> tuple[Path, bool]:
    """Return where a view goes, and whether that is a movement, by the ending of its name."""
    if output is None or output.suffix.lower() != ".webp" or output.is_dir():
        return png_path(output, usual), False
    return output, True
