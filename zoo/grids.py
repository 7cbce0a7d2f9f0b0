"""Pictures in rows on one page, with labels beside rows and captions below pictures."""

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
NARROWEST_CAPTION = 48  # pixels; a number fits into it
LARGEST_CAPTION = 20  # pixels from one line to the next
LABEL_OVER_CAPTION = 6  # pixels that a label may be larger than the captions on its page
MOST_READ = 100  # letters of a label, which may come from a file of a stranger
MISSING = "\uffff"  # no letter of any script; the font draws a box for it
ELLIPSIS = "…"

GAP = 2  # pixels between the pictures
COMFORTABLE = 512  # pixels across that a page should have to be looked at
LARGEST_ENLARGED = 2048  # pixels of height beyond which a page is not enlarged


def grid(
    pixels: Pixels,
    columns: int | None = None,
    labels: Sequence[str] = (),
    captions: Sequence[str] = (),
    *,
    across: int = COMFORTABLE,
) -> Pixels:
    """Lay pictures (N, H, W, C) out in rows with white gaps, as one picture (H', W', C).

    Small ones are enlarged by a whole factor. Without a number of columns there are about as many
    as rows. Labels are `legible`, one a row, and are written on its left. Captions are `legible` or
    empty, one a picture, and are written below it; a row without any has no room for them. The page
    becomes at least `across` pixels wide, unless it would be very high.
    """
    count, height, width, channels = pixels.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    factor = max(1, min(-(-across // (columns * width)), LARGEST_ENLARGED // (rows * height)))
    if labels:
        factor = max(factor, -(-LOWEST_ROW // height))
    if captions:
        factor = max(factor, -(-NARROWEST_CAPTION // width))
    enlarged = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = height * factor, width * factor
    text = min(max(SMALLEST_TEXT, width // 10), LARGEST_CAPTION)
    tops = [GAP]
    for row in range(rows):
        line = text * 3 // 2 if any(captions[row * columns :][:columns]) else 0
        tops.append(tops[-1] + height + line + GAP)
    page = np.full((tops[-1], columns * (width + GAP) + GAP, channels), 255, np.uint8)
    for index, picture in enumerate(enlarged):
        top, left = tops[index // columns], GAP + index % columns * (width + GAP)
        page[top : top + height, left : left + width] = picture
        if index < len(captions) and captions[index]:
            drawn = _draw_caption(captions[index], text, width)[:, :, None]
            page[top + height : top + height + len(drawn), left : left + width] = drawn
    if not labels:
        return page
    largest = text + LABEL_OVER_CAPTION if captions else LARGEST_TEXT
    margin = draw_margin(labels, tops[:-1], height, (page.shape[0], page.shape[1]), largest)
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
    labels: Sequence[str],
    tops: Sequence[int],
    row: int,
    page: tuple[int, int],
    largest: int = LARGEST_TEXT,
) -> Pixels:
    """Return a white margin with a black label beside each row, right-aligned; uint8 (H, W).

    It has no width where Pillow was built without FreeType, and so without a font of any size.
    All is in pixels: where the rows begin, their height (at least `LOWEST_ROW`), height and width
    of the grid that it stands beside, and the greatest distance of two lines of text.
    """
    height, width = page
    if not features.check("freetype2"):
        return np.empty((height, 0), np.uint8)
    size = min(max(SMALLEST_TEXT, width // 36), largest, row * SMALLEST_TEXT // LOWEST_ROW)
    font = ImageFont.load_default(size)
    shown = [_cut(label, font, WIDEST * size) for label in labels]
    margin = Image.new("L", (round(max(map(font.getlength, shown))) + size, height), "white")
    pen = ImageDraw.Draw(margin)
    for text, top in zip(shown, tops, strict=True):
        pen.text((margin.width - size // 2, top + row / 2), text, "black", font, anchor="rm")
    return np.asarray(margin)


def _draw_caption(caption: str, size: int, width: int) -> Pixels:
    """Return a line of text in the middle of `width` pixels, black on white; uint8 (H, W).

    It is white where Pillow was built without FreeType.
    """
    line = Image.new("L", (width, size * 3 // 2), "white")
    if features.check("freetype2"):
        font = ImageFont.load_default(size)
        middle = width / 2, line.height / 2
        shown = _cut(caption, font, width)
        ImageDraw.Draw(line).text(middle, shown, "black", font, anchor="mm")
    return np.asarray(line)


def add_caption(page: Pixels, text: str) -> Pixels:
    """Return a page (H, W, C) with a line of black text on white above it.

    Nothing is added where Pillow was built without FreeType. The text is `legible`.
    """
    if not features.check("freetype2"):
        return page
    width, channels = page.shape[1:]
    size = min(max(SMALLEST_TEXT, width // 36), LARGEST_TEXT)
    line = _draw_caption(text, size, width)
    return np.vstack([line[:, :, None].repeat(channels, axis=2), page])


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
