"""The tensors of an ONNX file: what each says that it holds, and whether it is there.

Numbers lie in the file as bytes or one by one, or in a file beside it. ONNX Runtime compares sizes
as well; what does not agree is told here, before it has the file.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zoo.runtime.protobuf import (
    EIGHT_BYTES,
    FOUR_BYTES,
    LENGTH,
    VARINT,
    Content,
    Extent,
    Field,
    fields,
    text,
    varint,
)

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
IN_A_FIELD = {4: 4, 10: 8, 5: 0, 7: 0, 11: 0}  # bytes of each number written there; 0: a varint
FIELD_OF = {
    1: 4,
    11: 10,
    7: 7,
    12: 11,
    13: 11,
    STRING: STRINGS,
}  # other types are written in field 5
FROM_128 = bytes(range(128, 256))  # bytes of a varint that are not its last


@dataclass
class Tensor:
    """One tensor as its message describes it.

    Args:
        name: in the graph.
        dims: its shape.
        type: a key of `TYPES`, where it is a known one.
        raw: length of its bytes, where it has them.
        counts: values written one by one, by the field they are in.
        location: 0 for data in the file, 1 for data beside it.
        outside: where data beside it lies: ``location``, ``offset``, ``length``.
    """

    name: str = ""
    dims: list[int] = field(default_factory=list)
    type: int = 0
    raw: int | None = None
    counts: dict[int, int] = field(default_factory=dict)
    location: int = 0
    outside: dict[str, str] = field(default_factory=dict)

    @property
    def bytes_there(self) -> int:
        """Bytes of the values that are in the file or said to be beside it."""
        if self.location:
            return _whole(self.outside.get("length", ""))
        return self.raw or sum(self.counts.values()) * TYPES.get(self.type, ("", 0))[1]

    def check(self, folder: Path) -> None:
        """Require that what it promises is there, in the file or beside it in `folder`.

        Raises:
            ValueError: it is not, or the data lies where it may not.
        """
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
        start, length = (_whole(self.outside.get(key, none)) for key, none in
                         (("offset", "0"), ("length", "")))  # fmt: skip
        if start < 0 or length != size or start + length > status.st_size:
            raise ValueError(
                f"it takes other bytes from {location} than its tensor has or the file holds"
            )


def read_tensor(content: Content, extent: Extent) -> Tensor:
    """Read what a tensor says of itself; of its values, only how many there are.

    Raises:
        ValueError: it is no tensor.
    """
    found = Tensor()
    for each in fields(content, extent):
        number = each.number
        if each.written not in WRITTEN.get(number, {each.written}):
            raise ValueError("it has a tensor that is none")
        if number == DIMS:
            found.dims = (found.dims + _numbers(content, each))[: MAX_RANK + 1]
        elif number == DATA_TYPE:
            found.type = each.value
        elif number == NAME:
            found.name = text(content, each.extent, MAX_LOCATION)
        elif number == RAW:
            found.raw = each.value
        elif number == LOCATION:
            found.location = each.value
        elif number == OUTSIDE:
            key, value = entry(content, each.extent, MAX_LOCATION + 1)
            found.outside[f"second {key}" if key in found.outside else key] = value
        elif number == STRINGS or number in IN_A_FIELD:
            found.counts[number] = found.counts.get(number, 0) + _how_many(content, each)
    found.counts = {number: count for number, count in found.counts.items() if count}
    return found


def entry(content: Content, extent: Extent, most: int) -> tuple[str, str]:
    """Read a key and its value, of at most `most` bytes each.

    Raises:
        ValueError: one of them is told twice or is no text, where readers would choose differently.
    """
    values: dict[int, str] = {}
    for each in fields(content, extent):
        if each.number in {1, 2}:
            if each.written != LENGTH or each.number in values:
                raise ValueError("it has a key or a value that is told twice, or is no text")
            values[each.number] = text(content, each.extent, most)
    return values.get(1, ""), values.get(2, "")


def _numbers(content: Content, each: Field) -> list[int]:
    """Return the varints of a field, which holds one, or several packed; no more than matter."""
    if each.written == VARINT:
        return [each.value]
    place, end = each.extent
    found: list[int] = []
    while place < end and len(found) <= MAX_RANK:
        value, place = varint(content, place, end)
        found.append(value)
    return found


def _how_many(content: Content, each: Field) -> int:
    """Return how many values a field holds: one, or several packed."""
    if each.number == STRINGS or each.written != LENGTH:
        return 1
    if width := IN_A_FIELD[each.number]:
        return each.value // width
    start, end = each.extent
    step = 2**20
    return sum(
        len(content.data[place : min(place + step, end)].translate(None, FROM_128))
        for place in range(start, end, step)
    )


def _whole(digits: str) -> int:
    """Return a whole number in decimal digits, -1 where the text is none."""
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 20 else -1
