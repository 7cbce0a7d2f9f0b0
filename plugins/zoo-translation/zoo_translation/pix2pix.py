"""pix2pix.

Paper: Isola, Zhu, Zhou & Efros 2017, "Image-to-Image Translation with Conditional Adversarial
Networks", CVPR, arXiv:1611.07004.

Pairs of an input x and an output y. The generator G: x -> y is a U-Net, the discriminator D judges
patches of (x, y), with D(x, y) = sigmoid(d(x, y)):
    discriminator:  min  ½ E[-log D(x, y)] + ½ E[-log(1 - D(x, G(x)))]
    generator:      min  E[-log D(x, G(x))] + λ E|y - G(x)|
Means are over pixels (or patches) and the batch; images are in [-1, 1]. The half slows the
discriminator down (section 3.3).

Networks at 256×256 with the paper's 64 features:
    generator:      C64-C128-C256-C512-C512-C512-C512-C512 down to 1×1, and back up as
                    CD512-CD512-CD512-C512-C256-C128-C64, each level beside what came down
    discriminator:  C64-C128-C256-C512, patches of 70×70

Departures from the paper: dropout, its only noise, is for training; a translation draws nothing at
random, so that an exported graph gives the same output each time. The U-Net has as many levels as
the shorter side can be halved. Images have one normalisation, by their own statistics (instance
normalisation) or by those of the batch, in training and afterwards by gathered ones; the paper
uses the statistics of the batch, which is one image, in both. Nothing is normalised at 1×1, where
its own mean would be taken away. Convolutions before a normalisation have no bias. The defaults are
half the paper's feature maps in the generator and batches of four.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from zoo import (
    DataSpec,
    Goal,
    Graph,
    Model,
    Player,
    Port,
    Training,
    Update,
    UsageError,
    constant_then_linear,
    normal_weights,
    option,
    resize_crop_flip,
)

SMALLEST = 32  # pixels a side
WIDEST = 8  # times the first layer's feature maps

Norm = Literal["instance", "batch"]


@dataclass(frozen=True)
class Pix2PixConfig:
    """What can be set with ``--set``."""

    direction: Literal["a-to-b", "b-to-a"] = option(
        "a-to-b", "which side of a pair is the input; zoo data check names the sides"
    )
    features: int = option(
        32, "feature maps of the generator's first layer; 64 in the paper", at_least=1, at_most=1024
    )
    discriminator_features: int = option(
        64, "feature maps of the discriminator's first layer, as in the paper",
        at_least=1, at_most=1024,
    )  # fmt: skip
    patch_levels: int = option(
        3,
        "strided layers of the discriminator; 3 judges patches of 70 pixels, 2 of 34",
        at_least=1,
        at_most=8,
    )
    norm: Literal["instance", "batch"] = option(
        "instance", "normalisation by the statistics of each image, or of the batch"
    )
    dropout: float = option(
        0.5, "share of the maps' values left out in the generator's first levels up, in training",
        at_least=0.0, below=1.0,
    )  # fmt: skip
    l1_weight: float = option(100.0, "λ of the L1 term; with 0, little holds y", at_least=0.0)
    enlarge: float = option(
        286 / 256, "enlarged by this before a random crop", at_least=1.0, at_most=4.0
    )
    flip: bool = option(
        True, "mirror half of the pairs; false where left and right differ, as in writing"
    )
    lr: float = option(
        2e-4, "learning rate of Adam until half of the training", above=0.0, at_most=1.0
    )


class UNet(nn.Module):
    """Image (N, C, H, W) -> image (N, C', H, W) in [-1, 1], through an encoder and a decoder.

    Level by level down to one pixel on the shorter side, and up again; each level up gets, beside
    what comes from below, the maps of the same size on the way down.
    """

    def __init__(
        self, before: int, after: int, *, features: int, levels: int, norm: Norm, dropout: float
    ) -> None:
        super().__init__()
        widths = [features * min(2**level, WIDEST) for level in range(levels)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, width in enumerate(widths):
            is_inner = 0 < level < levels - 1
            self.down.append(nn.Sequential(
                *([nn.LeakyReLU(0.2)] if level else []),
                nn.Conv2d(widths[level - 1] if level else before, width, 4, 2, 1,
                          bias=not is_inner),
                *([normalisation(norm, width)] if is_inner else []),
            ))  # fmt: skip
        for level in reversed(range(1, levels)):
            width = widths[level - 1]
            joined = widths[level] * (1 if level == levels - 1 else 2)
            is_dropped = dropout > 0 and level >= levels - 3
            self.up.append(nn.Sequential(
                nn.ReLU(),
                nn.ConvTranspose2d(joined, width, 4, 2, 1, bias=False),
                normalisation(norm, width),
                *([nn.Dropout(dropout)] if is_dropped else []),
            ))  # fmt: skip
        self.up.append(nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * features, after, 4, 2, 1)))

    def forward(self, image: Tensor) -> Tensor:
        maps = [image]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        x = maps.pop()
        for layer in self.up[:-1]:
            x = torch.cat([layer(x), maps.pop()], dim=1)
        return torch.tanh(self.up[-1](x))


class Discriminator(nn.Module):
    """Input and output, joined (N, C + C', H, W) -> logits of its patches, (N, 1, H', W')."""

    def __init__(self, channels: int, *, features: int, levels: int, norm: Norm) -> None:
        super().__init__()
        widths = [features * min(2**level, WIDEST) for level in range(levels + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=1)]
        for level in range(1, levels + 1):
            stride = 2 if level < levels else 1
            layers += [
                nn.LeakyReLU(0.2),
                nn.Conv2d(widths[level - 1], widths[level], 4, stride, padding=1, bias=False),
                normalisation(norm, widths[level]),
            ]
        layers += [nn.LeakyReLU(0.2), nn.Conv2d(widths[-1], 1, kernel_size=4, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, pair: Tensor) -> Tensor:
        patches: Tensor = self.layers(pair)
        return patches


def normalisation(norm: Norm, features: int) -> nn.Module:
    """Return a normalisation with scales and shifts that are learnt."""
    if norm == "batch":
        return nn.BatchNorm2d(features)
    return nn.InstanceNorm2d(features, affine=True)


class Pix2Pix(Model):
    """A generator that turns one side of a pair into the other, and a judge of pairs."""

    Config = Pix2PixConfig
    config: Pix2PixConfig
    training_defaults = Training(epochs=40, batch_size=4)
    goal = Goal("error", "lowest")

    def __init__(self, config: Pix2PixConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        check_data(config, data)
        self.source, self.target = ("a", "b") if config.direction == "a-to-b" else ("b", "a")
        given, wanted = data[self.source], data[self.target]
        self.generator = UNet(
            given.channels,
            wanted.channels,
            features=config.features,
            levels=min(given.height, given.width).bit_length() - 1,
            norm=config.norm,
            dropout=config.dropout,
        )
        self.discriminator = Discriminator(
            given.channels + wanted.channels,
            features=config.discriminator_features,
            levels=config.patch_levels,
            norm=config.norm,
        )
        self.apply(normal_weights)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, betas=(0.5, 0.999), fused=True)
        return {
            "discriminator": Player(
                [self.discriminator],
                adam,
                constant_then_linear,
                loss_at_random_guess=log(2),  # D = 1/2 everywhere: two terms of ½ log 2
            ),
            "generator": Player([self.generator], adam, constant_then_linear),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        x, y = self.vary(batch[self.source], batch[self.target])
        fake = self.generator(x)
        # ½ E[-log D(x, y)] + ½ E[-log(1 - D(x, G(x)))]
        on_real = self.discriminator(torch.cat([x, y], 1)).float()
        on_fake = self.discriminator(torch.cat([x, fake.detach()], 1)).float()
        real, made = softplus(-on_real).mean() / 2, softplus(on_fake).mean() / 2
        yield Update("discriminator", real=real, fake=made)
        # E[-log D(x, G(x))] + λ E|y - G(x)|
        fool = softplus(-self.discriminator(torch.cat([x, fake], 1)).float()).mean()
        l1 = self.config.l1_weight * (y - fake.float()).abs().mean()
        yield Update("generator", fool=fool, l1=l1)

    def vary(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return a batch of pairs, enlarged, cropped and mirrored, both sides of a pair alike."""
        both = resize_crop_flip(
            torch.cat([x, y], 1), enlarge=self.config.enlarge, flip=self.config.flip
        )
        return both[:, : x.shape[1]], both[:, x.shape[1] :]

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Mean |difference| to y on [0, 1]: of G(x), of x, and of the best constant colour."""
        x, y = batch[self.source], batch[self.target]
        colour = y.transpose(0, 1).flatten(1).median(dim=1).values  # of least absolute difference
        return {
            "error": (self.generator(x).float() - y).abs().mean() / 2,
            "copying": (x - y).abs().mean() / 2,
            "constant": (colour[:, None, None] - y).abs().mean() / 2,
        }

    def graphs(self) -> Mapping[str, Graph]:
        sides = dict(zip("ab", self.data.sides, strict=True))  # such as line and colour
        source, target = sides[self.source], sides[self.target]
        image = Port.image("image", self.data[self.source], domain=source)
        translated = Port.image("translated", self.data[self.target], domain=target)
        return {f"{source}_to_{target}": Graph(self.generator, [image], [translated])}


def check_data(config: Pix2PixConfig, data: DataSpec) -> None:
    """Check that the data are pairs of a size that the networks take.

    Raises:
        UsageError: rows of the two sides do not belong together, a side is no power of two, or it
            is too small for that many levels of the discriminator.
    """
    if data.a.order != data.b.order:
        raise UsageError(
            f"pix2pix learns from pairs; the two sides of {data.name} are not in pairs",
            cause="row i of one side has nothing to do with row i of the other",
            hint="pictures of the same names in two folders (PATH:paired-folders), or two side by "
            "side in one (PATH:paired-side-by-side); cyclegan needs no pairs",
            code="wrong-data",
        )
    smallest = 4 * 2**config.patch_levels  # of two patches at least, so that they can be normalised
    sides = {size for port in (data.a, data.b) for size in (port.height, port.width)}
    if any(size < SMALLEST or size & (size - 1) for size in sides):
        raise UsageError(
            f"images of {data.a.height}x{data.a.width} do not fit a U-Net, which halves them down "
            "to one pixel",
            cause=f"height and width must be powers of two, at least {SMALLEST}",
            hint="--size 64, or 32, 128, 256, 512",
            code="wrong-size",
        )
    if min(sides) < smallest:
        raise UsageError(
            f"images of {data.a.height}x{data.a.width} are too small for "
            f"patch_levels={config.patch_levels}",
            hint=f"--size {max(smallest, SMALLEST)}, or fewer levels (--set patch_levels=2)",
            code="wrong-size",
        )
