"""Rows of numbers: tables, ratings, and whatever is no other kind."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np

from zoo.grids import grid
from zoo.modalities.base import Array, DecodeOptions, Modality, Side
from zoo.pictures import Pixels
from zoo.ports import Port

MOST_ROWS, MOST_COLUMNS = 64, 2048  # of a page
FORMULA = ("=", "+", "-", "@")  # what a formula begins with, where a table is opened as a sheet


class Values(Modality):
    """Numbers (N, …) as they are."""

    kind = "values"
    items = "rows"
    files = "a table in CSV, or a column of metadata.csv"
    suffix = ".csv"

    def survey(
        self, name: str, sides: Sequence[Side], options: DecodeOptions
    ) -> tuple[Port, tuple[str, ...]]:
        """Return a port of float32 whose range is that of the training rows."""
        del options
        rows = np.asarray(sides[0].items)
        span = (float(rows.min()), float(rows.max())) if rows.size else None
        return Port(name, self.kind, ("batch", *rows.shape[1:]), range=span), ()

    def presents(self, port: Port) -> bool:
        """Whether rows have pictures of their own; a table of numbers is nothing to look at."""
        del port
        return type(self).cells is not Modality.cells

    def encode(self, rows: Array, port: Port) -> bytes:
        """Return a table in CSV: a heading, then each row with all digits that tell it apart."""
        flat = rows.reshape(len(rows), -1)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_heading(port, flat.shape[1]))
        writer.writerows(row.astype(str) for row in flat)
        return text.getvalue().encode("utf-8", "replace")

    def page(
        self, rows: Array, port: Port, columns: int | None = None, labels: Sequence[str] = ()
    ) -> Pixels | None:
        """Return each row as a line of grey: black is the least number, white the greatest."""
        del port, columns, labels
        numbers = rows[:MOST_ROWS].reshape(len(rows[:MOST_ROWS]), -1)[:, :MOST_COLUMNS]
        low, high = float(numbers.min()), float(numbers.max())
        grey = 255 * (numbers - low) / max(high - low, 1e-12)
        return grid(np.rint(grey).astype(np.uint8)[None, :, :, None], 1)


def _heading(port: Port, columns: int) -> list[str]:
    """Return the names of the columns: the port's own, if no program could take one for a formula.

    They may come from a file of a stranger.
    """
    is_harmless = not any(name.startswith(FORMULA) for name in port.classes)
    if len(port.classes) == columns and is_harmless:
        return list(port.classes)
    return [f"{port.name}_{number}" for number in range(columns)]
