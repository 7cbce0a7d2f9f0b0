"""Make `openmoji`, the line and colour drawings of zoo-translation, from a published npm package.

Every emoji whose line drawing no earlier one has is taken, but for skin tones and for those whose
colours hardly differ from the lines. An eighth of them is for testing: emoji that differ in gender
or direction only go the same way. Unpack the package and run it with the folder that holds `color`;
the drawings need resvg-py 0.5, which is not among zoo's own requirements::

    npm pack openmoji@17.0.0
    python tools/make_openmoji.py PACKAGE [TARGET]

The same package gives the same bytes with the same versions of resvg-py, Pillow and zlib.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

SIDE = 64  # pixels
GREYS, COLOURS = 16, 32  # of a line and of a colour drawing
LEAST = 0.01  # mean |difference| on [0, 1] that makes a pair
TEST_SHARE = 8  # one of so many
LONGEST_NAME = 60
# code points that join others or vary them: man, woman, person, their signs, direction
VARIANTS = {"200D", "FE0F", "1F468", "1F469", "1F9D1", "2640", "2642", "27A1"}

Pair = tuple[str, str, Image.Image, Image.Image]  # name, family, line drawing, colour drawing


def main(package: Path, target: Path) -> None:
    """Read the unpacked package and write ``openmoji.zip`` into `target`."""
    members: dict[str, Image.Image] = {}
    pairs = list(different(package))
    families = sorted({family for _, family, *_ in pairs}, key=_hash)
    tested = set(families[::TEST_SHARE])
    for name, family, line, colour in pairs:
        split = "test" if family in tested else "train"
        members |= {f"{split}/input/{name}.png": line, f"{split}/target/{name}.png": colour}
    with zipfile.ZipFile(target / "openmoji.zip", "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(f"openmoji/{name}")  # of 1980, whatever the time of day
            info.create_system, info.external_attr = 3, 0o644 << 16
            colours = GREYS if "/input/" in name else COLOURS
            archive.writestr(info, as_png(members[name], colours))


def different(package: Path) -> Iterator[Pair]:
    """Yield the emoji whose colour tells something, and whose line drawing no earlier one has."""
    seen: set[bytes] = set()
    with (package / "data" / "openmoji.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["skintone"]:
                continue
            code = row["hexcode"]
            line, colour = (
                drawn(package / style / "svg" / f"{code}.svg") for style in ("black", "color")
            )
            apart = np.abs(np.asarray(line, np.float32) - np.asarray(colour, np.float32)).mean()
            written = as_png(line, GREYS)
            if apart / 255 >= LEAST and written not in seen:
                yield name_of(row), family_of(code), line, colour
            seen.add(written)


def name_of(row: dict[str, str]) -> str:
    """Return a file name without suffix: ``1f600-grinning-face``."""
    words = re.sub(r"[^a-z0-9]+", "-", row["annotation"].lower()).strip("-")
    return f"{row['hexcode'].lower()}-{words}"[:LONGEST_NAME].rstrip("-")


def family_of(code: str) -> str:
    """Return what an emoji has in common with those of other genders and directions."""
    points = code.split("-")
    return "-".join(point for point in points if point not in VARIANTS) or code


def drawn(path: Path) -> Image.Image:
    """Return a drawing on white, drawn four times as large and scaled down."""
    content = resvg_py.svg_to_bytes(
        svg_path=str(path), width=4 * SIDE, height=4 * SIDE, background="white"
    )
    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("RGB")
    return picture.resize((SIDE, SIDE), Image.Resampling.BOX)


def as_png(picture: Image.Image, colours: int) -> bytes:
    """Return a picture of few colours as a small PNG."""
    file = io.BytesIO()
    few = picture.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(file, "PNG", optimize=True)
    return file.getvalue()


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


if __name__ == "__main__":
    here = Path(__file__).parents[1] / "plugins/zoo-translation/zoo_translation/openmoji"
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else here)
