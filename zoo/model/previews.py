"""Pictures of what a model does: samples, what becomes of pictures, loops that begin with data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from zoo import grids
from zoo.draws import class_labels
from zoo.modalities import draw_page, modality_of, to_rows
from zoo.model.beginnings import Beginning, begin_with, inputs_from_data, loops_from_data
from zoo.model.contract import Model
from zoo.model.inference import (
    affordable_samples,
    domains_of,
    draw_samples,
    images_for,
    map_images,
    mappers,
    samplers,
    some_of,
)
from zoo.ports import is_pictorial
from zoo.sampling import as_port_takes

Array = np.ndarray[Any, Any]

SHOWN = 24  # images of an overview that go through a graph
COLUMNS = 8
MOST_CLASSES = 10  # rows of an overview that asks for classes


def previewed(model: Model) -> list[str]:
    """Return the graphs that previews show: what is drawn, maps pictures, or begins with data."""
    found = [*samplers(model), *mappers(model)]
    begun = [each for each in loops_from_data(model) if all(inputs_from_data(model, each).values())]
    return [*found, *(each for each in begun if each not in found)]


def overview(
    model: Model, name: str, images: Mapping[str, Array], *, rounds: int | None = None
) -> Array:
    """Return one picture of a graph that draws or maps, uint8 (H, W, C), every time the same.

    Samples fill a page, or a row a class with the same noise. What a graph from image to image
    makes of a split of data is shown as by `comparison`, and any other loop that begins with data
    as by `page_of_loop`. `rounds` are those of a step of a loop.
    """
    graph = model.graphs()[name]
    port = graph.outputs[0]
    if graph.signature.maps_images:
        count = affordable_samples(graph, SHOWN)
        return comparison(model, [name], images, count, rounds=rounds)
    if graph.signature.required:
        count = affordable_samples(graph, min(SHOWN, modality_of(port).samples))
        begun = begin_with(model, name, inputs_from_data(model, name), images, count, rounds)
        made = draw_samples(
            model, name, count=begun.count, seed=0, rounds=rounds, given=begun.arrays
        )
        return page_of_loop(model, name, begun, made)
    labels = [port for port in graph.inputs if port.is_label and port.classes]
    if len(labels) != 1:
        count = affordable_samples(graph, modality_of(port).samples)
        columns = min(COLUMNS, math.ceil(math.sqrt(count)))
        samples = draw_samples(model, name, count=count, seed=0, rounds=rounds)
        return draw_page(samples, port, columns)
    classes = range(min(MOST_CLASSES, len(labels[0].classes)))
    columns = max(1, affordable_samples(graph, COLUMNS * len(classes)) // len(classes))
    samples = draw_samples(model, name, count=columns, seed=0, classes=classes, rounds=rounds)
    return draw_page(samples, port, columns, class_labels(classes, graph.inputs))


def comparison(
    model: Model,
    names: Sequence[str],
    images: Mapping[str, Array],
    count: int,
    *,
    rounds: int | None = None,
) -> Array:
    """Return images in rows, under each row what graphs make of it, uint8 (H, W, C).

    Beside each row stands what it is: ``input`` or the domain, or the graph that made it. A graph
    from one domain to the other is followed by the graph back, where the model has one: input,
    translated, cycled back. Where the input of a graph is smaller than the data, or grey, the data
    follow what is made of it; so they do for a graph that enlarges pictures of any size, which is
    shown on pictures made smaller. The images are a split of data, ``image`` or ``a`` and ``b``; of
    each set `count` are shown, or fewer where there are fewer. `rounds` are those of steps of a
    loop.

    Raises:
        UsageError: a graph is for one of two domains, and the data has one set of images.
    """
    graphs = model.graphs()
    given = {}
    for name in names:
        (port,) = graphs[name].signature.required
        given[name] = images_for(model, port, images)
    count = min(count, *map(len, given.values()))
    sets, labels = [], []
    for name in names:
        there = domains_of(graphs[name])
        back = [each for each in mappers(model) if domains_of(graphs[each]) == there[::-1]]
        real = some_of(given[name], count)
        sets.append(_made_smaller(model, name, real))
        labels.append(grids.legible(there[0], "input"))
        for each in (name, *(back[:1] if all(there) else [])):
            sets.append(map_images(model, each, sets[-1], rounds=rounds))
            labels.append(grids.legible(each, "output"))
        if sets[-2].shape != real.shape and not all(there):
            sets.append(real)
            labels.append("data")
    return _in_rows(sets, labels)


def page_of_loop(model: Model, name: str, begun: Beginning, made: Array) -> Array:
    """Return pictures that a loop began with in rows, under each row what it made of them.

    Where what goes in or what comes out are no pictures, what comes out is shown alone.
    """
    graph = model.graphs()[name]
    port = graph.outputs[0]
    ports = [each for each in graph.inputs if each.name in begun.arrays and is_pictorial(each)]
    if not (ports and is_pictorial(port)):
        return draw_page(made, port)
    names = [each.name if len(ports) > 1 else each.domain for each in ports]
    labels = [*(grids.legible(each, "input") for each in names), grids.legible(name, "output")]
    return _in_rows([*(to_rows(begun.arrays[each.name], each) for each in ports), made], labels)


def _in_rows(sets: Sequence[Array], labels: Sequence[str]) -> Array:
    """Return sets of as many images: a row of each set in turn, beside it the set's label."""
    columns = min(COLUMNS, len(sets[0]))
    page = grids.interleave(*_of_one_size(sets), columns=columns)
    return grids.grid(page, columns, [*labels] * (len(page) // columns // len(sets)))


def _made_smaller(model: Model, name: str, images: Array) -> Array:
    """Return images as a graph takes them, so small that what comes out is not larger than they.

    Each pixel is the mean of those in its place. Only a graph that leaves the size open enlarges
    pictures beyond their own size.
    """
    taken = as_port_takes(images, model.graphs()[name].signature.required[0])
    factor = map_images(model, name, taken[:1]).shape[1] // images.shape[1]
    if factor < 2:
        return taken
    smaller = [
        np.asarray(Image.fromarray(each).reduce(factor))
        for each in (taken[..., 0] if taken.shape[3] == 1 else taken)
    ]
    return np.stack(smaller).reshape(len(taken), *smaller[0].shape[:2], taken.shape[3])


def _of_one_size(sets: Sequence[Array]) -> list[Array]:
    """Return sets of images at the size of the largest, their pixels repeated."""
    height, width = (max(each.shape[side] for each in sets) for side in (1, 2))
    rows, columns = np.arange(height), np.arange(width)
    return [
        each[:, rows * each.shape[1] // height][:, :, columns * each.shape[2] // width]
        for each in sets
    ]
