"""An autoencoder that is judged by the features of a frozen network: a model with an asset.

Paper: Hou et al. 2016, "Deep Feature Consistent Variational Autoencoder", arXiv:1610.00291, from
afar.

Objective, mean over features and batch, with Φ the frozen network:
    autoencoder:  min  |Φ(x) - Φ(D(E(x)))|²
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from zoo import DataSpec, Goal, Graph, Model, Player, Port, Training, Update, option


@dataclass(frozen=True)
class PerceptualConfig:
    """What can be set with ``--set``."""

    code: int = option(16, "size of the code", at_least=1, at_most=256)


class Perceptual(Model):
    """Takes a picture through a short code and back."""

    Config = PerceptualConfig
    config: PerceptualConfig
    training_defaults = Training(epochs=4, batch_size=16)
    goal = Goal("error", "lowest")

    def __init__(self, config: PerceptualConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.autoencoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(data.image.pixels, config.code),
            nn.ReLU(),
            nn.Linear(config.code, data.image.pixels),
            nn.Tanh(),
            nn.Unflatten(1, data.image.image_shape),
        )
        self.features = nn.Conv2d(data.image.channels, 4, 3).requires_grad_(False)
        self.features.load_state_dict(safetensors.torch.load_file(self.assets["features"]))

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=1e-3)
        return {"autoencoder": Player([self.autoencoder], adam)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("autoencoder", error=self.error(batch["image"]))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {"error": self.error(batch["image"])}

    def error(self, image: Tensor) -> Tensor:
        """Return how far the features of an image and its reconstruction are apart."""
        return mse_loss(self.features(self.autoencoder(image)), self.features(image))

    def graphs(self) -> Mapping[str, Graph]:
        image = self.data.image
        made = Port.image("reconstruction", image)
        return {"reconstruct": Graph(self.autoencoder, [image], [made])}
