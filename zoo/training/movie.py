"""A training as an animation: the previews on fixed inputs that its run folder holds.

Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.animations import write_webp
from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.grids import add_caption
from zoo.loops import shown_rounds
from zoo.modalities import can_sample
from zoo.pictures import BadPictureError, Pixels, read_picture
from zoo.training.run import Run

PREVIEW = re.compile(r"step-(\d{7,12})-(.+)\.png")
NARROWEST = 160  # pixels that the text on a frame needs
MOST_PIXELS = 2**26  # of all frames together, a quarter of a gigabyte of memory
LAST_FRAME = 4  # times as long as the others

Previews = Mapping[int, Path]  # by step


def find_previews(run: Run) -> dict[str, Previews]:
    """Return the previews of a run by the name of the graph, each in the order of steps."""
    found: dict[str, dict[int, Path]] = {}
    for path in sorted((run.path / "samples").glob("step-*.png")):
        if (match := PREVIEW.fullmatch(path.name)) and path.is_file():
            found.setdefault(match[2], {})[int(match[1])] = path
    return {graph: dict(sorted(found[graph].items())) for graph in sorted(found)}


def choose_graph(run: Run, previews: Mapping[str, Previews], asked: str | None) -> str:
    """Return the graph that is asked for, else the first that draws samples, else the first.

    Raises:
        UsageError: there are no previews of the graph.
        NotFoundError: the run has no previews.
    """
    if not previews:
        raise NotFoundError(
            f"run {run.name!r} has no previews in {run.path / 'samples'}",
            hint=f"zoo runs show {run.name}",
            code="no-pictures",
        )
    if asked is not None and asked not in previews:
        raise UsageError(
            f"run {run.name!r} has no previews of {asked[:60]!r}.{did_you_mean(asked, previews)}",
            hint=f"--graph {' or '.join(previews)}",
            code="which-graph",
        )
    graphs = run.identity.graphs if run.identity else {}
    there = [name for name in graphs if name in previews]
    samplers = [name for name in there if can_sample(graphs[name])]
    return asked or [*samplers, *there, *previews][0]


def save_movie(
    run: Run,
    graph: str,
    previews: Previews,
    path: Path,
    *,
    seconds: float,
    log: Callable[[str], None],
) -> list[int]:
    """Write previews as an animation; return the steps that its frames show.

    Each frame is shown for so many seconds, the last one four times as long. Where there are more
    previews than fit into memory, some are left out, evenly. `log` is told that, and which
    pictures cannot be read.

    Raises:
        NotFoundError: fewer than two previews can be read.
        UsageError: a preview is larger than WebP allows.
    """
    sizes = {}
    for step, file in previews.items():
        try:
            sizes[step] = read_picture(file).size
        except BadPictureError as problem:
            log(f"{problem.message}: {problem.cause}; it is left out")
    if len(sizes) < 2:
        raise NotFoundError(
            f"run {run.name!r} has {len(sizes)} previews of {graph} that can be read; "
            "an animation takes two",
            cause="previews are drawn before the first step and at every tenth of a training",
            hint=f"zoo train --resume {run.name}, where it has not ended",
            code="no-pictures",
        )
    width = max(NARROWEST, *(each[0] for each in sizes.values()))
    height = max(each[1] for each in sizes.values())
    most = max(2, MOST_PIXELS // (width * height))
    steps = [[*sizes][number - 1] for number in shown_rounds(len(sizes), most=most)]
    if len(steps) < len(sizes):
        log(f"{len(steps)} of {len(sizes)} previews are shown: all would take too much memory")
    milliseconds = round(seconds * 1000)
    frames = (_frame(previews[step], width, height, step) for step in steps)
    write_webp(path, frames, milliseconds, milliseconds * LAST_FRAME)
    return steps


def _frame(file: Path, width: int, height: int, step: int) -> Pixels:
    """Return a preview in the upper left of a white page, with its step above it."""
    page = Image.new("RGB", (width, height), "white")
    page.paste(read_picture(file))
    return add_caption(np.asarray(page), f"step {step:,}")
