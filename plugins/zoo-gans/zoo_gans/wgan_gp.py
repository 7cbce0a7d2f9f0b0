"""Wasserstein GAN with gradient penalty.

Paper: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", arXiv:1704.00028.

Objective (eq. 3 and algorithm 1), mean over the batch:
    critic:     min  f(G(z)) - f(x) + λ (‖∇f(x̂)‖₂ - 1)²,   x̂ = ε x + (1 - ε) G(z)
    generator:  min  -f(G(z))
    z ~ N(0, 1),  ε ~ U[0, 1], one for each image

The critic f is updated `critic_steps` times before each update of the generator. A batch is shared
out: every step of the critic sees images of its own, and as many are generated in each step; so one
epoch shows each image once, and `batch_size` is critic_steps times the paper's m.

The penalty asks for a gradient of norm 1 on straight lines between real and generated images, which
is how the best 1-Lipschitz critic behaves. It holds for one image at a time, so that nothing in the
critic may mix the images of a batch: no batch normalisation. With such a critic, the validation
metric `distance`, mean f(x) - mean f(G(z)) on images that were held out, estimates the Wasserstein
distance (up to the scale of pixels) between data and samples, and falls as the samples get better.

Departures from the paper: networks of the form of DCGAN at every size, without normalisation in
the critic; the paper's larger experiments have residual networks and layer normalisation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from zoo import DataSpec, Graph, Model, Player, Port, Training, Update, option
from zoo_gans.convolutions import levels_of, way_down, way_up


@dataclass(frozen=True)
class WGANGPConfig:
    """What can be set with ``--set``."""

    latent_size: int = option(128, "numbers in z, as in the paper", at_least=1, at_most=4096)
    features: int = option(
        64, "maps of the outermost level, doubled at each further one", at_least=1, at_most=1024
    )
    critic_steps: int = option(
        5,
        "updates of the critic for each of the generator's, as in the paper",
        at_least=1,
        at_most=100,
    )
    penalty_weight: float = option(10.0, "λ, as in the paper", at_least=0.0)
    lr: float = option(1e-4, "learning rate of Adam; β is (0, 0.9)", above=0.0, at_most=1.0)


class WGANGP(Model):
    """A critic that scores instead of classifying, and is kept 1-Lipschitz."""

    Config = WGANGPConfig
    config: WGANGPConfig
    training_defaults = Training(epochs=40, batch_size=320)

    def __init__(self, config: WGANGPConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        levels, features = levels_of(data.image, "wgan-gp"), config.features
        self.generator = nn.Sequential(
            *way_up(config.latent_size, data.image, features=features, levels=levels)
        )
        self.critic = nn.Sequential(
            *way_down(
                data.image.channels,
                data.image,
                features=features,
                levels=levels,
                batch_norm=False,
            )
        )

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, betas=(0.0, 0.9), fused=True)
        return {
            "critic": Player([self.critic], adam),
            "generator": Player([self.generator], adam),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image, steps = batch["image"], self.config.critic_steps
        size = max(1, len(image) // steps)  # m of algorithm 1
        for step in range(steps):
            start = step * size % len(image)
            real = image[start : start + size]
            with torch.no_grad():
                fake = self.generator(self.prior(real)).to(real.dtype)
            # f(G(z)) - f(x) + λ (‖∇f(x̂)‖₂ - 1)²
            yield Update(
                "critic",
                real=-self.critic(real).float().mean(),
                fake=self.critic(fake).float().mean(),
                penalty=self.config.penalty_weight * self.penalty(real, fake),
            )
        # -f(G(z))
        fake = self.generator(self.prior(real))
        yield Update("generator", fool=-self.critic(fake).float().mean())

    def penalty(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the mean of (‖∇f(x̂)‖₂ - 1)² between real and generated images, (N, C, H, W)."""
        epsilon = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
        score = self.critic(between).float().sum()  # its gradient by image is that of each f(x̂)
        (gradient,) = torch.autograd.grad(score, between, create_graph=True)
        norm: Tensor = gradient.flatten(1).norm(dim=1)
        return (norm - 1).square().mean()

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        fake = self.generator(self.prior(image))
        return {"distance": self.critic(image).float().mean() - self.critic(fake).float().mean()}

    def prior(self, image: Tensor) -> Tensor:
        """Draw z ~ N(0, 1), one for each image: (N, latent)."""
        return torch.randn(len(image), self.config.latent_size, device=image.device)

    def graphs(self) -> Mapping[str, Graph]:
        latent = Port.latent("latent", self.config.latent_size)
        return {"generate": Graph(self.generator, [latent], [self.data.image])}
