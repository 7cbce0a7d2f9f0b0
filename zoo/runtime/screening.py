"""Checks an ONNX file before ONNX Runtime opens it, with a small reader of protocol buffers.

The reader is our own because it never holds the weights: on a file of 500 MB, `onnx.load_model`
took 991 MB of memory at its peak, this reader 38 MB (18 MB of them for Python and imports).
"""

from __future__ import annotations

import math
import mmap
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.identity import MAX_TEXT, METADATA_KEY, Description, from_text

MAX_FIELDS = 2**20  # a network of a thousand layers has some fifty thousand
MAX_NUMBER = 2**29 - 1  # of a field; a reader of 32 bits takes a larger one for another
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5  # how a value is written

Extent = tuple[int, int]  # where a value begins and ends in the file

MAX_RANK = 64  # dimensions of a tensor
MAX_LOCATION = 200  # characters of the name of a file beside
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")  # leads nowhere on any system
OUTSIDE_KEYS = {"location", "offset", "length", "checksum"}  # of data in another file
STRING = 8  # the one type whose values have no size
TYPES: Mapping[int, tuple[str, int]] = {  # name and bytes of a value
    1: ("float32", 4), 2: ("uint8", 1), 3: ("int8", 1), 4: ("uint16", 2), 5: ("int16", 2),
    6: ("int32", 4), 7: ("int64", 8), STRING: ("string", 0), 9: ("bool", 1), 10: ("float16", 2),
    11: ("float64", 8), 12: ("uint32", 4), 13: ("uint64", 8), 16: ("bfloat16", 2),
}  # fmt: skip
DIMS, DATA_TYPE, STRINGS, NAME, RAW, OUTSIDE, LOCATION = 1, 2, 6, 8, 9, 13, 14  # fields of a tensor
WRITTEN: Mapping[int, set[int]] = {  # how the fields of a tensor may be written
    DIMS: {VARINT, LENGTH}, DATA_TYPE: {VARINT}, 4: {FOUR_BYTES, LENGTH}, 5: {VARINT, LENGTH},
    STRINGS: {LENGTH}, 7: {VARINT, LENGTH}, NAME: {LENGTH}, RAW: {LENGTH},
    10: {EIGHT_BYTES, LENGTH}, 11: {VARINT, LENGTH}, OUTSIDE: {LENGTH}, LOCATION: {VARINT},
}  # fmt: skip
IN_A_FIELD = {4: 4, 10: 8, 5: 0, 7: 0, 11: 0}  # bytes of each number there; 0: a varint
FIELD_OF = {1: 4, 11: 10, 7: 7, 12: 11, 13: 11, STRING: STRINGS}  # of a type; 5 for all others
FROM_128 = bytes(range(128, 256))  # bytes of a varint that are not its last
MAX_BYTES = 2**31 - 1  # a protocol buffer cannot be longer
MAX_DOMAIN = 60  # characters of an operator's domain that are looked at
STANDARD = ("", "ai.onnx")
# By kind of message: the fields that hold messages, and those that must not be there.
INNER: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor"},
    "tensor": {},
}
GRAPHS = "one of its operators holds a graph of its own, as Loop and If do"
SPARSE = "it has a sparse tensor, whose size nothing in the file bounds"
REFUSED: Mapping[str, Mapping[int, str]] = {
    "model": {20: "it brings a training of its own", 25: "it brings functions of its own"},
    "graph": {15: SPARSE},
    "attribute": {6: GRAPHS, 11: GRAPHS, 22: SPARSE, 23: SPARSE},
}
ONCE = {("model", 7), ("attribute", 5)}  # a reader joins what is there twice
NODE_DOMAIN = 7  # field of a node
METADATA = 14  # field of a model


@dataclass
class MappedFile:
    """A file mapped into memory, its whole extent, and how many more fields may be read."""

    data: mmap.mmap
    extent: Extent
    fields_left: int


class Field(NamedTuple):
    """One field: its number, how it is written, its number or length, where it lies."""

    number: int
    written: int
    value: int
    extent: Extent


@contextmanager
def map_file(path: Path) -> Iterator[MappedFile]:
    """Map a file that is not empty into memory, to be read only."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield MappedFile(data, (0, len(data)), MAX_FIELDS)


def read_fields(file: MappedFile, extent: Extent) -> Iterator[Field]:
    """Yield the fields of one message; `ValueError` if it is none, cut off, or one of too many."""
    place, end = extent
    while place < end:
        file.fields_left -= 1
        if file.fields_left < 0:
            raise ValueError(f"it has more than {MAX_FIELDS:,} parts")
        tag, place = read_varint(file, place, end)
        number, written = tag >> 3, tag & 7
        value, start = 0, place
        if written == VARINT:
            value, place = read_varint(file, place, end)
        elif written == LENGTH:
            value, start = read_varint(file, place, end)
            place = start + value
        elif written in {EIGHT_BYTES, FOUR_BYTES}:
            place += 8 if written == EIGHT_BYTES else 4
        else:
            raise ValueError("not an ONNX file")
        if place > end or not 0 < number <= MAX_NUMBER:
            raise ValueError("not an ONNX file, or not written to its end")
        yield Field(number, written, value, (start, place))


def read_varint(file: MappedFile, place: int, end: int) -> tuple[int, int]:
    """Return the number that begins at `place`, seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = file.data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("not an ONNX file, or not written to its end")


