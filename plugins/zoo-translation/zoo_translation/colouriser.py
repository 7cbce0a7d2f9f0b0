"""Colourisation.

Problem and regression: Zhang, Isola & Efros 2016, "Colorful Image Colorization", ECCV,
arXiv:1603.08511. Adversarial form: Isola, Zhu, Zhou & Efros 2017, "Image-to-Image Translation with
Conditional Adversarial Networks" (pix2pix), CVPR, arXiv:1611.07004.

A network G predicts two chroma planes c = (Cb, Cr) of a picture from its lightness Y, both in
[-1, 1]; Y and the predicted planes make the picture. Means are over pixels (or patches), both
planes and the batch.
    regression:     ½ E|c - G(Y)|²                                  equation 1 of Zhang et al.
    adversarial:    E[-log D(Y, G(Y))] + λ E|c - G(Y)|₁             G, equations 1 to 4 of pix2pix
                    ½ E[-log D(Y, c)] + ½ E[-log(1 - D(Y, G(Y)))]   D, on patches (PatchGAN)

The regression's best answer to a thing of several possible colours is their mean, which is grey or
brown; the metrics `saturation` and `real_saturation` tell how much is lost. Zhang et al. classify
colours into 313 bins and rebalance rare ones for that reason; this is not here.

Departures from both papers: YCbCr of JPEG (BT.601, full range) instead of Lab, because its
lightness is the grey of image files and its inverse is linear. A small U-Net with batch
normalisation for both objectives. From pix2pix: no dropout as noise, so that one lightness has one
colouring; the discriminator has fewer layers by default. The lightness of the result is exactly the
one given: chroma that does not fit into RGB at that lightness is scaled towards grey, where
clipping would change the lightness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, l1_loss, mse_loss, softplus

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
    normal_weights,
    one_cycle,
    option,
    pixel_mse,
)

RED, GREEN, BLUE = 0.299, 0.587, 0.114  # weights of luma, BT.601
CB, CR = 2 * (1 - BLUE), 2 * (1 - RED)  # B - Y = CB · Cb, R - Y = CR · Cr
TINY = 1e-6  # of a chroma that is taken for none


@dataclass(frozen=True)
class ColouriserConfig:
    """What can be set with ``--set``."""

    features: int = option(
        32, "feature maps of the first layer; twice and four times as many below", at_least=1,
        at_most=1024,
    )  # fmt: skip
    loss: Literal["regression", "adversarial"] = option(
        "regression", "squared error of chroma, or a conditional discriminator beside the absolute"
    )
    l1_weight: float = option(100.0, "λ of the absolute error beside the discriminator", at_least=0)
    discriminator_features: int = option(
        32, "feature maps of the discriminator's first layer; 64 in pix2pix", at_least=1,
        at_most=1024,
    )  # fmt: skip
    patch_levels: int = option(
        2, "strided layers of the discriminator: 2 judges patches of 34 pixels, 3, as in pix2pix, "
        "of 70", at_least=1, at_most=8,
    )  # fmt: skip
    flip: bool = option(True, "mirror half of the images")
    lr: float = option(
        1e-3, "greatest learning rate of Adam; a fifth of it with a discriminator", above=0.0,
        at_most=1.0,
    )  # fmt: skip


class UNet(nn.Module):
    """Lightness (N, 1, H, W) -> chroma (N, 2, H, W) in [-1, 1], of any height and width."""

    def __init__(self, features: int) -> None:
        super().__init__()
        f = features
        self.start = convolution(1, f)
        self.down = nn.ModuleList([
            nn.Sequential(convolution(f, 2 * f, stride=2), convolution(2 * f, 2 * f)),
            nn.Sequential(convolution(2 * f, 4 * f, stride=2), convolution(4 * f, 4 * f)),
            nn.Sequential(convolution(4 * f, 4 * f, stride=2), convolution(4 * f, 4 * f)),
        ])  # fmt: skip
        self.up = nn.ModuleList([
            convolution(4 * f + 4 * f, 4 * f),
            convolution(4 * f + 2 * f, 2 * f),
            convolution(2 * f + f, f),
        ])  # fmt: skip
        self.end = nn.Conv2d(f, 2, kernel_size=3, padding=1)

    def forward(self, lightness: Tensor) -> Tensor:
        x = self.start(lightness)
        passed = []
        for layer in self.down:
            passed.append(x)
            x = layer(x)
        for layer in self.up:
            beside = passed.pop()
            height, width = beside.shape[2:]
            larger = interpolate(x, scale_factor=2.0, mode="nearest")[:, :, :height, :width]
            x = layer(torch.cat([larger, beside], dim=1))
        return torch.tanh(self.end(x))


class Discriminator(nn.Module):
    """Lightness and chroma (N, 3, H, W) -> logit of each overlapping patch, (N, 1, H', W')."""

    def __init__(self, features: int, levels: int) -> None:
        super().__init__()
        widths = [features * min(2**level, 8) for level in range(levels + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, stride=2, padding=1)]
        for level in range(1, levels + 1):
            layers += [
                nn.LeakyReLU(0.2),
                nn.Conv2d(
                    widths[level - 1], widths[level], kernel_size=4,
                    stride=2 if level < levels else 1, padding=1, bias=False,
                ),
                nn.BatchNorm2d(widths[level]),
            ]  # fmt: skip
        layers += [nn.LeakyReLU(0.2), nn.Conv2d(widths[-1], 1, kernel_size=4, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, picture: Tensor) -> Tensor:
        logits: Tensor = self.layers(picture)
        return logits


def convolution(before: int, after: int, *, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution with batch normalisation and ReLU."""
    layer = nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(after), nn.ReLU())


