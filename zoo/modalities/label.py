"""Labels: the number of a class for each row."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.modalities.base import Array, DecodeOptions, Modality, Side, Stored
from zoo.ports import Port


class Label(Modality):
    """Class numbers (N,), int64."""

    kind = "label"
    items = "labels"
    files = "a folder for each class, or a column of metadata.csv"

    def survey(
        self, name: str, sides: Sequence[Side], options: DecodeOptions
    ) -> tuple[Port, tuple[str, ...]]:
        """Return a port with as many classes as there are numbers."""
        del options
        most = max(int(max(side.items, default=0)) for side in sides)
        return Port.label(name, tuple(map(str, range(most + 1)))), ()

    def stored(self, port: Port) -> Stored:
        """Return that decoded data holds labels as they are."""
        del port
        return Stored("int64", ())

    def from_numbers(self, numbers: Array, port: Port) -> Array:
        """Return the labels as they are."""
        del port
        return numbers

    def describe(self, port: Port) -> str:
        """Return how many classes there are."""
        return f"{len(port.classes):,} classes"
