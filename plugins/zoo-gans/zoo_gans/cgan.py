"""Conditional GAN: the class goes into both networks.

Paper: Mirza & Osindero 2014, "Conditional Generative Adversarial Nets", arXiv:1411.1784.

Objective (eq. 2), mean over the batch, with D(x|y) = sigmoid(d(x, y)) and y the class of x:
    discriminator:  min  -log D(x|y) - log(1 - D(G(z|y)|y))
    generator:      min  -log D(G(z|y)|y)
    z ~ N(0, 1)

The generator takes the embedding of y beside z; the discriminator sees the embedding of y as one
more plane of the image. Generated images are given the classes of the batch, so that both kinds
come in the same shares.

Departures from the paper: convolutional networks as in DCGAN (arXiv:1511.06434), with its first
weights and its Adam, where the paper has fully connected ones with maxout and dropout; classes come
in through embeddings that are learnt, instead of as one-hot vectors; the generator minimises
-log D instead of log(1 - D), so that its gradient does not vanish; z is normal instead of uniform.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import log

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from zoo import (
    DataSpec,
    Graph,
    Model,
    Player,
    Port,
    Training,
    Update,
    UsageError,
    normal_weights,
    option,
)
from zoo_gans.convolutions import levels_of, way_down, way_up


@dataclass(frozen=True)
class ConditionalGANConfig:
    """What can be set with ``--set``."""

    latent_size: int = option(100, "numbers in z, as in the paper", at_least=1, at_most=4096)
    embedding_size: int = option(
        50, "numbers that a class becomes in the generator", at_least=1, at_most=4096
    )
    features: int = option(
        64, "maps of the outermost level, doubled at each further one", at_least=1, at_most=1024
    )
    lr: float = option(2e-4, "learning rate of Adam; β₁ is 0.5", above=0.0, at_most=1.0)


class Generator(nn.Module):
    """z, y -> x."""

    def __init__(self, config: ConditionalGANConfig, data: DataSpec, levels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(data.label.classes), config.embedding_size)
        inputs = config.latent_size + config.embedding_size
        self.body = nn.Sequential(
            *way_up(inputs, data.image, features=config.features, levels=levels)
        )

    def forward(self, latent: Tensor, label: Tensor) -> Tensor:
        image: Tensor = self.body(torch.cat([latent, self.embedding(label)], dim=1))
        return image


class Discriminator(nn.Module):
    """x, y -> logit of x being real, given that its class is y."""

    def __init__(self, config: ConditionalGANConfig, data: DataSpec, levels: int) -> None:
        super().__init__()
        channels, height, width = data.image.image_shape
        self.embedding = nn.Embedding(len(data.label.classes), height * width)
        self.to_plane = nn.Unflatten(1, (1, height, width))
        self.body = nn.Sequential(
            *way_down(
                channels + 1, data.image, features=config.features, levels=levels, batch_norm=True
            )
        )

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        plane = self.to_plane(self.embedding(label))  # (N, 1, H, W)
        logit: Tensor = self.body(torch.cat([image, plane.to(image.dtype)], dim=1))
        return logit  # (N,)


class ConditionalGAN(Model):
    """A generator that is told what to draw, a discriminator that is told what it sees."""

    Config = ConditionalGANConfig
    config: ConditionalGANConfig
    training_defaults = Training(epochs=40, batch_size=64)

    def __init__(self, config: ConditionalGANConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        if "label" not in data:
            raise UsageError(
                "cgan learns from images with classes, and this data has none",
                hint="zoo data list, or a folder with one folder a class",
                code="wrong-data",
            )
        levels = levels_of(data.image, "cgan")
        self.generator = Generator(config, data, levels)
        self.discriminator = Discriminator(config, data, levels)
        self.apply(normal_weights)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, betas=(0.5, 0.999), fused=True)
        return {
            "discriminator": Player([self.discriminator], adam, loss_at_random_guess=2 * log(2)),
            "generator": Player([self.generator], adam),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image, label = batch["image"], batch["label"]
        latent = torch.randn(len(image), self.config.latent_size, device=image.device)
        fake = self.generator(latent, label)
        # -log D(x|y) - log(1 - D(G(z|y)|y))
        on_real = self.discriminator(image, label).float()
        on_fake = self.discriminator(fake.detach(), label).float()
        yield Update("discriminator", real=softplus(-on_real).mean(), fake=softplus(on_fake).mean())
        # -log D(G(z|y)|y)
        yield Update("generator", fool=softplus(-self.discriminator(fake, label).float()).mean())

    def graphs(self) -> Mapping[str, Graph]:
        latent = Port.latent("latent", self.config.latent_size)
        return {"generate": Graph(self.generator, [latent, self.data.label], [self.data.image])}
