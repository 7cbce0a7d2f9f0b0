"""Super-resolution.

Paper: Ledig et al. 2017, "Photo-Realistic Single Image Super-Resolution Using a Generative
Adversarial Network", CVPR, arXiv:1609.04802: SRResNet, and SRGAN. The shuffling of maps to pixels
is from Shi et al. 2016, ESPCN, arXiv:1609.05158.

A generator G enlarges s, the picture x made smaller by an integer factor: each pixel of s is the
mean of factor x factor pixels of x. Images are in [-1, 1]; means are over pixels, channels and
batch (or the batch, for D). The generator and the discriminator lower
    E|x - G(s)|  or  E|x - G(s)|²  +  α E[-log D(G(s))]
    E[-log D(x)] + E[-log(1 - D(G(s)))]                     where α > 0
With α > 0, the first half of the training is without the discriminator, as the paper starts SRGAN
from a trained SRResNet.

Metrics, on RGB (or grey) in [0, 1], no border cut off: `psnr` of G(s), and `bicubic_psnr` of
torch's bicubic interpolation of s (a = -0.75, no antialiasing), clipped to the range. Papers mostly
give the PSNR of Y, without a border, of pictures made smaller by an antialiased bicubic filter:
their figures cannot be compared with these.

Departures from the paper: no batch normalisation in the generator unless `batch_norm` is set,
because it leaves marks (Lim et al. 2017, EDSR, arXiv:1707.02921, which also has the absolute
error). G adds to the bicubic enlargement instead of drawing all anew, and begins as it: its last
convolution is 0 at first. Its first and last kernels are 5x5 instead of 9x9. The content loss is
that of pixels (SRGAN-MSE in the paper), not of VGG features. The discriminator has fewer layers and
takes the mean over all places, so that it fits any size. Pictures are made smaller by means, not by
bicubic interpolation after a Gaussian filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, l1_loss, mse_loss, softplus

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
    one_cycle,
    option,
    psnr,
)


@dataclass(frozen=True)
class SuperResolutionConfig:
    """What can be set with ``--set``."""

    factor: Literal[2, 4] = option(2, "how many times as high and as wide pictures become")
    features: int = option(32, "feature maps; 64 in the paper", at_least=1, at_most=1024)
    blocks: int = option(4, "residual blocks; 16 in the paper", at_least=1, at_most=100)
    batch_norm: bool = option(False, "batch normalisation in the blocks, as in the paper")
    loss: Literal["l1", "mse"] = option("l1", "absolute error, or squared error as in the paper")
    adversarial: float = option(
        0.0, "α of the discriminator in the second half; 1e-3 in the paper, 0 for none", at_least=0
    )
    discriminator_features: int = option(
        32, "feature maps of the discriminator's first layer; 64 in the paper", at_least=1,
        at_most=1024,
    )  # fmt: skip
    lr: float = option(1e-3, "greatest learning rate of Adam", above=0.0, at_most=1.0)


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, features: int, *, batch_norm: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *convolution(features, batch_norm=batch_norm),
            nn.PReLU(),
            *convolution(features, batch_norm=batch_norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.layers(x)
        return result


class Generator(nn.Module):
    """Picture (N, C, H, W) -> picture (N, C, factor · H, factor · W) in [-1, 1], of any size."""

    def __init__(self, channels: int, config: SuperResolutionConfig) -> None:
        super().__init__()
        f, self.factor = config.features, config.factor
        doublings = config.factor.bit_length() - 1
        self.start = nn.Sequential(nn.Conv2d(channels, f, kernel_size=5, padding=2), nn.PReLU())
        self.blocks = nn.Sequential(
            *(Residual(f, batch_norm=config.batch_norm) for _ in range(config.blocks)),
            *convolution(f, batch_norm=config.batch_norm),
        )
        enlarge: list[nn.Module] = []
        for _ in range(doublings):
            enlarge += [
                nn.Conv2d(f, 4 * f, kernel_size=3, padding=1),
                nn.PixelShuffle(2),
                nn.PReLU(),
            ]
        self.enlarge = nn.Sequential(*enlarge)
        self.end = nn.Conv2d(f, channels, kernel_size=5, padding=2)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)  # type: ignore[arg-type] # it has one

    def forward(self, small: Tensor) -> Tensor:
        x = self.start(small)
        change: Tensor = self.end(self.enlarge(x + self.blocks(x)))
        return (bicubic(small, self.factor) + change).clamp(-1, 1)


class Discriminator(nn.Module):
    """Picture (N, C, H, W) -> logit of being real, (N,)."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        f = features
        layers: list[nn.Module] = [nn.Conv2d(channels, f, kernel_size=3, padding=1)]
        for before, after in ((f, f), (f, 2 * f), (2 * f, 4 * f)):
            layers += [
                nn.LeakyReLU(0.2),
                nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
            ]
        self.layers = nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Conv2d(4 * f, 1, kernel_size=1))

    def forward(self, image: Tensor) -> Tensor:
        logit: Tensor = self.layers(image).mean(dim=(1, 2, 3))
        return logit


