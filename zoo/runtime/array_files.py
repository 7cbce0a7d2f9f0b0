"""Files of numbers, ``.npy``, ``.npz`` and ``.csv``: read within limits, matched with ports.

Arrays are written as ``.npz`` here; what is a table, `zoo.modalities.values` writes.
"""

from __future__ import annotations

import csv
import os
import zipfile
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zoo.atomic import replacing
from zoo.errors import NotFoundError, UsageError
from zoo.ports import Port, describe_port, shapes_agree
from zoo.runtime.session import Arrays

if TYPE_CHECKING:
    from zoo.runtime.inputs import InputFile

NPY_BEGINNING = b"\x93NUMPY"
MAX_BYTES = 2**30  # of all arrays of a file, unpacked
MAX_ARRAYS = 64
TABLE = ".csv"
SUFFIXES = frozenset({".npy", ".npz", TABLE})
MAX_TABLE = 2**28  # bytes of a table
DELIMITERS = ",;\t|"


def read_inputs(
    files: Sequence[InputFile], ports: Sequence[Port]
) -> tuple[Arrays, tuple[str, ...]]:
    """Return inputs from files of arrays, and a note for each that was not matched by name."""
    arrays: Arrays = {}
    notes = []
    for path in files:
        free = {port.name: port for port in ports if port.name not in arrays}
        named = [port.classes for port in free.values() if port.shape[1:] == (len(port.classes),)]
        stored = read_arrays(path, named)
        for port, name in _match_arrays(path, stored, list(free.values())).items():
            arrays[port] = _to_port_dtype(path, free[port], stored[name])
            if name not in {"", port}:
                notes.append(f"{port} is {name[:40]!r} of {path}")
    return arrays, tuple(notes)


