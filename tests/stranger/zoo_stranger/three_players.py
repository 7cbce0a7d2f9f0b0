"""Autoencoder, critic and learnt prior.

Paper: Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity metric",
arXiv:1512.09300, from afar.

Objective, mean over the batch, with a = E(x), x' = D(a):
    autoencoder:  min  |x - x'| - log C(x')
    critic:       min  -log C(x) - log(1 - C(x'))
    prior:        min  |P(z) - a|², z ~ N(0, 1), in every fifth round
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss, softplus

from zoo import DataSpec, Goal, Graph, Model, Player, Port, Training, Update, option

EVERY = 5  # rounds between two moves of the prior


@dataclass(frozen=True)
class ThreePlayersConfig:
    """What can be set with ``--set``."""

    layers: tuple[Literal["linear", "conv"], ...] = option(("linear",), "the encoder's, outside in")
    loss: Literal["l1", "l2"] = option("l1", "distance between images")
    code: int = option(8, "numbers in a code", at_least=1, at_most=256)
    critic_dropout: float | None = option(None, "share of the critic's inputs that are dropped",
                                          above=0.0, below=1.0)  # fmt: skip
    lr: float = option(1e-3, "learning rate of all three", above=0.0, at_most=1.0)


class ThreePlayers(Model):
    """Counts its rounds in a buffer, so that a training that goes on counts on."""

    Config = ThreePlayersConfig
    config: ThreePlayersConfig
    training_defaults = Training(epochs=4, batch_size=16)
    goal = Goal("error", "lowest")

    def __init__(self, config: ThreePlayersConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        shape = data.image.image_shape
        body: list[nn.Module] = []
        channels = data.image.channels
        for kind in config.layers:
            if kind == "conv":
                body += (
                    [nn.Unflatten(1, (channels, data.image.height, data.image.width))]
                    if body
                    else []
                )
                body += [nn.Conv2d(channels, 4, 3, padding=1), nn.SiLU(), nn.Flatten()]
                channels = 4
            else:
                body += [
                    nn.Flatten(),
                    nn.LazyLinear(channels * data.image.height * data.image.width),
                    nn.SiLU(),
                ]
        self.encoder = nn.Sequential(*body, nn.Flatten(), nn.LazyLinear(config.code), nn.Tanh())
        with torch.no_grad():
            self.encoder(torch.zeros(1, *shape))  # a lazy layer learns its size from what comes
        self.decoder = nn.Sequential(
            nn.Linear(config.code, data.image.pixels), nn.Tanh(), nn.Unflatten(1, shape)
        )
        dropout = [nn.Dropout(config.critic_dropout)] if config.critic_dropout else []
        self.critic = nn.Sequential(nn.Flatten(), *dropout, nn.Linear(data.image.pixels, 1))
        self.prior = nn.Sequential(nn.Linear(config.code, config.code), nn.Tanh())
        self.rounds: Tensor
        self.register_buffer("rounds", torch.zeros((), dtype=torch.int64), persistent=False)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.AdamW, lr=self.config.lr)
        return {
            "autoencoder": Player([self.encoder, self.decoder], adam),
            "critic": Player([self.critic], adam, loss_at_random_guess=2 * log(2)),
            "prior": Player([self.prior], partial(torch.optim.SGD, lr=0.1, momentum=0.9)),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = batch["image"]
        code = self.encoder(image)
        again = self.decoder(code)
        distance = l1_loss if self.config.loss == "l1" else mse_loss
        fool = softplus(-self.critic(again).float()).mean()
        yield Update("autoencoder", distance=distance(again, image), fool=0.1 * fool)
        real = softplus(-self.critic(image).float()).mean()
        fake = softplus(self.critic(again.detach()).float()).mean()
        yield Update("critic", real=real, fake=fake)
        if int(self.rounds) % EVERY == 0:
            drawn = self.prior(torch.randn_like(code))
            yield Update("prior", moments=moments(drawn, code.detach()))
        self.rounds += 1

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        return {"error": l1_loss(self.decoder(self.encoder(image)), image)}

    def judge(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image after its code, and how real the critic takes it for, in [0, 1]."""
        again = self.decoder(self.encoder(image))
        return again, torch.sigmoid(self.critic(again))

    def generate(self, noise: Tensor) -> Tensor:
        """Return the image of a code that the prior makes of noise."""
        return self.decoder(self.prior(noise))

    def graphs(self) -> Mapping[str, Graph]:
        image, again = (
            self.data.image,
            Port.image("again", self.data.image),
        )
        real = Port("real", "value", ("batch", 1), range=(0.0, 1.0))
        noise = Port.latent("noise", self.config.code)
        return {
            "judge": Graph(self.judge, [image], [again, real]),
            "generate": Graph(self.generate, [noise], [self.data.image]),
        }


def moments(drawn: Tensor, codes: Tensor) -> Tensor:
    """Return how far mean and spread of the drawn codes are from those of the real ones."""
    return mse_loss(drawn.mean(0), codes.mean(0)) + mse_loss(
        drawn.abs().mean(0), codes.abs().mean(0)
    )
