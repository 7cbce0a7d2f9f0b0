"""Pictures of half the size and without colours, restored: a port that is not the data's.

Paper: Dong et al. 2014, "Learning a Deep Convolutional Network for Image Super-Resolution",
arXiv:1501.00092, from afar.

Objective, mean over pixels and batch, with s the small grey picture of x:
    restorer:  min  |x - R(s)|²
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, mse_loss

from zoo import DataSpec, Goal, Graph, Model, Player, Port, Training, Update, option


@dataclass(frozen=True)
class RestorerConfig:
    """What can be set with ``--set``."""

    features: int = option(16, "maps of the network", at_least=1, at_most=256)
    lr: float = option(1e-3, "learning rate", above=0.0, at_most=1.0)


class Restorer(Model):
    """Takes a small grey picture and gives one like the data's."""

    Config = RestorerConfig
    config: RestorerConfig
    training_defaults = Training(epochs=4, batch_size=16)
    goal = Goal("error", "lowest")

    def __init__(self, config: RestorerConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.network = nn.Sequential(
            nn.Conv2d(1, config.features, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(config.features, 4 * data.image.channels, 3, padding=1),
            nn.PixelShuffle(2),
            nn.Tanh(),
        )

    def players(self) -> Mapping[str, Player]:
        return {"restorer": Player([self.network], partial(torch.optim.Adam, lr=self.config.lr))}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = batch["image"]
        yield Update("restorer", error=mse_loss(self.network(shrunk(image)), image))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        return {"error": mse_loss(self.network(shrunk(image)), image)}

    def graphs(self) -> Mapping[str, Graph]:
        _, height, width = self.data.image.image_shape
        small = Port("small", "image", ("batch", 1, height // 2, width // 2), range=(-1.0, 1.0))
        return {"restore": Graph(self.network, [small], [self.data.image])}


def shrunk(image: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 1, H/2, W/2): the mean of four pixels and of all colours."""
    return avg_pool2d(image.mean(dim=1, keepdim=True), 2)
