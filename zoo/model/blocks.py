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


def normal_weights(module: nn.Module) -> None:
    """Give a layer the first weights of adversarial networks; use it as ``network.apply(…)``.

    Convolutions and linear layers: weights from N(0, 0.02), biases 0; batch and instance
    normalisation: scales from N(1, 0.02), shifts 0. Source: Radford et al. 2015, arXiv:1511.06434,
    section 4; Zhu et al. 2017, arXiv:1703.10593, appendix.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
    elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d) and module.affine:
        nn.init.normal_(module.weight, mean=1.0, std=0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


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
