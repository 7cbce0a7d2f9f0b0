"""Pictures as the numbers of a port, and the numbers of a port as pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.pictures import Pixels, to_pixels, to_values
from zoo.ports import Port


def into_port(pixels: Pixels, port: Port) -> NDArray[Any]:
    """Return pixels (N, H, W, C) as an image port takes them: in its range, layout and dtype.

    A port of uint8 takes pixels as they are.
    """
    if port.dtype == "uint8":
        values = pixels if port.layout == "NHWC" else pixels.transpose(0, 3, 1, 2)
    else:
        low, high = port.range or (-1.0, 1.0)
        values = to_values(pixels, low, high).astype(port.dtype, copy=False)
        values = values if port.layout == "NCHW" else values.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(values)


def from_port(values: NDArray[Any], port: Port) -> Pixels:
    """Return the numbers of an image port that has a range as pixels (N, H, W, C)."""
    if port.dtype == "uint8":
        return values if port.layout == "NHWC" else values.transpose(0, 2, 3, 1)
    assert port.range is not None
    return to_pixels(values if port.layout == "NCHW" else values.transpose(0, 3, 1, 2), *port.range)
