"""How the time of a training step grows: with images, their size, the batch, the width, the ranks.

One thing grows at a time; all its values take turns. The images are random, written as idx files
and decoded as any others. The steps are those of zoo's loop without what reports; for ranks, which
are processes, those of `zoo train --devices`, as its metrics.jsonl has them. `draw` makes a picture
of the figures.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Contender, Row, in_turns, note, own_place, parser, report
from benchmarks.training import block, job_of, own_loop, steps_within

PICTURE = Path(__file__).parents[1] / "docs" / "pictures" / "growth.png"
MANY, FEW = 60_000, 1000  # images of which the size, the batch or the width is changed: few
TURNS, SECONDS = 7, 1.0  # of one block of steps
QUICK_TURNS, QUICK_SECONDS = 2, 0.1
RANK_STEPS, QUICK_RANK_STEPS = 200, 60
SMALL = {"model": "dcgan", "size": "32", "batch_size": 64, "features": 32}
VALUES = {
    "images": (FEW, 4000, 16_000, MANY),
    "picture size": (32, 64, 128),
    "batch size": (16, 64, 256),
    "features": (16, 32, 64, 128),
    "ranks": (1, 2),
}
QUICK_VALUES = {name: values[:2] for name, values in VALUES.items()}


def write_images(folder: Path, count: int, side: int = 28) -> Path:
    """Write random grey pictures as an idx file; return the folder."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side), np.uint8)
    header = b"".join(each.to_bytes(4, "big") for each in (0x803, count, side, side))
    (folder / "train-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
    return folder


def options_of(axis: str, value: int) -> dict[str, Any]:
    """Return the options of the training in which one thing has a value."""
    changed: dict[str, Any] = {
        "images": {"model": "vae", "size": None, "features": None},
        "picture size": {"size": str(value), "batch_size": 16},
        "batch size": {"batch_size": value},
        "features": {"features": value},
    }[axis]
    return {key: each for key, each in (SMALL | changed).items() if each is not None}


def measure_axis(axis: str, values: tuple[int, ...], *, turns: int, seconds: float) -> list[Row]:
    """Return images/s and milliseconds a step for each value of what grows."""
    note(f"growth: {axis}")
    loops = {}
    for value in values:
        place = Path(f"{value if axis == 'images' else FEW}-images").absolute()
        if not place.exists():
            write_images(place, value if axis == "images" else FEW)
        job = job_of(**options_of(axis, value), data=str(place))
        loops[value] = own_loop(job, 10**6)
    blocks = {str(value): block(loop, steps_within(loop, seconds)) for value, loop in loops.items()}
    batches = {value: loop.batches.batch_size for value, loop in loops.items()}
    return rows_of(axis, blocks, batches, turns)


def measure_ranks(values: tuple[int, ...], *, turns: int, steps: int) -> list[Row]:
    """Return images/s and milliseconds a step of `zoo train` for each number of ranks."""
    note("growth: ranks")
    place = Path(f"{FEW}-images").absolute()
    if not place.exists():
        write_images(place, FEW)
    batch = SMALL["batch_size"]
    assert isinstance(batch, int)
    runs = {str(value): partial(train_on, value, str(place), batch, steps) for value in values}
    return rows_of("ranks", runs, dict.fromkeys(values, batch), turns)


def train_on(ranks: int, data: str, batch: int, steps: int) -> float:
    """Train on so many ranks; return the seconds of a step, the median of the rows of metrics."""
    name = f"ranks-{ranks}-{len(list(Path.cwd().glob('runs/*')))}"
    words = [
        "train", "dcgan", "--data", data, "--size", "32", "--batch-size", str(batch), "--set",
        "features=32", "--steps", str(steps), "--devices", str(ranks), "--name", name,
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "zoo", *words], check=True, capture_output=True)
    lines = Path("runs", name, "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    speeds = [row["images_per_second"] for row in rows if row["split"] == "train"]
    return batch / statistics.median(speeds[1:])  # the first has what is done once


def rows_of(
    axis: str, contenders: dict[str, Contender], batches: dict[int, int], turns: int
) -> list[Row]:
    """Let the contenders take turns; return a row for each."""
    taken = in_turns(contenders, turns)
    rows = []
    for value, batch in batches.items():
        seconds = statistics.median(taken[str(value)])
        rows.append(
            {axis: value, "batch": batch, "ms a step": 1000 * seconds, "images/s": batch / seconds}
        )
    return rows


def draw(figures: dict[str, Any], path: Path) -> None:
    """Draw images/s and milliseconds a step over what grows, one panel each, into a PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second that only a picture needs

    figure = Figure(figsize=(3.2 * len(figures), 3.4), layout="constrained")
    panels = figure.subplots(1, len(figures), squeeze=False)[0]
    for panel, (axis, rows) in zip(panels, figures.items(), strict=True):
        values = [row[axis] for row in rows]
        beside = panel.twinx()
        panel.plot(values, [row["images/s"] for row in rows], "o-", color="tab:blue")
        beside.plot(values, [row["ms a step"] for row in rows], "s--", color="tab:orange")
        panel.set(xscale="log", xlabel=axis)
        panel.set_xticks(values, [f"{value:,}" for value in values])
        panel.minorticks_off()
        for each in (panel, beside):
            each.set_ylim(0, 1.08 * each.get_ylim()[1])
        panel.set_ylabel("images/s", color="tab:blue")
        beside.set_ylabel("ms a step", color="tab:orange")
    figure.savefig(path, dpi=110)


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Return rows for each thing that grows."""
    turns, seconds = (QUICK_TURNS, QUICK_SECONDS) if quick else (TURNS, SECONDS)
    values = dict(QUICK_VALUES if quick else VALUES)
    ranks, steps = values.pop("ranks"), QUICK_RANK_STEPS if quick else RANK_STEPS
    with own_place():
        found = {
            axis: measure_axis(axis, each, turns=turns, seconds=seconds)
            for axis, each in values.items()
        }
        found["ranks"] = measure_ranks(ranks, turns=1 if quick else turns, steps=steps)
    return found


def main() -> None:
    """Measure, print, write and draw the figures; or draw those of a file."""
    options = parser(__doc__)
    options.add_argument("--draw", type=Path, metavar="JSON", help="only draw figures of a file")
    options.add_argument("--picture", type=Path, metavar="PNG", help=f"[{PICTURE.name} in docs]")
    asked = options.parse_args()
    if asked.draw:
        draw(json.loads(asked.draw.read_text())["figures"], asked.picture or PICTURE)
        return
    figures = measure(quick=asked.quick)
    written = report("growth", figures, quick=asked.quick)
    quick_picture = written.with_suffix(".png")
    draw(figures, asked.picture or (quick_picture if asked.quick else PICTURE))


if __name__ == "__main__":
    main()
