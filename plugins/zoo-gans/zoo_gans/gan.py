"""The first generative adversarial network.

Paper: Goodfellow et al. 2014, "Generative Adversarial Networks", arXiv:1406.2661.

Objective, mean over the batch, with D(x) = sigmoid(d(x)) and z ~ N(0, 1):
    discriminator:  max  log D(x) + log(1 - D(G(z)))                  (eq. 1)
    generator:      min  log(1 - D(G(z)))        objective=minimax
                    min  -log D(G(z))            objective=non-saturating, section 3

Both objectives of the generator have the same fixed point, and different slopes in the logit d of a
generated image: -D(G(z)) and D(G(z)) - 1. Early on the discriminator rejects with confidence,
D(G(z)) ≈ 0: the first slope vanishes and the generator hardly learns; the second stays near 1. The
validation metric `pull` is the mean size of that slope over generated images.

Departures from the paper: hidden layers of LeakyReLU units with layer normalisation in the
generator, where the paper mixes ReLU and sigmoid units and has maxout units and dropout in the
discriminator; tanh for pixels in [-1, 1]; normal z; Adam with β₁ = 0.5 instead of momentum; logits
and softplus instead of sigmoid and logarithm. Adam divides a gradient by its own recent size, so
that at the default rate, where the two networks keep pace, minimax learns as well; at lr=1e-3 the
discriminator wins, and with minimax the generator stands still.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import log
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from zoo import DataSpec, Graph, Model, Player, Port, Training, Update, mlp, option


@dataclass(frozen=True)
class GANConfig:
    """What can be set with ``--set``."""

    objective: Literal["non-saturating", "minimax"] = option(
        "non-saturating", "of the generator; minimax is equation 1 and lets its gradient vanish"
    )
    latent_size: int = option(64, "numbers in z", at_least=1, at_most=4096)
    hidden: tuple[int, ...] = option(
        (256, 512),
        "units of the generator's hidden layers; the discriminator mirrors them",
        at_least=1,
        at_most=65536,
    )
    lr: float = option(2e-4, "learning rate of Adam; β₁ is 0.5", above=0.0, at_most=1.0)


class GAN(Model):
    """Two networks of fully connected layers."""

    Config = GANConfig
    config: GANConfig
    training_defaults = Training(epochs=60, batch_size=64)

    def __init__(self, config: GANConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        leaky = partial(nn.LeakyReLU, 0.2)
        up = (config.latent_size, *config.hidden)
        down = (data.image.pixels, *reversed(config.hidden))
        self.generator = nn.Sequential(  # z -> x
            *mlp(*up, activation=leaky, layer_norm=True),
            nn.Linear(up[-1], data.image.pixels),
            nn.Tanh(),
            nn.Unflatten(1, data.image.image_shape),
        )
        self.discriminator = nn.Sequential(  # x -> logit of x being real, (N,)
            nn.Flatten(), *mlp(*down, activation=leaky), nn.Linear(down[-1], 1), nn.Flatten(0)
        )

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, betas=(0.5, 0.999), fused=True)
        return {
            "discriminator": Player([self.discriminator], adam, loss_at_random_guess=2 * log(2)),
            "generator": Player([self.generator], adam),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = batch["image"]
        fake = self.generator(self.prior(image))
        # -log D(x) - log(1 - D(G(z)))
        on_real = self.discriminator(image).float()
        on_fake = self.discriminator(fake.detach()).float()
        yield Update("discriminator", real=softplus(-on_real).mean(), fake=softplus(on_fake).mean())
        yield Update("generator", fool=self.fool(self.discriminator(fake).float()).mean())

    def fool(self, logit: Tensor) -> Tensor:
        """What the generator minimises, by image; `logit` is the discriminator's of G(z)."""
        if self.config.objective == "minimax":
            return -softplus(logit)  # log(1 - D(G(z)))
        return softplus(-logit)  # -log D(G(z))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the mean of D(x), of D(G(z)), and of the slope of the generator's objective."""
        image = batch["image"]
        real = torch.sigmoid(self.discriminator(image).float())
        fake = torch.sigmoid(self.discriminator(self.generator(self.prior(image))).float())
        slope = fake if self.config.objective == "minimax" else 1 - fake
        return {"judged_real": real.mean(), "judged_fake": fake.mean(), "pull": slope.mean()}

    def prior(self, image: Tensor) -> Tensor:
        """Draw z ~ N(0, 1), one for each image: (N, latent)."""
        return torch.randn(len(image), self.config.latent_size, device=image.device)

    def graphs(self) -> Mapping[str, Graph]:
        latent = Port.latent("latent", self.config.latent_size)
        return {"generate": Graph(self.generator, [latent], [self.data.image])}
