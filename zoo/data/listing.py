"""A data set before it is decoded: which pictures belong to which side of which split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.catalog.dataset import Layout
from zoo.errors import NotFoundError

Half = Literal["", "left", "right"]


@dataclass(frozen=True)
class Side:
    """The pictures of one side of one split.

    Args:
        pictures: paths, to be read one by one, or pixels (N, H, W, C), bytes or other numbers.
        labels: class numbers (N,), or None.
        half: the part of each picture that counts, where two stand side by side.
    """

    pictures: Sequence[Path] | NDArray[Any]
    labels: NDArray[np.int64] | None = None
    half: Half = ""


@dataclass(frozen=True)
class Listing:
    """A data set before it is decoded.

    Args:
        layout: how its files lie.
        splits: by split (``train``, ``validation``, ``test``) and side (``image``, or ``a`` and
            ``b`` of a translation).
        classes: names of the classes, by label number.
        domains: names of the two sides.
        pairs: splits in which picture i of ``a`` and picture i of ``b`` show one thing.
        notes: sentences on what of the files is not used, or is read in a way that may surprise.
    """

    layout: Layout
    splits: Mapping[str, Mapping[str, Side]]
    classes: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def paired(self, splits: Sequence[str]) -> Listing:
        """Return the listing with those of `splits` that it has brought into pairs, by file name.

        Raises:
            NotFoundError: a picture has no partner.
        """
        splits = [split for split in splits if {"a", "b"} == set(self.splits.get(split, ()))]
        matched = {split: _matched(split, self.splits[split]) for split in splits}
        return replace(self, splits={**self.splits, **matched}, pairs=(*self.pairs, *splits))


def _matched(split: str, sides: Mapping[str, Side]) -> dict[str, Side]:
    """Return both sides in the order of their pictures' names."""
    named: dict[str, dict[str, Path]] = {}
    for name, side in sides.items():
        assert not isinstance(side.pictures, np.ndarray)
        named[name] = {path.stem: path for path in side.pictures}
        if len(named[name]) < len(side.pictures):
            raise NotFoundError(
                f"the {split} split should hold pairs; a name stands twice in {name}"
            )
    alone = sorted(named["a"].keys() ^ named["b"].keys())
    if alone:
        raise NotFoundError(
            f"the {split} split should hold pairs of one name, but {len(alone)} have no partner",
            cause=", ".join(alone[:5]),
        )
    return {name: Side([paths[stem] for stem in named["a"]]) for name, paths in named.items()}
