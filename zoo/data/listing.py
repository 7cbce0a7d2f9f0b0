"""A data set before it is decoded: which pictures belong to which side of which split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zoo.catalog.dataset import Layout

SPLITS = ("train", "validation", "test")

Half = Literal["", "left", "right"]


@dataclass(frozen=True)
class Side:
    """The pictures of one side of one split.

    Args:
        pictures: paths, to be read one by one, or pixels (N, H, W, C).
        labels: class numbers (N,), or None.
        half: the part of each picture that counts, where two stand side by side.
    """

    pictures: Sequence[Path] | NDArray[np.uint8]
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
    """

    layout: Layout
    splits: Mapping[str, Mapping[str, Side]]
    classes: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
