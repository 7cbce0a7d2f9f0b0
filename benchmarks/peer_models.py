"""The networks of peers as models of the zoo, as a plugin would have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.dcgan_script import BETAS, LATENT, LEARNING_RATE, discriminator, generator
from zoo import DataSpec, Graph, Model, Player, Port, Training, Update


@dataclass(frozen=True)
class NoOptions:
    """Nothing can be set."""


class ScriptDCGAN(Model):
    """The networks and the objective of the DCGAN script (dcgan_script.py)."""

    Config = NoOptions
    training_defaults = Training(epochs=1, batch_size=64)

    def __init__(self, config: NoOptions, data: DataSpec) -> None:
        super().__init__(config, data)
        self.generator, self.discriminator = generator(), discriminator()

    def players(self) -> Mapping[str, Player]:
        """Return the two players, with the script's optimisers."""
        adam = partial(torch.optim.Adam, lr=LEARNING_RATE, betas=BETAS, fused=True)
        return {
            "generator": Player([self.generator], adam),
            "discriminator": Player([self.discriminator], adam),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        """Update the generator, then the discriminator, as the script does."""
        image = batch["image"]
        made = self.generator(torch.randn(len(image), LATENT, device=image.device))
        yield Update("generator", fool=cross_entropy(self.discriminator(made), 1))
        real = cross_entropy(self.discriminator(image), 1) / 2
        fake = cross_entropy(self.discriminator(made.detach()), 0) / 2
        yield Update("discriminator", real=real, fake=fake)

    def graphs(self) -> Mapping[str, Graph]:
        """Return the generator."""
        return {"generate": Graph(self.generator, [Port.latent("latent", LATENT)],
                                  [self.data.image])}  # fmt: skip


def cross_entropy(logits: Tensor, target: float) -> Tensor:
    """Return the binary cross-entropy, mean over the batch, of one target for all."""
    logits = logits.float()
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


class Encoder(nn.Module):
    """x -> mu, logvar: four strided convolutions of 4×4, 28 pixels to 1."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, 128), (128, 256), (256, 512), (512, 1024)):
            layers += [
                nn.Conv2d(before, after, 4, stride=2, padding=1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.mu, self.logvar = nn.Linear(1024, latent), nn.Linear(1024, latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar, (N, latent) each."""
        features = self.body(x)
        return self.mu(features), self.logvar(features)


def decoder(latent: int) -> nn.Sequential:
    """Return z -> logits of a picture: three transposed convolutions of 3×3, 4 pixels to 28."""
    return nn.Sequential(
        nn.Linear(latent, 1024 * 4 * 4),
        nn.Unflatten(1, (1024, 4, 4)),
        nn.ConvTranspose2d(1024, 512, 3, stride=2, padding=1),
        nn.BatchNorm2d(512),
        nn.ReLU(),
        nn.ConvTranspose2d(512, 256, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(256),
        nn.ReLU(),
        nn.ConvTranspose2d(256, 1, 3, stride=2, padding=1, output_padding=1),
    )


class ConvVAE(Model):
    """The networks and the objective of pythae's VAE for MNIST (pythae_script.py)."""

    Config = NoOptions
    LATENT = 16
    training_defaults = Training(epochs=1, batch_size=128)

    def __init__(self, config: NoOptions, data: DataSpec) -> None:
        super().__init__(config, data)
        self.encoder, self.decoder = Encoder(self.LATENT), decoder(self.LATENT)

    def players(self) -> Mapping[str, Player]:
        """Return the one player, with pythae's optimiser."""
        adam = partial(torch.optim.Adam, lr=1e-4, fused=True)
        return {"autoencoder": Player([self.encoder, self.decoder], adam)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        """Lower ½ ‖x - x̂‖² + KL, summed over pixels and dimensions, mean over the batch."""
        x = (batch["image"] + 1) / 2
        mu, logvar = (each.float() for each in self.encoder(x))
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        made = torch.sigmoid(self.decoder(z).float())
        reconstruction = 0.5 * ((made - x) ** 2).flatten(1).sum(dim=1).mean()
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(dim=1).mean()
        yield Update("autoencoder", reconstruction=reconstruction, kl=kl)

    def decode(self, latent: Tensor) -> Tensor:
        """Z -> picture in [-1, 1]."""
        return 2 * torch.sigmoid(self.decoder(latent)) - 1

    def graphs(self) -> Mapping[str, Graph]:
        """Return the decoder."""
        latent = Port.latent("latent", self.LATENT)
        return {"decode": Graph(self.decode, [latent], [self.data.image])}
