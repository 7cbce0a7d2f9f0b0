"""What a file would have ONNX Runtime do, looked through before it may.

A file of a stranger must neither read other files nor run without an end. So there is no data
outside of it, there are no graphs inside nodes (`Loop`, `Scan`, `If`), which nothing else repeats
or chooses by, no functions of its own, and only operators of the ONNX standard.

The file is read as what it is, a protocol buffer: fields of a number and a value, some of which
hold fields again. The package onnx is not needed for that, and its checks are not these.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from pathlib import Path

from zoo.errors import NotFoundError, UsageError, did_you_mean

MAX_BYTES = 2**31 - 1  # a protocol buffer cannot be longer
MOST_NUMBER = 2**29 - 1  # of a field; a reader of 32 bits takes a larger one for another
MAX_DOMAIN = 60  # characters of an operator's domain that are looked at
MOST_FIELDS = 2**20  # a network of a thousand layers has some fifty thousand
STANDARD = (b"", b"ai.onnx")

# By kind of message: the fields that hold messages, and those that must not be there.
INNER: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 10: "tensor", 22: "sparse tensor", 23: "sparse tensor"},
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
OUTSIDE = "it takes data from outside of the file"
GRAPHS = "one of its operators holds a graph of its own, as Loop and If do"
REFUSED: Mapping[str, Mapping[int, str]] = {
    "model": {25: "it brings functions of its own"},
    "attribute": {6: GRAPHS, 11: GRAPHS},
    "tensor": {13: OUTSIDE},
}
NODE_DOMAIN = 7  # field of a node
DATA_LOCATION = 14  # field of a tensor; 0 is in the file
VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5  # how a value is written


def check_file(path: Path) -> None:
    """Require a file that ONNX Runtime may be given.

    Raises:
        NotFoundError: it is missing, no ONNX file, or holds what may not be run.
        UsageError: the path is a folder.
    """
    if path.is_dir():
        inside = sorted(path.glob("*.onnx"))
        raise UsageError(
            f"{path} is a folder; zoo run takes one .onnx file",
            hint=f"zoo run {inside[0]}" if inside else "zoo export MODEL --onnx",
        )
    if not path.exists():
        near = did_you_mean(path.name, (each.name for each in path.parent.glob("*.onnx")))
        model = path.name if path.name.isidentifier() and str(path) == path.name else "MODEL"
        raise NotFoundError(f"{path} not found.{near}", hint=f"zoo export {model} --onnx")
    if not path.is_file():
        raise NotFoundError(f"{path} is not a regular file")
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise NotFoundError(
            f"{path} is empty" if size == 0 else f"{path} is too large: {size:,} bytes",
            cause="not an ONNX file, or not written to its end",
            hint="zoo export MODEL --onnx",
        )
    try:
        _screen(path)
    except ValueError as problem:
        raise unusable(path, str(problem)) from None


def unusable(path: Path, cause: str) -> NotFoundError:
    """Return the error for a file that is there and cannot be run."""
    return NotFoundError(
        f"{path} is not an ONNX file that can be run", cause=cause, hint="zoo export MODEL --onnx"
    )


def _screen(path: Path) -> None:
    """Look at every node, attribute and tensor of a file that is not empty."""
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        left = [("model", 0, len(content))]
        seen = 0
        while left:
            kind, *extent = left.pop()
            for number, value, inside in _fields(content, *extent):
                seen += 1
                if seen > MOST_FIELDS:
                    raise ValueError(f"it has more than {MOST_FIELDS:,} parts")
                _check_field(content, kind, number, value, inside)
                if inside and number in INNER[kind]:
                    left.append((INNER[kind][number], *inside))


def _check_field(
    content: mmap.mmap, kind: str, number: int, value: int, inside: tuple[int, int] | None
) -> None:
    if reason := REFUSED.get(kind, {}).get(number):
        raise ValueError(reason)
    if kind == "tensor" and number == DATA_LOCATION and value:
        raise ValueError(OUTSIDE)
    if kind == "node" and number == NODE_DOMAIN and inside:
        domain = content[inside[0] : min(inside[1], inside[0] + MAX_DOMAIN)]
        if domain not in STANDARD:
            name = domain.decode("utf-8", "replace")
            raise ValueError(f"it has operators that are not of the ONNX standard, of {name!r}")


def _fields(
    content: mmap.mmap, place: int, end: int
) -> Iterator[tuple[int, int, tuple[int, int] | None]]:
    """Yield the number of each field, its value or length, and where it lies if it has a length."""
    while place < end:
        tag, place = _varint(content, place, end)
        number, written = tag >> 3, tag & 7
        value, inside = 0, None
        if written == VARINT:
            value, place = _varint(content, place, end)
        elif written == LENGTH:
            value, place = _varint(content, place, end)
            inside = (place, place + value)
            place += value
        elif written in {EIGHT_BYTES, FOUR_BYTES}:
            place += 8 if written == EIGHT_BYTES else 4
        else:
            raise ValueError("not an ONNX file")
        if place > end or not 0 < number <= MOST_NUMBER:
            raise ValueError("not an ONNX file, or not written to its end")
        yield number, value, inside


def _varint(content: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    """Return the number that begins at `place`, seven bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("not an ONNX file, or not written to its end")
