"""What a file would have ONNX Runtime do, looked through before it may.

A file of a stranger must neither read other files nor run without an end. So data lies in it or in
a plain file beside it, there are no graphs inside nodes (`Loop`, `Scan`, `If`), which nothing else
repeats or chooses by, no functions of its own, and only operators of the ONNX standard. Every
tensor has the data that it promises.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.runtime.protobuf import LENGTH, Content, Field, fields, opened, text
from zoo.runtime.tensors import read_tensor

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
    require_file(path)
    try:
        screen(path)
    except ValueError as problem:
        raise unusable(path, str(problem)) from None


def require_file(path: Path) -> None:
    """Require a file whose size is that of an ONNX file.

    Raises:
        NotFoundError: there is none; the message names the nearest one.
    """
    if not path.exists():
        files = [*path.parent.glob("*.onnx"), *path.parent.glob("*/*.onnx")]
        names = {(each if each.parent == path.parent else each.parent).name for each in files}
        near = did_you_mean(path.name, sorted(names))
        model = path.name if path.name.isidentifier() and str(path) == path.name else "MODEL"
        raise NotFoundError(
            f"{path} not found.{near}", hint=f"zoo export {model} --onnx", code="file-not-found"
        )
    if not path.is_file():
        raise NotFoundError(f"{path} is not a regular file")
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise NotFoundError(
            f"{path} is empty" if size == 0 else f"{path} is too large: {size:,} bytes",
            cause="not an ONNX file, or not written to its end",
            hint="zoo export MODEL --onnx",
        )


def unusable(path: Path, cause: str) -> NotFoundError:
    """Return the error for a file that is there and cannot be run."""
    return NotFoundError(
        f"{path} is not an ONNX file that can be run", cause=cause, hint="zoo export MODEL --onnx"
    )


def screen(path: Path) -> None:
    """Look at every node, attribute and tensor of a file that is not empty.

    Raises:
        ValueError: it holds what may not be run, and the message says what.
    """
    with opened(path) as content:
        left = [("model", content.extent)]
        while left:
            kind, extent = left.pop()
            once: set[int] = set()
            for each in fields(content, extent):
                _check_field(content, kind, each, once)
                if each.number in INNER[kind]:
                    left.append((INNER[kind][each.number], each.extent))
            if kind == "tensor":
                read_tensor(content, extent).check(path.parent)


def _check_field(content: Content, kind: str, each: Field, once: set[int]) -> None:
    if reason := REFUSED.get(kind, {}).get(each.number):
        raise ValueError(reason)
    if each.number in INNER[kind] and each.written != LENGTH:
        raise ValueError("not an ONNX file")
    if (kind, each.number) in ONCE:
        if each.number in once:
            raise ValueError("it holds two graphs or tensors where one belongs")
        once.add(each.number)
    if kind == "node" and each.number == NODE_DOMAIN:
        domain = text(content, each.extent, MAX_DOMAIN)
        if domain not in STANDARD:
            raise ValueError(f"it has operators that are not of the ONNX standard, of {domain!r}")
