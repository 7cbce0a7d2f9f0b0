"""Winner-take-all autoencoder.

Paper: Makhzani & Frey 2015, "Winner-Take-All Autoencoders", NIPS 28, arXiv:1409.2752.

Objective, of an image x in [0, 1], summed over pixels, mean over the batch:
    ‖x - x̂‖²,   x̂ = g(s),   g linear
`network=fully-connected` (section 2): a = ReLU(f(x)), one number a unit, and
    lifetime sparsity: a unit is kept for the p% of the batch where it is greatest, else it is 0
`network=convolutional` (section 4): a = ReLU(f(x)), a map a unit; before that
    spatial sparsity: of each map, all but its greatest value become 0
and a map keeps that value where it is among the greatest p% over the batch. x̂ is one transposed
convolution of the maps.

x is what the encoder sees, not the image in [-1, 1]: nearly all of a digit would be -1, and in the
first hundred steps up to half of the units would fall silent for ever.

No number of an exported graph depends on other images. `features` is what the paper gives to a
classifier: the activations without lifetime sparsity, of maps the maximum of each `pooling` pixels.
`encode` and `reconstruct` keep what exceeds a threshold of the unit: a moving average of the least
activation that was kept in training.

Departures from the paper: those thresholds, so that images can be reconstructed one by one; Adam
with a one-cycle rate; layers are trained at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

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

DECAY = 0.98  # of the moving average of thresholds, a step


@dataclass(frozen=True)
class WinnerTakeAllConfig:
    """What can be set with ``--set``."""

    network: Literal["fully-connected", "convolutional"] = option(
        "fully-connected", "units that see the whole image, or maps"
    )
    hidden_units: int = option(1000, "units, if fully connected", at_least=1, at_most=65536)
    features: int = option(64, "maps, if convolutional", at_least=1, at_most=4096)
    lifetime_sparsity: float = option(
        0.05, "p: share of a batch for which a unit is kept, at least one image",
        above=0.0, at_most=1.0,
    )  # fmt: skip
    pooling: int = option(
        7, "side of the squares of a map whose maxima are features, in pixels", at_least=1
    )
    lr: float = option(2e-3, "greatest learning rate of Adam", above=0.0, at_most=1.0)


class WinnerTakeAllAutoencoder(Model):
    """x -> units, each of which wins for a share of the images -> x."""

    Config = WinnerTakeAllConfig
    config: WinnerTakeAllConfig
    training_defaults = Training(epochs=40, batch_size=128)
    goal = Goal("mse", "lowest")

    def __init__(self, config: WinnerTakeAllConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        image, maps = data.image, config.features
        self.is_convolutional = config.network == "convolutional"
        if self.is_convolutional:
            self.encoder = nn.Sequential(
                nn.Conv2d(image.channels, maps, kernel_size=5, padding=2),
                nn.ReLU(),
                nn.Conv2d(maps, maps, kernel_size=5, padding=2),
                nn.ReLU(),
            )
            self.decoder = nn.Sequential(
                nn.ConvTranspose2d(maps, image.channels, kernel_size=11, padding=5)
            )
        else:
            self.encoder = nn.Sequential(nn.Flatten(), *mlp(image.pixels, config.hidden_units))
            self.decoder = nn.Sequential(
                nn.Linear(config.hidden_units, image.pixels), nn.Unflatten(1, image.image_shape)
            )
        units = maps if self.is_convolutional else config.hidden_units
        self.thresholds: Tensor
        self.register_buffer("thresholds", torch.zeros(units))

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        return {"autoencoder": Player([self.encoder, self.decoder], adam, one_cycle)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        x = (batch["image"] + 1) / 2
        winners = self.activations(x)
        heights = height_of(winners)
        mask, least = lifetime_winners(heights, self.config.lifetime_sparsity)
        self.thresholds.lerp_(least, 1 - DECAY)
        error = (x - self.decoder(masked(winners, mask))) ** 2
        yield Update("autoencoder", reconstruction=error.flatten(1).sum(dim=1).mean())

    def activations(self, x: Tensor) -> Tensor:
        """Return a of units, (N, units), or of maps after spatial sparsity, (N, maps, H, W)."""
        activations: Tensor = self.encoder(x).float()
        return spatial_winners(activations) if self.is_convolutional else activations

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        heights = height_of(self.encode(image))  # (N, units)
        reconstruction = self.reconstruct(image)
        return {
            "mse": pixel_mse(image, reconstruction).mean(),
            "psnr": psnr(image, reconstruction).mean(),
            "active_share": (heights > 0).float().mean(),
            "dead_units": (heights.amax(dim=0) == 0).float().mean(),
        }

    def features(self, image: Tensor) -> Tensor:
        """Return the activations without sparsity as a row of numbers, for classifiers."""
        activations: Tensor = self.encoder((image + 1) / 2)
        if self.is_convolutional:
            activations = max_pool2d(activations, self.pool_size())
        return activations.flatten(1)

    def pool_size(self) -> int:
        """Return the side of the squares that are pooled: no larger than the image."""
        return min(self.config.pooling, self.data.image.height, self.data.image.width)

    def encode(self, image: Tensor) -> Tensor:
        """Return the activations that exceed the threshold of their unit, and 0 for the others."""
        activations = self.activations((image + 1) / 2)
        return masked(activations, (height_of(activations) >= self.thresholds).float())

    def decode(self, code: Tensor) -> Tensor:
        """Return the image of a code, in [-1, 1]."""
        output: Tensor = self.decoder(code)
        return 2 * output.clamp(0, 1) - 1

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return what is left of x after the code."""
        return self.decode(self.encode(image))

    def graphs(self) -> Mapping[str, Graph]:
        image, side = self.data.image, self.pool_size()
        units = len(self.thresholds)
        squares = (image.height // side) * (image.width // side) if self.is_convolutional else 1
        maps = (image.height, image.width) if self.is_convolutional else ()
        code = Port("code", "latent", ("batch", units, *maps))  # nothing draws codes
        features = Port.latent("features", units * squares, prior=None)
        reconstruction = Port.image("reconstruction", self.data.image)
        return {
            "encode": Graph(self.encode, [image], [code]),
            "decode": Graph(self.decode, [code], [image]),
            "reconstruct": Graph(self.reconstruct, [image], [reconstruction]),
            "features": Graph(self.features, [image], [features]),
        }


def height_of(activations: Tensor) -> Tensor:
    """Return the activation of each unit, or the greatest of each map: (N, units)."""
    return activations.flatten(2).amax(dim=2) if activations.ndim > 2 else activations


def masked(activations: Tensor, mask: Tensor) -> Tensor:
    """Return units or maps where their mask (N, units) is 1, and 0 for the others."""
    return activations * mask.view(*mask.shape, *[1] * (activations.ndim - 2))


def spatial_winners(maps: Tensor) -> Tensor:
    """Return maps (N, C, H, W) with all but the greatest value of each set to 0; of equals one."""
    flat = maps.flatten(2)
    values, places = flat.max(dim=2, keepdim=True)
    return torch.zeros_like(flat).scatter(2, places, values).view_as(maps)


def lifetime_winners(heights: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Return which images of a batch each unit is kept for, and the least height that is kept.

    Args:
        heights: activations (N, units).
        share: of the batch, in (0, 1]; at least one image.

    Returns:
        A mask (N, units) of ones and zeros, and (units,).
    """
    count = max(1, round(share * len(heights)))
    values, places = heights.detach().topk(count, dim=0)
    return torch.zeros_like(heights).scatter(0, places, 1.0), values[-1]
