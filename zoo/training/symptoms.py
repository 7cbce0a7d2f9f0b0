"""What can be seen of a model's health: diversity, codes that say nothing, units that never move.

Everything is measured in evaluation mode, on noise and images that are the same every time, and
leaves the random numbers of the training as they were.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor, nn

from zoo.data.batches import common_rows, in_order
from zoo.model.contract import Graph, Model
from zoo.model.distances import distances, some_of
from zoo.model.drawing import draw_samples, map_images, mappers, samplers
from zoo.model.inference import device_of, evaluating, evaluation_batch

Pixels = np.ndarray[Any, Any]
Split = Mapping[str, Pixels]

IMAGES = 256  # looked at, of a model or a mapping; fewer, where images are large
IMAGES_OF_A_CLASS = 32
FEWEST_IMAGES = 8  # from which anything is told
MOST_CLASSES = 10  # looked at
CAN_DIE = (nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid)  # leaky ones always pass something on
STILL = 0.01  # outputs of a unit that differ by less say nothing


@dataclass(frozen=True)
class Diversity:
    """How different the pictures of a graph are, as a share of real images of the same number.

    Args:
        graph: that drew them, or made them of images.
        drawn: whether they come of nothing but noise.
        group: the class that was asked for; empty where none was.
        images: pictures compared.
        spread: mean distance of two of them; near 0 when all are alike.
        nearest: mean distance of each from the one most like it; near 0 when a few are repeated.
    """

    graph: str
    drawn: bool
    group: str
    images: int
    spread: float
    nearest: float

    @property
    def level(self) -> float:
        """Both in one number, their geometric mean.

        Of what is made of images the spread alone: a mapping may well bring images nearer to one
        another, as one that takes their noise away does.
        """
        return math.sqrt(self.spread * self.nearest) if self.drawn else self.spread


def diversities(model: Model, held_out: Split) -> list[Diversity]:
    """Measure what the model draws from noise, or translates from one domain to the other.

    Where classes are asked for, each is compared with real images of its own.
    """
    graphs = model.graphs()
    found = []
    for name in samplers(model):
        if classes := _classes(graphs[name], held_out):
            for number, label in classes:
                places = some_of(np.flatnonzero(held_out["label"] == number), IMAGES_OF_A_CLASS)
                real = np.asarray(held_out["image"][places])
                made = draw_samples(model, name, count=len(real), seed=0, classes=[number])
                found.append(_compare(name, label, made, real, drawn=True))
        else:
            real = some_of(next(iter(held_out.values())), _affordable(model))
            made = draw_samples(model, name, count=len(real), seed=0)
            found.append(_compare(name, "", made, real, drawn=True))
    for name in mappers(model):
        given, wanted = _domains(model, graphs[name], held_out)
        inputs = some_of(given, min(len(given), len(wanted), _affordable(model)))
        made = map_images(model, name, inputs)
        if graphs[name].outputs[0].domain:  # what only comes back is judged by its own loss
            found.append(_compare(name, "", made, some_of(wanted, len(made)), drawn=False))
    return [each for each in found if each is not None]


def latent_kl(model: Model, held_out: Split) -> list[float]:
    """Return KL(q(z|x) ‖ p(z)) by latent dimension in nats; nothing without a posterior."""
    rows = min(common_rows(held_out), _affordable(model))
    if rows < FEWEST_IMAGES:
        return []
    (batch,) = in_order(
        {name: some_of(array[: common_rows(held_out)], rows) for name, array in held_out.items()},
        rows,
        device_of(model),
    )
    with evaluating(model):
        found = model.latent_kl(batch)
    return [] if found is None else [float(each) for each in found]


@dataclass
class Units:
    """The least and the greatest output of each unit, or map, of the layers that were seen."""

    least: dict[str, Tensor] = field(default_factory=dict)
    greatest: dict[str, Tensor] = field(default_factory=dict)

    def add(self, layer: str, outputs: Tensor) -> None:
        """Take in outputs (N, units, …)."""
        others = [dimension for dimension in range(outputs.ndim) if dimension != 1]
        least, greatest = outputs.amin(dim=others).float(), outputs.amax(dim=others).float()
        if layer in self.least:
            least = least.minimum(self.least[layer])
            greatest = greatest.maximum(self.greatest[layer])
        self.least[layer], self.greatest[layer] = least, greatest

    def dead(self) -> dict[str, tuple[int, int]]:
        """Return by layer how many units are dead, and of how many."""
        return {
            layer: (int((self.greatest[layer] - least < STILL).sum()), len(least))
            for layer, least in self.least.items()
        }


@contextmanager
def watching(model: Model) -> Iterator[Units]:
    """Look on at the units that can die, at whatever the model does meanwhile."""
    units = Units()

    def look_at(layer: str) -> Any:
        def look(module: nn.Module, given: Any, outputs: Tensor) -> None:
            del module, given
            # what is as large as the image is its pixels, some of which never change
            if outputs.ndim > 1 and outputs[0].numel() != model.data.pixels:
                units.add(layer, outputs)

        return look

    handles = [
        module.register_forward_hook(look_at(name.replace("_forward_module.", "")))
        for name, module in model.named_modules()
        if isinstance(module, CAN_DIE)
    ]
    try:
        yield units
    finally:
        for handle in handles:
            handle.remove()


def _classes(graph: Graph, held_out: Split) -> list[tuple[int, str]]:
    """Return the classes to ask for: of one label, those with enough held-out images."""
    labels = [port for port in graph.inputs if port.kind == "label" and port.classes]
    if len(labels) != 1 or not {"image", "label"} <= held_out.keys():
        return []
    counts = np.bincount(held_out["label"], minlength=len(labels[0].classes))
    known = [(number, name) for number, name in enumerate(labels[0].classes)]
    return [each for each in known if counts[each[0]] >= FEWEST_IMAGES][:MOST_CLASSES]


def _domains(model: Model, graph: Graph, held_out: Split) -> tuple[Pixels, Pixels]:
    """Return the held-out images that go into a graph, and real ones such as come out of it."""
    (given,) = graph.signature.missing
    made = graph.outputs[0]
    images = next(iter(held_out.values()))
    source = held_out[model.data.side_of(given.domain)] if given.domain else images
    return source, held_out[model.data.side_of(made.domain)] if made.domain else source


def _compare(
    graph: str, group: str, made: Pixels, real: Pixels, *, drawn: bool
) -> Diversity | None:
    """Return nothing where there are too few images, or the real ones do not differ."""
    if len(made) < FEWEST_IMAGES:
        return None
    (spread, nearest), (real_spread, real_nearest) = distances(made), distances(real)
    if not real_nearest:
        return None
    return Diversity(graph, drawn, group, len(made), spread / real_spread, nearest / real_nearest)


def _affordable(model: Model) -> int:
    return min(IMAGES, evaluation_batch(model.data))
