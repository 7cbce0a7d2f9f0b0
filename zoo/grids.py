"""Pictures in rows on one page, with a label beside each row."""

from __future__ import annotations

import functools
import math
import unicodedata
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from zoo.pictures import Pixels

LOWEST_ROW = 14  # pixels; lower rows have no room for a line of text
SMALLEST_TEXT, LARGEST_TEXT = 12, 28  # pixels from one line to the next
WIDEST = 11  # times the size of the text; longer labels are cut, after some twenty letters
MOST_READ = 100  # letters of a label, which may come from a file of a stranger
MISSING = "\uffff"  # no letter of any script; the font draws a box for it
ELLIPSIS = "…"

GAP = 2  # pixels between the pictures
COMFORTABLE = 512  # pixels across that a page should have to be looked at
LARGEST_ENLARGED = 2048  # pixels of height beyond which a page is not enlarged


def grid(pixels: Pixels, columns: int | None = None, labels: Sequence[str] = ()) -> Pixels:
    """Lay pictures (N, H, W, C) out in rows with white gaps, as one picture (H', W', C).

    Small ones are enlarged by a whole factor. Without a number of columns there are about as many
    as rows. Labels are `legible`, one a row, and are written on its left.
    """
    count, height, width, channels = pixels.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    factor = max(1, min(-(-COMFORTABLE // (columns * width)), LARGEST_ENLARGED // (rows * height)))
    if labels:
        factor = max(factor, -(-LOWEST_ROW // height))
    enlarged = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = height * factor + GAP, width * factor + GAP
    page = np.full((rows * height + GAP, columns * width + GAP, channels), 255, np.uint8)
    for index, picture in enumerate(enlarged):
        top, left = GAP + index // columns * height, GAP + index % columns * width
        page[top : top + height - GAP, left : left + width - GAP] = picture
    if not labels:
        return page
    tops = range(GAP, rows * height, height)
    margin = draw_margin(labels, tops, height - GAP, (page.shape[0], page.shape[1]))
    return np.hstack([margin[:, :, None].repeat(channels, axis=2), page])


def interleave(*sets: Pixels, columns: int) -> Pixels:
    """Order sets of pictures so that ``grid(…, columns)`` shows a row of each set in turn.

    The sets are (N, H, W, C), equal but for C: grey becomes RGB beside RGB. The last rows of the
    result are filled up with white.
    """
    channels = max(each.shape[-1] for each in sets)
    count = math.ceil(len(sets[0]) / columns) * columns
    filled = np.full((len(sets), count, *sets[0].shape[1:3], channels), 255, np.uint8)
    for place, each in enumerate(sets):
        filled[place, : len(each)] = each
    lines = filled.reshape(len(sets), -1, columns, *filled.shape[2:])
    return lines.swapaxes(0, 1).reshape(-1, *filled.shape[2:])


def legible(text: str, otherwise: str) -> str:
    """Return a name as Pillow's own font can draw it, or `otherwise` where it cannot.

    The font has the letters of English and no others: ``é`` becomes ``e``; ``猫`` has none.
    """
    plain = " ".join(text[:MOST_READ].split())
    if not all(map(_is_in_font, plain)):
        parts = unicodedata.normalize("NFKD", plain)
        plain = "".join(part for part in parts if not unicodedata.combining(part))
    return plain if plain and all(map(_is_in_font, plain)) else otherwise


def draw_margin(
    labels: Sequence[str], tops: Sequence[int], row: int, page: tuple[int, int]
) -> Pixels:
    """Return a white margin with a black label beside each row, right-aligned; uint8 (H, W).

    It has no width where Pillow was built without FreeType, and so without a font of any size.
    All is in pixels: where the rows begin, their height (at least `LOWEST_ROW`), and height and
    width of the grid that it stands beside.
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


def add_caption(page: Pixels, text: str) -> Pixels:
    """Return a page (H, W, C) with a line of black text on white above it, left-aligned.

    Nothing is added where Pillow was built without FreeType. The text is `legible`.
    """
    if not features.check("freetype2"):
        return page
    width, channels = page.shape[1:]
    size = min(max(SMALLEST_TEXT, width // 36), LARGEST_TEXT)
    font = ImageFont.load_default(size)
    strip = Image.new("L", (width, size * 3 // 2), "white")
    pen = ImageDraw.Draw(strip)
    pen.text((size // 2, strip.height / 2), _cut(text, font, width - size), "black", font, "lm")
    return np.vstack([np.asarray(strip)[:, :, None].repeat(channels, axis=2), page])


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
