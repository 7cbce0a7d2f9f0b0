"""Variational autoencoder.

Paper: Kingma & Welling 2014, "Auto-Encoding Variational Bayes", arXiv:1312.6114.
β: Higgins et al. 2017, "beta-VAE"; free bits: Kingma et al. 2016, arXiv:1606.04934, eq. 15.

Objective: the evidence lower bound of one image,
    ELBO(x) = E_q(z|x)[log p(x|z)] - KL(q(z|x) ‖ p(z)),   q(z|x) = N(mu, diag(exp(logvar))),
in nats an image: summed over pixels and latent dimensions, averaged over the batch. Training
estimates the expectation with L samples of the posterior (eq. 7), validation with one.

Departures from the paper: two hidden layers of ReLU units with layer normalisation, Adam with a
one-cycle rate, and L = 4 instead of 1, which reaches in 20 epochs what one sample needs more for.
Binary data is drawn from grey values, each time they are seen (Salakhutdinov & Murray 2008).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from math import log, pi
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from zoo import (
    DataSpec,
    Goal,
    Graph,
    Model,
    Player,
    Port,
    Training,
    Update,
    mlp,
    one_cycle,
    option,
)


@dataclass(frozen=True)
class VAEConfig:
    """What can be set with ``--set``."""

    latent_size: int = option(20, "dimensions of the code", at_least=1, at_most=4096)
    hidden: tuple[int, ...] = option(
        (512, 512),
        "units of the encoder's hidden layers; the decoder mirrors them",
        at_least=1,
        at_most=65536,
    )
    likelihood: Literal["bernoulli", "gaussian"] = option(
        "bernoulli", "p(x|z); Bernoulli takes grey values in [0, 1] as probabilities"
    )
    binarise: bool = option(
        False, "learn from pixels drawn black or white, with the grey value as the probability"
    )
    sigma: float = option(0.1, "standard deviation of the Gaussian likelihood", above=0.0)
    beta: float = option(1.0, "weight of the KL term; 1 is the paper's bound", at_least=0.0)
    free_bits: float = option(
        0.0, "KL of a latent dimension below this costs nothing", at_least=0.0, unit="nats"
    )
    samples: int = option(
        4, "L: posterior samples of an image in a step; more take longer and learn quicker",
        at_least=1, at_most=1024,
    )  # fmt: skip
    lr: float = option(2e-3, "greatest learning rate of Adam", above=0.0, at_most=1.0)


class Encoder(nn.Module):
    """x -> mu, logvar of q(z|x)."""

    def __init__(self, sizes: tuple[int, ...], latent_size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), *mlp(*sizes, layer_norm=True))
        self.mu = nn.Linear(sizes[-1], latent_size)
        self.logvar = nn.Linear(sizes[-1], latent_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(x)  # (N, hidden)
        return self.mu(features), self.logvar(features)  # (N, latent) each


class VAE(Model):
    """Gaussian posterior, standard normal prior."""

    Config = VAEConfig
    config: VAEConfig
    training_defaults = Training(epochs=20, batch_size=64)
    goal = Goal("elbo", "highest")

    def __init__(self, config: VAEConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        sizes = (config.latent_size, *reversed(config.hidden))
        self.encoder = Encoder((data.image.pixels, *config.hidden), config.latent_size)
        self.decoder = nn.Sequential(  # z -> logits of the pixels' means
            *mlp(*sizes, layer_norm=True),
            nn.Linear(sizes[-1], data.image.pixels),
            nn.Unflatten(1, data.image.image_shape),
        )

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr, fused=True)
        return {"autoencoder": Player([self.encoder, self.decoder], adam, one_cycle)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        log_likelihood, kl = self.bound(self.observed(batch["image"]), self.config.samples)
        # free bits: a dimension's KL, averaged over the batch, counts from λ upwards
        kl = kl.mean(dim=0).clamp(min=self.config.free_bits).sum()
        yield Update("autoencoder", reconstruction=-log_likelihood.mean(), kl=self.config.beta * kl)

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        log_likelihood, kl = self.bound(self.observed(batch["image"]), samples=1)
        elbo = log_likelihood - kl.sum(dim=1)
        return {
            "elbo": elbo.mean(),
            "reconstruction": -log_likelihood.mean(),
            "kl": kl.sum(dim=1).mean(),
        }

    def latent_kl(self, batch: Mapping[str, Tensor]) -> Tensor:
        mu, logvar = (each.float() for each in self.encoder(batch["image"]))
        return kl_to_standard_normal(mu, logvar).mean(dim=0)

    def log_importance_weights(self, batch: Mapping[str, Tensor], samples: int) -> Tensor:
        image = batch["image"]
        mu, logvar = (each.float() for each in self.encoder(image))
        noise = torch.randn(samples, *mu.shape, device=mu.device)
        z = mu + torch.exp(0.5 * logvar) * noise  # (samples, N, latent)
        logits = self.decoder(z.flatten(0, 1)).unflatten(0, (samples, -1))
        # log N(z; 0, I) - log N(z; mu, σ²): the constants cancel
        log_ratio: Tensor = 0.5 * (noise**2 + logvar - z**2).sum(dim=-1)  # (samples, N)
        return log_ratio + self.log_likelihood(image, logits)

    def observed(self, image: Tensor) -> Tensor:
        """Return x in [-1, 1]; with ``binarise`` every pixel is drawn anew, as -1 or 1."""
        return 2 * torch.bernoulli((image + 1) / 2) - 1 if self.config.binarise else image

    def bound(self, image: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """Return E[log p(x|z)] over samples z ~ q(z|x), (N,), and KL by dimension, (N, latent)."""
        mu, logvar = (each.float() for each in self.encoder(image))
        noise = torch.randn(samples, *mu.shape, device=mu.device)
        z = mu + torch.exp(0.5 * logvar) * noise  # reparameterisation: (L, N, latent)
        logits = self.decoder(z.flatten(0, 1)).unflatten(0, (samples, -1))  # (L, N, C, H, W)
        log_likelihood = self.log_likelihood(image, logits).mean(dim=0)
        return log_likelihood, kl_to_standard_normal(mu, logvar)

    def log_likelihood(self, image: Tensor, logits: Tensor) -> Tensor:
        """Return log p(x|z) in nats, summed over the pixels of x in [0, 1]; logits (…, C, H, W)."""
        x = ((image + 1) / 2).expand_as(logits)
        if self.config.likelihood == "bernoulli":
            nats = -binary_cross_entropy_with_logits(logits, x, reduction="none")
        else:  # log N(x; sigmoid(logits), σ²)
            error = (x - torch.sigmoid(logits)) / self.config.sigma
            nats = -0.5 * (error**2 + log(2 * pi * self.config.sigma**2))
        return nats.flatten(-3).sum(dim=-1)

    def decode(self, latent: Tensor) -> Tensor:
        """z -> mean of p(x|z), as an image in [-1, 1]."""
        return 2 * torch.sigmoid(self.decoder(latent)) - 1

    def reconstruct(self, image: Tensor) -> Tensor:
        """x -> image decoded from the mean of q(z|x)."""
        mu, _ = self.encoder(image)
        return self.decode(mu)

    def sample(self, image: Tensor, noise: Tensor) -> Tensor:
        """x, ε -> image decoded from z = mu + σ ε, which is a draw from q(z|x)."""
        mu, logvar = self.encoder(image)
        return self.decode(mu + torch.exp(0.5 * logvar) * noise)

    def graphs(self) -> Mapping[str, Graph]:
        image = self.data.image
        latent = Port.latent("latent", self.config.latent_size)
        mu = Port.latent("mu", self.config.latent_size, prior=None)
        logvar = Port.latent("logvar", self.config.latent_size, prior=None)
        reconstruction = Port.image("reconstruction", self.data.image)
        noise = Port.latent("noise", self.config.latent_size)
        return {
            "encode": Graph(self.encoder, [image], [mu, logvar]),
            "decode": Graph(self.decode, [latent], [image]),
            "reconstruct": Graph(self.reconstruct, [image], [reconstruction]),
            "sample": Graph(self.sample, [image, noise], [reconstruction]),
        }


def kl_to_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) ‖ N(0, 1)) = -½ (1 + logvar - mu² - exp(logvar)), elementwise."""
    return -0.5 * (1 + logvar - mu**2 - logvar.exp())
