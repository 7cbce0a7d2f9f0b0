"""Noise that becomes the mean picture, round after round: a graph that is one step of a loop.

Paper: Welling and Teh 2011, "Bayesian Learning via Stochastic Gradient Langevin Dynamics", from
afar: x is moved along the gradient of log N(x; m, 1), which is m - x, with less noise each round.

Objective, mean over pixels and batch:
    mean:  min  |m - x|²
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
class RefinerConfig:
    """What can be set with ``--set``."""

    rounds: int = option(12, "rounds of a sample", at_least=1, at_most=1000)
    lr: float = option(3e-2, "learning rate", above=0.0, at_most=1.0)


class Mean(nn.Module):
    """One picture, which is learnt: any pictures (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.picture = nn.Parameter(torch.zeros(shape))

    def forward(self, like: Tensor) -> Tensor:
        return self.picture.expand_as(like)


class Refiner(Model):
    """Learns the mean picture, and moves noise towards it."""

    Config = RefinerConfig
    config: RefinerConfig
    training_defaults = Training(epochs=4, batch_size=16)
    goal = Goal("error", "lowest")

    def __init__(self, config: RefinerConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.mean = Mean(data.image.image_shape)

    def players(self) -> Mapping[str, Player]:
        return {"mean": Player([self.mean], partial(torch.optim.Adam, lr=self.config.lr))}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = batch["image"]
        yield Update("mean", error=mse_loss(self.mean(image), image))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        return {"error": mse_loss(self.mean(image), image)}

    def refine(
        self, image: Tensor, count: Tensor, noise: Tensor, rate: Tensor
    ) -> tuple[Tensor, Tensor]:
        """x, k, z, η -> x + η (m - x) + z / 20 (1 + k), k + 1."""
        k = count.float()[:, None, None, None]
        moved = image + rate[:, None, None, None] * (self.mean(image) - image)
        return (moved + noise / (20 * (1 + k))).clamp(-1, 1), count + 1

    def graphs(self) -> Mapping[str, Graph]:
        shape = ("batch", *self.data.image.image_shape)
        image = Port("image", "image", shape, range=(-1, 1), prior="uniform", next="refined")
        count = Port("count", "values", ("batch",), "int64", (0, 10**6), default=0, next="counted")
        noise = Port("noise", "latent", shape, prior="normal")
        rate = Port("rate", "values", ("batch",), range=(0, 1), default=0.25)
        outputs = [
            Port.image("refined", self.data.image),
            Port("counted", "values", ("batch",), "int64", (0, 10**6 + 1)),
        ]
        return {
            "refine": Graph(self.refine, [image, count, noise, rate], outputs, self.config.rounds)
        }
