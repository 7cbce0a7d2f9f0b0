"""Inputs that a graph could take: to try a file, or to see how fast it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.ports import Port
from zoo.runtime.description import Description

OPEN_SIZE = 16  # of a dimension that nothing tells the size of


def examples(
    about: Description, *, rows: int, size: tuple[int, int] | None = None, seed: int = 0
) -> dict[str, NDArray[Any]]:
    """Draw inputs for a graph: from the priors of its ports, else anything in their range.

    Args:
        about: what the file says of itself.
        rows: of the batch, where the file leaves them open.
        size: height and width of images, where the file leaves them open; those of the data that
            the model was trained on, when not given.
        seed: of the draws.

    Returns:
        Arrays by port name.
    """
    height, width = size or (about.data.height, about.data.width)
    sizes = {"height": height, "width": width}
    generator = np.random.default_rng(seed)
    return {port.name: example(port, rows, sizes, generator) for port in about.signature.inputs}


def example(
    port: Port, rows: int, sizes: Mapping[str, int], generator: np.random.Generator
) -> NDArray[Any]:
    """Draw values that a port could take, of the shape that `shape_of` gives it."""
    shape = shape_of(port, rows, sizes)
    if port.range is None or port.prior == "normal":
        return generator.standard_normal(shape, np.float32).astype(port.dtype)
    low, high = port.range
    if port.dtype == "float32":
        return (generator.random(shape, np.float32) * (high - low) + low).astype(port.dtype)
    return generator.integers(int(low), int(high), shape, port.dtype, endpoint=True)


def shape_of(port: Port, rows: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of `rows` rows of a port; a batch that it fixes is what it is.

    `sizes` fill by their words what the shape leaves open; what else is open is small, and of
    sound one second.
    """
    batch, *others = port.shape
    small = port.rate or OPEN_SIZE
    first = batch if isinstance(batch, int) else rows
    return first, *(sizes.get(each, small) if isinstance(each, str) else each for each in others)
