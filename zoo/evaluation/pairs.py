"""How near a translator trained without pairs comes to the true partners, where these are known.

Images are compared as pictures of 256 grey levels a channel, which is what a user gets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.data.store import Store
from zoo.measurements import Measurement
from zoo.model.contract import Model
from zoo.model.inference import domains_of, map_images, mappers

Pixels = NDArray[np.uint8]

AT_ONCE = 64  # images; the numbers of more take memory without need


@dataclass(frozen=True)
class Translation:
    """One way between two domains, measured; an error is a mean absolute error on [0, 1].

    Nearest is the share of the images of which the true partner is the nearest of all partners,
    by that error.
    """

    graph: str
    source: str  # domain of the images that go in
    target: str  # domain of the images that come out
    pairs: int  # images that went in, each with its true partner
    error: float  # of what comes out against the true partner
    copying: float  # of what goes in against the true partner
    nearest: float  # of what comes out
    nearest_copying: float  # of what goes in

    @property
    def ratio(self) -> float | None:
        """Error as a share of that of copying; None where both domains show the same."""
        return self.error / self.copying if self.copying else None

    def to_json(self) -> dict[str, Any]:
        """Return all figures as plain JSON values."""
        return {**asdict(self), "ratio": self.ratio}

    def measurements(self) -> Iterator[Measurement]:
        """Yield error and rank of the true partner, each with what copying the input gives."""
        way, protocol = f"{self.source}_to_{self.target}", {"pairs": self.pairs}
        yield Measurement(
            f"error_{way}", self.error, "lowest", self.graph,
            protocol={**protocol, "copying": self.copying},
        )  # fmt: skip
        yield Measurement(
            f"partner_nearest_{way}", self.nearest, "highest", self.graph,
            protocol={**protocol, "copying": self.nearest_copying},
        )  # fmt: skip


def translators(model: Model) -> dict[tuple[str, str], str]:
    """Return the graphs from one domain of the data to the other, by where from and where to."""
    found: dict[tuple[str, str], str] = {}
    sides = model.data.sides
    for name in mappers(model):
        way = domains_of(model.graphs()[name])
        if way in (sides, sides[::-1]):
            found.setdefault(way, name)
    return found


def measure_pairs(model: Model, store: Store, split: str) -> list[Translation]:
    """Measure every way between the domains on a split of true pairs; none where either lacks."""
    if split not in store.pairs:
        return []
    found = []
    for way, graph in translators(model).items():
        images, partners = (store.splits[split][model.data.side_of(domain)] for domain in way)
        portions = range(0, len(images), AT_ONCE)
        translated = np.concatenate(
            [map_images(model, graph, images[start : start + AT_ONCE]) for start in portions]
        )
        error, nearest = _compare(translated, partners)
        copying, nearest_copying = _compare(images, partners)
        found.append(
            Translation(graph, *way, len(images), error, copying, nearest, nearest_copying)
        )
    return found


def _compare(images: Pixels, partners: Pixels) -> tuple[float, float]:
    """Return the mean error to the own partner, and the share of which no partner is nearer."""
    error = nearest = 0.0
    for start in range(0, len(images), AT_ONCE):
        some = _flat(images[start : start + AT_ONCE])
        parts = [
            torch.cdist(some, _flat(partners[begin : begin + AT_ONCE]), p=1)
            for begin in range(0, len(partners), AT_ONCE)
        ]
        distances = torch.cat(parts, dim=1)  # (some, partners), sums over pixels
        own = distances.diagonal(offset=start)
        error += float(own.double().sum())
        nearest += float((own <= distances.min(dim=1).values).sum())
    size = images[0].size
    return error / (255 * size * len(images)), nearest / len(images)


def _flat(images: Pixels) -> torch.Tensor:
    """Return one row of grey levels an image, (N, H·W·C)."""
    return torch.from_numpy(images.reshape(len(images), -1).astype(np.float32))
