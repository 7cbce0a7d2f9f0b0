"""Semantic hashing: an autoencoder whose code is bits, to search pictures by.

Paper: Salakhutdinov & Hinton 2009, "Semantic hashing", International Journal of Approximate
Reasoning 50, https://doi.org/10.1016/j.ijar.2008.11.006;
of pictures: Krizhevsky & Hinton 2011, "Using Very Deep Autoencoders for Content-Based Image
Retrieval", ESANN.

Objective, of an image x in [0, 1], summed over pixels, mean over the batch:
    -Σᵢ [xᵢ log x̂ᵢ + (1 - xᵢ) log(1 - x̂ᵢ)],   x̂ = sigmoid(g(h)),
    h = sigmoid(f(x) + σ ε),   ε ~ N(0, 1) for each unit of the code
Under noise that is large beside 1, only f(x) far from 0 tells anything reliably, and so h becomes
nearly bits. Afterwards
    bits(x) = 1 where f(x) > 0, else 0
Similar pictures have codes that differ in few bits (Hamming distance): an address in a memory.

A bit is worth most where it is 1 for half of the pictures. So f(x) has the mean 0 over the batch in
training (of each device), and over a moving average of these means afterwards. `bit_entropy` is the
mean over the bits of the entropy of the share of ones, at most 1.

Departures from the paper: the mean 0; no Boltzmann machines in the beginning, but layer
normalisation; noise is drawn anew in each step instead of once for each picture; Adam with a
one-cycle rate instead of conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from zoo import (
    DataSpec,
    Goal,
    Graph,
    Model,
    Player,
    Port,
    Training,
    Update,
    mlp,
    one_cycle,
    option,
    pixel_mse,
    psnr,
)

DECAY = 0.98  # of the moving average of the mean m, a step


@dataclass(frozen=True)
class HashingAutoencoderConfig:
    """What can be set with ``--set``."""

    bits: int = option(32, "bits of the code", at_least=1, at_most=4096)
    hidden: tuple[int, ...] = option(
        (512, 256),
        "units of each hidden layer of the encoder, which the decoder mirrors; may be empty",
        at_least=1,
        at_most=65536,
    )
    sigma: float = option(
        4.0, "σ of the noise that goes into the units of the code; 4 as in the paper", at_least=0.0
    )
    lr: float = option(2e-3, "greatest learning rate of Adam", above=0.0, at_most=1.0)


class HashingAutoencoder(Model):
    """x -> bits -> x, fully connected."""

    Config = HashingAutoencoderConfig
    config: HashingAutoencoderConfig
    training_defaults = Training(epochs=40, batch_size=64)
    goal = Goal("mse", "lowest")

    def __init__(self, config: HashingAutoencoderConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        sizes = (data.image.pixels, *config.hidden, config.bits)
        self.encoder = nn.Sequential(  # x -> f(x) + m, the input of the units of the code
            nn.Flatten(),
            *mlp(*sizes[:-1], layer_norm=True),
            nn.Linear(sizes[-2], sizes[-1], bias=False),
        )
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(config.bits))
        self.decoder = nn.Sequential(  # h -> logits of the pixels
            *mlp(*reversed(sizes[1:]), layer_norm=True),
            nn.Linear(sizes[1], data.image.pixels),
            nn.Unflatten(1, data.image.image_shape),
        )

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        return {"autoencoder": Player([self.encoder, self.decoder], adam, one_cycle)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = batch["image"]
        f = self.encoder(image).float()
        mean = f.mean(dim=0)
        self.mean.lerp_(mean.detach(), 1 - DECAY)
        f = f - mean
        h = torch.sigmoid(f + self.config.sigma * torch.randn_like(f))
        x = (image + 1) / 2
        error = binary_cross_entropy_with_logits(self.decoder(h).float(), x, reduction="none")
        yield Update("autoencoder", reconstruction=error.flatten(1).sum(dim=1).mean())

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        bits = self.encode(image)
        reconstruction = self.decode(bits)
        return {
            "mse": pixel_mse(image, reconstruction).mean(),
            "psnr": psnr(image, reconstruction).mean(),
            "bit_entropy": entropy_of_bits(bits.mean(dim=0)).mean(),
        }

    def encode(self, image: Tensor) -> Tensor:
        """Return bits(x), each 0 or 1, (N, bits)."""
        f: Tensor = self.encoder(image) - self.mean
        return (f > 0).float()

    def decode(self, code: Tensor) -> Tensor:
        """Return the image of a code, in [-1, 1]."""
        return 2 * torch.sigmoid(self.decoder(code)) - 1

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return what is left of x after the bits."""
        return self.decode(self.encode(image))

    def graphs(self) -> Mapping[str, Graph]:
        image = self.data.image
        code = Port("code", "latent", ("batch", self.config.bits), range=(0.0, 1.0))
        reconstruction = Port.image("reconstruction", self.data.image)
        return {
            "encode": Graph(self.encode, [image], [code]),
            "decode": Graph(self.decode, [code], [image]),
            "reconstruct": Graph(self.reconstruct, [image], [reconstruction]),
        }


def entropy_of_bits(share: Tensor) -> Tensor:
    """Return -p log₂ p - (1 - p) log₂(1 - p) of shares p in [0, 1], elementwise, in bits."""
    p = share.clamp(1e-6, 1 - 1e-6)
    return -(p * p.log2() + (1 - p) * (1 - p).log2())
