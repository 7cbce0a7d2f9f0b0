"""Pictures: of any format and size in files, bytes of one size in decoded data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from zoo import grids, pictures
from zoo.modalities.base import (
    AT_ONCE,
    THREADS,
    Array,
    Bad,
    Block,
    DecodeOptions,
    Decoding,
    Half,
    Indices,
    Modality,
    Side,
    Size,
    Stored,
    UnmeasuredError,
)
from zoo.pictures import (
    USUAL_WHITES,
    VALUES,
    BadPictureError,
    Pixels,
    ValueRange,
    choose_range,
    describe_cut,
    extremes,
    fit,
    peek,
    read_picture,
    to_eight_bits,
)
from zoo.ports import Port, is_pictorial

BLOCK = 1024  # pictures of an array handled together
LARGEST_KEPT = 256  # pixels; larger pictures are scaled down unless --size asks for more
USUAL: Size = (64, 64)
NEARLY_ALL = 0.95  # pictures of one size make it the size; a stray or damaged one changes nothing
MANY = 256  # pictures; fewer are all looked at before they are decoded
SAMPLED = 64  # pictures of a side that are looked at where there are many
WIDE_RANGE = (0.0, 65535.0)
# Height, width and mode; extremes where it has more than 8 bits; path and why it cannot be read.
Reading = tuple[tuple[int, int, str], ValueRange | None, Bad | None]


class Image(Modality):
    """Pictures: uint8 (N, H, W, C) in decoded data, (N, C, H, W) in [-1, 1] in a port."""

    kind = "image"
    hub_task = "unconditional-image-generation"
    items = "pictures"
    files = "pictures in one folder"
    suffix = ".png"
    options = frozenset({"size", "channels", "fit", "value_range"})

    def suffixes(self) -> frozenset[str]:
        """Return the endings of picture files that Pillow reads."""
        return pictures.suffixes()

    def survey(
        self, name: str, sides: Sequence[Side], options: DecodeOptions
    ) -> tuple[Port, tuple[str, ...]]:
        """Return a port of the size and the colours that was asked for, or that is usual.

        The size is the pictures' own if they are nearly all alike and small, or else 64x64. There
        is one channel if every picture is grey.
        """
        return _choose_port(name, _shapes(sides), options)

    def guess(self, name: str, sides: Sequence[Side], options: DecodeOptions) -> Port | None:
        """Return the port of some pictures, if these are all alike and there are many others."""
        listed = [side for side in sides if not isinstance(side.items, np.ndarray)]
        if len(listed) < len(sides) or sum(len(side.items) for side in listed) < MANY:
            return None
        few = [
            replace(side, items=side.items[:: max(1, len(side.items) // SAMPLED)], labels=None)
            for side in listed
        ]
        shapes = list(_shapes(few))
        if len(set(shapes)) != 1:
            return None
        return _choose_port(name, shapes, options)[0]

    def confirm(
        self, name: str, sides: Sequence[Side], options: DecodeOptions, seen: Decoding
    ) -> tuple[Port, tuple[str, ...]]:
        """Return the port of all pictures; only those that could not be read are looked at."""
        return _choose_port(name, _shapes(sides, seen), options)

    def stored(self, port: Port) -> Stored:
        """Return that pixels are bytes, the channels last."""
        shape = port.height, port.width, port.channels
        return Stored("uint8", shape, (0, 3, 1, 2), 127.5, 1.0)

    def blocks(
        self, side: Side, order: Indices, port: Port, split: str, seen: Decoding
    ) -> Iterator[Block]:
        """Decode pictures; one value range serves all that have more than 8 bits."""
        if isinstance(side.items, np.ndarray):
            yield from _from_array(side.items, order, port, split, seen)
            return
        paths, size = side.items, (port.height, port.width, port.channels)

        def work(index: int) -> tuple[Pixels, Size] | Bad:
            try:
                picture = decode_picture(paths[index], side.half, port.value_range)
            except BadPictureError as problem:
                return paths[index], problem.cause
            values = picture.info.get(VALUES)
            if values and side.half != "right":  # noted with the left half
                found.append(values)
            looks[index] = (picture.height, picture.width), picture.mode == "L"
            return fit(picture, *size, port.fit), (picture.height, picture.width)

        found: list[ValueRange] = []
        looks = seen.looks.setdefault(id(paths), {})
        for block in self.in_threads(work, order, seen):
            while found:
                _note_range(found.pop(), port, split, seen)
            yield block

    def like(self, port: Port, options: DecodeOptions) -> DecodeOptions:
        """Return the options with size, colours, fit and range; pictures of bytes have no range."""
        size = port.height, port.width
        return replace(
            options, size=size, channels=port.channels, fit=port.fit, value_range=port.value_range
        )

    def measured(self, port: Port, sides: Sequence[Side]) -> Port:
        """Return the port with the values that become black and white."""
        ranges = [values for side in sides for values in _ranges(side)]
        return replace(port, value_range=range_over(ranges))

    def decoded(self, port: Port, seen: Decoding) -> tuple[Port, tuple[str, ...]]:
        """Say what pictures lose; pictures of bytes have no range of values."""
        if any(seen.ranges.values()):
            port = _with_range(port, seen)
        elif not seen.deep:
            port = replace(port, value_range=None)
        sizes = {(height, width): count for (height, width), count in seen.sizes.items()}
        cut = describe_cut(sizes, port.height, port.width, port.fit)
        return port, (*cut, *_describe_range(port, seen.beyond))

    def to_numbers(self, rows: Array, port: Port) -> Array:
        """Return pixels as the port takes them: in its range, layout and dtype."""
        if port.dtype == "uint8":
            values = rows if port.layout == "NHWC" else rows.transpose(0, 3, 1, 2)
        else:
            low, high = port.range or (-1.0, 1.0)
            values = pictures.to_values(rows, low, high).astype(port.dtype, copy=False)
            values = values if port.layout == "NCHW" else values.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(values)

    def from_numbers(self, numbers: Array, port: Port) -> Array:
        """Return the numbers of a port, in its layout and of its range, as pixels."""
        if port.dtype == "uint8":
            return numbers if port.layout == "NHWC" else numbers.transpose(0, 2, 3, 1)
        values = numbers if port.layout == "NCHW" else numbers.transpose(0, 3, 1, 2)
        return pictures.to_pixels(values, *(port.range or (-1.0, 1.0)))

    def presents(self, port: Port) -> bool:
        """Whether the pictures are grey or RGB, and have a range."""
        return is_pictorial(port)

    def encode(self, rows: Array, port: Port) -> bytes:
        """Return a PNG, of several pictures in a grid."""
        del port
        content = BytesIO()
        pictures.write_png(content, rows[0] if len(rows) == 1 else grids.grid(rows))
        return content.getvalue()

    def cells(self, rows: Array, port: Port) -> Pixels | None:
        """Return the pictures."""
        del port
        return rows

    def preview_port(self, port: Port) -> Port:
        """Return a port of at most 256 pixels a side."""
        scale = min(1.0, LARGEST_KEPT / max(port.height, port.width))
        height, width = (max(1, round(scale * size)) for size in (port.height, port.width))
        return replace(port, shape=("batch", port.channels, height, width))

    def inspect(self, side: Side, port: Port, split: str, seen: Decoding) -> Iterator[Bad | None]:
        """Read pictures, and count sizes and modes as the files have them."""
        del port
        ranges = seen.ranges.setdefault(split, [])
        for (height, width, mode), values, bad in _read_all(side):
            if bad is None:
                seen.sizes[height, width // 2 if side.half else width] += 1
                ranges += [values] if values else []
            if bad is None and side.half != "right":  # counted with the left half
                seen.count("sizes", f"{height}x{width}")
                seen.count("modes", mode)
            yield bad

    def describe(self, port: Port) -> str:
        """Return size, colours, and what becomes black and white where that was chosen."""
        words = f"{port.height}x{port.width} {port.colours}, fit {port.fit}"
        if port.value_range is None:
            return words
        low, high = port.value_range
        return f"{words}; {low:,.6g} becomes black, {high:,.6g} white"


def decode_picture(path: Path, half: Half, value_range: ValueRange | None = None) -> Pillow.Image:
    """Read a picture, or the half of it that counts.

    Raises:
        BadPictureError: it cannot be read, or is too narrow to have halves.
    """
    picture = read_picture(path, value_range=value_range)
    if not half:
        return picture
    middle = picture.width // 2
    if not middle:
        raise BadPictureError(f"cannot read {path}", cause="one pixel wide, so it has no halves")
    start = 0 if half == "left" else picture.width - middle
    return picture.crop((start, 0, start + middle, picture.height))


def shape_of(path: Path, half: str) -> tuple[Size, bool]:
    """Return height and width of a picture, or of its half, and whether it is grey.

    Raises:
        BadPictureError: it cannot be read.
    """
    height, width, mode = peek(path)
    grey = mode in {"1", "L", "LA", "F"} or mode.startswith("I")
    if mode in {"P", "PA"}:
        grey = read_picture(path).mode == "L"
    return (height, width // 2 if half else width), grey


def range_over(ranges: Sequence[ValueRange]) -> ValueRange:
    """Return the range of values that holds the extremes of several pictures."""
    if not ranges:
        return WIDE_RANGE
    return choose_range(min(low for low, _ in ranges), max(high for _, high in ranges))


def _read_all(side: Side) -> Iterator[Reading]:
    """Yield what is seen of each picture of a side, all of which are read."""
    if isinstance(side.items, np.ndarray):
        _, height, width, channels = map(int, side.items.shape)
        deep = side.items.dtype != np.uint8
        for each in side.items:
            mode = "L" if channels == 1 else "RGB"
            yield (height, width, mode), extremes(each) if deep else None, None
        return

    def read(path: Path) -> Reading:
        try:
            values = decode_picture(path, side.half).info.get(VALUES)
            return peek(path), values, None
        except BadPictureError as problem:
            return (0, 0, ""), None, (path, problem.cause)

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(side.items), AT_ONCE):
            yield from pool.map(read, side.items[start : start + AT_ONCE])


def _with_range(port: Port, seen: Decoding) -> Port:
    """Return the port with the range of the pictures that were inspected."""
    low, high = port.value_range or range_over(seen.ranges.get("train", ()))
    for split, ranges in seen.ranges.items():
        seen.beyond[split] = sum(least < low or greatest > high for least, greatest in ranges)
    return replace(port, value_range=(low, high))


def _choose_port(
    name: str, shapes: Iterable[tuple[Size, bool]], options: DecodeOptions
) -> tuple[Port, tuple[str, ...]]:
    """Return a port of the size and the colours that was asked for, or that is usual."""
    size, channels, notes = options.size, options.channels, []
    if not (size and channels):
        sizes, grey = _survey(shapes, sized=size is not None)
        channels = channels or (1 if grey else 3)
        if not size:
            size, note = _choose_size(sizes)
            notes += [note] if note else []
    port = Port(
        name, Image.kind, ("batch", channels, *size), range=(-1.0, 1.0), fit=options.fit,
        value_range=options.value_range,
    )  # fmt: skip
    return port, tuple(notes)


def _survey(shapes: Iterable[tuple[Size, bool]], *, sized: bool) -> tuple[Counter[Size], bool]:
    """Return how often each size occurs and whether all is grey; stop when that cannot change."""
    sizes: Counter[Size] = Counter()
    all_grey = True
    for size, grey in shapes:
        sizes[size] += 1
        all_grey = all_grey and grey
        if sized and not all_grey:
            break
    return sizes, all_grey


def _shapes(sides: Sequence[Side], seen: Decoding | None = None) -> Iterator[tuple[Size, bool]]:
    """Yield size and greyness of the pictures; what was seen of them need not be read again."""
    for side in sides:
        if isinstance(side.items, np.ndarray):
            _, height, width, channels = side.items.shape
            yield (height, width), channels == 1
            continue
        looks = seen.looks.get(id(side.items), {}) if seen else {}
        for index, path in enumerate(side.items):
            try:
                size, grey = looks.get(index) or shape_of(path, side.half)
            except BadPictureError:  # reported when it is decoded
                continue
            yield size, grey


def _choose_size(sizes: Counter[Size]) -> tuple[Size, str]:
    if not sizes:  # not one could be read, which decoding will report
        return USUAL, ""
    usual, count = sizes.most_common(1)[0]
    if count >= NEARLY_ALL * sizes.total() and max(usual) <= LARGEST_KEPT:
        return usual, ""
    height, width = max(sizes)
    shown = f"{height}x{width}" + (" and other sizes" if len(sizes) > 1 else "")
    return USUAL, f"pictures of {shown} are decoded to 64x64 (--size asks for another)"


def _from_array(
    items: Array, order: Indices, port: Port, split: str, seen: Decoding
) -> Iterator[Block]:
    size = port.height, port.width, port.channels
    seen.sizes[items.shape[1], items.shape[2]] += len(order)
    for start in range(0, len(order), BLOCK):
        chosen = order[start : start + BLOCK]
        pixels = items[chosen]
        if pixels.dtype != np.uint8:
            for each in pixels:
                _note_range(extremes(each), port, split, seen)
            assert port.value_range is not None
            pixels = to_eight_bits(pixels, port.value_range)
        if pixels.shape[1:] != size:
            grey = pixels.shape[3] == 1
            images = (Pillow.fromarray(each[:, :, 0] if grey else each) for each in pixels)
            pixels = np.stack([fit(image, *size, port.fit) for image in images])
        yield chosen, pixels, []


def _note_range(values: ValueRange, port: Port, split: str, seen: Decoding) -> None:
    """Take note of a picture of more than 8 bits whose values have these extremes."""
    if port.value_range is None:
        raise UnmeasuredError(
            "there are pictures of more than 8 bits; their values are measured first"
        )
    seen.deep = True
    if values[0] < port.value_range[0] or values[1] > port.value_range[1]:
        seen.beyond[split] += 1


def _ranges(side: Side) -> Iterator[ValueRange]:
    """Yield the extremes of the pictures of a side that have more than 8 bits."""
    if isinstance(side.items, np.ndarray):
        if side.items.dtype != np.uint8:
            yield extremes(side.items)
        return

    def measure(path: Path) -> ValueRange | None:
        try:
            return read_picture(path).info.get(VALUES)
        except BadPictureError:  # reported when it is decoded
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(side.items), AT_ONCE):
            found = pool.map(measure, side.items[start : start + AT_ONCE])
            yield from (each for each in found if each is not None)


def _describe_range(port: Port, beyond: Counter[str]) -> tuple[str, ...]:
    """Say which values become black and white, where that is not the usual range of a type.

    `beyond` counts, by split, the pictures that have values beyond the range.
    """
    if port.value_range is None:
        return ()
    low, high = (f"{value:,.6g}" for value in port.value_range)
    found = []
    if port.value_range not in [(0.0, white) for white in USUAL_WHITES]:
        found.append(
            f"pictures of more than 8 bits: values from {low} to {high} become black to white"
        )
    for split, count in (+beyond).items():
        found.append(
            f"{count:,} {split} pictures have values beyond {low} to {high}; they are clipped"
        )
    return tuple(found)
