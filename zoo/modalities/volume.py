"""Volumes: objects on a grid of cells in three dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from zoo.modalities.base import (
    Array,
    Block,
    DecodeOptions,
    Decoding,
    Indices,
    Modality,
    Side,
    Stored,
)
from zoo.pictures import Pixels
from zoo.ports import Port

SPACE = 2  # cells between two projections


class Volume(Modality):
    """Cells: uint8 (N, D, H, W) in decoded data, (N, 1, D, H, W) in [-1, 1] in a port."""

    kind = "volume"
    items = "volumes"
    files = "an .npz file of arrays (N, depth, height, width)"

    def survey(
        self, name: str, sides: Sequence[Side], options: DecodeOptions
    ) -> tuple[Port, tuple[str, ...]]:
        """Return a port of the size of the arrays."""
        del options
        shape = ("batch", 1, *np.asarray(sides[0].items).shape[-3:])
        return Port(name, self.kind, shape, range=(-1.0, 1.0)), ()

    def stored(self, port: Port) -> Stored:
        """Return that cells are bytes: 0 for empty, 255 for full."""
        depth, height, width = (int(size) for size in port.shape[2:])
        return Stored("uint8", (1, depth, height, width), (), 127.5, 1.0)

    def blocks(
        self, side: Side, order: Indices, port: Port, split: str, seen: Decoding
    ) -> Iterator[Block]:
        """Yield cells as bytes; those of 0 and 1, or of any other range, reach from 0 to 255."""
        whole = np.asarray(side.items)
        low, high = float(whole.min()), float(whole.max())
        for indices, rows, bad in super().blocks(side, order, port, split, seen):
            cells = rows.reshape(-1, *self.stored(port).shape)
            if cells.dtype != np.uint8 or high <= 1:
                cells = np.rint(255 * (cells.astype(np.float32) - low) / max(high - low, 1e-12))
            yield indices, cells.astype(np.uint8), bad

    def cells(self, rows: Array, port: Port) -> Pixels | None:
        """Return each volume as its three projections side by side: front, side and top."""
        del port
        return np.stack([_projections(row.reshape(row.shape[-3:])) for row in rows])[..., None]

    def describe(self, port: Port) -> str:
        """Return the cells."""
        return "x".join(map(str, port.shape[2:])) + " cells"


def _projections(cells: Array) -> Pixels:
    views = [255 - cells.mean(axis=axis).astype(np.uint8) for axis in range(3)]
    height = max(view.shape[0] for view in views)
    padded = [
        np.pad(view, ((0, height - view.shape[0]), (0, SPACE)), constant_values=255)
        for view in views
    ]
    return np.concatenate(padded, axis=1)
