"""What the convolutional models share: which sizes can be halved, the way up and the way down.

Source: Radford et al. 2015, arXiv:1511.06434, section 3: strided convolutions in place of pooling,
ReLU on the way up, LeakyReLU of slope 0.2 on the way down, batch normalisation everywhere but next
to the image.

A network has `levels` of maps: the outermost one has half the image's sides and `features` maps,
each further one half the sides and twice the maps, and the innermost one 4 to 7 pixels a side.
"""

from __future__ import annotations

from itertools import pairwise, product

import torch
from torch import Tensor, nn

from zoo import Port, UsageError

INNERMOST_SIDES = range(4, 8)
MOST_LEVELS = 9  # images of up to 3,584 pixels a side


def levels_of(image: Port, model: str) -> int:
    """Return n of images whose sides are 4…7 · 2ⁿ pixels, n ≥ 1 and the same for both sides.

    Raises:
        UsageError: the images have other sides; names the nearest that `model` takes.
    """
    wanted = (image.height, image.width)
    fitting = {
        (high << levels, wide << levels): levels
        for levels in range(1, MOST_LEVELS + 1)
        for high, wide in product(INNERMOST_SIDES, INNERMOST_SIDES)
    }
    if wanted in fitting:
        return fitting[wanted]
    smaller = [size for size in fitting if size[0] <= wanted[0] and size[1] <= wanted[1]]
    larger = [size for size in fitting if size[0] >= wanted[0] and size[1] >= wanted[1]]
    nearest = [max(smaller, key=sum)] if smaller else []
    nearest += [min(larger, key=sum)] if larger else []
    raise UsageError(
        f"{model}: images of {image.height}×{image.width} pixels cannot be halved down to 4 to 7",
        cause="both sides must be 4, 5, 6 or 7 pixels doubled equally often, at least once",
        hint=" or ".join(f"--size {high}x{wide}" for high, wide in nearest),
        code="wrong-size",
    )


class ToMaps(nn.Unflatten):
    """A row of numbers -> maps (N, C, H, W), channels last in memory, as convolutions are quickest.

    In another layout than the gradient's, the backward pass of the layers behind takes far longer.
    """

    def forward(self, rows: Tensor) -> Tensor:
        return super().forward(rows).contiguous(memory_format=torch.channels_last)


def way_up(inputs: int, image: Port, *, features: int, levels: int) -> list[nn.Module]:
    """Return the layers of a generator: (N, inputs) -> image (N, C, H, W) in [-1, 1]."""
    widths = [features << level for level in reversed(range(levels))]  # innermost first
    innermost = (widths[0], image.height >> levels, image.width >> levels)
    layers: list[nn.Module] = [
        nn.Linear(inputs, innermost[0] * innermost[1] * innermost[2], bias=False),
        ToMaps(1, innermost),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
    ]
    for before, after in pairwise(widths):  # twice the sides, half the maps
        layers += [
            nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    to_image = nn.ConvTranspose2d(features, image.channels, kernel_size=4, stride=2, padding=1)
    return [*layers, to_image, nn.Tanh()]


def way_down(
    channels: int, image: Port, *, features: int, levels: int, batch_norm: bool
) -> list[nn.Module]:
    """Return the layers of a discriminator or critic: (N, channels, H, W) -> one number each, (N,).

    Args:
        channels: maps that come in: those of the image and what else there is at its size.
        image: says height and width.
        features: maps of the outermost level.
        levels: how often the image is halved.
        batch_norm: whether batch normalisation stands behind all convolutions but the first.
    """
    widths = [features << level for level in range(levels)]  # outermost first
    layers: list[nn.Module] = []
    for before, after in pairwise((channels, *widths)):  # half the sides
        normalised = batch_norm and bool(layers)
        layers += [
            nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1, bias=not normalised),
            *([nn.BatchNorm2d(after)] if normalised else []),
            nn.LeakyReLU(0.2),
        ]
    # over all of the innermost maps: a linear layer, whose gradient has the layout of the maps
    to_number = nn.Conv2d(widths[-1], 1, (image.height >> levels, image.width >> levels))
    return [*layers, to_number, nn.Flatten(0)]
