"""How long a folder of pictures takes to be decoded and opened again, beside Pillow alone.

Pillow alone opens each picture, converts it and makes an array of it; nothing is kept. The zoo
hashes every file, decides on a size, decodes, writes the rows and hashes them. Turns alternate in
one process, each with a cache of its own; a figure is the median of all turns, and a ratio the
median of the turns' own ratios. CPU seconds are those of the process and of its children.
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks.measuring import parser, report
from zoo.data.location import locate_data
from zoo.data.store import open_store
from zoo.data.survey import decode_options

IMAGES, JPEGS = 100_000, 2000
QUICK_IMAGES, QUICK_JPEGS = 2000, 50
SMALL, LARGE = 28, 256  # pixels a side
TURNS = 3
SETTLED = 2.5  # seconds after which the zoo trusts the times of files


class Seconds(NamedTuple):
    """What something took."""

    cpu: float
    wall: float


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def seconds(work: Callable[[], object]) -> Seconds:
    """Return what one call takes."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return Seconds(cpu_seconds() - cpu, time.perf_counter() - wall)


def draw_pictures(folder: Path, count: int, size: int, suffix: str) -> None:
    """Write pictures of soft shapes: grey as PNG, in colour as JPEG."""
    draws = np.random.default_rng(0)
    mode = "L" if suffix == ".png" else "RGB"
    cells = (7, 7) if mode == "L" else (32, 32, 3)
    for number in range(count):
        coarse = Image.fromarray(draws.integers(0, 256, cells, np.uint8))
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{number:06d}{suffix}")


def pillow_alone(paths: list[str], mode: str) -> None:
    """Decode pictures one after the other, to grey (``"L"``) or ``"RGB"``."""
    for path in paths:
        with Image.open(path) as picture:
            np.asarray(picture.convert(mode))


def compare(folder: Path, name: str) -> dict[str, float]:
    """Return the figures of a folder of pictures that are all of one size."""
    paths = sorted(
        str(path) for path in folder.rglob("*") if path.suffix.lower() in {".png", ".jpg", ".jpeg"}
    )
    turns: list[tuple[Seconds, Seconds, Seconds]] = []
    for _ in range(TURNS + 1):  # the first one reads the files into memory and is not counted
        with tempfile.TemporaryDirectory() as home:
            os.environ["ZOO_HOME"] = home
            location = locate_data(f"{folder}:folder")
            first = seconds(lambda place=location: open_store(place))
            again = seconds(lambda place=location: open_store(place))
            mode = "L" if decode_options(open_store(location).spec).channels == 1 else "RGB"
            alone = seconds(lambda mode=mode: pillow_alone(paths, mode))
            turns.append((alone, first, again))
    columns = {"pillow": 0, "first": 1, "again": 2}
    figures = {f"{name}_count": float(len(paths))}
    for what, column in columns.items():
        for unit in Seconds._fields:
            values = [getattr(turn[column], unit) for turn in turns[1:]]
            figures[f"{name}_{what}_{unit}_seconds"] = statistics.median(values)
    for unit in Seconds._fields:
        ratios = [getattr(turn[1], unit) / getattr(turn[0], unit) for turn in turns[1:]]
        figures[f"{name}_{unit}_ratio"] = statistics.median(ratios)
    return figures


def measure(images: int, jpegs: int, folder: Path | None = None) -> dict[str, float]:
    """Return all figures, by name; seconds, ratios to Pillow alone, and numbers of pictures.

    Args:
        images: how many PNGs of 28 pixels.
        jpegs: how many JPEGs of 256 pixels are made where `folder` is not given.
        folder: with JPEGs of 256 pixels.
    """
    kept = os.environ.get("ZOO_HOME")
    try:
        with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as large:
            draw_pictures(Path(small), images, SMALL, ".png")
            if folder is None:
                draw_pictures(Path(large), jpegs, LARGE, ".jpg")
            time.sleep(SETTLED)
            return {**compare(Path(small), "png"), **compare(folder or Path(large), "jpeg")}
    finally:
        os.environ.pop("ZOO_HOME", None)
        if kept is not None:
            os.environ["ZOO_HOME"] = kept


def main() -> None:
    """Measure, print and write the figures."""
    options = parser(__doc__)
    options.add_argument("--jpegs", type=Path, help="a folder of JPEGs of 256 pixels; else made")
    asked = options.parse_args()
    images, jpegs = (QUICK_IMAGES, QUICK_JPEGS) if asked.quick else (IMAGES, JPEGS)
    found = measure(images, jpegs, asked.jpegs)
    rows = [{"figure": name, "value": value} for name, value in found.items()]
    report("data", {"decoding": rows}, quick=asked.quick)


if __name__ == "__main__":
    main()
