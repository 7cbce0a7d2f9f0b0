"""Rows of numbers: tables, ratings, and whatever is no other kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo.modalities.base import Array, DecodeOptions, Modality, Side
from zoo.pictures import Pixels, grid
from zoo.ports import Port

MOST_ROWS, MOST_COLUMNS = 64, 2048  # of a page


class Values(Modality):
    """Numbers (N, …) as they are."""

    kind = "values"
    items = "rows"
    files = "a table in CSV, or a column of metadata.csv"

    def survey(
        self, name: str, sides: Sequence[Side], options: DecodeOptions
    ) -> tuple[Port, tuple[str, ...]]:
        """Return a port of float32 whose range is that of the training rows."""
        del options
        rows = np.asarray(sides[0].items)
        span = (float(rows.min()), float(rows.max())) if rows.size else None
        return Port(name, self.kind, ("batch", *rows.shape[1:]), range=span), ()

    def page(
        self, rows: Array, port: Port, columns: int | None = None, labels: Sequence[str] = ()
    ) -> Pixels | None:
        """Return each row as a line of grey: black is the least number, white the greatest."""
        del port, columns, labels
        numbers = rows[:MOST_ROWS].reshape(len(rows[:MOST_ROWS]), -1)[:, :MOST_COLUMNS]
        low, high = float(numbers.min()), float(numbers.max())
        grey = 255 * (numbers - low) / max(high - low, 1e-12)
        return grid(np.rint(grey).astype(np.uint8)[None, :, :, None], 1)
