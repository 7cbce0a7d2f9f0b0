"""Pictures of what a model can do, read off the ports of its graphs.

A graph whose inputs all have a prior is drawn from noise; one from image to image is shown on
images that somebody gives, and on the way back where the model has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo import grids, pictures
from zoo.draws import class_labels, draw
from zoo.errors import UsageError
from zoo.grids import legible
from zoo.model.contract import Graph, Model
from zoo.model.inference import run_graph
from zoo.ports import Port

Pixels = np.ndarray[Any, Any]

SAMPLES = 64  # of an overview
SHOWN = 24  # images of an overview that go through a graph
COLUMNS = 8
MOST_CLASSES = 10  # rows of an overview that asks for classes


def samplers(model: Model) -> list[str]:
    """Return the graphs that make pictures from nothing but draws."""
    return [name for name, graph in model.graphs().items() if graph.signature.can_sample]


def mappers(model: Model) -> list[str]:
    """Return the graphs that make a picture of a picture, except cycles through both domains.

    What a cycle makes is shown behind its first half, as the way back.
    """
    graphs = model.graphs().items()
    return [name for name, graph in graphs if graph.signature.maps_images and not _is_cycle(graph)]


def overview(model: Model, name: str, images: Mapping[str, Pixels]) -> Pixels:
    """Return one picture of a graph that draws or maps, uint8 (H, W, C), every time the same.

    Samples fill a square, or a row a class with the same noise; what is made of images is shown as
    by `comparison`.

    Args:
        model: whose graph it is.
        name: of the graph.
        images: a split of data, to show a graph from image to image on.
    """
    graph = model.graphs()[name]
    if not graph.signature.can_sample:
        return comparison(model, [name], images, SHOWN)
    labels = [port for port in graph.inputs if port.kind == "label" and port.classes]
    if len(labels) != 1:
        return grids.grid(draw_samples(model, name, count=SAMPLES, seed=0), COLUMNS)
    classes = range(min(MOST_CLASSES, len(labels[0].classes)))
    samples = draw_samples(model, name, count=COLUMNS, seed=0, classes=classes)
    return grids.grid(samples, COLUMNS, class_labels(classes, graph.inputs))


def draw_samples(
    model: Model, name: str, *, count: int, seed: int, classes: Sequence[int] | None = None
) -> Pixels:
    """Return pictures of a graph whose inputs all have a prior, uint8 (N, H, W, C).

    Args:
        model: whose graph it is.
        name: of the graph.
        count: pictures; of each class, where classes are asked for.
        seed: of the noise.
        classes: numbers of the classes to draw, all with the same noise, class after class.
    """
    ports = model.graphs()[name].inputs
    return _first_output(model, name, draw(ports, count, seed, classes))


def comparison(
    model: Model, names: Sequence[str], images: Mapping[str, Pixels], count: int
) -> Pixels:
    """Return images in rows, under each row what graphs make of it, uint8 (H, W, C).

    Beside each row stands what it is: ``input`` or the domain, or the graph that made it.

    The images are taken from all over the split, which may be sorted. A graph from one domain to
    the other is followed by the graph back, where the model has one: input, translated, cycled
    back.

    Args:
        model: whose graphs they are.
        names: of graphs from image to image.
        images: a split of data, ``image`` or ``a`` and ``b`` uint8 (N, H, W, C).
        count: images to show of each set; fewer, where there are fewer.

    Raises:
        UsageError: a graph is for one of two domains, and the data has one set of images.
    """
    count = min(count, *(len(_given(model, name, images)) for name in names))
    sets, labels = [], []
    for name in names:
        given = _given(model, name, images)
        before = np.asarray(given[np.linspace(0, len(given) - 1, count).round().astype(int)])
        after = map_images(model, name, before)
        back = _way_back(model, name)
        sets += [before, after, *([map_images(model, back, after)] if back else [])]
        domain, _ = _domains(model.graphs()[name])
        labels += [
            legible(domain, "input"),
            *(legible(made, "output") for made in (name, back) if made),
        ]
    columns = min(COLUMNS, count)
    page = grids.interleave(*sets, columns=columns)
    return grids.grid(page, columns, labels * (len(page) // columns // len(sets)))


def map_images(model: Model, name: str, images: Pixels) -> Pixels:
    """Return what a graph from image to image makes of images, both uint8 (N, H, W, C).

    Inputs beside the image are drawn from their priors.
    """
    graph = model.graphs()[name]
    (given,) = graph.signature.missing
    inputs = draw([port for port in graph.inputs if port is not given], len(images), seed=0)
    inputs[given.name] = pictures.to_values(images, *_range(given))
    return _first_output(model, name, inputs)


def images_for(model: Model, port: Port, images: Mapping[str, Pixels]) -> Pixels:
    """Return the images of a split that go into a port: those of its domain.

    Raises:
        UsageError: the port is for one of two domains, and the data has one set of images.
    """
    if not port.domain:
        return next(iter(images.values()))
    if "b" not in images:
        raise UsageError(
            f"{model.data.name} has two domains; this data has one set of images for {port.domain}"
        )
    return images[model.data.side_of(port.domain)]


def _given(model: Model, name: str, images: Mapping[str, Pixels]) -> Pixels:
    (given,) = model.graphs()[name].signature.missing
    return images_for(model, given, images)


def _way_back(model: Model, name: str) -> str | None:
    """Return the graph from the domain that this one leads to, back to the one it begins at."""
    there = _domains(model.graphs()[name])
    backwards = [each for each in mappers(model) if _domains(model.graphs()[each]) == there[::-1]]
    return backwards[0] if backwards and all(there) else None


def _is_cycle(graph: Graph) -> bool:
    source, target = _domains(graph)
    return bool(source) and source == target


def _domains(graph: Graph) -> tuple[str, str]:
    (given,) = graph.signature.missing
    return given.domain, graph.outputs[0].domain


def _first_output(model: Model, name: str, inputs: dict[str, Pixels]) -> Pixels:
    port = model.graphs()[name].outputs[0]
    return pictures.to_pixels(run_graph(model, name, inputs)[port.name], *_range(port))


def _range(port: Port) -> tuple[float, float]:
    return port.range or (-1.0, 1.0)
