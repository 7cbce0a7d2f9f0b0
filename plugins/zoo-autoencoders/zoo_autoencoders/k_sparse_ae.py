"""k-sparse autoencoder.

Paper: Makhzani & Frey 2014, "k-Sparse Autoencoders", arXiv:1312.5663.

Objective (algorithm 1), of an image x in [0, 1], summed over pixels, mean over the batch:
    z = Wᵀx + b                          (units,), no activation function
    zᵢ = 0 for every i outside of supp_k(z), the places of the k greatest
    ‖x - x̂‖²,   x̂ = Wz + b'              with the same W: the weights are tied

k falls from `k_start` to `k` on a straight line over the first half of the training: where it is
small from the beginning, units that are never among the greatest learn nothing (section 4.2).
The code for other uses, `encode`, keeps the αk greatest; `reconstruct` keeps k, as in training.

A unit is called dead when it is among the k greatest of no image of a validation batch.

Departures from the paper: Adam with a one-cycle rate instead of gradient descent with momentum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

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


@dataclass(frozen=True)
class KSparseAutoencoderConfig:
    """What can be set with ``--set``."""

    hidden_units: int = option(1000, "units of the code", at_least=1, at_most=65536)
    k: int = option(25, "units that are kept; all, where there are fewer", at_least=1)
    k_start: int = option(
        200, "k in the beginning, from which it falls; not above k: constant", at_least=1
    )
    alpha: float = option(
        2.0, "α: encode keeps the αk greatest, for classifiers", at_least=1.0, at_most=100.0
    )
    lr: float = option(1e-3, "greatest learning rate of Adam", above=0.0, at_most=1.0)


class TiedNetwork(nn.Module):
    """x -> z, all units -> the k greatest -> x̂, with one matrix for both ways."""

    def __init__(self, units: int, data: DataSpec) -> None:
        super().__init__()
        self.shape = data.image.image_shape
        self.to_code = nn.Linear(data.image.pixels, units)
        self.output_bias = nn.Parameter(torch.zeros(data.image.pixels))

    def forward(self, x: Tensor, k: int) -> Tensor:
        return self.decode(keep_greatest(self.encode(x), k))

    def encode(self, x: Tensor) -> Tensor:
        """Return z = Wᵀx + b, (N, units)."""
        z: Tensor = self.to_code(x.flatten(1))
        return z.float()

    def decode(self, z: Tensor) -> Tensor:
        """Return x̂ = Wz + b', (N, C, H, W)."""
        output = linear(z, self.to_code.weight.t(), self.output_bias)
        return output.view(-1, *self.shape)


class KSparseAutoencoder(Model):
    """x -> the k greatest of many linear units -> x."""

    Config = KSparseAutoencoderConfig
    config: KSparseAutoencoderConfig
    training_defaults = Training(epochs=40, batch_size=128)
    goal = Goal("mse", "lowest")

    def __init__(self, config: KSparseAutoencoderConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.network = TiedNetwork(config.hidden_units, data)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        return {"autoencoder": Player([self.network], adam, one_cycle)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        x = (batch["image"] + 1) / 2
        error = (x - self.network(x, self.k_now())) ** 2
        yield Update("autoencoder", reconstruction=error.flatten(1).sum(dim=1).mean())

    def k_now(self) -> int:
        """Return k at this share of the training: it falls over the first half."""
        start, end = max(self.config.k_start, self.config.k), self.config.k
        return round(start + (end - start) * min(1.0, 2 * self.progress))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        reconstruction = self.reconstruct(image)
        kept = keep_greatest(self.network.encode((image + 1) / 2), self.config.k) != 0
        return {
            "mse": pixel_mse(image, reconstruction).mean(),
            "psnr": psnr(image, reconstruction).mean(),
            "dead_units": 1 - kept.any(dim=0).float().mean(),
        }

    def encode(self, image: Tensor) -> Tensor:
        """Return the αk greatest units, and 0 for the others."""
        z = self.network.encode((image + 1) / 2)
        return keep_greatest(z, round(self.config.alpha * self.config.k))

    def decode(self, code: Tensor) -> Tensor:
        """Return the image of a code, in [-1, 1]."""
        return 2 * self.network.decode(code).clamp(0, 1) - 1

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return what is left of x after the k greatest units."""
        z = self.network.encode((image + 1) / 2)
        return self.decode(keep_greatest(z, self.config.k))

    def graphs(self) -> Mapping[str, Graph]:
        image = self.data.image
        code = Port.latent("code", self.config.hidden_units, prior=None)  # nothing draws codes
        reconstruction = Port.image("reconstruction", self.data.image)
        return {
            "encode": Graph(self.encode, [image], [code]),
            "decode": Graph(self.decode, [code], [image]),
            "reconstruct": Graph(self.reconstruct, [image], [reconstruction]),
        }


def keep_greatest(z: Tensor, k: int) -> Tensor:
    """Return z (N, units) with all but the k greatest of each row set to 0."""
    values, places = z.topk(min(k, z.shape[1]), dim=1)
    return torch.zeros_like(z).scatter(1, places, values)
