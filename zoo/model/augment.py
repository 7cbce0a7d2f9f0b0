"""Images changed at random on the batch, so that a small data set is not learnt by heart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


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
