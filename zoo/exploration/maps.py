"""A map of codes: a point a picture, in the colour of its class. Drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.atomic import replacing
from zoo.errors import UsageError
from zoo.exploration.geometry import Array, coordinates, principal_directions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = (9.0, 7.0)
DPI = 120
MOST_NAMED = 20  # classes in the legend, as many as there are colours that can be told apart


@dataclass(frozen=True)
class LatentMap:
    """Points in a plane, and what its axes are."""

    points: Array  # (N, 2)
    axes: tuple[str, str]
    shares: tuple[
        float, ...
    ]  # of the variance of the codes, by axis; empty for codes of two dimensions


def latent_map(codes: Array, name: str) -> LatentMap:
    """Return a map of codes (N, D): with two dimensions as they are, others by components.

    Raises:
        UsageError: a code has one dimension.
    """
    if codes.shape[1] == 1:
        raise UsageError(
            f"a code of one dimension has no map: {name} is (batch, 1)",
            hint="zoo explore TARGET traverse",
            code="does-not-apply",
        )
    if codes.shape[1] == 2:
        return LatentMap(codes, (f"{name} 0", f"{name} 1"), ())
    found = principal_directions(codes, 2)
    points = coordinates(codes, found)
    missing = 2 - points.shape[1]  # of a single picture
    shares = (*map(float, found.shares), *[0.0] * missing)
    titles = [f"principal component {number} of {name}, {share:.0%} of the variance"
              for number, share in enumerate(shares, start=1)]  # fmt: skip
    return LatentMap(np.pad(points, ((0, 0), (0, missing))), (titles[0], titles[1]), shares)


def save_map(
    path: Path, found: LatentMap, labels: Array | None, classes: Sequence[str], title: str
) -> None:
    """Draw a map as PNG, in one piece.

    Args:
        path: of the file.
        found: the map.
        labels: class number of each point, or None.
        classes: a name for each class number, that matplotlib's font has.
        title: above it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if labels is None:
        axes.scatter(
            found.points[:, 0], found.points[:, 1], s=_area(len(found.points)), linewidths=0
        )
    else:
        _draw_classes(axes, found.points, labels, classes)
    axes.set_xlabel(found.axes[0], parse_math=False)
    axes.set_ylabel(found.axes[1], parse_math=False)
    axes.set_title(title, fontsize=11, parse_math=False)
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_classes(axes: Axes, points: Array, labels: Array, classes: Sequence[str]) -> None:
    """Draw points by class, in a mixed order so that no class covers the others, and a legend."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    there = np.unique(labels)
    few = len(there) <= MOST_NAMED
    table = colormaps["tab10" if len(there) <= 10 else "tab20" if few else "turbo"]
    colours = table(np.arange(len(there)) if few else np.linspace(0, 1, len(there)))
    order = np.random.default_rng(0).permutation(len(points))
    own = colours[np.searchsorted(there, labels[order])]
    axes.scatter(
        points[order, 0], points[order, 1], s=_area(len(points)), c=own, linewidths=0, alpha=0.8
    )
    shown = [number * (len(there) - 1) // (MOST_NAMED - 1) for number in range(MOST_NAMED)]
    handles = [Line2D([], [], color=colours[place], marker="o", linestyle="", markersize=6)
               for place in (range(len(there)) if few else shown)]  # fmt: skip
    names = [classes[there[place]] for place in (range(len(there)) if few else shown)]
    # matplotlib leaves names out that begin with an underscore
    names = [f" {name}" if name.startswith("_") else name for name in names]
    heading = None if few else f"{MOST_NAMED} of {len(there):,} classes"
    legend = axes.legend(handles, names, title=heading, loc="upper left", fontsize=9,
                         bbox_to_anchor=(1.01, 1), borderaxespad=0, frameon=False)  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _area(count: int) -> float:
    """Return the area of a point in square points: smaller where there are many."""
    return float(np.clip(12_000 / count, 6, 40))