def convolution(features: int, *, batch_norm: bool) -> list[nn.Module]:
    """Return a 3x3 convolution, with batch normalisation where it is wanted."""
    layer = nn.Conv2d(features, features, kernel_size=3, padding=1, bias=not batch_norm)
    return [layer, nn.BatchNorm2d(features)] if batch_norm else [layer]


class SuperResolution(Model):
    """A small picture -> a large one."""

    Config = SuperResolutionConfig
    config: SuperResolutionConfig
    training_defaults = Training(epochs=30, batch_size=16)
    goal: Goal | None = Goal("psnr", "highest")

    def __init__(self, config: SuperResolutionConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        check_size(config.factor, data)
        self.generator = Generator(data.image.channels, config)
        if config.adversarial:
            self.goal = None  # the best PSNR is that of before the discriminator
            features = config.discriminator_features
            self.discriminator = Discriminator(data.image.channels, features)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        players = {"generator": Player([self.generator], adam, one_cycle)}
        if self.config.adversarial:
            players["discriminator"] = Player(
                [self.discriminator], partial(adam, lr=1e-4), loss_at_random_guess=2 * log(2)
            )
        return players

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = batch["image"]
        enlarged = self.generator(shrunk(image, self.config.factor))
        error = l1_loss if self.config.loss == "l1" else mse_loss
        content = error(enlarged.float(), image)
        if not self.config.adversarial or self.progress < 0.5:
            yield Update("generator", content=content)
            return
        fool = softplus(-self.discriminator(enlarged).float()).mean()  # -log D(G(s))
        yield Update("generator", content=content, fool=self.config.adversarial * fool)
        yield Update(
            "discriminator",
            real=softplus(-self.discriminator(image).float()).mean(),
            fake=softplus(self.discriminator(enlarged.detach()).float()).mean(),
        )

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image, factor = batch["image"], self.config.factor
        small = shrunk(image, factor)
        return {
            "psnr": psnr(image, self.generator(small)).mean(),
            "bicubic_psnr": psnr(image, bicubic(small, factor).clamp(-1, 1)).mean(),
        }

    def graphs(self) -> Mapping[str, Graph]:
        channels = self.data.image.channels
        small = Port.image("small", like=self.data.image, any_size=True)
        shape = ("batch", channels, "large_height", "large_width")
        large = Port("large", "image", shape, range=(-1.0, 1.0))
        return {"enlarge": Graph(self.generator, [small], [large])}


def shrunk(image: Tensor, factor: int) -> Tensor:
    """(N, C, H, W) -> (N, C, H / factor, W / factor), means of factor x factor pixels."""
    return avg_pool2d(image, factor)


def bicubic(small: Tensor, factor: int) -> Tensor:
    """Return the picture enlarged by bicubic interpolation, which may go beyond the range."""
    return interpolate(small, scale_factor=float(factor), mode="bicubic", align_corners=False)


def check_size(factor: int, data: DataSpec) -> None:
    """Check that the images can be made smaller by the factor.

    Raises:
        UsageError: height or width is no multiple of it.
    """
    height, width = data.image.height, data.image.width
    if height % factor or width % factor:
        fitting = f"{max(1, height // factor) * factor}x{max(1, width // factor) * factor}"
        raise UsageError(
            f"images of {height}x{width} cannot be made {factor} times smaller",
            hint=f"--size {fitting}",
            code="wrong-size",
        )