def read_text(file: MappedFile, extent: Extent, most: int) -> str:
    """Return the first `most` bytes of a text; what is not UTF-8 becomes a replacement mark."""
    start, end = extent
    return file.data[start : min(end, start + most)].decode("utf-8", "replace")


def read_message(file: MappedFile, extent: Extent) -> dict[int, Field]:
    """Return the fields of a small message by number; of a repeated one the last, as readers do."""
    return {each.number: each for each in read_fields(file, extent)}


@dataclass
class Tensor:
    """One tensor as its message describes it."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    type: int = 0  # a key of `TYPES`, where it is a known one
    raw: int | None = None  # length of its bytes, where it has them
    counts: dict[int, int] = field(default_factory=dict)  # of values, by the field they are in
    location: int = 0  # 0: its data is in the file, 1: it is beside it
    outside: dict[str, str] = field(default_factory=dict)  # where: location, offset, length

    @property
    def bytes_there(self) -> int:
        """Bytes of the values that are in the file or said to be beside it."""
        if self.location:
            return _whole(self.outside.get("length", ""))
        return self.raw or sum(self.counts.values()) * TYPES.get(self.type, ("", 0))[1]

    def check(self, folder: Path) -> None:
        """Raise `ValueError` if what it promises is not there, in the file or beside it."""
        if self.type not in TYPES:
            raise ValueError(f"it has a tensor of a type that is not known here, {self.type}")
        if any(size >= 2**63 for size in self.dims) or len(self.dims) > MAX_RANK:
            raise ValueError(
                f"it has a tensor of a negative size, or of more than {MAX_RANK} dimensions"
            )
        count = math.prod(self.dims)
        size = count * TYPES[self.type][1]
        if self.location not in {0, 1} or (self.location == 0 and self.outside):
            raise ValueError("it has a tensor that does not say where its data is")
        if self.location:
            if self.type == STRING or self.raw or self.counts:
                raise ValueError("it has a tensor whose data is in two places")
            self._check_outside(size, folder)
        elif self.raw is not None and self.type != STRING:
            if self.raw != size or self.counts:
                raise self._disagrees(count, f"{self.raw:,} bytes")
        elif self.counts != ({FIELD_OF.get(self.type, 5): count} if count else {}):
            raise self._disagrees(count, f"{sum(self.counts.values()):,} of them")

    def _disagrees(self, count: int, there: str) -> ValueError:
        promised = f"{count:,}" if count < 2**63 else "more than 2^63"
        kind = TYPES[self.type][0]
        return ValueError(f"it has a tensor of {promised} values of {kind} with {there}")

    def _check_outside(self, size: int, folder: Path) -> None:
        """Require that the data is `size` bytes of a file in the folder that has no other name."""
        if unknown := self.outside.keys() - OUTSIDE_KEYS:
            word = min(unknown)[:40]
            raise ValueError(f"it takes data from another file by {word!r}, which is not known")
        location = self.outside.get("location", "")
        if not FILE_NAME.fullmatch(location) or len(location) > MAX_LOCATION:
            raise ValueError(f"it takes data from outside of its folder, {location[:60]!r}")
        try:
            status = os.lstat(folder / location)
        except OSError:
            raise ValueError(f"it takes data from {location}, which is not beside it") from None
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise ValueError(
                f"it takes data from {location}, which is no plain file of its folder: "
                "a link to another one, or none"
            )
        start = _whole(self.outside.get("offset", "0"))
        length = _whole(self.outside.get("length", ""))
        if start < 0 or length != size or start + length > status.st_size:
            raise ValueError(
                f"it takes other bytes from {location} than its tensor has or the file holds"
            )


def read_tensor(file: MappedFile, extent: Extent) -> Tensor:
    """Read the header of a tensor, and how many values it has; `ValueError` if it is none."""
    found = Tensor()
    for each in read_fields(file, extent):
        number = each.number
        if each.written not in WRITTEN.get(number, {each.written}):
            raise ValueError("it has a tensor that is none")
        if number == DIMS:
            found.dims = (found.dims + _sizes(file, each))[: MAX_RANK + 1]
        elif number == DATA_TYPE:
            found.type = each.value
        elif number == NAME:
            found.name = read_text(file, each.extent, MAX_LOCATION)
        elif number == RAW:
            found.raw = each.value
        elif number == LOCATION:
            found.location = each.value
        elif number == OUTSIDE:
            key, value = read_entry(file, each.extent, MAX_LOCATION + 1)
            found.outside[f"second {key}" if key in found.outside else key] = value
        elif number == STRINGS or number in IN_A_FIELD:
            found.counts[number] = found.counts.get(number, 0) + _how_many(file, each)
    found.counts = {number: count for number, count in found.counts.items() if count}
    return found


def read_entry(file: MappedFile, extent: Extent, most: int) -> tuple[str, str]:
    """Read a key and its value, at most `most` bytes of each.

    One that is there twice, where readers would differ, or is no text, is a `ValueError`.
    """
    values: dict[int, str] = {}
    for each in read_fields(file, extent):
        if each.number in {1, 2}:
            if each.written != LENGTH or each.number in values:
                raise ValueError("it has a key or a value that is there twice, or is no text")
            values[each.number] = read_text(file, each.extent, most)
    return values.get(1, ""), values.get(2, "")


def _sizes(file: MappedFile, each: Field) -> list[int]:
    """Return the sizes in a field, which holds one, or several packed; no more than matter."""
    if each.written == VARINT:
        return [each.value]
    place, end = each.extent
    found: list[int] = []
    while place < end and len(found) <= MAX_RANK:
        value, place = read_varint(file, place, end)
        found.append(value)
    return found


def _how_many(file: MappedFile, each: Field) -> int:
    """Return how many values a field holds: one, or several packed."""
    if each.number == STRINGS or each.written != LENGTH:
        return 1
    if width := IN_A_FIELD[each.number]:
        return each.value // width
    start, end = each.extent
    step = 2**20  # bytes at once, so that they are never all in memory
    return sum(
        len(file.data[place : min(place + step, end)].translate(None, FROM_128))
        for place in range(start, end, step)
    )


def _whole(digits: str) -> int:
    """Return a whole number in decimal digits, -1 where the text is none."""
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else -1


def check_file(path: Path) -> None:
    """Require a file that is safe to open with ONNX Runtime.

    `NotFoundError` if it is missing, no ONNX file, or holds what may not be run; `UsageError` for
    a folder.
    """
    if path.is_dir():
        inside = sorted(path.glob("*.onnx"))
        raise UsageError(
            f"{path} is a folder; zoo run takes one .onnx file",
            hint=f"zoo run {inside[0]}" if inside else "zoo export MODEL --onnx",
            code="bad-path",
        )
    require_file(path)
    try:
        screen(path)
    except ValueError as problem:
        raise unusable(path, str(problem)) from None


def require_file(path: Path) -> None:
    """Require a file of the size of an ONNX file; the error names the nearest one there is."""
    if not path.exists():
        files = [*path.parent.glob("*.onnx"), *path.parent.glob("*/*.onnx")]
        names = {(each if each.parent == path.parent else each.parent).name for each in files}
        near = did_you_mean(path.name, sorted(names))
        model = path.name if path.name.isidentifier() and str(path) == path.name else "MODEL"
        raise NotFoundError(
            f"{path} not found.{near}", hint=f"zoo export {model} --onnx", code="file-not-found"
        )
    if not path.is_file():
        raise NotFoundError(f"{path} is not a regular file", code="bad-onnx")
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise NotFoundError(
            f"{path} is empty" if size == 0 else f"{path} is too large: {size:,} bytes",
            cause="not an ONNX file, or not written to its end",
            hint="zoo export MODEL --onnx",
            code="bad-onnx",
        )


def unusable(path: Path, cause: str) -> NotFoundError:
    """Return the error for a file that exists and cannot be run."""
    return NotFoundError(
        f"{path} is not an ONNX file that can be run",
        cause=cause,
        hint="zoo export MODEL --onnx",
        code="bad-onnx",
    )


def screen(path: Path) -> None:
    """Raise `ValueError` if a node, attribute or tensor of a file is of a kind that may not run."""
    with map_file(path) as file:
        left = [("model", file.extent)]
        while left:
            kind, extent = left.pop()
            once: set[int] = set()
            for each in read_fields(file, extent):
                _check_field(file, kind, each, once)
                if each.number in INNER[kind]:
                    left.append((INNER[kind][each.number], each.extent))
            if kind == "tensor":
                read_tensor(file, extent).check(path.parent)


def _check_field(file: MappedFile, kind: str, each: Field, once: set[int]) -> None:
    if reason := REFUSED.get(kind, {}).get(each.number):
        raise ValueError(reason)
    if each.number in INNER[kind] and each.written != LENGTH:
        raise ValueError("not an ONNX file")
    if (kind, each.number) in ONCE:
        if each.number in once:
            raise ValueError("it holds two graphs or tensors where one belongs")
        once.add(each.number)
    if kind == "node" and each.number == NODE_DOMAIN:
        domain = read_text(file, each.extent, MAX_DOMAIN)
        if domain not in STANDARD:
            raise ValueError(f"it has operators that are not of the ONNX standard, of {domain!r}")


def read_description(path: Path) -> Description | None:
    """Read the description of a file, its graph passed over; None if none there can be used."""
    said = None
    try:
        with map_file(path) as file:
            for each in read_fields(file, file.extent):
                said = read_zoo_entry(file, each) or said
        return from_text(said, Description) if said else None
    except ValueError:
        return None


def read_zoo_entry(file: MappedFile, each: Field) -> str | None:
    """Return the text of the zoo metadata entry, if this field of the model holds it."""
    if each.number != METADATA:
        return None
    key, value = read_entry(file, each.extent, 4 * MAX_TEXT + 1)  # bytes
    return value if key == METADATA_KEY else None
