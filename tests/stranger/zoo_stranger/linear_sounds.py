"""Sounds as sums of a few waveforms: a linear autoencoder.

Paper: Baldi and Hornik 1989, "Neural networks and principal component analysis".

Objective, mean over samples and batch:
    waveforms:  min  |decode(encode(x)) - x|²
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
class LinearSoundsConfig:
    """What can be set with ``--set``."""

    latent: int = option(8, "waveforms that are added", at_least=1, at_most=256)
    lr: float = option(1e-2, "learning rate", above=0.0, at_most=1.0)


class LinearSounds(Model):
    """Learns waveforms whose sums are the sounds, and adds them up at random."""

    Config = LinearSoundsConfig
    config: LinearSoundsConfig
    training_defaults = Training(epochs=20, batch_size=16)
    goal = Goal("error", "lowest")

    def __init__(self, config: LinearSoundsConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        _, channels, length = data.audio.shape
        self.shape = (channels, length)
        self.encoder = nn.Linear(channels * length, config.latent)
        self.decoder = nn.Linear(config.latent, channels * length)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr)
        return {"waveforms": Player([self.encoder, self.decoder], adam)}

    def error(self, audio: Tensor) -> Tensor:
        return mse_loss(self.decoder(self.encoder(audio.flatten(1))), audio.flatten(1))

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("waveforms", error=self.error(batch["audio"]))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {"error": self.error(batch["audio"])}

    def decode(self, code: Tensor) -> Tensor:
        """(N, latent) -> sounds (N, channels, length) in [-1, 1]."""
        return self.decoder(code).tanh().unflatten(1, self.shape)

    def graphs(self) -> Mapping[str, Graph]:
        code = Port.latent("code", self.config.latent)
        return {"decode": Graph(self.decode, [code], [self.data.audio])}
