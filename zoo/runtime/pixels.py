"""Pictures as the numbers of a port, and the numbers of a port as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.pictures import Pixels, ValueRange, fit, to_pixels, to_values
from zoo.ports import Fit, Port


@dataclass(frozen=True)
class Sizing:
    """How pictures are brought to the size that a port takes.

    Args:
        fit: how, where the port fixes the size.
        shorter_side: in pixels, where the port leaves the size open; a picture's own, when None.
        value_range: the values that are black and white in pictures of more than 8 bits; as
            `zoo.pictures.read_picture` chooses it, when None.
    """

    fit: Fit = "cover"
    shorter_side: int | None = None
    value_range: ValueRange | None = None

    def size_for(self, port: Port, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that a picture of these is brought to."""
        if self.shorter_side is not None:
            scale = self.shorter_side / min(height, width)
            height, width = max(1, round(height * scale)), max(1, round(width * scale))
        fixed_height, fixed_width = port.image_size
        return (
            fixed_height if isinstance(fixed_height, int) else height,
            fixed_width if isinstance(fixed_width, int) else width,
        )

    def apply(self, picture: Image.Image, port: Port) -> Pixels:
        """Return a picture as pixels (H, W, C) of the size and the colours that a port takes."""
        height, width = self.size_for(port, picture.height, picture.width)
        return fit(picture, height, width, 1 if port.channels == 1 else 3, self.fit)


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
