"""Loss curves as one picture: a panel a term, training as a line, validation as points.

A player with a loss at random guess, such as a discriminator, has a further panel: the sum of its
terms beside that loss, to which it converges in theory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.atomic import replacing
from zoo.training.run import MetricsRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
PANEL_INCHES = (4.2, 3.0)
MAX_POINTS = 1024  # of a curve, which is more than a panel is wide in pixels
NOTE = (
    "Adversarial training: each network's loss depends on how good the other network is.\n"
    "A falling loss is not the goal and says nothing about the pictures: look at samples/."
)


@dataclass
class Series:
    """The points of one curve; where there are many, neighbours are averaged in equal groups."""

    count: int = 0
    first: float = 0.0
    last: float = 0.0
    _group: int = 1  # points that are averaged
    _means: list[tuple[float, float]] = field(default_factory=list)
    _open: list[tuple[float, float]] = field(default_factory=list)

    def add(self, step: float, value: float) -> None:
        """Add a point behind the others."""
        self.first = value if not self.count else self.first
        self.last = value
        self.count += 1
        self._open.append((step, value))
        if len(self._open) == self._group:
            self._means.append(_mean(self._open))
            self._open = []
        if len(self._means) == MAX_POINTS:
            pairs = zip(self._means[::2], self._means[1::2], strict=True)
            self._means = [_mean(pair) for pair in pairs]
            self._group *= 2

    def points(self) -> list[tuple[float, float]]:
        """Return steps and values; at most `MAX_POINTS`, and one for a last group not yet full."""
        return [*self._means, *([_mean(self._open)] if self._open else [])]


Panels = dict[str, dict[str, Series]]  # curves by their names, by title


def save_curves(
    rows: Iterable[MetricsRow],
    path: Path,
    at_random: Mapping[str, float],
    *,
    is_adversarial: bool,
) -> None:
    """Draw the rows of ``metrics.jsonl`` as one picture; none is written where there are no rows.

    `at_random` are the losses at random guess of the players that have one.
    """
    panels = _panels(rows, at_random)
    if not panels:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    width, height = PANEL_INCHES[0] * columns, PANEL_INCHES[1] * lines + 0.5 * is_adversarial
    figure = Figure(figsize=(width, height), dpi=100)
    # by hand: the layouts that measure every text take as long as all the rest
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 0.15 / width, wspace=0.6 / (PANEL_INCHES[0] - 0.6),
        bottom=0.45 / height, top=1 - (0.45 + 0.5 * is_adversarial) / height,
        hspace=0.9 / (PANEL_INCHES[1] - 0.9),
    )  # fmt: skip
    FigureCanvasAgg(figure)
    if is_adversarial:
        figure.suptitle(NOTE, fontsize=8, y=1 - 0.1 / height)
    for place, (title, curves) in enumerate(panels.items(), start=1):
        _draw(figure.add_subplot(lines, columns, place), title, curves, at_random.get(title))
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw(axes: Axes, title: str, curves: Mapping[str, Series], at_random: float | None) -> None:
    from matplotlib.ticker import MaxNLocator

    players = [name for name in curves if name != "validation"]
    for name, series in curves.items():
        label = "training" if [name] == players else name
        marker = "o" if name == "validation" else ""
        axes.plot(*zip(*series.points(), strict=True), label=label, marker=marker, markersize=3)
    if at_random is not None:
        axes.axhline(at_random, color="grey", linestyle="--", linewidth=1,
                     label=f"loss at random guess: {at_random:.3g}")  # fmt: skip
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        what = "the sum of all terms of its loss"
    elif players:
        what = f"term of the loss of the {' and the '.join(players)}"
    else:
        what = "measured on held-out data"
    axes.set_title(f"{title}\n({what})", fontsize=9)
    axes.set_xlabel("step", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)


def _panels(rows: Iterable[MetricsRow], with_sum: Collection[str]) -> Panels:
    """Sort values into panels by the name of the term, ``player/term`` under ``term``.

    The sum of the terms of some players has a panel of its own, titled by the player.
    """
    panels: Panels = {name: {} for name in with_sum}
    for row in rows:
        sums: dict[str, float] = {}
        for name, value in row["values"].items():
            player, _, term = name.rpartition("/")
            label = "validation" if row["split"] == "validation" else player
            panels.setdefault(term, {}).setdefault(label, Series()).add(row["step"], value)
            if player in with_sum:
                sums[player] = sums.get(player, 0.0) + value
        for player, total in sums.items():
            panels[player].setdefault(player, Series()).add(row["step"], total)
    return {title: curves for title, curves in panels.items() if curves}


def _mean(points: Iterable[tuple[float, float]]) -> tuple[float, float]:
    steps, values = zip(*points, strict=True)
    return sum(steps) / len(steps), sum(values) / len(values)
