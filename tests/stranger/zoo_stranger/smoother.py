"""Pictures without noise, a little more of it gone in each round: a loop that needs a picture.

Paper: Romano, Elad and Milanfar 2017, "The Little Engine that Could: Regularization by Denoising
(RED)", arXiv:1611.02862, from afar: x is moved along R(x) - x.

Objective, mean over pixels and batch, with noise z ~ N(0, 0.04):
    denoiser:  min  |x - R(x + z)|²
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from zoo import DataSpec, Goal, Graph, Model, Player, Port, Training, Update, option


@dataclass(frozen=True)
class SmootherConfig:
    """What can be set with ``--set``."""

    rounds: int = option(6, "rounds of a picture", at_least=1, at_most=1000)
    lr: float = option(1e-2, "learning rate", above=0.0, at_most=1.0)


class Smoother(Model):
    """Learns to take noise away, and takes it away bit by bit."""

    Config = SmootherConfig
    config: SmootherConfig
    training_defaults = Training(epochs=4, batch_size=16)
    goal = Goal("error", "lowest")

    def __init__(self, config: SmootherConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        channels = data.image.channels
        self.denoiser = nn.Sequential(nn.Conv2d(channels, channels, 5, padding=2), nn.Tanh())

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr)
        return {"denoiser": Player([self.denoiser], adam)}

    def error(self, image: Tensor) -> Tensor:
        return mse_loss(self.denoiser(image + 0.2 * torch.randn_like(image)), image)

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("denoiser", error=self.error(batch["image"]))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {"error": self.error(batch["image"])}

    def smooth(self, image: Tensor, rate: Tensor) -> Tensor:
        """x, η -> x + η (R(x) - x)."""
        return image + rate[:, None, None, None] * (self.denoiser(image) - image)

    def graphs(self) -> Mapping[str, Graph]:
        shape = ("batch", *self.data.image.image_shape)
        image = Port("image", "image", shape, range=(-1.0, 1.0), next="smoothed")
        rate = Port("rate", "values", ("batch",), range=(0.0, 1.0), default=0.5)
        smoothed = Port.image("smoothed", self.data.image)
        return {"smooth": Graph(self.smooth, [image, rate], [smoothed], self.config.rounds)}
