"""Adversarial autoencoder.

Paper: Makhzani, Shlens, Jaitly, Goodfellow & Frey 2015, "Adversarial Autoencoders",
arXiv:1511.05644.

Objective, of an image x in [0, 1] with the code z ~ q(z|x), mean over the batch; D(z) =
sigmoid(d(z)) is the probability that a code comes from the prior p(z):
    autoencoder (encoder and decoder):  min  -Σᵢ [xᵢ log x̂ᵢ + (1 - xᵢ) log(1 - x̂ᵢ)]
    discriminator:                      min  -log D(z') - log(1 - D(z)),   z' ~ p(z)
    generator (the encoder alone):      min  -log D(z)
In the end the codes of all images together, q(z) = ∫ q(z|x) p(x) dx (eq. 1), follow the prior.

`posterior`, section 2:
    deterministic  z = mu(x)
    gaussian       z = mu(x) + exp(½ logvar(x)) ε,   ε ~ N(0, 1)
`prior`:
    normal   N(0, 1)
    mixture  one narrow normal distribution for each class y: class k lies on a ray at the angle
             2πk/K of the first two numbers of z, at `radius`, three times as long as it is wide;
             further numbers are N(0, 1). D is given y beside z, z' is drawn for the classes of
             the batch, and so each class takes the place of its own (section 2.3, all labelled).

Departures from the paper: cross-entropy instead of the squared error; layer normalisation in
encoder and decoder; Adam instead of gradient descent with momentum; the encoder minimises
-log D(z), so that its gradient does not vanish.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import log, pi
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot, softplus

from zoo import (
    DataSpec,
    Graph,
    Model,
    Player,
    Port,
    Training,
    Update,
    UsageError,
    mlp,
    option,
    pixel_mse,
    psnr,
)

LONG, WIDE = 0.15, 0.05  # standard deviations of a class, as shares of the radius


@dataclass(frozen=True)
class AdversarialAutoencoderConfig:
    """What can be set with ``--set``."""

    latent_size: int = option(8, "numbers in z", at_least=1, at_most=4096)
    hidden: tuple[int, ...] = option(
        (512, 512),
        "units of the hidden layers of encoder and discriminator; the decoder mirrors them",
        at_least=1,
        at_most=65536,
    )
    posterior: Literal["deterministic", "gaussian"] = option("deterministic", "q(z|x)")
    prior: Literal["normal", "mixture"] = option(
        "normal", "p(z); the mixture needs classes, and at least two numbers in z"
    )
    radius: float = option(4.0, "distance of the mixture's means from the origin", above=0.0)
    lr: float = option(1e-3, "learning rate of Adam for reconstruction", above=0.0)
    adversarial_lr: float = option(
        1e-3,
        "learning rate of Adam for discriminator and generator, β₁ 0.5; far below lr, codes do not "
        "follow the prior",
        above=0.0,
    )


class Encoder(nn.Module):
    """x -> mu, logvar of q(z|x)."""

    def __init__(self, sizes: tuple[int, ...], latent_size: int, *, noisy: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), *mlp(*sizes, layer_norm=True))
        self.mu = nn.Linear(sizes[-1], latent_size)
        self.logvar = nn.Linear(sizes[-1], latent_size) if noisy else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        features = self.body(x)
        logvar = None if self.logvar is None else self.logvar(features).float()
        return self.mu(features).float(), logvar  # (N, latent) each


class AdversarialAutoencoder(Model):
    """An encoder that must fool a discriminator of codes."""

    Config = AdversarialAutoencoderConfig
    config: AdversarialAutoencoderConfig
    training_defaults = Training(epochs=40, batch_size=64)

    def __init__(self, config: AdversarialAutoencoderConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.with_classes = config.prior == "mixture"
        check(config, data)
        sizes, latent = (data.image.pixels, *config.hidden), config.latent_size
        self.encoder = Encoder(sizes, latent, noisy=config.posterior == "gaussian")
        decoder = (latent, *reversed(config.hidden))
        self.decoder = nn.Sequential(  # z -> logits of the pixels
            *mlp(*decoder, layer_norm=True),
            nn.Linear(decoder[-1], data.image.pixels),
            nn.Unflatten(1, data.image.image_shape),
        )
        seen = (latent + (len(data.label.classes) if self.with_classes else 0), *config.hidden)
        self.discriminator = nn.Sequential(  # z, and y -> logit of z coming from the prior
            *mlp(*seen), nn.Linear(seen[-1], 1), nn.Flatten(0)
        )

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        adversarial = partial(
            torch.optim.Adam, lr=self.config.adversarial_lr, betas=(0.5, 0.999), fused=True
        )
        return {
            "autoencoder": Player([self.encoder, self.decoder], adam),
            "discriminator": Player(
                [self.discriminator], adversarial, loss_at_random_guess=2 * log(2)
            ),
            "generator": Player([self.encoder], adversarial, shared=True),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = batch["image"]
        x, label = (image + 1) / 2, batch["label"] if self.with_classes else None
        logits = self.decoder(self.draw_code(image)).float()
        error = binary_cross_entropy_with_logits(logits, x, reduction="none")
        yield Update("autoencoder", reconstruction=error.flatten(1).sum(dim=1).mean())
        # -log D(z') - log(1 - D(z))
        noise = torch.randn(len(image), self.config.latent_size, device=image.device)
        z = self.draw_code(image)  # of the encoder that reconstruction has just changed
        on_prior = self.discriminate(self.place(noise, label), label)
        on_codes = self.discriminate(z.detach(), label)
        yield Update(
            "discriminator", prior=softplus(-on_prior).mean(), codes=softplus(on_codes).mean()
        )
        # -log D(z)
        yield Update("generator", fool=softplus(-self.discriminate(z, label)).mean())

    def draw_code(self, image: Tensor) -> Tensor:
        """Draw z ~ q(z|x), (N, latent)."""
        mu, logvar = self.encoder(image)
        z: Tensor = mu if logvar is None else mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return z

    def discriminate(self, z: Tensor, label: Tensor | None) -> Tensor:
        """Return d(z), (N,); of classes (N,), d(z, y)."""
        if label is not None:
            z = torch.cat([z, one_hot(label, len(self.data.label.classes)).to(z.dtype)], dim=1)
        logit: Tensor = self.discriminator(z).float()
        return logit

    def place(self, noise: Tensor, label: Tensor | None) -> Tensor:
        """Return a draw from p(z), or p(z|y), of noise from N(0, 1): (N, latent) both."""
        if label is None:
            return noise
        angle = label * (2 * pi / len(self.data.label.classes))
        outwards = torch.stack([angle.cos(), angle.sin()], dim=1)  # (N, 2)
        across = torch.stack([-angle.sin(), angle.cos()], dim=1)
        plane = outwards * (1 + LONG * noise[:, :1]) + across * WIDE * noise[:, 1:2]
        return torch.cat([self.config.radius * plane, noise[:, 2:]], dim=1)

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        reconstruction = self.reconstruct(image)
        return {
            "mse": pixel_mse(image, reconstruction).mean(),
            "psnr": psnr(image, reconstruction).mean(),
        }

    def encode(self, image: Tensor) -> Tensor:
        """Return mu(x)."""
        mu: Tensor = self.encoder(image)[0]
        return mu

    def decode(self, latent: Tensor) -> Tensor:
        """Return the image of a code, in [-1, 1]."""
        return 2 * torch.sigmoid(self.decoder(latent)) - 1

    def reconstruct(self, image: Tensor) -> Tensor:
        """Return the image of mu(x)."""
        return self.decode(self.encode(image))

    def generate(self, noise: Tensor, label: Tensor) -> Tensor:
        """Return images of classes: of draws from p(z|y)."""
        return self.decode(self.place(noise, label))

    def graphs(self) -> Mapping[str, Graph]:
        image, size = self.data.image, self.config.latent_size
        code = Port.latent("code", size, prior=None)
        reconstruction = Port.image("reconstruction", self.data.image)
        graphs = {
            "encode": Graph(self.encode, [image], [code]),
            "reconstruct": Graph(self.reconstruct, [image], [reconstruction]),
        }
        if self.with_classes:
            noise, label = Port.latent("noise", size), self.data.label
            graphs["decode"] = Graph(self.decode, [code], [image])
            graphs["generate"] = Graph(self.generate, [noise, label], [image])
        else:
            graphs["decode"] = Graph(self.decode, [Port.latent("latent", size)], [image])
        return graphs


def check(config: AdversarialAutoencoderConfig, data: DataSpec) -> None:
    """Refuse a mixture without classes, or without a plane to place them in.

    Raises:
        UsageError: the data has no classes, or z is a single number.
    """
    if config.prior != "mixture":
        return
    if "label" not in data:
        raise UsageError(
            "adversarial-ae: prior=mixture needs images with classes, and this data has none",
            hint="--set prior=normal, or a folder with one folder a class",
            code="wrong-data",
        )
    if config.latent_size < 2:
        raise UsageError(
            "adversarial-ae: prior=mixture needs at least two numbers in z",
            hint="--set latent_size=2",
            code="bad-value",
        )
