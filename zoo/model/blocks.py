"""Pieces of networks and measures of images that several models share."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

SMALLEST_ERROR = 1e-10  # mean squared error that counts as none: 100 dB


def mlp(
    *sizes: int, activation: Callable[[], nn.Module] = nn.ReLU, layer_norm: bool = False
) -> list[nn.Module]:
    """Return fully connected layers between the sizes, each followed by its activation.

    Args:
        sizes: numbers of units, input first; a single size gives no layer.
        activation: makes one activation, for example ``nn.Tanh``.
        layer_norm: whether layer normalisation stands before each activation.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        norm = [nn.LayerNorm(after)] if layer_norm else []
        layers += [nn.Linear(before, after), *norm, activation()]
    return layers


def pixel_mse(image: Tensor, other: Tensor) -> Tensor:
    """Return the mean squared error by image, (N,), of pixels on the scale [0, 1].

    Args:
        image: (N, C, H, W) in [-1, 1].
        other: the same shape and range.
    """
    difference = (image.float() - other.float()) / 2
    return difference.square().flatten(1).mean(dim=1)


def psnr(image: Tensor, other: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio by image, (N,), in dB: 10 log10(1 / MSE) on [0, 1].

    Equal images count as 100 dB, so that a mean stays finite.

    Args:
        image: (N, C, H, W) in [-1, 1].
        other: the same shape and range.
    """
    return -10 * pixel_mse(image, other).clamp(min=SMALLEST_ERROR).log10()
