"""Text: windows of a fixed length, each symbol as its number in the alphabet of the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from zoo.errors import NotFoundError, UsageError
from zoo.grids import legible
from zoo.modalities.base import Array, DecodeOptions, Modality, Side, Stored
from zoo.pictures import Pixels
from zoo.ports import Port

MOST_SYMBOLS = 4096  # of an alphabet; of more, the rarest become `UNKNOWN`
UNKNOWN = "\ufffd"  # what stands for a symbol that the alphabet does not have
PADDING = "\0"  # fills up a text that is shorter than the window
BETWEEN = "\n" + 72 * "-" + "\n"  # two texts of one file
WIDTH = 80  # letters of a line of a page
MOST_LINES = 200
LINE = 16  # pixels


class Text(Modality):
    """Symbol numbers (N, length) int64; their meaning is `Port.classes`."""

    kind = "text"
    hub_task = "text-generation"
    items = "texts"
    files = "files of plain text, or a column of metadata.csv"
    suffix = ".txt"
    samples = 1
    printed = True
    comparable = False
    options = frozenset({"length", "alphabet"})
    layout = "text"

    def suffixes(self) -> frozenset[str]:
        """Return the endings of files of plain text."""
        return frozenset({".txt", ".text", ".md"})

    def survey(
        self, name: str, sides: Sequence[Side], options: DecodeOptions
    ) -> tuple[Port, tuple[str, ...]]:
        """Return an error: the alphabet is known where the text is read."""
        del sides, options
        raise NotFoundError(f"{name} is not laid out as text")

    def stored(self, port: Port) -> Stored:
        """Return that symbols are bytes, or more where the alphabet is larger."""
        length = port.shape[1:]
        dtype = "uint8" if len(port.classes) <= 256 else "int32"
        return Stored(dtype, tuple(size for size in length if isinstance(size, int)))

    def like(self, port: Port, options: DecodeOptions) -> DecodeOptions:
        """Return the options with the length of the windows, and the alphabet."""
        return replace(options, length=int(port.shape[-1]), alphabet=port.classes)

    def encode(self, rows: Array, port: Port) -> bytes:
        """Return the texts in UTF-8, a line of hyphens between two."""
        texts = [as_text(row, port.classes) for row in rows]
        return BETWEEN.join(texts).encode("utf-8", "replace")

    def to_text(self, row: Array, port: Port) -> str:
        """Return the text, without symbols that would move a cursor."""
        text = as_text(row, port.classes)
        return "".join(each if each.isprintable() or each in "\n\t" else "?" for each in text)

    def page(
        self, rows: Array, port: Port, columns: int | None = None, labels: Sequence[str] = ()
    ) -> Pixels | None:
        """Return the texts as one would print them, a thin line between two."""
        del columns, labels
        lines: list[str | None] = []
        for row in rows:
            lines += [None] if lines else []
            for line in as_text(row, port.classes).splitlines() or [""]:
                lines += [line[start : start + WIDTH] for start in range(0, len(line) or 1, WIDTH)]
        return _draw(lines[:MOST_LINES])

    def join(self, rounds: Sequence[Array], port: Port) -> Array:
        """Return the symbols of all rounds one after the other: (N, rounds)."""
        del port
        return np.concatenate([each.reshape(len(each), -1) for each in rounds], axis=1)

    def read_text(self, text: str, port: Port) -> Array:
        """Return the symbols of a text: (1, length)."""
        unknown = sorted(set(text) - set(port.classes))
        if unknown and UNKNOWN not in port.classes:
            shown = ", ".join(map(repr, unknown[:5]))
            raise UsageError(
                f"{port.name}: the alphabet does not have {shown}",
                cause=f"its {len(port.classes)} symbols are those of the training text",
                code="unknown-symbol",
            )
        return encode(text, port.classes)[None].astype(port.dtype)

    def describe(self, port: Port) -> str:
        """Return length and alphabet."""
        return f"windows of {port.shape[-1]} symbols, alphabet of {len(port.classes):,}"


def alphabet_of(text: str) -> tuple[str, ...]:
    """Return the symbols of a text in order; of a large alphabet the most frequent ones."""
    counts = Counter(text)
    if len(counts) <= MOST_SYMBOLS:
        return tuple(sorted(counts))
    usual = [symbol for symbol, _ in counts.most_common(MOST_SYMBOLS - 1)]
    return tuple(sorted({*usual, UNKNOWN}))


def encode(text: str, alphabet: Sequence[str]) -> Array:
    """Return the number of each symbol (length,), int32; those of other alphabets are unknown."""
    numbers = {symbol: number for number, symbol in enumerate(alphabet)}
    other = numbers.get(UNKNOWN, 0)
    return np.fromiter((numbers.get(symbol, other) for symbol in text), np.int32, len(text))


def as_text(row: Array, alphabet: Sequence[str]) -> str:
    """Return the text of a row of symbol numbers, without what fills up a window."""
    numbers = np.asarray(row).reshape(-1).tolist()
    symbols = (alphabet[int(each)] if 0 <= each < len(alphabet) else UNKNOWN for each in numbers)
    return "".join(symbols).rstrip(PADDING)


def windows(text: str, alphabet: Sequence[str], length: int) -> Array:
    """Return a text in windows one after the other (N, length); what is left at its end is cut."""
    numbers = encode(text, alphabet)
    count = len(numbers) // length
    dtype = np.uint8 if len(alphabet) <= 256 else np.int32
    return numbers[: count * length].reshape(count, length).astype(dtype)


def padded(texts: Sequence[str], alphabet: Sequence[str], length: int) -> Array:
    """Return texts of any length as windows (N, length), cut or filled up with `PADDING`."""
    dtype = np.uint8 if len(alphabet) <= 256 else np.int32
    filled = [text[:length].ljust(length, PADDING) for text in texts]
    return np.stack([encode(each, alphabet) for each in filled]).astype(dtype)


def port_of(name: str, length: int, alphabet: Sequence[str]) -> Port:
    """Return a port for windows of a text."""
    last = float(len(alphabet) - 1)
    return Port(name, Text.kind, ("batch", length), "int64", (0.0, last), classes=tuple(alphabet))


def _draw(lines: Sequence[str | None]) -> Pixels:
    font = ImageFont.load_default(LINE - 4)
    shown = [None if each is None else _legible(each) for each in lines]
    widest = max((font.getlength(each) for each in shown if each), default=1)
    page = Pillow.new("L", (round(widest) + 2 * LINE, LINE * (len(shown) + 1)), "white")
    pen = ImageDraw.Draw(page)
    for number, line in enumerate(shown):
        top = LINE // 2 + number * LINE
        if line is None:
            pen.line((0, top + LINE // 2, page.width, top + LINE // 2), fill=200)
        else:
            pen.text((LINE, top), line, "black", font)
    return np.asarray(page)[:, :, None]


def _legible(line: str) -> str:
    """Return a line as the font can draw it, spaces kept."""
    return "".join(symbol if symbol == " " else legible(symbol, "?") for symbol in line)
