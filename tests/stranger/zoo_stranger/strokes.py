"""Drawings of a pen, from files that end in ``.strokes``: a kind of data of a plugin's own.

A file holds the points of a drawing, a line each: ``x y``, whole numbers from 0 to 255, where y
is the distance from the top. An empty line lifts the pen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from zoo import DecodeOptions, Modality, NotFoundError, Port, Side, Stored

Array = NDArray[Any]
WIDTH = 64  # pixels of a picture of a drawing


class Strokes(Modality):
    """Points (x, y, pen): uint8 (N, length, 3) in decoded data, (N, 3, length) in [-1, 1].

    The pen is up, -1, where no line leads to the point.
    """

    kind = "strokes"
    items = "drawings"
    files = "drawings in files .strokes"
    options = frozenset({"length"})

    def suffixes(self) -> frozenset[str]:
        return frozenset({".strokes"})

    def survey(
        self, name: str, sides: Sequence[Side], options: DecodeOptions
    ) -> tuple[Port, tuple[str, ...]]:
        """Return a port as long as the longest drawing, unless ``--length`` says otherwise."""
        longest = 1
        for path in (path for side in sides for path in side.items if not options.length):
            try:
                longest = max(longest, len(read_points(path)))
            except NotFoundError:  # told when it is decoded
                continue
        shape = ("batch", 3, options.length or longest)
        return Port(name, self.kind, shape, range=(-1.0, 1.0)), ()

    def stored(self, port: Port) -> Stored:
        return Stored("uint8", (int(port.shape[2]), 3), (0, 2, 1), divisor=127.5, offset=1.0)

    def decode(self, path: Path, port: Port) -> tuple[Array, tuple[int, ...]]:
        """Read a drawing; a longer one is cut, a shorter one stays at its last point."""
        points = read_points(path)
        length, _ = self.stored(port).shape
        row = np.empty((length, 3), np.uint8)
        row[:] = [*points[-1][:2], 0]
        row[: len(points)] = points[:length]
        return row, (len(points),)

    def like(self, port: Port, options: DecodeOptions) -> DecodeOptions:
        return replace(options, length=int(port.shape[2]))

    def cells(self, rows: Array, port: Port) -> Array:
        """Return a picture of each drawing: (N, 64, 64, 1)."""
        return np.stack([draw(row) for row in rows])[..., None]

    def describe(self, port: Port) -> str:
        return f"drawings of {port.shape[2]} points"


def read_points(path: Path) -> list[tuple[int, int, int]]:
    """Return the points (x, y, pen) of a drawing; the pen is 255 where a line leads to the point.

    Raises:
        NotFoundError: the file is no drawing.
    """
    points, pen = [], 0
    try:
        for line in path.read_text(encoding="ascii").splitlines():
            if not line.strip():
                pen = 0
                continue
            x, y = (int(word) for word in line.split())
            if not (0 <= x <= 255 and 0 <= y <= 255):
                raise ValueError(f"{x} {y} is outside of 0 to 255")
            points.append((x, y, pen))
            pen = 255
    except (OSError, ValueError) as problem:
        raise NotFoundError(f"cannot read {path}", cause=str(problem), code="bad-data") from None
    if not points:
        raise NotFoundError(f"cannot read {path}", cause="it holds no points", code="bad-data")
    return points


def draw(row: Array) -> Array:
    """Return a picture (64, 64) of points (length, 3), black on white."""
    paper = Image.new("L", (WIDTH, WIDTH), "white")
    pencil = ImageDraw.Draw(paper)
    places = row[:, :2].astype(float) * (WIDTH - 1) / 255
    for before, after, pen in zip(places[:-1], places[1:], row[1:, 2], strict=True):
        if pen > 127:
            pencil.line([*before, *after], fill=0)
    return np.asarray(paper)