class Colouriser(Model):
    """Lightness -> a picture in colour of that lightness."""

    Config = ColouriserConfig
    config: ColouriserConfig
    training_defaults = Training(epochs=20, batch_size=16)
    goal: Goal | None = Goal("error", "lowest")

    def __init__(self, config: ColouriserConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        check_data(config, data)
        self.network = UNet(config.features)
        if config.loss == "adversarial":
            self.goal = None  # the least error is that of pale colours
            self.discriminator = Discriminator(config.discriminator_features, config.patch_levels)
            self.apply(normal_weights)

    def players(self) -> Mapping[str, Player]:
        lr = self.config.lr
        if self.config.loss == "regression":
            adam = partial(torch.optim.Adam, lr=lr, fused=True)
            return {"colouriser": Player([self.network], adam, one_cycle)}
        adam = partial(torch.optim.Adam, lr=lr / 5, betas=(0.5, 0.999), fused=True)
        return {
            "colouriser": Player([self.network], adam),
            "discriminator": Player([self.discriminator], adam, loss_at_random_guess=log(2)),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        lightness, chroma = split(self.varied(batch["image"]))
        guess = self.network(lightness)
        if self.config.loss == "regression":
            yield Update("colouriser", chroma=mse_loss(guess.float(), chroma) / 2)
            return
        made, real = torch.cat([lightness, guess], dim=1), torch.cat([lightness, chroma], dim=1)
        yield Update(
            "colouriser",
            fool=softplus(-self.discriminator(made).float()).mean(),  # -log D(Y, G(Y))
            l1=self.config.l1_weight * l1_loss(guess.float(), chroma),
        )
        yield Update(
            "discriminator",
            real=softplus(-self.discriminator(real).float()).mean() / 2,
            fake=softplus(self.discriminator(made.detach()).float()).mean() / 2,
        )

    def varied(self, image: Tensor) -> Tensor:
        """Return the images, each mirrored with probability ½ where `flip` is set."""
        if not self.config.flip:
            return image
        mirrored = torch.rand(len(image), 1, 1, 1, device=image.device) < 0.5
        return torch.where(mirrored, image.flip(3), image)

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Errors are root mean squares over the pixels and RGB of an image, on [0, 1].

        `grey_error` is that of the picture without colours. Saturation is the mean length of
        (Cb, Cr), of what comes out and of the real picture.
        """
        image = batch["image"]
        lightness, chroma = split(image)
        coloured = self.colourise(lightness)
        return {
            "error": pixel_mse(image, coloured).sqrt().mean(),
            "grey_error": pixel_mse(image, lightness.expand_as(image)).sqrt().mean(),
            "saturation": saturation(split(coloured)[1]),
            "real_saturation": saturation(chroma),
        }

    def colourise(self, lightness: Tensor) -> Tensor:
        """Y (N, 1, H, W) -> RGB (N, 3, H, W) in [-1, 1] of that lightness."""
        return join(lightness, self.network(lightness))

    def graphs(self) -> Mapping[str, Graph]:
        shape = ("batch", 1, "height", "width")
        lightness = Port("lightness", "image", shape, range=(-1.0, 1.0))
        coloured = Port.image("coloured", like=self.data.image, any_size=True)
        return {"colourise": Graph(self.colourise, [lightness], [coloured])}


def split(image: Tensor) -> tuple[Tensor, Tensor]:
    """RGB (N, 3, H, W) -> lightness Y (N, 1, H, W) and chroma Cb, Cr (N, 2, H, W), in [-1, 1]."""
    red, green, blue = image[:, :1].float(), image[:, 1:2].float(), image[:, 2:].float()
    lightness = RED * red + GREEN * green + BLUE * blue
    return lightness, torch.cat([(blue - lightness) / CB, (red - lightness) / CR], dim=1)


def join(lightness: Tensor, chroma: Tensor) -> Tensor:
    """Return RGB in [-1, 1] of exactly that lightness, and of that chroma as far as there is room.

    A colour beyond the range is moved on a straight line towards grey, so that its hue stays.
    """
    blue, red = (chroma[:, :1] * CB, chroma[:, 1:] * CR)  # B - Y and R - Y
    green = -(RED * red + BLUE * blue) / GREEN  # luma of a difference is 0
    difference = torch.cat([red, green, blue], dim=1)
    room = torch.where(difference > 0, 1 - lightness, 1 + lightness)
    share = (room / difference.abs().clamp(min=TINY)).amin(dim=1, keepdim=True).clamp(0, 1)
    return (lightness + share * difference).clamp(-1, 1)  # of rounding errors


def saturation(chroma: Tensor) -> Tensor:
    """Return the mean length of (Cb, Cr): 0 for grey, 0.6 to 0.7 for pure red and blue."""
    return chroma.square().sum(dim=1).sqrt().mean()


def check_data(config: ColouriserConfig, data: DataSpec) -> None:
    """Check that the data has colours, and that a discriminator has a patch to judge.

    Raises:
        UsageError: the data is grey, or its images are too small for that many levels.
    """
    if data.image.channels != 3:
        raise UsageError(
            f"colours cannot be learnt from {data.name}, whose pictures are grey",
            hint="--data emoji-mixed, or pictures of your own in colour",
            code="wrong-data",
        )
    smallest = 3 * 2**config.patch_levels
    if config.loss == "adversarial" and min(data.image.height, data.image.width) < smallest:
        raise UsageError(
            f"images of {data.image.height}x{data.image.width} are too small for "
            f"patch_levels={config.patch_levels}",
            hint=f"--size {max(smallest, 8)}, or fewer levels (--set patch_levels=1)",
            code="wrong-size",
        )
