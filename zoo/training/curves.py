"""Loss curves as one picture: a panel a term, training as a line, validation as points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.atomic import replacing

COLUMNS = 3
PANEL_INCHES = (4.2, 3.0)


def save_curves(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the rows of ``metrics.jsonl``; nothing is written where there are none."""
    panels = _panels(rows)
    if not panels:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    size = (PANEL_INCHES[0] * columns, PANEL_INCHES[1] * lines)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, curves) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(lines, columns, place)
        players = [label for label in curves if label != "validation"]
        for name, points in curves.items():
            label = "training" if [name] == players else name
            marker = "o" if label == "validation" else ""
            axes.plot(*zip(*points, strict=True), label=label, marker=marker, markersize=3)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _panels(
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Sort values into panels by the name of the term, ``player/term`` under ``term``."""
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in rows:
        for name, value in row["values"].items():
            player, _, term = name.rpartition("/")
            label = row["split"] if row["split"] == "validation" else player
            panels.setdefault(term, {}).setdefault(label, []).append((row["step"], value))
    return panels
