"""What a smaller file is made and measured with: pictures of the data, and draws from priors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo import pictures
from zoo.draws import draw
from zoo.errors import UsageError
from zoo.model.contract import Graph, Model
from zoo.model.drawing import images_for
from zoo.model.inference import run_graph
from zoo.ports import Port
from zoo.runtime.pixels import into_port
from zoo.runtime.session import Arrays
from zoo.runtime.shapes import filled_up

Split = Mapping[str, "np.ndarray[Any, Any]"]

CALIBRATING = 128  # rows that the scales of eight bits are read off …
MEASURING = 64  # … and others, that show what it costs
MOST_NUMBERS = 2**24  # of an image port, over all rows: larger images get fewer
BATCH = 8
SEEDS = {CALIBRATING: 1, MEASURING: 2}


@dataclass(frozen=True)
class Material:
    """Images of two splits, uint8 (N, H, W, C) by name of the array; none where none are needed.

    Args:
        calibrating: that the model was trained on.
        measuring: that it has not seen.
    """

    calibrating: Split | None = None
    measuring: Split | None = None

    def rows(self, model: Model, name: str, formed: Graph, count: int) -> list[Arrays]:
        """Return batches of inputs by port name for a graph.

        Args:
            model: whose graph it is; gives codes, where a graph takes some that nothing draws.
            name: of the graph.
            formed: the graph in the form that the rows are for.
            count: of rows, `CALIBRATING` or `MEASURING`, which also says which images.

        Raises:
            UsageError: the graph takes what nothing here gives.
        """
        images = self.calibrating if count == CALIBRATING else self.measuring
        port = next((each for each in formed.inputs if each.kind == "image"), None)
        if port is not None:
            numbers = int(np.prod([size for size in port.shape[1:] if isinstance(size, int)]))
            numbers = max(numbers, model.data.pixels)
            count, seed = max(4, min(count, MOST_NUMBERS // numbers)), SEEDS[count]
        else:
            seed = SEEDS[count]
        whole = {
            wanted.name: _as_formed(array, own, wanted)
            for own, wanted, array in _inputs(model, name, formed, images, count, seed)
        }
        batch = formed.inputs[0].shape[0]
        size = batch if isinstance(batch, int) else BATCH
        count = min(map(len, whole.values()))
        return [
            {key: filled_up(array, start, size) for key, array in whole.items()}
            for start in range(0, max(count - count % size, 1), size)
        ]


def _inputs(
    model: Model, name: str, formed: Graph, images: Split | None, count: int, seed: int
) -> Iterator[tuple[Port, Port, NDArray[Any]]]:
    """Yield each port, its port in the form, and its rows: of images pixels, as they are stored."""
    own_ports = model.graphs()[name].inputs
    drawn = draw([port for port in own_ports if port.prior], count, seed)
    for own, wanted in zip(own_ports, formed.inputs, strict=True):
        if own.name in drawn:
            yield own, wanted, drawn[own.name]
        elif own.kind == "image":
            yield own, wanted, _some(model, own, images, count)
        else:
            yield own, wanted, _made(model, name, own, images, count)


def _some(model: Model, port: Port, images: Split | None, count: int) -> NDArray[Any]:
    """Return images from all over a split, of the port's domain."""
    if images is None:
        raise UsageError("this needs pictures such as the model was trained on",
                         hint="--data NAME|PATH")  # fmt: skip
    given = images_for(model, port, images)
    places = np.linspace(0, len(given) - 1, min(count, len(given))).round().astype(int)
    return np.asarray(given[places])


def _made(model: Model, name: str, port: Port, images: Split | None, count: int) -> NDArray[Any]:
    """Return what another graph of the model gives under that name, of images."""
    for giver, graph in model.graphs().items():
        needed = graph.signature.missing
        gives = any((each.name, each.shape) == (port.name, port.shape) for each in graph.outputs)
        if gives and len(needed) == 1 and needed[0].kind == "image":
            pixels = _some(model, needed[0], images, count)
            inputs = draw([each for each in graph.inputs if each.prior], len(pixels), seed=0)
            assert needed[0].range is not None
            inputs[needed[0].name] = pictures.to_values(pixels, *needed[0].range)
            return run_graph(model, giver, inputs)[port.name]
    raise UsageError(
        f"graph {name!r} takes {port.name}, which nothing draws and no other graph gives",
        cause="a smaller file is made and measured with inputs as they really come",
        hint="leave --half, --half-arithmetic and --int8 out",
    )


def _as_formed(array: NDArray[Any], own: Port, wanted: Port) -> NDArray[Any]:
    """Return images at the size and in the numbers of the form; others as they are."""
    if array.dtype != np.uint8 or own.kind != "image":
        return array
    size = wanted.image_size
    height, width = (ours if isinstance(ours, int) else theirs
                     for ours, theirs in zip(size, array.shape[1:3], strict=True))  # fmt: skip
    if (height, width) != array.shape[1:3]:
        array = np.stack([
            pictures.fit(Image.fromarray(each.squeeze()), height, width, array.shape[3])
            for each in array
        ])  # fmt: skip
    return into_port(array, wanted)