def to_port(origin: object, port: Port, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in the dtype of the port that it goes into; `origin` names it in errors.

    Raises:
        UsageError: another shape or kind of numbers, no rows, or labels and pixels out of range.
        NotFoundError: values that are not finite.
    """
    _match_arrays(origin, {"": array}, [port])
    return _to_port_dtype(origin, port, array)


def read_arrays(path: Path | InputFile, columns: Collection[Sequence[str]] = ()) -> Arrays:
    """Return the arrays of a file by name, in the file's order; an only one has an empty name.

    `columns` are for a table: each is the names of all columns of a port. Where the heading has
    them, these columns are read, in that order, and else all.

    `NotFoundError` if the file is damaged, too large, or holds Python objects.
    """
    try:
        with path.open("rb") as file:
            size, _ = file.seek(0, os.SEEK_END), file.seek(0)
            if str(path).lower().endswith(TABLE):
                return {"": _read_table(file, size, columns)}
            if file.read(len(NPY_BEGINNING)) == NPY_BEGINNING:
                file.seek(0)
                _limit(size)
                return {"": _read(file)}
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _limit(sum(member.file_size for member in members), len(members))
                return {
                    member.filename.removesuffix(".npy"): _read(archive.open(member))
                    for member in members
                }
    except Exception as problem:  # decoders raise anything at all on damaged bytes
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise NotFoundError(
            f"cannot read numbers from {path}", cause=reason, code="bad-input"
        ) from None


def _read(file: IO[bytes]) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _read_table(
    file: IO[bytes], size: int, columns: Collection[Sequence[str]]
) -> NDArray[np.float64 | np.int64]:
    """Return the rows of a table (N, columns), of int64 where all numbers are whole.

    Its first line is a heading where no value of it is a number.

    Raises:
        ValueError: it is too large, has no rows, or a line has other values than numbers.
    """
    if size > MAX_TABLE:
        raise ValueError(f"it has {size:,} bytes; at most {MAX_TABLE:,}")
    lines = _lines(file)
    first = next(lines, (0, []))
    heading = first[1]
    is_heading = not any(map(_is_number, heading))
    named = [names for names in columns if is_heading and set(names) <= set(heading)]
    places = [heading.index(name) for name in named[0]] if named else range(len(heading))
    numbers = array("d")  # lists of millions of rows would take ten times the memory
    for line, row in lines if is_heading else chain([first], lines):
        if len(row) != len(heading):
            raise ValueError(f"line {line} has {len(row)} values for {len(heading)} columns")
        try:
            numbers.extend([float(row[place]) for place in places])
        except ValueError as problem:
            raise ValueError(f"line {line}: {problem}") from None
    if not numbers:
        raise ValueError("it holds no rows of numbers")
    rows = np.frombuffer(numbers, np.float64).reshape(-1, len(places))
    is_whole = bool((np.abs(rows) < 2**53).all() and (rows == np.rint(rows)).all())
    return rows.astype(np.int64) if is_whole else rows


def _lines(file: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """Yield number and values of the lines of a table that are not empty."""
    start = file.readline().decode("utf-8-sig", "replace")
    delimiter = max(DELIMITERS, key=start.count)
    text = chain([start], (line.decode("utf-8", "replace") for line in file))
    reader = csv.reader(text, delimiter=delimiter, strict=True, skipinitialspace=True)
    for row in reader:
        if any(row):
            yield reader.line_num, [value.strip() for value in row]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _limit(size: int, members: int = 1) -> None:
    if size > MAX_BYTES or members > MAX_ARRAYS:
        raise ValueError(f"{members} arrays of {size:,} bytes; at most {MAX_ARRAYS}, {MAX_BYTES:,}")


def write_arrays(
    path: Path | BinaryIO, arrays: Mapping[str, NDArray[Any]], *, compressed: bool = False
) -> None:
    """Write an ``.npz`` file in one piece; or to a stream, which may be a pipe."""
    if isinstance(path, Path):
        with replacing(path) as temporary, temporary.open("wb") as file:
            write_arrays(file, arrays, compressed=compressed)
        return
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _match_arrays(path: object, stored: Arrays, ports: Sequence[Port]) -> dict[str, str]:
    """Choose arrays for ports: those of their names or, where no name agrees, the first that fits.

    Returns names of arrays by name of port. `UsageError` says what is there and what is wanted.
    """
    pairs = [(port, port.name) for port in ports if port.name in stored]
    if not pairs:
        every = ((port, name) for port in ports for name in stored)
        pairs = [(port, name) for port, name in every if _fits(port, stored[name])][:1]
    if not pairs or not all(_fits(port, stored[name]) for port, name in pairs):
        there = ", ".join(
            f"{f'{name[:40]!r} ' if name else ''}{array.dtype} {array.shape}"
            for name, array in stored.items()
        )[:300]
        wanted = "; ".join(map(describe_port, ports)) or "no more inputs"
        raise UsageError(
            f"{path} does not fit the graph, which takes {wanted}",
            cause=f"it holds {there or 'no arrays'}",
            code="bad-input",
        )
    return {port.name: name for port, name in pairs}


def _fits(port: Port, array: NDArray[Any]) -> bool:
    kinds = "fiu" if port.dtype == "float32" else "iu"
    has_rank = array.dtype.kind in kinds and array.ndim == len(port.shape)
    return has_rank and shapes_agree(port.shape[1:], array.shape[1:])


def _to_port_dtype(path: object, port: Port, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that fits a port in the port's dtype.

    `NotFoundError` for values that are not finite; `UsageError` for no rows, labels that are no
    classes of the port's, or whole numbers that are no pixels of its.
    """
    if len(array) == 0:
        raise UsageError(f"{path} holds no rows for {port.name}", code="bad-input")
    with np.errstate(over="ignore"):  # shows as infinite, below
        converted = array.astype(port.dtype)
    if not np.isfinite(converted).all():
        raise NotFoundError(
            f"{path} holds values for {port.name} that are not numbers", code="bad-input"
        )
    is_bounded = array.dtype.kind in "iu" and (port.is_picture or port.dtype == "int64")
    if is_bounded and port.range is not None:
        low, high = port.range
        if array.min() < low or array.max() > high:
            raise UsageError(
                f"{path} holds values of {port.name} outside of [{low:g}, {high:g}]",
                cause=f"its values are from {array.min():g} to {array.max():g}",
                code="bad-input",
            )
    return converted
