"""Convolutional autoencoder.

Paper: Masci et al. 2011, "Stacked Convolutional Auto-Encoders for Hierarchical Feature
Extraction", ICANN, https://doi.org/10.1007/978-3-642-21735-7_7.
Unpooling with switches: Zeiler & Fergus 2014, arXiv:1311.2901, and Noh et al. 2015,
arXiv:1505.04366.

Objective, of an image x in [0, 1], summed over pixels, mean over the batch:
    Σᵢ (xᵢ - x̂ᵢ)²,   x̂ = g(f(x))

Every level halves height and width; the code is a stack of small maps. An image whose sides are
not multiples of 2^levels is padded inside the encoder by repeating its border, and the decoder
cuts the padding off, so every size fits that is not smaller than one pixel of the code.

`upsampling=unpool` puts each value back where the encoder's max-pooling found it. The decoder
then needs those places (the switches) beside the code: a code alone does not decode, so `encode`
and `reconstruct` leave as ONNX and `decode` does not. The switches tell where the edges were, so
the reconstruction is sharper than the code alone would allow.

Departures from the paper: ReLU instead of tanh, Adam with a one-cycle rate instead of gradient
descent, all levels trained at once instead of one after the other, no tied weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad, relu

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
    pixel_mse,
    psnr,
)


@dataclass(frozen=True)
class ConvAutoencoderConfig:
    """What can be set with ``--set``."""

    channels: tuple[int, ...] = option(
        (16, 32),
        "feature maps of each level of the encoder, which the decoder mirrors",
        at_least=1,
        at_most=4096,
    )
    code_channels: int = option(
        8, "maps of the code, each 2^levels times smaller than the image", at_least=1, at_most=4096
    )
    downsampling: Literal["pool", "strided"] = option(
        "pool", "max-pooling, as in the paper, or convolutions of stride 2, which are quicker"
    )
    upsampling: Literal["transposed", "unpool"] = option(
        "transposed", "transposed convolutions, or max-unpooling, which needs downsampling=pool"
    )
    lr: float = option(1e-2, "greatest learning rate of Adam", above=0.0, at_most=1.0)


class Encoder(nn.Module):
    """x -> code, and the switches of each level: where in its plane every maximum stood."""

    def __init__(self, config: ConvAutoencoderConfig, data: DataSpec) -> None:
        super().__init__()
        self.border = border(data, levels=len(config.channels))
        self.pool = config.downsampling == "pool"
        stride = 1 if self.pool else 2
        self.levels = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1)
            for before, after in pairwise((data.image.channels, *config.channels))
        )
        self.to_code = nn.Conv2d(config.channels[-1], config.code_channels, kernel_size=1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = pad(x, self.border, mode="replicate")
        switches = []
        for convolution in self.levels:
            x = relu(convolution(x))  # (N, channels, H, W), halved already if strided
            if self.pool:
                x, places = max_pool2d(x, 2, return_indices=True)
                switches.append(places)
        return self.to_code(x), switches


class Decoder(nn.Module):
    """Code, and with unpooling the switches -> pixels."""

    def __init__(self, config: ConvAutoencoderConfig, data: DataSpec) -> None:
        super().__init__()
        left, _, top, _ = border(data, levels=len(config.channels))
        self.rows = slice(top, top + data.image.height)
        self.columns = slice(left, left + data.image.width)
        self.unpool = config.upsampling == "unpool"
        self.from_code = nn.Conv2d(config.code_channels, config.channels[-1], kernel_size=1)
        self.levels = nn.ModuleList(
            nn.Conv2d(before, after, kernel_size=3, padding=1)
            if self.unpool
            else nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1)
            for before, after in pairwise((*reversed(config.channels), data.image.channels))
        )

    def forward(self, code: Tensor, switches: Sequence[Tensor] = ()) -> Tensor:
        x: Tensor = self.from_code(code)
        for level, convolution in enumerate(self.levels, start=1):
            x = relu(x)
            if self.unpool:
                x = unpool(x, switches[-level])
            x = convolution(x)  # (N, channels, 2 H, 2 W)
        return x[..., self.rows, self.columns]


class ConvAutoencoder(Model):
    """x -> small maps -> x."""

    Config = ConvAutoencoderConfig
    config: ConvAutoencoderConfig
    training_defaults = Training(epochs=30, batch_size=64)
    goal = Goal("mse", "lowest")

    def __init__(self, config: ConvAutoencoderConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        check(config, data)
        self.encoder = Encoder(config, data)
        self.decoder = Decoder(config, data)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        return {"autoencoder": Player([self.encoder, self.decoder], adam, one_cycle)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        x = (batch["image"] + 1) / 2
        output = self.decoder(*self.encoder(batch["image"]))
        error = (x - output) ** 2
        yield Update("autoencoder", reconstruction=error.flatten(1).sum(dim=1).mean())

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        reconstruction = self.reconstruct(image)
        return {
            "mse": pixel_mse(image, reconstruction).mean(),
            "psnr": psnr(image, reconstruction).mean(),
        }

    def encode(self, image: Tensor) -> Tensor:
        """Return the code (N, code_channels, H / 2^levels, W / 2^levels), sizes rounded up."""
        code: Tensor = self.encoder(image)[0]
        return code

    def decode(self, code: Tensor, switches: Sequence[Tensor] = ()) -> Tensor:
        """Return the image of a code, in [-1, 1]."""
        output: Tensor = self.decoder(code, switches)
        return 2 * output.clamp(0, 1) - 1

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return what is left of x after the code."""
        return self.decode(*self.encoder(image))

    def graphs(self) -> Mapping[str, Graph]:
        image = self.data.image
        reconstruction = Port.image("reconstruction", self.data.image)
        scale = 2 ** len(self.config.channels)
        height, width = -(-image.height // scale), -(-image.width // scale)
        code = Port("code", "latent", ("batch", self.config.code_channels, height, width))
        graphs = {
            "encode": Graph(self.encode, [image], [code]),
            "reconstruct": Graph(self.reconstruct, [image], [reconstruction]),
        }
        if self.config.upsampling == "transposed":
            graphs["decode"] = Graph(self.decode, [code], [image])
        return graphs


def border(data: DataSpec, *, levels: int) -> tuple[int, int, int, int]:
    """Return the padding (left, right, top, bottom) up to the next multiples of 2^levels."""
    wide, high = -data.image.width % 2**levels, -data.image.height % 2**levels
    return wide // 2, wide - wide // 2, high // 2, high - high // 2


def unpool(pooled: Tensor, switches: Tensor) -> Tensor:
    """Return (N, C, 2 H, 2 W) with each value where max-pooling found it, and zeros elsewhere.

    What torch's max_unpool2d does, which refuses to work under deterministic algorithms because
    in general two values may share a place; in pooling without overlap none do.
    """
    images, channels, height, width = pooled.shape
    zeros = pooled.new_zeros(images, channels, 4 * height * width)
    planes = zeros.scatter(2, switches.flatten(2), pooled.flatten(2))
    return planes.view(images, channels, 2 * height, 2 * width)


def check(config: ConvAutoencoderConfig, data: DataSpec) -> None:
    """Refuse what cannot be built.

    Raises:
        UsageError: no levels, more than the image has room for, or unpooling without pooling.
    """
    levels = len(config.channels)
    side = min(data.image.height, data.image.width)
    most = side.bit_length() - 1
    if most < 1:
        raise UsageError(
            "conv-ae: the images are too small to be halved", hint="--size 32", code="wrong-size"
        )
    if not 1 <= levels <= most:
        raise UsageError(
            f"conv-ae: {levels} levels (channels) do not fit images of "
            f"{data.image.height}×{data.image.width} pixels",
            cause=f"every level halves the image; this one has room for 1 to {most}",
            hint=f"--set channels={','.join(map(str, config.channels[:most] or (16,)))}",
            code="bad-value",
        )
    if config.upsampling == "unpool" and config.downsampling != "pool":
        raise UsageError(
            "conv-ae: upsampling=unpool needs downsampling=pool",
            cause="unpooling puts values back where max-pooling found them",
            hint="--set downsampling=pool",
            code="conflicting-options",
        )
