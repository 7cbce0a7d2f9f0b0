"""Deep convolutional GAN.

Paper: Radford, Metz & Chintala 2015, "Unsupervised Representation Learning with Deep Convolutional
Generative Adversarial Networks", arXiv:1511.06434.
Spectral normalisation: Miyato et al. 2018, arXiv:1802.05957; one-sided label smoothing: Salimans
et al. 2016, arXiv:1606.03498, section 3.4.

Objective, mean over the batch, with D(x) = sigmoid(d(x)) and real images taken as 1 - s:
    discriminator:  min  -(1 - s) log D(x) - s log(1 - D(x)) - log(1 - D(G(z)))
    generator:      min  -log D(G(z))
    z ~ N(0, 1)

Networks at 64×64 with the paper's 128 features (zoo_gans/convolutions.py):
    generator:      z -> 4×4×1024 -> 8×8×512 -> 16×16×256 -> 32×32×128 -> 64×64×C
    discriminator:  64×64×C -> 32×32×128 -> 16×16×256 -> 8×8×512 -> 4×4×1024 -> one number

Real and generated images go through the discriminator apart, so that each is normalised by the
statistics of its own kind. Samples are drawn with the statistics that the generator has gathered
while it was trained.

Departures from the paper: z is normal instead of uniform; the two networks have as many levels as
the image needs to come down to 4 to 7 pixels a side, which at 64×64 are the paper's four; the
default is half the paper's feature maps; logits and softplus instead of sigmoid and logarithm. With
spectral normalisation the discriminator has no batch normalisation, as Miyato et al. have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import log

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils.parametrizations import spectral_norm

from zoo import DataSpec, Graph, Model, Player, Port, Training, Update, normal_weights, option
from zoo_gans.convolutions import levels_of, way_down, way_up


@dataclass(frozen=True)
class DCGANConfig:
    """What can be set with ``--set``."""

    latent_size: int = option(100, "numbers in z, as in the paper", at_least=1, at_most=4096)
    features: int = option(
        64,
        "maps of the outermost level, doubled at each further one; 128 is the paper's",
        at_least=1,
        at_most=1024,
    )
    spectral_norm: bool = option(
        False, "keep the discriminator's layers 1-Lipschitz, in place of its batch normalisation"
    )
    label_smoothing: float = option(
        0.0, "s: real images count as 1 - s, so that D is never sure", at_least=0.0, below=1.0
    )
    lr: float = option(2e-4, "learning rate of Adam; β₁ is 0.5", above=0.0, at_most=1.0)


class DCGAN(Model):
    """Generator of transposed convolutions, discriminator of strided ones."""

    Config = DCGANConfig
    config: DCGANConfig
    training_defaults = Training(epochs=40, batch_size=64)

    def __init__(self, config: DCGANConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        levels, features = levels_of(data.image, "dcgan"), config.features
        self.generator = nn.Sequential(
            *way_up(config.latent_size, data.image, features=features, levels=levels)
        )
        self.discriminator = nn.Sequential(
            *way_down(
                data.image.channels,
                data.image,
                features=features,
                levels=levels,
                batch_norm=not config.spectral_norm,
            )
        )
        self.apply(normal_weights)
        if config.spectral_norm:
            for layer in self.discriminator:
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    spectral_norm(layer)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, betas=(0.5, 0.999), fused=True)
        return {
            "discriminator": Player([self.discriminator], adam, loss_at_random_guess=2 * log(2)),
            "generator": Player([self.generator], adam),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image, smoothing = batch["image"], self.config.label_smoothing
        latent = torch.randn(len(image), self.config.latent_size, device=image.device)
        fake = self.generator(latent)
        # -(1 - s) log D(x) - s log(1 - D(x)) - log(1 - D(G(z)))
        on_real = self.discriminator(image).float()
        on_fake = self.discriminator(fake.detach()).float()
        real = (1 - smoothing) * softplus(-on_real) + smoothing * softplus(on_real)
        yield Update("discriminator", real=real.mean(), fake=softplus(on_fake).mean())
        # -log D(G(z))
        yield Update("generator", fool=softplus(-self.discriminator(fake).float()).mean())

    def graphs(self) -> Mapping[str, Graph]:
        latent = Port.latent("latent", self.config.latent_size)
        return {"generate": Graph(self.generator, [latent], [self.data.image])}
