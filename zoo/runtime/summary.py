"""What is in any ONNX file, read without running or importing anything of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import NotFoundError
from zoo.identity import Description, ExportedFile, from_text
from zoo.records import to_plain
from zoo.runtime import screening
from zoo.runtime.screening import LENGTH, STANDARD, TYPES, Extent, Field, MappedFile

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
class Summary:
    """What is in an ONNX file, and what the manifest beside it says of it."""

    path: Path
    bytes: int
    ir_version: int = 0  # of the format
    producer: str = ""  # program that wrote it, with its version
    opsets: dict[str, int] = field(default_factory=dict)  # versions; "" is the standard's set
    nodes: int = 0
    operators: Counter[str] = field(default_factory=Counter)  # nodes of each kind
    weights: Counter[str] = field(default_factory=Counter)  # bytes of constants, by type
    inputs: list[Value] = field(default_factory=list)  # those that are constants left out
    outputs: list[Value] = field(default_factory=list)
    entry: str | None = None  # the text under the key `zoo`
    description: Description | None = None  # that text, where it can be used
    unusable: str = ""  # why it cannot
    refused: str = ""  # why `zoo run` would not run the file; empty where it would begin
    listed: ExportedFile | None = None  # what the manifest beside it says of it

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


def read_summary(path: Path) -> Summary:
    """Read any ONNX file; `NotFoundError` if it is missing, none, damaged, or of too many parts."""
    screening.require_file(path)
    found = Summary(path, path.stat().st_size)
    try:
        with screening.map_file(path) as file:
            _read_model(file, found)
    except ValueError as problem:
        raise NotFoundError(
            f"{path} cannot be read as an ONNX file", cause=str(problem), code="bad-onnx"
        ) from None
    try:
        screening.screen(path)
    except ValueError as problem:
        found.refused = str(problem)
    if found.entry is not None:
        try:
            found.description = from_text(found.entry, Description)
        except ValueError as problem:
            found.unusable = " ".join(str(problem).split())[:300]
    return found


def _read_model(file: MappedFile, found: Summary) -> None:
    graphs = 0
    version = ""
    for each in screening.read_fields(file, file.extent):
        if each.number == 1:
            found.ir_version = each.value
        elif each.number == 2:
            found.producer = screening.read_text(file, each.extent, MAX_NAME)
        elif each.number == 3:
            version = screening.read_text(file, each.extent, MAX_NAME)
        elif each.number == 7 and each.written == LENGTH:
            _read_graph(file, each.extent, found)
            graphs += 1
        elif each.number == 8 and len(found.opsets) < MAX_OPERATORS:
            opset = screening.read_message(file, each.extent)
            found.opsets[_text(file, opset, 1)] = opset[2].value if 2 in opset else 0
        elif (said := screening.read_zoo_entry(file, each)) is not None:
            found.entry = said
    found.producer = f"{found.producer} {version}".strip()
    if not graphs:
        raise ValueError("it holds no graph")


def _read_graph(file: MappedFile, extent: Extent, found: Summary) -> None:
    constants: set[str] = set()
    for each in screening.read_fields(file, extent):
        if each.number == 1:
            found.nodes += 1
            _read_node(file, each.extent, found)
        elif each.number == 5:
            constants.add(_read_weight(file, each.extent, found))
        elif each.number in {11, 12}:
            side = found.inputs if each.number == 11 else found.outputs
            if len(side) < MAX_VALUES:
                side.append(_read_value(file, each.extent))
    found.inputs = [value for value in found.inputs if value.name not in constants]


def _read_node(file: MappedFile, extent: Extent, found: Summary) -> None:
    kind = domain = ""
    for each in screening.read_fields(file, extent):
        if each.number == 4:
            kind = screening.read_text(file, each.extent, MAX_NAME)
        elif each.number == 7:
            domain = screening.read_text(file, each.extent, MAX_NAME)
        elif each.number == 5:
            for inner in screening.read_fields(file, each.extent):
                if inner.number == 5 and inner.written == LENGTH:  # the tensor of a Constant
                    _read_weight(file, inner.extent, found)
    name = kind if domain in STANDARD else f"{domain}.{kind}"
    if name in found.operators or len(found.operators) < MAX_OPERATORS:
        found.operators[name] += 1


def _read_weight(file: MappedFile, extent: Extent, found: Summary) -> str:
    tensor = screening.read_tensor(file, extent)
    found.weights[_type(tensor.type)] += max(tensor.bytes_there, 0)
    return tensor.name


def _read_value(file: MappedFile, extent: Extent) -> Value:
    """Read a name, and the type and shape where it is a tensor's."""
    value = screening.read_message(file, extent)
    kind = "no tensor"
    shape: tuple[int | str, ...] = ()
    types = screening.read_message(file, value[2].extent) if 2 in value else {}
    if 1 in types:  # of all types, the tensor's
        tensor = screening.read_message(file, types[1].extent)
        kind = _type(tensor[1].value) if 1 in tensor else kind
        shape = _read_shape(file, tensor[2].extent) if 2 in tensor else shape
    return Value(_text(file, value, 1), kind, shape)


def _read_shape(file: MappedFile, extent: Extent) -> tuple[int | str, ...]:
    shape: list[int | str] = []
    for each in screening.read_fields(file, extent):
        size = screening.read_message(file, each.extent)
        if 1 in size:
            number = size[1].value
            shape.append(number if number < 2**63 else number - 2**64)
        else:
            shape.append(_text(file, size, 2) or "?")
    return tuple(shape)


def _text(file: MappedFile, message: dict[int, Field], number: int) -> str:
    return screening.read_text(file, message[number].extent, MAX_NAME) if number in message else ""


def _type(number: int) -> str:
    return TYPES[number][0] if number in TYPES else f"type {number}"
