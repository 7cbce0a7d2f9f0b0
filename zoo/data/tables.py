"""Tables of strangers, CSV, TSV or JSON Lines: heading, then rows; and tables as data sets."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from zoo.data.location import Listing, natural, presentable
from zoo.data.splits import split_of
from zoo.errors import NotFoundError
from zoo.modalities.base import Side
from zoo.ports import Port

ENDINGS = (".csv", ".tsv", ".jsonl")
MAX_BYTES = 2**28
DELIMITERS = ",;\t|"
PIECE = 2**20  # bytes read at once
ROWS_OF_HEADING = 100  # of JSON Lines, whose keys are the columns
MAX_NUMBERS = 2**28  # of a table as a data set
MOST_CLASSES = 10_000

LABELS = ("label", "labels", "class", "class_name", "category", "target", "species")
USERS = ("user", "userid", "user_id", "users")
THINGS = ("item", "itemid", "item_id", "movieid", "movie_id", "product", "product_id", "book_id")
RATINGS = ("rating", "ratings", "score", "stars")
TIMES = ("timestamp", "time", "date")
NUMBERING = ("id", "index", "", "row")  # columns that number the rows


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


def list_table(base: Path, files: Sequence[PurePath]) -> Listing:
    """List tables of numbers: a row each, its columns of numbers together as port ``values``.

    A column that is called ``label``, ``class`` or the like has the classes. Columns of users,
    things and ratings become a row for each user, with 0 where nothing was rated. ``train.csv`` and
    ``test.csv`` are these splits.

    Raises:
        NotFoundError: a table is damaged, or has no column of numbers.
    """
    of_split: dict[str, Path] = {}
    for path in files:
        split = split_of(re.split(r"[-_. ]", path.stem)[0]) or ("train" if len(files) == 1 else "")
        if split:
            of_split.setdefault(split, base / path)
    if "train" not in of_split:
        return Listing("table", {})
    tables = {split: open_table(path) for split, path in of_split.items()}
    columns = _columns_of_ratings(tables["train"])
    if columns:
        return _list_ratings(tables, columns)
    return _list_rows(tables)


def _columns_of_ratings(table: Table) -> tuple[str, str, str] | None:
    """Return the columns of users, things and ratings; things may be called in any way."""
    called = {each.strip().lower(): each for each in table.columns}
    user, thing, rating = (
        next((called[name] for name in names if name in called), "")
        for names in (USERS, THINGS, RATINGS)
    )
    others = [each for each in table.columns
              if each not in {user, rating} and each.strip().lower() not in TIMES]  # fmt: skip
    thing = thing or (others[0] if len(others) == 1 else "")
    return (user, thing, rating) if user and thing and rating else None


def _list_ratings(tables: Mapping[str, Table], columns: tuple[str, str, str]) -> Listing:
    """List ratings as a matrix: a row for each user, a column for each thing."""
    read = {split: list(table.rows(columns)) for split, table in tables.items()}
    things = sorted({thing for rows in read.values() for _, thing, _ in rows}, key=natural)
    place = {thing: number for number, thing in enumerate(things)}
    listed, greatest = {}, 0.0
    for split, rows in read.items():
        users = {user: number for number, user in enumerate(dict.fromkeys(row[0] for row in rows))}
        if len(users) * len(things) > MAX_NUMBERS:
            raise NotFoundError(
                f"{tables[split].path} has {len(users):,} users and {len(things):,} things",
                cause=f"a row for each user has more than {MAX_NUMBERS:,} numbers together",
                code="bad-data",
            )
        matrix = np.zeros((len(users), len(things)), np.float32)
        for user, thing, rating in rows:
            matrix[users[user], place[thing]] = _number(rating, tables[split].path)
        greatest = max(greatest, float(matrix.max(initial=0)))
        listed[split] = {"ratings": Side(matrix, kind="values")}
    shape = ("batch", len(things))
    names = tuple(map(presentable, things))
    port = Port("ratings", "values", shape, range=(0.0, greatest), classes=names)
    note = (
        f"a row is a user ({columns[0]}), a column a thing ({columns[1]}); "
        f"0 where there is no {columns[2]}"
    )
    paths = tuple(table.path for table in tables.values())
    return Listing("table", listed, ports={"ratings": port}, notes=(note,), tables=paths)


def _list_rows(tables: Mapping[str, Table]) -> Listing:
    """List the columns of numbers of tables, and a column of classes beside them."""
    train = tables["train"]
    label = next((each for each in train.columns if each.strip().lower() in LABELS), "")
    rest = [each for each in train.columns
            if each != label and each.strip().lower() not in NUMBERING]  # fmt: skip
    read = {split: list(table.rows([*rest, label] if label else rest))
            for split, table in tables.items()}  # fmt: skip
    usable = [
        place for place in range(len(rest))
        if all(is_number(row[place]) for rows in read.values() for row in rows)
    ]  # fmt: skip
    if not usable or not read["train"]:
        raise NotFoundError(
            f"{train.path} has no column of numbers alone",
            cause=f"its columns: {presentable(', '.join(train.columns))[:120]}",
            code="bad-data",
        )
    classes = sorted({row[-1] for rows in read.values() for row in rows}, key=natural)
    if not label or len(classes) > MOST_CLASSES:
        classes = []
    number = {name: place for place, name in enumerate(classes)}
    listed: dict[str, dict[str, Side]] = {}
    for split, rows in read.items():
        values = np.array([[float(row[place]) for place in usable] for row in rows], np.float32)
        numbers = np.array([number[row[-1]] for row in rows], np.int64) if classes else None
        listed[split] = {"values": Side(values, numbers, kind="values")}
    values = np.asarray(listed["train"]["values"].items)
    names = tuple(presentable(rest[place]) for place in usable)
    span = (float(values.min()), float(values.max()))
    port = Port("values", "values", ("batch", len(usable)), range=span, classes=names)
    left = [name for place, name in enumerate(rest) if place not in usable]
    notes = [f"columns that are not numbers: {presentable(', '.join(left))[:200]}"] if left else []
    numbering = [each for each in train.columns if each not in {*rest, label}]
    if numbering:
        notes.append(f"columns that number the rows are not used: {', '.join(numbering)}"[:200])
    return Listing(
        "table", listed, tuple(map(presentable, classes)), ports={"values": port},
        notes=tuple(notes), tables=tuple(table.path for table in tables.values()),
    )  # fmt: skip


def is_number(word: str) -> bool:
    """Whether a word of a table is a finite number."""
    try:
        return abs(float(word)) < 2**53
    except ValueError:
        return False


def _number(word: str, path: Path) -> float:
    if not is_number(word):
        raise NotFoundError(
            f"cannot read the table {path}", cause=f"{word[:40]!r} is no rating", code="bad-data"
        )
    return float(word)


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
            hint=f"repair it, or {path.parent}:folder takes files beside it without labels",
            code="bad-data",
        ) from None
