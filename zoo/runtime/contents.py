"""Reads what is in any ONNX file, without running or importing anything of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import NotFoundError
from zoo.identity import Description, ExportedFile, from_text
from zoo.records import to_plain
from zoo.runtime.screening import (
    LENGTH,
    TYPES,
    Content,
    Extent,
    Field,
    map_file,
    read_fields,
    read_tensor,
    read_text,
    read_zoo_entry,
    require_file,
    screen,
)

MAX_NAME = 200  # bytes of a name or a key
MAX_VALUES = 1000  # inputs and outputs that are listed, each
MAX_OPERATORS = 1000  # kinds of operators and opsets that are listed, each


@dataclass(frozen=True)
class Value:
    """An input or output as the graph itself declares it."""

    name: str
    type: str
    shape: tuple[int | str, ...]


@dataclass
class Contents:
    """What is in an ONNX file.

    Args:
        path: the file.
        bytes: its size.
        ir_version: version of the format.
        producer: program that wrote it, with its version.
        opsets: version of each set of operators, ``""`` being the standard's.
        nodes: operators in the graph.
        operators: how many there are of each kind, most frequent first.
        weights: bytes of the constants in the graph, by type.
        inputs: of the graph, those that are constants left out.
        outputs: of the graph.
        entry: the text under the key ``zoo``, None where there is none.
        description: what the file says of itself, where that can be used.
        unusable: why it cannot be used.
        refused: why `zoo run` would not run the file; empty where it would begin.
        listed: what the manifest beside the file says of it, where one lists it.
    """

    path: Path
    bytes: int
    ir_version: int = 0
    producer: str = ""
    opsets: dict[str, int] = field(default_factory=dict)
    nodes: int = 0
    operators: Counter[str] = field(default_factory=Counter)
    weights: Counter[str] = field(default_factory=Counter)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    entry: str | None = None
    description: Description | None = None
    unusable: str = ""
    refused: str = ""
    listed: ExportedFile | None = None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain JSON values."""
        listed = self.listed
        measured = {"checks": listed.checks, "quality": listed.quality} if listed else None
        return {
            "file": str(self.path),
            "bytes": self.bytes,
            "description": to_plain(self.description) if self.description else None,
            "unusable": self.unusable,
            "refused": self.refused,
            "measurements": measured,
            "graph": {
                "ir_version": self.ir_version,
                "producer": self.producer,
                "opsets": self.opsets,
                "nodes": self.nodes,
                "operators": dict(self.operators.most_common()),
                "weights": dict(self.weights.most_common()),
                "inputs": [asdict(value) for value in self.inputs],
                "outputs": [asdict(value) for value in self.outputs],
            },
        }


def read_file(path: Path) -> Contents:
    """Read any ONNX file, whoever wrote it.

    Raises:
        NotFoundError: it is missing, no ONNX file, damaged, or of too many parts.
    """
    require_file(path)
    found = Contents(path, path.stat().st_size)
    try:
        with map_file(path) as content:
            _read_model(content, found)
    except ValueError as problem:
        raise NotFoundError(f"{path} cannot be read as an ONNX file", cause=str(problem)) from None
    try:
        screen(path)
    except ValueError as problem:
        found.refused = str(problem)
    if found.entry is not None:
        try:
            found.description = from_text(found.entry, Description)
        except ValueError as problem:
            found.unusable = " ".join(str(problem).split())[:300]
    return found


def _read_model(content: Content, found: Contents) -> None:
    graphs = 0
    version = ""
    for each in read_fields(content, content.extent):
        if each.number == 1:
            found.ir_version = each.value
        elif each.number == 2:
            found.producer = read_text(content, each.extent, MAX_NAME)
        elif each.number == 3:
            version = read_text(content, each.extent, MAX_NAME)
        elif each.number == 7 and each.written == LENGTH:
            _read_graph(content, each.extent, found)
            graphs += 1
        elif each.number == 8 and len(found.opsets) < MAX_OPERATORS:
            domain, number = _opset(content, each.extent)
            found.opsets[domain] = number
        elif (said := read_zoo_entry(content, each)) is not None:
            found.entry = said
    found.producer = f"{found.producer} {version}".strip()
    if not graphs:
        raise ValueError("it holds no graph")


def _read_graph(content: Content, extent: Extent, found: Contents) -> None:
    constants: set[str] = set()
    for each in read_fields(content, extent):
        if each.number == 1:
            found.nodes += 1
            _read_node(content, each.extent, found)
        elif each.number == 5:
            constants.add(_read_weight(content, each.extent, found))
        elif each.number in {11, 12}:
            side = found.inputs if each.number == 11 else found.outputs
            if len(side) < MAX_VALUES:
                side.append(_value(content, each.extent))
    found.inputs = [value for value in found.inputs if value.name not in constants]


def _read_node(content: Content, extent: Extent, found: Contents) -> None:
    kind = domain = ""
    for each in read_fields(content, extent):
        if each.number == 4:
            kind = read_text(content, each.extent, MAX_NAME)
        elif each.number == 7:
            domain = read_text(content, each.extent, MAX_NAME)
        elif each.number == 5:
            for inner in read_fields(content, each.extent):
                if inner.number == 5 and inner.written == LENGTH:  # the tensor of a Constant
                    _read_weight(content, inner.extent, found)
    name = f"{domain}.{kind}" if domain not in {"", "ai.onnx"} else kind
    if name in found.operators or len(found.operators) < MAX_OPERATORS:
        found.operators[name] += 1


def _read_weight(content: Content, extent: Extent, found: Contents) -> str:
    tensor = read_tensor(content, extent)
    found.weights[_type(tensor.type)] += max(tensor.bytes_there, 0)
    return tensor.name


def _value(content: Content, extent: Extent) -> Value:
    """Read a name, and the type and shape where it is a tensor's."""
    name, kind = "", "no tensor"
    shape: list[int | str] = []
    for each in read_fields(content, extent):
        if each.number == 1:
            name = read_text(content, each.extent, MAX_NAME)
        elif each.number == 2:
            for part in _within(content, each, 1):  # of all types, the tensor's
                if part.number == 1:
                    kind = _type(part.value)
                elif part.number == 2:
                    shape += _shape(content, part.extent)
    return Value(name, kind, tuple(shape))


def _shape(content: Content, extent: Extent) -> list[int | str]:
    shape: list[int | str] = []
    for each in read_fields(content, extent):
        size: int | str = "?"
        for part in read_fields(content, each.extent):
            if part.number == 1:
                size = part.value if part.value < 2**63 else part.value - 2**64
            elif part.number == 2:
                size = read_text(content, part.extent, MAX_NAME)
        shape.append(size)
    return shape


def _within(content: Content, outer: Field, number: int) -> list[Field]:
    """Return the fields of every message of that number in a message."""
    return [
        inner
        for each in read_fields(content, outer.extent)
        if each.number == number
        for inner in read_fields(content, each.extent)
    ]


def _opset(content: Content, extent: Extent) -> tuple[str, int]:
    domain, version = "", 0
    for each in read_fields(content, extent):
        if each.number == 1:
            domain = read_text(content, each.extent, MAX_NAME)
        elif each.number == 2:
            version = each.value
    return domain, version


def _type(number: int) -> str:
    return TYPES[number][0] if number in TYPES else f"type {number}"
