"""Writes the tiny data sets that new plugins begin with: ``python tools/make_scaffold_data.py``.

Everything is drawn or computed here, with one seed, and is in the public domain.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, ImageDraw

DATA = Path(__file__).parents[1] / "zoo" / "scaffold" / "templates" / "data"
RATE, SAMPLES = 4000, 1024  # of a tone
SIDE = 32  # pixels of a picture
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve")  # fmt: skip
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same bytes each time


def pair(random: np.random.Generator) -> bytes:
    """Return a PNG of an outline, and beside it the same shape in its colour."""
    both = Image.new("RGB", (2 * SIDE, SIDE), "white")
    pen = ImageDraw.Draw(both)
    corners = int(random.integers(3, 7))
    size, turn = random.uniform(8, 13), random.uniform(0, math.tau)
    middle = random.uniform(14, 18, 2)
    colour = [(220, 60, 50), (60, 140, 220), (70, 170, 80), (240, 180, 40)][corners - 3]
    angles = turn + math.tau * np.arange(corners) / corners
    shape = [tuple(middle + size * np.array([math.cos(a), math.sin(a)])) for a in angles]
    pen.polygon(shape, outline="black")
    pen.polygon([(x + SIDE, y) for x, y in shape], fill=colour, outline="black")
    content = io.BytesIO()
    both.save(content, "png")
    return content.getvalue()


def tone(random: np.random.Generator) -> bytes:
    """Return a FLAC of a plucked string: overtones that fade, the high ones first."""
    seconds = np.arange(SAMPLES) / RATE
    pitch = random.choice([220, 262, 330, 392, 440]) * random.uniform(0.98, 1.02)
    parts = [
        np.sin(math.tau * pitch * part * seconds) * np.exp(-seconds * 12 * part) / part
        for part in range(1, 4)
    ]
    samples = 0.5 * random.uniform(0.6, 1) * np.sum(parts, axis=0)
    content = io.BytesIO()
    soundfile.write(content, samples, RATE, format="FLAC", subtype="PCM_16")
    return content.getvalue()


def sums(random: np.random.Generator) -> str:
    """Return a text of sums in words, one a line."""
    pairs = [(int(a), int(b)) for a, b in random.integers(0, 7, (400, 2))]
    return "".join(f"{WORDS[a]} and {WORDS[b]} are {WORDS[a + b]}.\n" for a, b in pairs)


def cylinders(random: np.random.Generator) -> str:
    """Return a table of cylinders in decimetres, whose columns follow from two of them."""
    lines = ["radius,height,surface,volume"]
    for radius, height in random.uniform(0.3, 1.2, (300, 2)):
        surface = math.tau * radius * (radius + height)
        lines.append(f"{radius:.3f},{height:.3f},{surface:.3f},{math.pi * radius**2 * height:.3f}")
    return "\n".join(lines) + "\n"


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    """Write files of any time into an archive that is always the same."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), content)


if __name__ == "__main__":
    random = np.random.default_rng(0)
    DATA.mkdir(exist_ok=True)
    splits = [("train", 40), ("test", 8)]
    names = [f"{split}/{number:02}" for split, count in splits for number in range(count)]
    write_zip(DATA / "shapes.zip", {f"{name}.png": pair(random) for name in names})
    write_zip(DATA / "tones.zip", {f"{name}.flac": tone(random) for name in names})
    (DATA / "sums.txt").write_text(sums(random), encoding="utf-8")
    (DATA / "cylinders.csv").write_text(cylinders(random), encoding="utf-8")
