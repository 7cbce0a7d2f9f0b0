"""How different pictures are from one another."""

from __future__ import annotations

from typing import Any

import numpy as np

Pixels = np.ndarray[Any, Any]

ROUNDING = 1e-4  # grey levels; one pixel of a million that differs by one makes ten times as much


def distances(images: Pixels) -> tuple[float, float]:
    """Return the mean distance of two images, and of each from the nearest other one.

    Root mean square over pixels, so that pictures of two sizes can be compared. Images that are
    equal have the distance 0 exactly.

    Args:
        images: at least two, uint8 (N, H, W, C).
    """
    rows = images.reshape(len(images), -1).astype(np.float64)
    rows -= rows.mean(axis=0)  # distances stay, and small ones are not lost in rounding
    squares = (rows**2).sum(axis=1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0) / rows.shape[1])
    apart[apart < ROUNDING] = 0
    np.fill_diagonal(apart, np.nan)
    return float(np.nanmean(apart)), float(np.nanmin(apart, axis=1).mean())


def some_of(images: Pixels, count: int) -> Pixels:
    """Return at most `count` images from all over an array, which may be sorted."""
    count = min(count, len(images))
    return np.asarray(images[np.linspace(0, len(images) - 1, count).round().astype(int)])
