"""In which form a graph leaves: what its pictures are made of, and which sizes it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.model.contract import Graph
from zoo.model.inference import as_tuple
from zoo.ports import Port
from zoo.runtime.description import Precision

OPEN = {"height", "width"}  # what ports call the sizes of a picture that may vary
WORDS: dict[Precision, str] = {
    "float32": "",
    "float16 weights": "half",
    "float16": "half-arithmetic",
    "int8": "int8",
}


@dataclass(frozen=True)
class Form:
    """How to write a graph.

    Args:
        io: ``"float"`` keeps the model's own range; with ``"uint8"``, pictures go in and come out
            as pixels (batch, height, width, channels) in [0, 255].
        opset: version of ONNX's operators; the exporter's own choice, when not given.
        batch: rows of every batch; any number, when not given.
        size: height and width of every picture, in a graph that takes any; any, when not given.
        precision: of the numbers in the file.
        optimised: whether ONNX Runtime simplifies the graph before it is written.
    """

    io: Literal["float", "uint8"] = "float"
    opset: int | None = None
    batch: int | None = None
    size: tuple[int, int] | None = None
    precision: Precision = "float32"
    optimised: bool = False

    @property
    def is_reduced(self) -> bool:
        """Whether numbers are stored in fewer bits than the model's."""
        return self.precision != "float32"

    @property
    def is_plain(self) -> bool:
        """Whether the exporter's own file is all that is wanted."""
        return not (self.is_reduced or self.optimised)

    @property
    def suffix(self) -> str:
        """What a file's name says of its form, such as ``.uint8.int8``; nothing of a default."""
        parts = [
            self.io if self.io != "float" else "",
            f"batch{self.batch}" if self.batch else "",
            "{}x{}".format(*self.size) if self.size else "",
            f"opset{self.opset}" if self.opset else "",
            WORDS[self.precision],
            "optimised" if self.optimised else "",
        ]
        return "".join(f".{part}" for part in parts if part)


def in_form(graph: Graph, form: Form) -> Graph:
    """Return the graph with ports, and a function, of the form; precision is not its concern.

    Raises:
        UsageError: a size is wanted that the graph does not take.
    """
    inputs = [_sized(port, form) for port in graph.inputs]
    outputs = [_sized(port, form) for port in graph.outputs]
    if form.io == "float":
        return Graph(graph.function, inputs, outputs)

    def function(*given: Tensor) -> tuple[Tensor, ...]:
        values = [_to_values(each, port) for each, port in zip(given, inputs, strict=True)]
        results = as_tuple(graph.function(*values))
        return tuple(_to_pixels(each, port) for each, port in zip(results, outputs, strict=True))

    return Graph(function, _all_as_pixels(inputs), _all_as_pixels(outputs))


def _sized(port: Port, form: Form) -> Port:
    """Return the port with the batch and the picture size of the form.

    Raises:
        UsageError: the port has a size of its own, and it is another.
    """
    is_one_size = port.kind == "image" and not OPEN & set(port.shape)
    if form.size and is_one_size and port.image_size != form.size:
        own, asked = ("{}x{}".format(*size) for size in (port.image_size, form.size))
        raise UsageError(
            f"--size {asked}: {port.name} of this model is {own} and no other size",
            cause="the network was built for that size",
            hint=f"leave --size out; or train it on such pictures (zoo train … --size {asked})",
        )
    sizes: dict[int | str, int] = {}
    if form.size:
        sizes = dict(zip(("height", "width"), form.size, strict=True))
    if form.batch:
        sizes["batch"] = form.batch
    return replace(port, shape=tuple(sizes.get(each, each) for each in port.shape))


def _all_as_pixels(ports: Sequence[Port]) -> list[Port]:
    return [_as_pixels(port) if _is_picture(port) else port for port in ports]


def _is_picture(port: Port) -> bool:
    return port.kind == "image" and port.range is not None


def _as_pixels(port: Port) -> Port:
    batch, channels, height, width = port.shape
    return replace(
        port,
        shape=(batch, height, width, channels),
        dtype="uint8",
        range=(0.0, 255.0),
        layout="NHWC",
        tolerance=1.0,  # one grey level: what lies half-way may be rounded either way
    )


def _to_values(given: Tensor, port: Port) -> Tensor:
    """Pixels (N, H, W, C) -> numbers (N, C, H, W) in the range of the port; others as they are."""
    if not _is_picture(port):
        return given
    assert port.range is not None
    low, high = port.range
    return given.permute(0, 3, 1, 2).to(torch.float32) * ((high - low) / 255) + low


def _to_pixels(result: Tensor, port: Port) -> Tensor:
    """Numbers (N, C, H, W) in the range of the port -> pixels (N, H, W, C); others as they are."""
    if not _is_picture(port):
        return result
    assert port.range is not None
    low, high = port.range
    scaled = (result.clamp(low, high) - low) * (255 / (high - low))
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1)
