"""Loss curves as one picture: a panel a term, training as a line, validation as points.

Of one run, a player with a loss at random guess, such as a discriminator, has a further panel: the
sum of its terms beside that loss, to which it converges in theory. Of several runs, each run has
one colour in all panels.
"""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.atomic import replacing
from zoo.errors import UsageError
from zoo.training.run import MetricsRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
PANEL_INCHES = (4.2, 3.0)
MAX_POINTS = 1024  # of a curve, which is more than a panel is wide in pixels
COLOURS = (  # of runs, to be told apart from each other and from the black and grey of the axes
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#bcbd22",
    "#17becf", "#00008b", "#e6c700", "#c000c0", "#006400", "#ff9896", "#7a0026", "#98df8a",
)  # fmt: skip
LINES = ("-", "--", ":", "-.")  # of the players of a run that have a term of one name
LETTER, LEGEND_LINE, LEGEND_KEY = 0.068, 0.19, 0.6  # inches, of the legend of several runs
LEGEND_NOTE = "lines: training; points: held-out data"
FEW_POINTS = 20  # in a panel; with fewer, all are shown
SPIKE = 20.0  # times the range of all but 2 % of the points: a wider panel leaves points out …
NEAR = 3.0  # … that are so many of these ranges away
LARGEST = 1e100  # value that can be drawn
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
    panels = sort_into_panels(rows, at_random)
    if not panels:
        return
    figure, axes = _new_figure(len(panels), 0.5 * is_adversarial)
    if is_adversarial:
        figure.suptitle(NOTE, fontsize=8, y=1 - 0.1 / figure.get_figheight())
    for place, (title, curves) in zip(axes, panels.items(), strict=True):
        _draw(place, title, curves, at_random.get(title))
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def save_comparison(
    runs: Sequence[tuple[str, Panels]],
    path: Path,
    *,
    first: Collection[str] = (),
    x_label: str = "step",
) -> None:
    """Draw the curves of several runs as one picture; none is written where there are no curves.

    Args:
        runs: name and panels of each run; one without panels takes no colour.
        path: of the picture.
        first: titles of the panels that come before the others.
        x_label: what the curves are drawn over.

    Raises:
        UsageError: there are more runs than colours.
    """
    runs = [(name, panels) for name, panels in runs if panels]
    if not runs:
        return
    if len(runs) > len(COLOURS):
        raise UsageError(
            f"{len(runs)} runs are too many for one picture",
            cause=f"only {len(COLOURS)} colours can be told apart",
            hint="fewer runs; --csv takes any number",
            code="too-many",
        )
    titles = list(dict.fromkeys(title for _, panels in runs for title in panels))
    titles.sort(key=lambda title: title not in first)
    names, columns = _legend_layout([name for name, _ in runs], min(COLUMNS, len(titles)))
    above = LEGEND_LINE * (_legend_lines(names, columns) + 1) + 0.1
    figure, axes = _new_figure(len(titles), above)
    for place, title in zip(axes, titles, strict=True):
        shown = [(colour, panels[title]) for colour, (_, panels) in zip(COLOURS, runs, strict=False)
                 if title in panels]  # fmt: skip
        _draw_runs(place, title, shown, x_label)
    _draw_legend(figure, names, columns, above)
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a name in letters that the font does not have
        figure.savefig(temporary, format="png")


def _new_figure(count: int, above: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with panels in rows, and `above` inches of space over them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(COLUMNS, count)
    lines = -(-count // columns)
    width, height = PANEL_INCHES[0] * columns, PANEL_INCHES[1] * lines + above
    figure = Figure(figsize=(width, height), dpi=100)
    # by hand: the layouts that measure every text take as long as all the rest
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 0.15 / width, wspace=0.6 / (PANEL_INCHES[0] - 0.6),
        bottom=0.45 / height, top=1 - (0.45 + above) / height,
        hspace=0.9 / (PANEL_INCHES[1] - 0.9),
    )  # fmt: skip
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(lines, columns, place + 1) for place in range(count)]


def _draw(axes: Axes, title: str, curves: Mapping[str, Series], at_random: float | None) -> None:
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
    else:
        what = _origin(players)
    _write_texts(axes, f"{title}\n({what})", "step")
    axes.legend(fontsize=8, frameon=False)


