"""Pictures of what a model can do, read off the ports of its graphs.

A graph whose inputs all have a prior is drawn from noise; one from image to image is shown on
images that somebody gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo import pictures
from zoo.model.contract import Graph, Model
from zoo.model.inference import run_graph
from zoo.ports import Port

Pixels = np.ndarray[Any, Any]

SAMPLES = 64  # of an overview
PAIRS = 24
COLUMNS = 8


def drawable(model: Model) -> dict[str, Graph]:
    """Return the graphs that make pictures from noise or from one image."""
    return {
        name: graph
        for name, graph in model.graphs().items()
        if graph.signature.can_sample or graph.signature.maps_images
    }


def overview(model: Model, name: str, images: Pixels) -> Pixels:
    """Return one picture of a drawable graph, uint8 (H, W, C), the same noise every time.

    Samples fill a square; images stand in rows, each above the row of what became of it.

    Args:
        model: whose graph it is.
        name: of the graph.
        images: to show a graph from image to image on, uint8 (N, H, W, C).
    """
    if model.graphs()[name].signature.can_sample:
        return pictures.grid(draw_samples(model, name, count=SAMPLES, seed=0), COLUMNS)
    before = np.asarray(images[:PAIRS])
    after = map_images(model, name, before)
    columns = min(COLUMNS, len(before))
    return pictures.grid(pictures.interleave(before, after, columns=columns), columns)


def draw_samples(model: Model, name: str, *, count: int, seed: int) -> Pixels:
    """Return pictures of a graph whose inputs all have a prior, uint8 (count, H, W, C)."""
    graph = model.graphs()[name]
    generator = np.random.default_rng(seed)
    inputs = {port.name: port.draw(count, generator) for port in graph.inputs}
    return _first_output(model, name, inputs)


def map_images(model: Model, name: str, images: Pixels) -> Pixels:
    """Return what a graph from image to image makes of images, both uint8 (N, H, W, C).

    Inputs beside the image are drawn from their priors.
    """
    graph = model.graphs()[name]
    (given,) = graph.signature.missing
    generator = np.random.default_rng(0)
    inputs = {
        port.name: port.draw(len(images), generator) for port in graph.inputs if port is not given
    }
    inputs[given.name] = pictures.to_values(images, *_range(given))
    return _first_output(model, name, inputs)


def _first_output(model: Model, name: str, inputs: dict[str, Pixels]) -> Pixels:
    port = model.graphs()[name].outputs[0]
    return pictures.to_pixels(run_graph(model, name, inputs)[port.name], *_range(port))


def _range(port: Port) -> tuple[float, float]:
    return port.range or (-1.0, 1.0)
