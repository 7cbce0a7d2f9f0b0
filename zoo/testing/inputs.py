"""What the checks put into a graph: images of the card's own data, and draws for all else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo import pictures
from zoo.model.contract import Graph
from zoo.model.inference import as_tuple
from zoo.ports import Port
from zoo.runtime.session import draw_example
from zoo.testing.check import Finding, Obstacle
from zoo.testing.places import place_of
from zoo.testing.subject import Subject

Arrays = dict[str, "np.ndarray[Any, Any]"]


def inputs_of(model: Subject, graph: Graph, *, count: int, seed: int) -> Arrays:
    """Return an array of `count` rows for each input of a graph, the same for the same seed."""
    generator = np.random.default_rng(seed)
    sizes = {"height": model.spec.height, "width": model.spec.width}
    found = {}
    for port in graph.inputs:
        array = draw_example(port, count, sizes, generator)
        if port.kind == "image" and array.shape[1] == model.spec.channels:
            array = _real(model, port, array, generator)
        found[port.name] = array
    return found


def outputs_of(name: str, graph: Graph, inputs: Mapping[str, Any]) -> list[Tensor]:
    """Run a graph's function as it is, in evaluation mode, and return what it gives.

    Raises:
        Obstacle: that is no tensor, or not as many as there are output ports.
    """
    with torch.no_grad():
        given = [torch.from_numpy(inputs[port.name]) for port in graph.inputs]
        outputs = as_tuple(graph.function(*given))
    if len(outputs) != len(graph.outputs) or not all(isinstance(each, Tensor) for each in outputs):
        kinds = ", ".join(type(each).__name__ for each in outputs)
        raise Obstacle("ports/outputs") from Finding(
            f"graph {name!r} declares {len(graph.outputs)} outputs and gives {len(outputs)} "
            f"({kinds})", place_of(graph.function),
        )  # fmt: skip
    return list(outputs)


def _real(model: Subject, port: Port, like: Any, generator: np.random.Generator) -> Any:
    """Return images of the data, of the port's domain, where they have its size."""
    split = model.split
    images = split[model.spec.side_of(port.domain)] if port.domain else next(iter(split.values()))
    chosen = images[generator.integers(0, len(images), len(like))]
    low, high = port.range or (-1.0, 1.0)
    values = pictures.to_values(chosen, low, high)
    return values if values.shape == like.shape else like
