"""A protocol buffer, read as what it is: fields of a number and a value, some of which hold fields.

The package onnx is not needed to look into an ONNX file, and nothing of the file is kept.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

MOST_FIELDS = 2**20  # a network of a thousand layers has some fifty thousand
MOST_NUMBER = 2**29 - 1  # of a field; a reader of 32 bits takes a larger one for another
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5  # how a value is written

Extent = tuple[int, int]  # where a value begins and ends in the file


@dataclass
class Content:
    """A file in memory, and how many more of its fields may be read."""

    data: mmap.mmap
    left: int

    @property
    def extent(self) -> Extent:
        """The whole file."""
        return 0, len(self.data)


class Field(NamedTuple):
    """One field: its number, how it is written, its number or length, where it lies."""

    number: int
    written: int
    value: int
    extent: Extent


@contextmanager
def opened(path: Path) -> Iterator[Content]:
    """Map a file that is not empty into memory, to be read only."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        yield Content(data, MOST_FIELDS)


def fields(content: Content, extent: Extent) -> Iterator[Field]:
    """Yield the fields of one message.

    Raises:
        ValueError: it is no message, not written to its end, or one of too many.
    """
    place, end = extent
    while place < end:
        content.left -= 1
        if content.left < 0:
            raise ValueError(f"it has more than {MOST_FIELDS:,} parts")
        tag, place = varint(content, place, end)
        number, written = tag >> 3, tag & 7
        value, start = 0, place
        if written == VARINT:
            value, place = varint(content, place, end)
        elif written == LENGTH:
            value, start = varint(content, place, end)
            place = start + value
        elif written in {EIGHT_BYTES, FOUR_BYTES}:
            place += 8 if written == EIGHT_BYTES else 4
        else:
            raise ValueError("not an ONNX file")
        if place > end or not 0 < number <= MOST_NUMBER:
            raise ValueError("not an ONNX file, or not written to its end")
        yield Field(number, written, value, (start, place))


def varint(content: Content, place: int, end: int) -> tuple[int, int]:
    """Return the number that begins at `place`, seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = content.data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("not an ONNX file, or not written to its end")


def text(content: Content, extent: Extent, most: int) -> str:
    """Return the first `most` bytes of a text; what is not UTF-8 becomes a replacement mark."""
    start, end = extent
    return content.data[start : min(end, start + most)].decode("utf-8", "replace")
