"""Probabilities of classes: one number for each class, which sum to 1."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.modalities.base import Array
from zoo.modalities.values import Values
from zoo.ports import Port

MOST_LINES = 5  # classes that are printed of a row, the likeliest first


class Probabilities(Values):
    """Probabilities (N, classes), float32 in [0, 1]; the classes are `Port.classes`."""

    kind = "probabilities"
    items = "probabilities"
    files = "no files of data; graphs give them"
    printed = True

    def presents(self, port: Port) -> bool:
        """Whether rows are there to be read; they are printed."""
        del port
        return True

    def to_text(self, row: Array, port: Port) -> str:
        """Return a line for each of the likeliest classes, with its probability in percent."""
        flat = row.reshape(-1).astype(float)
        names = [name if name.isprintable() else "?" for name in port.classes]
        if len(names) != len(flat):
            names = [str(number) for number in range(len(flat))]
        likeliest = sorted(range(len(flat)), key=lambda number: -flat[number])[:MOST_LINES]
        width = max((len(names[number]) for number in likeliest), default=0)
        lines = [f"{names[number]:<{width}} {flat[number]:7.2%}" for number in likeliest]
        left = len(flat) - len(likeliest)
        return "\n".join([*lines, f"and {left:,} other classes"] if left else lines)

    def page(
        self, rows: Array, port: Port, columns: int | None = None, labels: Sequence[str] = ()
    ) -> None:
        """Return None: probabilities are read, not looked at."""
        del rows, port, columns, labels
