"""What the rows of a grid of pictures are called, drawn in a margin on their left."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, features

LOWEST_ROW = 14  # pixels; lower rows have no room for a line of text
SMALLEST_TEXT, LARGEST_TEXT = 12, 28  # pixels from one line to the next
WIDEST = 11  # times the size of the text; longer labels are cut, after some twenty letters
MOST_READ = 100  # letters of a label, which may come from a file of a stranger
MISSING = "\uffff"  # no letter of any script; the font draws a box for it
ELLIPSIS = "…"


def legible(text: str, otherwise: str) -> str:
    """Return a text as Pillow's own font can draw it, or `otherwise` where it cannot.

    The font has the letters of English and no others: ``é`` becomes ``e``, and ``猫`` cannot be
    drawn.

    Args:
        text: a name that somebody gave.
        otherwise: letters and digits of English.
    """
    plain = " ".join(text[:MOST_READ].split())
    if not all(map(_is_in_font, plain)):
        letters = unicodedata.normalize("NFKD", plain)
        plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return plain if plain and all(map(_is_in_font, plain)) else otherwise


def draw_margin(
    labels: Sequence[str], tops: Sequence[int], row: int, page: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return a white margin with a black label beside each row, right-aligned; uint8 (H, W).

    It has no width where Pillow was built without FreeType, and so without a font of any size.

    Args:
        labels: one a row, all of them `legible`.
        tops: where the rows begin, in pixels.
        row: height of a row in pixels, at least `LOWEST_ROW`.
        page: height and width of the grid that it stands beside.
    """
    height, width = page
    if not features.check("freetype2"):
        return np.empty((height, 0), np.uint8)
    size = min(max(SMALLEST_TEXT, width // 36), LARGEST_TEXT, row * SMALLEST_TEXT // LOWEST_ROW)
    font = ImageFont.load_default(size)
    shown = [_cut(label, font, WIDEST * size) for label in labels]
    margin = Image.new("L", (round(max(map(font.getlength, shown))) + size, height), "white")
    pen = ImageDraw.Draw(margin)
    for text, top in zip(shown, tops, strict=True):
        pen.text((margin.width - size // 2, top + row / 2), text, "black", font, anchor="rm")
    return np.asarray(margin)


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return a text that is no wider than `width` pixels, with an ellipsis where it is cut."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + ELLIPSIS) > width:
        text = text[:-1]
    return text.rstrip() + ELLIPSIS


@functools.cache
def _is_in_font(letter: str) -> bool:
    if not (letter.isprintable() and features.check("freetype2")):
        return False
    font = ImageFont.load_default(SMALLEST_TEXT)
    return bytes(font.getmask(letter)) != bytes(font.getmask(MISSING))
