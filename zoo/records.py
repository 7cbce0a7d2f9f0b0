"""JSON and TOML that zoo wrote, read with the types that they were written with.

A file that lies open can be edited, cut short or hold other bits than were written. So it is never
enough that it is JSON: every value is compared with the type of its field, by name. The fields are
those of a dataclass or a TypedDict; what a later zoo has added to them is left out or kept.
"""

from __future__ import annotations

import functools
import json
import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import (
    Any,
    Literal,
    Required,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

Record = TypeVar("Record")
Check = Callable[[Any], Any]  # returns the value as its type, or raises `WrongTypeError`

MAX_BYTES = 64 * 2**20  # of one file
LARGEST_INTEGER = 2**63 - 1  # what TOML, JSON readers and tensors all hold


class WrongTypeError(ValueError):
    """A value is not of the type of its field; says where it stands, what was expected and got."""

    def __init__(self, expected: str, value: object, place: tuple[str, ...] = ()) -> None:
        got = repr(value) if isinstance(value, str | int | float | None) else "another type"
        where = f"{'.'.join(place)[:100]}: " if place else ""
        super().__init__(f"{where}{expected} was expected, not {got[:40]}")
        self.expected, self.value, self.place = expected, value, place

    def inside(self, key: str) -> WrongTypeError:
        """Return the same error for a value that stands under `key` of a larger one."""
        return WrongTypeError(self.expected, self.value, (key, *self.place))


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
        value = json.loads(text, parse_constant=_refuse)
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
        ValueError: a value is missing, of the wrong type, or one that a dataclass refuses.
    """
    checked: Record = _check(cast(Any, kind))(value)
    return checked


def _content(path: Path, most_bytes: int) -> bytes:
    if path.stat().st_size > most_bytes:
        raise ValueError(f"larger than {most_bytes:,} bytes")
    return path.read_bytes()


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no finite number")


@functools.cache
def _check(kind: Any) -> Check:
    """Return the function that checks values of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin is Literal:
        return functools.partial(_choice, arguments)
    if origin in {Union, types.UnionType}:
        return functools.partial(_either, [_check(each) for each in arguments])
    if origin in {list, tuple, Sequence}:
        return _list_check(origin, arguments)
    if origin in {dict, Mapping}:
        return functools.partial(_mapping, _check(arguments[1]))
    if is_typeddict(kind):
        known = {name: _check(each) for name, each in get_type_hints(kind).items()}
        marked = get_type_hints(kind, include_extras=True)  # annotations are text until here
        required = frozenset(name for name in known
                             if kind.__total__ or get_origin(marked[name]) is Required)  # fmt: skip
        return functools.partial(_typed_dict, known, required)
    assert is_dataclass(kind) and isinstance(kind, type), f"{kind} is no type of a record"
    hints = get_type_hints(kind)
    known = {field.name: _check(hints[field.name]) for field in fields(kind)}
    required = frozenset(
        each.name
        for each in fields(kind)
        if each.default is MISSING and each.default_factory is MISSING
    )
    return functools.partial(_dataclass, kind, known, required)


def _anything(value: Any) -> Any:
    return value


def _nothing(value: Any) -> None:
    if value is not None:
        raise WrongTypeError("nothing", value)


def _boolean(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise WrongTypeError("true or false", value)


def _integer(value: Any) -> int:
    if type(value) is int and -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        return value
    raise WrongTypeError("a whole number", value)


def _number(value: Any) -> float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int and -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        return value
    raise WrongTypeError("a number", value)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    raise WrongTypeError("text", value)


_PLAIN: dict[Any, Check] = {
    Any: _anything,
    object: _anything,
    types.NoneType: _nothing,
    bool: _boolean,
    int: _integer,
    float: _number,
    str: _text,
}


def _choice(choices: tuple[Any, ...], value: Any) -> Any:
    if isinstance(value, str | int) and value in choices:
        return value
    raise WrongTypeError("one of " + ", ".join(map(str, choices)), value)


def _either(checks: Sequence[Check], value: Any) -> Any:
    problems = []
    for check in checks:
        try:
            return check(value)
        except WrongTypeError as problem:
            problems.append(problem)
    deepest = max(problems, key=lambda problem: len(problem.place))
    if deepest.place:
        raise deepest
    expected = " or ".join(dict.fromkeys(problem.expected for problem in problems))
    raise WrongTypeError(expected, value)


def _list_check(origin: Any, arguments: tuple[Any, ...]) -> Check:
    """Return the check of ``list[X]``, ``tuple[X, ...]`` or ``tuple[X, Y]``."""
    has_any_length = origin is not tuple or arguments[-1] is Ellipsis
    made = tuple if origin is tuple else list
    if has_any_length:
        return functools.partial(_sequence, made, _check(arguments[0]))
    return functools.partial(_row, [_check(each) for each in arguments])


def _sequence(made: Callable[[Any], Any], check: Check, value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise WrongTypeError("a list", value)
    found = []
    for place, each in enumerate(value):
        try:
            found.append(check(each))
        except WrongTypeError as problem:
            raise problem.inside(str(place)) from None
    return made(found)


def _row(checks: Sequence[Check], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) != len(checks):
        raise WrongTypeError(f"a list of {len(checks)}", value)
    return tuple(
        _under(str(place), check, each)
        for place, (check, each) in enumerate(zip(checks, value, strict=True))
    )


def _mapping(check: Check, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise WrongTypeError("an object", value)
    return {key: _under(key, check, each) for key, each in value.items()}


def _typed_dict(known: Mapping[str, Check], required: frozenset[str], value: Any) -> dict[str, Any]:
    return {**_known(known, required, value), **{k: v for k, v in value.items() if k not in known}}


def _dataclass(
    kind: Callable[..., Any], known: Mapping[str, Check], required: frozenset[str], value: Any
) -> Any:
    return kind(**_known(known, required, value))


def _known(known: Mapping[str, Check], required: frozenset[str], value: Any) -> dict[str, Any]:
    """Return the fields of an object that are known, each as its type."""
    if not isinstance(value, Mapping):
        raise WrongTypeError("an object", value)
    for name in required:
        if name not in value:
            raise ValueError(f"{name!r} is missing")
    return {
        name: _under(name, check, value[name]) for name, check in known.items() if name in value
    }


def _under(key: str, check: Check, value: Any) -> Any:
    try:
        return check(value)
    except WrongTypeError as problem:
        raise problem.inside(str(key)) from None
