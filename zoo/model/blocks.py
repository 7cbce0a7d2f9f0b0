"""What models share: layers, first weights, image errors, augmentation, learning-rate schedules.

A schedule is a function of the share of the training that is done. It fits a budget given in
epochs, steps or minutes alike, and has no state that a checkpoint could lose.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from zoo.ports import Port

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


def resize_crop_flip(images: Tensor, *, enlarge: float, flip: bool = True) -> Tensor:
    """Enlarge images, cut each back to its size at a place of its own, and mirror half of them.

    Source: Zhu et al. 2017, arXiv:1703.10593, whose code loads images at 286 pixels and crops to
    256, a factor of 1.12.

    Args:
        images: (N, C, H, W). Pairs that must stay pairs are given as one, joined along C.
        enlarge: factor of height and width, at least 1; 1 only mirrors.
        flip: whether half of them are mirrored, left for right.

    Returns:
        Images (N, C, H, W), channels last in memory.
    """
    count, _, height, width = images.shape
    tall, wide = round(height * enlarge), round(width * enlarge)
    larger = images
    if (tall, wide) != (height, width):
        larger = interpolate(images, (tall, wide), mode="bicubic", align_corners=False).clamp(-1, 1)
    device = images.device
    top = torch.randint(tall - height + 1, (count, 1), device=device)
    left = torch.randint(wide - width + 1, (count, 1), device=device)
    mirrored = torch.rand(count, 1, device=device) < (0.5 if flip else 0.0)
    rows = top + torch.arange(height, device=device)  # (N, H)
    columns = torch.arange(width, device=device)
    columns = left + torch.where(mirrored, columns.flip(0), columns)  # (N, W)
    which = torch.arange(count, device=device)
    chosen = larger.permute(0, 2, 3, 1)[which[:, None, None], rows[:, :, None], columns[:, None, :]]
    return chosen.permute(0, 3, 1, 2)


class ImagePool(nn.Module):
    """A pool of generated images, so that a discriminator also sees those of earlier steps.

    Until the pool is full, every image goes in and comes straight back. From then on, each image
    is, with probability 1/2, exchanged for one drawn from the pool. Source: Shrivastava et al.
    2017, arXiv:1612.07828, section 2.3, as used by Zhu et al. 2017, arXiv:1703.10593, section 4.

    The images are a buffer that is not part of the weights: the trainer keeps it in checkpoints,
    and neither weight files nor exports hold it.

    Args:
        size: images that the pool holds; 0 for none, so that images pass unchanged.
        image: a port of such images, such as `data.image`.
    """

    def __init__(self, size: int, image: Port) -> None:
        super().__init__()
        empty = torch.zeros(size, image.channels, image.height, image.width)
        self.images: Tensor
        self.filled: Tensor
        self.register_buffer("images", empty, persistent=False)
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64), persistent=False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return images (N, C, H, W), as many as came in, some of them older.

        Nothing is read back from the device: what depends on how full the pool is, is chosen there.
        """
        count, size, device = len(images), len(self.images), self.images.device
        if not size:
            return images.detach()
        exchanges = (torch.rand(count) < 0.5).to(device, non_blocking=True)
        places = torch.randint(size, (count,)).to(device, non_blocking=True)
        given = []
        for image, exchange, drawn in zip(
            images.detach().to(self.images.dtype), exchanges, places, strict=True
        ):
            is_full = self.filled == size
            place = torch.where(is_full, drawn, self.filled).reshape(1)
            older = self.images[place][0]
            given.append(torch.where(is_full & exchange, older, image))
            self.images[place] = torch.where(is_full & ~exchange, older, image)[None]
            self.filled += ~is_full
        return torch.stack(given).to(images.dtype)


@torch.no_grad()
def gather_rows(rows: Tensor) -> Tensor:
    """Return the rows of all devices, (ranks · N, …), in one order on each; alone, those given.

    For what a model keeps beside its parameters and must be the same on every device, such as a
    codebook that follows the mean of the batch. Each device must bring as many rows; no gradient
    goes through.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not distributed or torch.distributed.get_world_size() == 1:
        return rows.detach()
    parts = [torch.empty_like(rows) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)


def constant(done: float) -> float:
    """Return 1 throughout."""
    del done
    return 1.0


def constant_then_linear(done: float, *, fall_from: float = 0.5) -> float:
    """Return 1, and from a share of the training on a straight line down to 0 at its end.

    Source: Zhu et al. 2017, arXiv:1703.10593, section 4.

    Args:
        done: share of the training that is done, in [0, 1].
        fall_from: share of the training after which the rate falls, below 1.
    """
    return min(1.0, (1 - done) / (1 - fall_from))


def one_cycle(done: float, *, rise: float = 0.3) -> float:
    """Return the cosine one-cycle factor: from 1/25 up to 1, then down to 1/10,000 of the start.

    Source: Smith & Topin 2018, "Super-Convergence", arXiv:1708.07120, with cosine annealing.

    Args:
        done: share of the training that is done, in [0, 1].
        rise: share of the training in which the rate rises.
    """
    start, end = 1 / 25, 1 / 250_000
    if done < rise:
        return _cosine(start, 1.0, done / rise)
    return _cosine(1.0, end, (done - rise) / (1 - rise))


def _cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
