"""Sparse autoencoder.

Paper: Ng 2011, "Sparse autoencoder", CS294A lecture notes,
https://web.stanford.edu/class/cs294a/sparseAutoencoder_2011new.pdf;
after Lee, Ekanadham & Ng 2008, "Sparse deep belief net model for visual area V2", NIPS 20.

Objective, of images x in [0, 1], hidden units a = sigmoid(W₁x + b₁) and x̂ = sigmoid(W₂a + b₂):
    J = ½ Σᵢ (xᵢ - x̂ᵢ)² + β Σⱼ KL(ρ ‖ ρ̂ⱼ) + ½ λ ‖W‖²
    KL(ρ ‖ ρ̂ⱼ) = ρ log(ρ / ρ̂ⱼ) + (1 - ρ) log((1 - ρ) / (1 - ρ̂ⱼ))
The squared error is summed over pixels, mean over the batch; ρ̂ⱼ is unit j's mean activation over
the batch, and its penalty is summed over the hidden units. β is `sparsity_weight`.

A hidden unit is called dead when its activation differs by less than 0.01 among the images of a
validation batch: whether silent or always on, it says nothing about the image.

Departures from the paper: ρ̂ⱼ of the batch (of each device) instead of the whole training set,
Adam with a one-cycle rate instead of L-BFGS; λ is Adam's weight decay and reaches the biases too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from zoo import (
    DataSpec,
    Goal,
    Graph,
    Model,
    Player,
    Port,
    Training,
    Update,
    one_cycle,
    option,
    pixel_mse,
    psnr,
)

DEAD = 0.01  # least difference of activations that says something


@dataclass(frozen=True)
class SparseAutoencoderConfig:
    """What can be set with ``--set``."""

    hidden_units: int = option(256, "units of the hidden layer", at_least=1, at_most=65536)
    rho: float = option(0.05, "ρ, the mean activation wanted of a unit", above=0.0, below=1.0)
    sparsity_weight: float = option(3.0, "β, weight of the KL penalty", at_least=0.0)
    weight_decay: float = option(0.0, "λ, weight of ½‖W‖²", at_least=0.0)
    lr: float = option(1e-2, "greatest learning rate of Adam", above=0.0, at_most=1.0)


class SparseAutoencoder(Model):
    """x -> few active units out of many -> x."""

    Config = SparseAutoencoderConfig
    config: SparseAutoencoderConfig
    training_defaults = Training(epochs=60, batch_size=128)
    goal = Goal("objective", "lowest")

    def __init__(self, config: SparseAutoencoderConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        units = config.hidden_units
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(data.image.pixels, units), nn.Sigmoid()
        )
        self.decoder = nn.Sequential(  # activations -> logits of the pixels
            nn.Linear(units, data.image.pixels), nn.Unflatten(1, data.image.image_shape)
        )

    def players(self) -> Mapping[str, Player]:
        adam = partial(
            torch.optim.Adam, lr=self.config.lr, weight_decay=self.config.weight_decay, fused=True
        )
        return {"autoencoder": Player([self.encoder, self.decoder], adam, one_cycle)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        error, sparsity, _ = self.objective(batch["image"])
        yield Update("autoencoder", reconstruction=error, sparsity=sparsity)

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        error, sparsity, activations = self.objective(image)
        reconstruction = self.decode(activations)
        spread = activations.amax(dim=0) - activations.amin(dim=0)  # (hidden units,)
        return {
            "objective": error + sparsity,
            "mse": pixel_mse(image, reconstruction).mean(),
            "psnr": psnr(image, reconstruction).mean(),
            "mean_activation": activations.float().mean(),
            "dead_units": (spread < DEAD).float().mean(),
        }

    def objective(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the error and the weighted penalty of a batch, and activations (N, units)."""
        activations = self.encoder(image)
        error = (image - self.decode(activations)) / 2  # of x in [0, 1]
        half_squares = 0.5 * (error**2).flatten(1).sum(dim=1)
        kl = kl_to_rho(self.config.rho, activations.float().mean(dim=0))  # (units,)
        return half_squares.mean(), self.config.sparsity_weight * kl.sum(), activations

    def decode(self, code: Tensor) -> Tensor:
        """Return the image of the activations, in [-1, 1]."""
        return 2 * torch.sigmoid(self.decoder(code).float()) - 1

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return what is left of x after the hidden units."""
        return self.decode(self.encoder(image))

    def graphs(self) -> Mapping[str, Graph]:
        image = self.data.image
        code = Port.latent("code", self.config.hidden_units, prior=None)  # nothing draws codes
        reconstruction = Port.image("reconstruction", self.data.image)
        return {
            "encode": Graph(self.encoder, [image], [code]),
            "decode": Graph(self.decode, [code], [image]),
            "reconstruct": Graph(self.reconstruct, [image], [reconstruction]),
        }


def kl_to_rho(rho: float, mean_activation: Tensor) -> Tensor:
    """KL(ρ ‖ ρ̂) = ρ log(ρ / ρ̂) + (1 - ρ) log((1 - ρ) / (1 - ρ̂)), elementwise, in nats."""
    rho_hat = mean_activation.clamp(1e-6, 1 - 1e-6)  # a sigmoid may round to 0 or 1
    wanted = torch.tensor(rho, device=rho_hat.device)
    return wanted * (wanted / rho_hat).log() + (1 - wanted) * ((1 - wanted) / (1 - rho_hat)).log()
