"""Make `emoji`, the two drawing styles inside the package, from two published npm packages.

Every emoji that both styles draw is taken, but for skin tones and for those that look the same as
another one in either style. 250 of them, chosen by a hash of their names, are kept in both
styles for testing; each of the others goes to training in one style only, so that no pair is ever
trained on. Unpack both packages, version 16.0.0, and run it with the folders that hold `img`::

    npm pack emoji-datasource-twitter@16.0.0 emoji-datasource-google@16.0.0
    python tools/make_emoji.py TWITTER GOOGLE [TARGET]

The same packages give the same pictures everywhere, and the same bytes with the same versions of
Pillow and zlib.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

SIDE = 32  # pixels
PAIRS = 250
COLOURS = 96  # of each picture; more would make the package larger than can be asked of everybody
LONGEST_NAME = 60
NO_PICTURE = re.compile(r"-(fe0f|200d)(?=-|$)")  # code points that only join or vary others

Drawing = tuple[str, Image.Image, Image.Image]  # name, and the picture in either style


def main(twitter: Path, google: Path, target: Path) -> None:
    """Read the unpacked packages and write ``emoji.zip`` into `target`."""
    drawings = sorted(different(twitter, google), key=lambda each: _hash(each[0]))
    members: dict[str, Image.Image] = {}
    for index, (name, first, second) in enumerate(drawings):
        if index < PAIRS:
            members |= {f"testA/{name}.png": first, f"testB/{name}.png": second}
        elif index % 2:
            members[f"trainB/{name}.png"] = second
        else:
            members[f"trainA/{name}.png"] = first
    with zipfile.ZipFile(target / "emoji.zip", "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(f"emoji/{name}")  # of 1980, whatever the time of day
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, as_png(members[name]))


def different(twitter: Path, google: Path) -> Iterator[Drawing]:
    """Yield the emoji of both packages whose pictures no earlier one has in either style."""
    seen: tuple[set[bytes], set[bytes]] = set(), set()
    for row in json.loads((google / "emoji.json").read_text("utf-8")):
        if row["category"] == "Component" or not (row["has_img_twitter"] and row["has_img_google"]):
            continue
        pictures = (
            drawn(twitter / "img" / "twitter" / "64" / row["image"]),
            drawn(google / "img" / "google" / "64" / row["image"]),
        )
        contents = [picture.tobytes() for picture in pictures]
        new = not any(content in known for content, known in zip(contents, seen, strict=True))
        for content, known in zip(contents, seen, strict=True):
            known.add(content)
        if new:
            yield name_of(row), *pictures


def name_of(row: dict[str, Any]) -> str:
    """Return a file name without suffix: ``1f600-grinning-face``."""
    code = NO_PICTURE.sub("", row["unified"].lower())
    words = re.sub(r"[^a-z0-9]+", "-", row["name"].lower()).strip("-")
    return f"{code}-{words}"[:LONGEST_NAME].rstrip("-")


def drawn(path: Path) -> Image.Image:
    """Return a picture on white, scaled without the colours under its transparent pixels."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA").convert("RGBa")
    small = picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS).convert("RGBA")
    paper = Image.new("RGBA", small.size, "white")
    return Image.alpha_composite(paper, small).convert("RGB")


def as_png(picture: Image.Image) -> bytes:
    """Return a picture of few colours as a small PNG."""
    file = io.BytesIO()
    few = picture.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(file, "PNG", optimize=True)
    return file.getvalue()


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


if __name__ == "__main__":
    here = Path(__file__).parents[1] / "zoo/data/embedded/emoji"
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else here)
