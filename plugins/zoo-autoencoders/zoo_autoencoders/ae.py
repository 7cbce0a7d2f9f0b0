"""Deep autoencoder.

Paper: Hinton & Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks",
Science 313, https://doi.org/10.1126/science.1127647.
Principal components: Baldi & Hornik 1989, "Neural Networks and Principal Component Analysis".

Objective, of an image x in [0, 1] and its code z = f(x), summed over pixels, mean over the batch:
    mse:  Σᵢ (xᵢ - x̂ᵢ)²                                   x̂ = g(z)
    bce:  -Σᵢ [xᵢ log x̂ᵢ + (1 - xᵢ) log(1 - x̂ᵢ)]          x̂ = sigmoid(g(z))

With `loss=mse activation=linear hidden=` (one linear layer each way) the best code spans the
first principal components, and the error is PCA's.

Departures from the paper: random initial weights instead of stacked Boltzmann machines, ReLU
instead of logistic units, Adam with a one-cycle rate instead of conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

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

ACTIVATIONS = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
}


@dataclass(frozen=True)
class AutoencoderConfig:
    """What can be set with ``--set``."""

    code_size: int = option(32, "numbers in the code", at_least=1, at_most=65536)
    hidden: tuple[int, ...] = option(
        (512, 256),
        "units of each hidden layer of the encoder, which the decoder mirrors; may be empty",
        at_least=1,
        at_most=65536,
    )
    activation: Literal["relu", "silu", "tanh", "sigmoid", "linear"] = option(
        "relu", "of the hidden layers; the code itself is linear, as in the paper"
    )
    loss: Literal["mse", "bce"] = option(
        "bce", "squared error, or cross-entropy, which takes grey values as probabilities"
    )
    lr: float = option(2e-3, "greatest learning rate of Adam", above=0.0, at_most=1.0)


class Autoencoder(Model):
    """x -> code -> x, fully connected."""

    Config = AutoencoderConfig
    config: AutoencoderConfig
    training_defaults = Training(epochs=30, batch_size=64)
    goal = Goal("mse", "lowest")

    def __init__(self, config: AutoencoderConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        activation = ACTIVATIONS[config.activation]
        sizes = (data.image.pixels, *config.hidden)
        self.encoder = nn.Sequential(
            nn.Flatten(),
            *mlp(*sizes, activation=activation),
            nn.Linear(sizes[-1], config.code_size),
        )
        self.decoder = nn.Sequential(
            *mlp(config.code_size, *reversed(config.hidden), activation=activation),
            nn.Linear(config.hidden[0] if config.hidden else config.code_size, data.image.pixels),
            nn.Unflatten(1, data.image.image_shape),
        )

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        return {"autoencoder": Player([self.encoder, self.decoder], adam, one_cycle)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = batch["image"]
        output = self.decoder(self.encoder(image))
        yield Update("autoencoder", reconstruction=self.loss(image, output).mean())

    def loss(self, image: Tensor, output: Tensor) -> Tensor:
        """Return the objective by image, (N,): summed over the pixels of x in [0, 1]."""
        x = (image + 1) / 2
        if self.config.loss == "bce":
            error = binary_cross_entropy_with_logits(output.float(), x, reduction="none")
        else:
            error = (x - output) ** 2
        return error.flatten(1).sum(dim=1)

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        reconstruction = self.reconstruct(image)
        return {
            "mse": pixel_mse(image, reconstruction).mean(),
            "psnr": psnr(image, reconstruction).mean(),
        }

    def decode(self, code: Tensor) -> Tensor:
        """Return the image of a code, in [-1, 1]."""
        output = self.decoder(code)
        x = torch.sigmoid(output) if self.config.loss == "bce" else output.clamp(0, 1)
        return 2 * x - 1

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return what is left of x after the code."""
        return self.decode(self.encoder(image))

    def graphs(self) -> Mapping[str, Graph]:
        image = self.data.image
        code = Port.latent("code", self.config.code_size, prior=None)  # nothing draws codes
        reconstruction = Port.image("reconstruction", self.data.image)
        return {
            "encode": Graph(self.encoder, [image], [code]),
            "decode": Graph(self.decode, [code], [image]),
            "reconstruct": Graph(self.reconstruct, [image], [reconstruction]),
        }
