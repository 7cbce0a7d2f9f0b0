"""The kinds of data, one file each; nothing outside this folder asks for one by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from zoo.errors import UsageError
from zoo.modalities.audio import Audio
from zoo.modalities.base import Array, Modality
from zoo.modalities.image import Image
from zoo.modalities.label import Label
from zoo.modalities.probabilities import Probabilities
from zoo.modalities.text import Text
from zoo.modalities.values import Values
from zoo.modalities.volume import Volume
from zoo.pictures import Pixels
from zoo.ports import MAX_NUMBERS, Port, Signature

__all__ = [
    "Modality",
    "can_sample",
    "draw_cells",
    "draw_page",
    "modalities",
    "modality_of",
    "register",
    "to_rows",
]

OWN: Mapping[str, Modality] = {
    each.kind: each
    for each in (Image(), Label(), Text(), Audio(), Volume(), Values(), Probabilities())
}
NUMBERS = Values()  # what a kind that nobody knows is taken for


_registered: dict[str, Modality] = {}  # those of plugins, from the moment they are loaded


def register(modality: Modality) -> None:
    """Add a kind of data of a plugin; a kind of the zoo's own, or of an earlier one, stays."""
    _registered.setdefault(modality.kind, modality)


def modalities() -> Mapping[str, Modality]:
    """Return all kinds of data by their word: the zoo's own, then those of plugins."""
    return {**_registered, **OWN} if _registered else OWN


def modality_of(port: Port | str) -> Modality:
    """Return the modality of a port, or of a kind; plain numbers where nobody knows the kind."""
    kind = port if isinstance(port, str) else port.kind
    return OWN.get(kind) or _registered.get(kind, NUMBERS)


def can_sample(signature: Signature) -> bool:
    """Whether something to see, hear or read comes out of nothing but draws from priors."""
    first = signature.outputs[:1]
    return not signature.required and any(modality_of(port).presents(port) for port in first)


def to_rows(numbers: Array, port: Port) -> Array:
    """Return what a graph gave at a port as decoded data holds it.

    Raises:
        UsageError: a row is too large.
    """
    if numbers[:1].size > MAX_NUMBERS:
        raise UsageError(
            f"a row of {port.name} holds {numbers[:1].size:,} numbers", code="too-many"
        )
    return modality_of(port).from_numbers(numbers, replace(port, shape=numbers.shape))


def draw_page(
    rows: Array, port: Port, columns: int | None = None, labels: Sequence[str] = ()
) -> Pixels:
    """Return one picture of rows of a port, as `Modality.page` draws it.

    Raises:
        UsageError: no picture shows rows of this kind.
    """
    modality = modality_of(port)
    page = modality.page(rows, port, columns, labels)
    if page is None:
        raise UsageError(f"no picture shows {modality.items}", code="does-not-apply")
    return page


def draw_cells(rows: Array, port: Port) -> Pixels:
    """Return a picture (N, H, W, C) of each row of a port, as `Modality.cells` does.

    Raises:
        UsageError: a row of this kind has no picture of its own.
    """
    modality = modality_of(port)
    cells = modality.cells(rows, port)
    if cells is None:
        raise UsageError(f"no picture shows one of the {modality.items}", code="does-not-apply")
    return cells