def _draw_runs(
    axes: Axes, title: str, runs: Sequence[tuple[str, Mapping[str, Series]]], x_label: str
) -> None:
    """Draw one term of several runs, each in its colour; a few points far beyond all stay out."""
    points = [point for _, curves in runs for each in curves.values() for point in each.points()]
    low, high = _usual_range([value for _, value in points])
    beyond = [value for _, value in points if not low <= value <= high]
    reach = (high - low) or 1.0
    for colour, curves in runs:
        players = [player for player in curves if player != "validation"]
        for player, series in curves.items():
            drawn = [(step, min(max(value, low - reach), high + reach))
                     for step, value in series.points() if abs(value) <= LARGEST]  # fmt: skip
            if not drawn:
                continue
            held_out = player == "validation"
            axes.plot(
                *zip(*drawn, strict=True),
                color=colour,
                linestyle="-" if held_out else LINES[players.index(player) % len(LINES)],
                linewidth=1.5 if held_out else 1.0,
                alpha=1.0 if held_out or len(curves) == 1 else 0.6,
                marker="o" if held_out or len(drawn) == 1 else "",
                markersize=3,
            )
    what = _origin([player for _, curves in runs for player in curves if player != "validation"])
    if beyond:
        axes.set_ylim(low - 0.1 * reach, high + 0.1 * reach)
        farthest = max(beyond, key=lambda value: abs(value - low))
        what = f"outside: {len(beyond)} of {len(points)} points, as far as {farthest:.3g}"
    _write_texts(axes, f"{title}\n({what})", x_label)


def _legend_layout(names: Sequence[str], panels: int) -> tuple[list[str], int]:
    """Return names in lines that fit above so many panels, and the columns of the legend."""
    width = PANEL_INCHES[0] * panels
    letters = int((width - LEGEND_KEY) / LETTER)
    shown = ["".join(char if char.isprintable() else "?" for char in name) for name in names]
    folded = [textwrap.fill(name, letters) or "?" for name in shown]
    longest = max(len(line) for name in folded for line in name.splitlines())
    return folded, max(1, int(width / (longest * LETTER + LEGEND_KEY)))


def _legend_lines(names: Sequence[str], columns: int) -> int:
    """Return how many lines a legend has whose columns are filled one after the other."""
    rows = -(-len(names) // columns)
    starts = range(0, len(names), rows)
    return max(sum(name.count("\n") + 1 for name in names[each : each + rows]) for each in starts)


def _draw_legend(figure: Figure, names: Sequence[str], columns: int, above: float) -> None:
    """Write the names of runs beside their colours, and what a line is, `above` inches high."""
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], color=colour, linewidth=2) for colour in COLOURS[: len(names)]]
    legend = figure.legend(
        keys, names, loc="upper left", bbox_to_anchor=(0, 1), ncols=columns,
        fontsize=8, frameon=False, borderaxespad=0.2, handlelength=1.5,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)
    place = 0.12 / figure.get_figwidth(), 1 - above / figure.get_figheight()
    figure.text(*place, LEGEND_NOTE, fontsize=8, color="grey")


def _usual_range(values: Sequence[float]) -> tuple[float, float]:
    """Return the least and the greatest value that a panel shows.

    A few values, at most 2 % at both ends, stay out where the others would look like a line.
    """
    usable = sorted(value for value in values if abs(value) <= LARGEST)
    if len(usable) < FEW_POINTS:
        return (usable[0], usable[-1]) if usable else (0.0, 1.0)
    few = max(2, len(usable) // 50)
    low, high = usable[few], usable[-1 - few]
    span = high - low
    if 0 < span * SPIKE < usable[-1] - usable[0]:
        usable = [each for each in usable if low - NEAR * span <= each <= high + NEAR * span]
    return usable[0], usable[-1]


def _origin(players: Iterable[str]) -> str:
    """Say where the values of a panel come from."""
    names = list(dict.fromkeys(players))
    if len(names) > 2:
        return "term of the losses of several networks"
    if names:
        return f"term of the loss of the {' and the '.join(names)}"
    return "measured on held-out data"


def _write_texts(axes: Axes, title: str, x_label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=9, parse_math=False)
    axes.set_xlabel(x_label, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def sort_into_panels(rows: Iterable[MetricsRow], with_sum: Collection[str] = ()) -> Panels:
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
