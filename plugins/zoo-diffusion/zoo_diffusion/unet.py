"""The network of a diffusion model: a U-Net that is told the time.

Source: Ho et al. 2020, arXiv:2006.11239, appendix B: residual blocks with group normalisation, the
embedded time added in each, self-attention, and what was seen on the way down joined on the way up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class ResidualBlock(nn.Module):
    """x (N, before, H, W), embedded t (N, width) -> (N, after, H, W)."""

    def __init__(self, before: int, after: int, width: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(
            normalise(before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1)
        )
        self.time = nn.Linear(width, after)
        last = nn.Conv2d(after, after, 3, padding=1)
        nn.init.zeros_(last.weight)  # the block begins as its shortcut
        self.second = nn.Sequential(normalise(after), nn.SiLU(), nn.Dropout(dropout), last)
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        hidden = self.first(x) + self.time(time)[:, :, None, None]
        out: Tensor = self.shortcut(x) + self.second(hidden)
        return out


class Attention(nn.Module):
    """Every pixel attends to all of its image: (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Sequential(normalise(width), nn.Conv2d(width, 3 * width, 1))
        self.out = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.project(x).flatten(2).transpose(1, 2)  # (N, HW, 3C)
        query, key, value = pixels[:, None].chunk(3, dim=-1)  # (N, one head, HW, C) each
        seen = scaled_dot_product_attention(query, key, value)[:, 0]
        out: Tensor = x + self.out(seen.transpose(1, 2).reshape(x.shape))
        return out


class UNet(nn.Module):
    """ε_θ: x_t (N, C, H, W), t (N,) int64 in 0 … T -> noise (N, C, H, W).

    Args:
        channels: C of the images.
        widths: maps at each resolution; the sides are halved from one to the next.
        blocks: residual blocks at each resolution on the way down; one more on the way up.
        attention: whether the pixels of the lowest resolution attend to one another.
        dropout: share of maps set to 0 in training.
        patch: sides of the squares of pixels that the network sees as channels; 1 for pixels.
        timesteps: T.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int],
        *,
        blocks: int,
        attention: bool,
        dropout: float,
        patch: int,
        timesteps: int,
    ) -> None:
        super().__init__()
        first, last = widths[0], widths[-1]
        block = partial(ResidualBlock, width=4 * first, dropout=dropout)
        self.table: Tensor
        self.register_buffer("table", sinusoids(timesteps + 1, first), persistent=False)
        self.time = nn.Sequential(
            nn.Linear(first, 4 * first), nn.SiLU(), nn.Linear(4 * first, 4 * first), nn.SiLU()
        )
        pixels = channels * patch**2
        self.inwards = nn.Sequential(
            nn.PixelUnshuffle(patch), nn.Conv2d(pixels, first, 3, padding=1)
        )
        self.down, kept = nn.ModuleList(), [first]  # kept: maps of what the way up is given
        for level, (before, after) in enumerate(pairwise([first, *widths])):
            if level:
                self.down.append(nn.Conv2d(before, before, 3, stride=2, padding=1))
                kept.append(before)
            for index in range(blocks):
                self.down.append(block(before if index == 0 else after, after))
                kept.append(after)
        self.middle = nn.ModuleList([block(last, last), block(last, last)])
        self.attention = Attention(last) if attention else nn.Identity()
        self.up = nn.ModuleList()
        for level in reversed(range(len(widths))):
            for _ in range(blocks + 1):
                self.up.append(block(last + kept.pop(), widths[level]))
                last = widths[level]
            if level:
                enlarge = nn.Upsample(scale_factor=2), nn.Conv2d(last, last, 3, padding=1)
                self.up.append(nn.Sequential(*enlarge))
        self.outwards = nn.Sequential(
            normalise(first), nn.SiLU(), nn.Conv2d(first, pixels, 3, padding=1),
            nn.PixelShuffle(patch),
        )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        time = self.time(self.table[t])
        x = self.inwards(x)
        kept = [x]
        for layer in self.down:
            x = layer(x, time) if isinstance(layer, ResidualBlock) else layer(x)
            kept.append(x)
        before, after = self.middle
        x = after(self.attention(before(x, time)), time)
        for layer in self.up:
            if isinstance(layer, ResidualBlock):
                x = layer(torch.cat([x, kept.pop()], dim=1), time)
            else:
                x = layer(x)
        noise: Tensor = self.outwards(x)
        return noise


def sinusoids(count: int, width: int) -> Tensor:
    """Return sin(t ω) and cos(t ω) for t = 0 … count - 1: (count, width), ω from 1 to 1e-4.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5.
    """
    omega = torch.exp(-math.log(10_000) * torch.arange(0, width, 2, dtype=torch.float64) / width)
    angle = torch.arange(count)[:, None] * omega
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :width].float()


def normalise(width: int) -> nn.GroupNorm:
    """Return normalisation in 8 groups of maps, or fewer where 8 do not divide them."""
    return nn.GroupNorm(math.gcd(8, width), width)
