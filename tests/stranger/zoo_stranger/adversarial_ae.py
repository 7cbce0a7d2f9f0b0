"""Adversarial autoencoder.

Paper: Makhzani et al. 2015, "Adversarial Autoencoders", arXiv:1511.05644, from afar.

Objective, mean over the batch, with a = E(x), z ~ N(0, 1), and f fixed random features:
    autoencoder:    min  |x - D(a)|² + |f(x) - f(D(a))|²
    discriminator:  min  -log C(z) - log(1 - C(a))
    regulariser:    min  -w log C(a), which moves the encoder; w rises from 0 to 1
Both begin when a quarter of the training is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import log

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, softplus

from zoo import DataSpec, Goal, Graph, Model, Player, Port, Training, Update, option


@dataclass(frozen=True)
class AdversarialAEConfig:
    """What can be set with ``--set``."""

    code: int = option(8, "numbers in a code", at_least=1, at_most=256)
    accumulate: int = option(2, "updates for one move of discriminator and regulariser", at_least=1)
    lr: float = option(1e-3, "learning rate of all three", above=0.0, at_most=1.0)


class AdversarialAE(Model):
    """The encoder has two optimisers."""

    Config = AdversarialAEConfig
    config: AdversarialAEConfig
    training_defaults = Training(epochs=4, batch_size=16)
    goal = Goal("error", "lowest")

    def __init__(self, config: AdversarialAEConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(data.image.pixels, config.code))
        self.decoder = nn.Sequential(
            nn.Linear(config.code, data.image.pixels),
            nn.Tanh(),
            nn.Unflatten(1, data.image.image_shape),
        )
        self.discriminator = nn.Sequential(
            nn.Linear(config.code, 16), nn.LeakyReLU(), nn.Linear(16, 1)
        )
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(data.image.pixels, 4), nn.BatchNorm1d(4), nn.Dropout()
        ).requires_grad_(False)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr)
        return {
            "autoencoder": Player([self.encoder, self.decoder], adam, clip_norm=0.1),
            "discriminator": Player(
                [self.discriminator],
                adam,
                loss_at_random_guess=2 * log(2),
                accumulate=self.config.accumulate,
            ),
            "regulariser": Player(
                [self.encoder], adam, shared=True, accumulate=self.config.accumulate
            ),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = batch["image"]
        again = self.decoder(self.encoder(image))
        seen = mse_loss(self.features(again), self.features(image))
        yield Update("autoencoder", pixels=mse_loss(again, image), features=seen)
        if self.progress < 0.25:
            return
        code = self.encoder(image)
        real = softplus(-self.discriminator(torch.randn_like(code)).float()).mean()
        fake = softplus(self.discriminator(code.detach()).float()).mean()
        yield Update("discriminator", real=real, fake=fake)
        fool = softplus(-self.discriminator(code).float()).mean()
        yield Update("regulariser", fool=self.progress * fool)

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        error = mse_loss(self.decoder(self.encoder(image)), image)
        return {"error": error, "progress": torch.tensor(self.progress)}

    def generate(self, latent: Tensor) -> Tensor:
        """Return the image of a code."""
        return self.decoder(latent)

    def graphs(self) -> Mapping[str, Graph]:
        latent = Port.latent("latent", self.config.code)
        return {"generate": Graph(self.generate, [latent], [self.data.image])}
