"""JSON and TOML that zoo wrote, read with the types that they were written with.

A file that lies open can be edited, cut short or hold other bits than were written. So it is never
enough that it is JSON: every value is compared with the type of its field, by name. The fields are
those of a dataclass or a TypedDict; what a later zoo has added to them is left out or kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast, is_typeddict

Record = TypeVar("Record")

MAX_BYTES = 64 * 2**20  # of one file
LARGEST_INTEGER = 2**63 - 1  # what TOML, JSON readers and tensors all hold


class WrongTypeError(ValueError):
    """A value is not of the type of its field; says where it stands and what was expected."""


def read_json(path: Path, kind: type[Record], *, most_bytes: int = MAX_BYTES) -> Record:
    """Read a JSON file.

    Args:
        path: of the file.
        kind: what it holds: a dataclass, a TypedDict, or a type such as ``dict[str, int]``.
        most_bytes: a larger file is not read.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, no JSON, or a value is missing or of the wrong type.
    """
    if path.exists() and not path.is_file():
        raise ValueError("no regular file")  # reading a pipe would wait for ever
    return parse_json(_content(path, most_bytes), kind)


def parse_json(text: str | bytes, kind: type[Record]) -> Record:
    """Read JSON text, as `read_json` does.

    Raises:
        ValueError: it is no JSON, or a value is missing or of the wrong type.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return typed(value, kind)


def read_toml(path: Path, kind: type[Record], *, most_bytes: int = MAX_BYTES) -> Record:
    """Read a TOML file, as `read_json` does.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, no TOML, or a value is missing or of the wrong type.
    """
    import tomllib  # here, because most commands read none

    try:
        value = tomllib.loads(_content(path, most_bytes).decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return typed(value, kind)


def read_lines(
    path: Path, kind: type[Record], damaged: Callable[[int, str], None] | None = None
) -> Iterator[Record]:
    """Yield the rows of a file with one JSON value a line, holding one line in memory at a time.

    A last line that was cut short is what a killed process leaves, and is passed over.

    Args:
        path: of the file; one that is missing has no rows.
        kind: what a row holds.
        damaged: told the number of each line that cannot be read, from 1, and why.

    Raises:
        OSError: the file cannot be read.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_BYTES):
            number += 1
            try:
                yield parse_json(line, kind)
            except ValueError as problem:
                if damaged and line.endswith(b"\n"):
                    damaged(number, str(problem))


def typed(value: object, kind: type[Record]) -> Record:
    """Return a value that came from JSON or TOML as `kind`.

    Integers must fit in 64 bits and numbers be finite. Lists become the tuples that a dataclass
    declares; unknown keys are left out of a dataclass and stay in a TypedDict.

    Raises:
        WrongTypeError: a value is missing or of the wrong type.
        ValueError: a value is one that a dataclass refuses.
    """
    import msgspec  # here, because most commands read none

    try:
        _check_numbers(value, "$")
        record = msgspec.convert(value, kind)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except msgspec.ValidationError as problem:
        if isinstance(problem.__cause__, ValueError):  # of a dataclass's own check
            raise problem.__cause__ from None
        raise WrongTypeError(str(problem)[:300]) from None
    if is_typeddict(kind):
        return cast(Record, {**cast(dict[str, Any], value), **cast(dict[str, Any], record)})
    return record


def to_plain(record: object) -> Any:
    """Return a record as plain JSON values; `typed` reads them again."""
    import msgspec  # here, because most commands write none

    return msgspec.to_builtins(record, enc_hook=_plain)


def _plain(value: object) -> str | float:
    """Return a string or number of a class of its own, as torch's version is, as a plain one."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def _content(path: Path, most_bytes: int) -> bytes:
    if path.stat().st_size > most_bytes:
        raise ValueError(f"larger than {most_bytes:,} bytes")
    return path.read_bytes()


def _check_numbers(value: object, place: str) -> None:
    """Require every number inside a value to be finite and every integer to fit in 64 bits."""
    if isinstance(value, dict):
        for key, each in value.items():
            _check_numbers(each, f"{place}.{str(key)[:40]}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            _check_numbers(each, f"{place}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise WrongTypeError(f"Expected a finite number - at `{place[:200]}`")
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise WrongTypeError(f"Expected an integer of 64 bits - at `{place[:200]}`")
