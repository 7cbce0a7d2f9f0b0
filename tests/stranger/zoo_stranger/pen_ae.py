"""An autoencoder of drawings: a model that learns from a kind of data of the plugin's own.

Paper: Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks",
Science 313, from afar.

Objective, mean over numbers and batch:
    autoencoder:  min  |x - D(E(x))|²
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from zoo import DataSpec, Goal, Graph, Model, Player, Port, Training, Update, mlp, option


@dataclass(frozen=True)
class PenAEConfig:
    """What can be set with ``--set``."""

    code: int = option(8, "numbers in the code", at_least=1, at_most=256)
    lr: float = option(1e-2, "learning rate of Adam", above=0.0, at_most=1.0)


class PenAE(Model):
    """Takes a drawing through a short code and back."""

    Config = PenAEConfig
    config: PenAEConfig
    training_defaults = Training(epochs=40, batch_size=8)
    goal = Goal("error", "lowest")

    def __init__(self, config: PenAEConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        _, rows, length = data.strokes.shape
        numbers = int(rows) * int(length)
        self.encoder = nn.Sequential(nn.Flatten(), *mlp(numbers, 64), nn.Linear(64, config.code))
        self.decoder = nn.Sequential(
            *mlp(config.code, 64),
            nn.Linear(64, numbers),
            nn.Tanh(),
            nn.Unflatten(1, (int(rows), int(length))),
        )

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr)
        return {"autoencoder": Player([self.encoder, self.decoder], adam)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("autoencoder", error=self.error(batch["strokes"]))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {"error": self.error(batch["strokes"])}

    def error(self, strokes: Tensor) -> Tensor:
        """Return how far drawings and their reconstructions are apart."""
        return mse_loss(self.reconstruct(strokes), strokes)

    def reconstruct(self, strokes: Tensor) -> Tensor:
        """Return drawings as the code keeps them, (N, 3, length) in [-1, 1]."""
        made: Tensor = self.decoder(self.encoder(strokes))
        return made

    def graphs(self) -> Mapping[str, Graph]:
        strokes = self.data.strokes
        made = Port("made", "strokes", strokes.shape, range=(-1.0, 1.0))
        return {"reconstruct": Graph(self.reconstruct, [strokes], [made])}
