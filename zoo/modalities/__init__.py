"""The kinds of data, one file each; nothing outside this folder asks for one by name."""

from __future__ import annotations

from collections.abc import Mapping

from zoo.modalities.audio import Audio
from zoo.modalities.base import Modality
from zoo.modalities.image import Image
from zoo.modalities.label import Label
from zoo.modalities.text import Text
from zoo.modalities.values import Values
from zoo.modalities.volume import Volume
from zoo.ports import Port

__all__ = ["Modality", "modalities", "modality_of", "register"]

OWN: Mapping[str, Modality] = {
    each.kind: each for each in (Image(), Label(), Text(), Audio(), Volume(), Values())
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
