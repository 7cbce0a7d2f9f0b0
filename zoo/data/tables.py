"""Tables of strangers, CSV, TSV or JSON Lines: heading, then rows, as text."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from zoo.errors import NotFoundError

ENDINGS = (".csv", ".tsv", ".jsonl")
MAX_BYTES = 2**28
DELIMITERS = ",;\t|"
PIECE = 2**20  # bytes read at once
ROWS_OF_HEADING = 100  # of JSON Lines, whose keys are the columns


@dataclass(frozen=True)
class Table:
    """A table whose heading was read."""

    path: Path
    columns: tuple[str, ...]  # in the order of the file
    encoding: str

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """Yield the values of some columns, row by row; empty where there are none.

        Of JSON Lines, lists and objects count as no value.

        Raises:
            NotFoundError: the table is damaged.
        """
        places = [self.columns.index(column) for column in columns]
        with _reading(self.path):
            if _is_jsonl(self.path):
                for each in _objects(self.path, self.encoding):
                    yield tuple(_as_text(each.get(column)) for column in columns)
                return
            lines = _lines(self.path, self.encoding)
            next(lines)
            for number, row in lines:
                if any(row[len(self.columns) :]):
                    count = len(self.columns)
                    raise ValueError(f"line {number} has {len(row)} values for {count} columns")
                yield tuple(row[place].strip() if place < len(row) else "" for place in places)


def open_table(path: Path) -> Table:
    """Read the heading of a table.

    Raises:
        NotFoundError: it cannot be read, is damaged, too large or has no heading.
    """
    with _reading(path):
        if not path.is_file():
            raise ValueError("it is no plain file")
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
        encoding = _encoding(path)
        columns: dict[str, None] = {}
        if _is_jsonl(path):
            for row, _ in zip(_objects(path, encoding), range(ROWS_OF_HEADING), strict=False):
                columns.update(dict.fromkeys(row))
        else:
            _, heading = next(_lines(path, encoding), (0, []))
            if len(set(heading)) < len(heading):
                raise ValueError("two columns have one name")
            columns.update(dict.fromkeys(heading))
        return Table(path, tuple(columns), encoding)


def is_table(path: PurePath) -> bool:
    """Whether the name of a file is that of a table that is read."""
    return path.suffix.lower() in ENDINGS


def _is_jsonl(path: Path) -> bool:
    return path.suffix.lower() == ".jsonl"


def _encoding(path: Path) -> str:
    """Return UTF-16 where a mark says so, UTF-8 where all bytes are it, else cp1252."""
    with path.open("rb") as file:
        piece = file.read(PIECE)
        if piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while piece:
                decoder.decode(piece)
                piece = file.read(PIECE)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _lines(path: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """Yield number and values of the rows that are not empty, the heading first."""
    errors = "replace" if encoding == "cp1252" else "strict"  # five bytes have no letter in it
    with path.open(encoding=encoding, errors=errors, newline="") as file:
        heading = file.readline(PIECE)
        file.seek(0)
        delimiter = max(DELIMITERS, key=heading.count)
        reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
        first = True
        for row in reader:
            if any(row):
                yield reader.line_num, [value.strip() for value in row] if first else row
                first = False


def _objects(path: Path, encoding: str) -> Iterator[dict[str, Any]]:
    with path.open(encoding=encoding) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as problem:
                raise ValueError(f"line {number}: {problem}") from None
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no JSON object")
            yield row


def _as_text(value: object) -> str:
    if value is None or isinstance(value, list | dict):
        return ""
    return str(value).strip()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Make what goes wrong an error about the table."""
    try:
        yield
    except (OSError, ValueError, csv.Error) as problem:
        cause = getattr(problem, "strerror", None) or str(problem)
        raise NotFoundError(
            f"cannot read the table {path}",
            cause=" ".join(cause.split())[:200],
            hint=f"repair it, or {path.parent}:folder takes the pictures without labels",
            code="bad-data",
        ) from None
