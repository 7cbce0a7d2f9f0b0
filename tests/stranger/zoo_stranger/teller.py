"""The most likely next symbol, round after round: a loop that needs a text to begin with.

Paper: Shannon 1948, "A Mathematical Theory of Communication", section 3: an approximation of
second order.

Objective, mean over symbols and batch, in nats:
    table:  min  -log p(x_{t+1} | x_t)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zoo import DataSpec, Goal, Graph, Model, Player, Port, Training, Update, option


@dataclass(frozen=True)
class TellerConfig:
    """What can be set with ``--set``."""

    rounds: int = option(40, "symbols of a text", at_least=1, at_most=10_000)
    lr: float = option(1e-1, "learning rate", above=0.0, at_most=1.0)


class Teller(Model):
    """Learns which symbol follows which."""

    Config = TellerConfig
    config: TellerConfig
    training_defaults = Training(epochs=20, batch_size=8)
    goal = Goal("nats", "lowest")

    def __init__(self, config: TellerConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.table = nn.Embedding(len(data.text.classes), len(data.text.classes))

    def players(self) -> Mapping[str, Player]:
        return {"table": Player([self.table], partial(torch.optim.Adam, lr=self.config.lr))}

    def nats(self, text: Tensor) -> Tensor:
        return cross_entropy(self.table(text[:, :-1]).flatten(0, 1), text[:, 1:].flatten())

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("table", nats=self.nats(batch["text"]))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {"nats": self.nats(batch["text"])}

    def tell(self, symbol: Tensor) -> Tensor:
        """x_t (N,) -> x_{t+1} (N,)."""
        return self.table(symbol).argmax(dim=1)

    def graphs(self) -> Mapping[str, Graph]:
        alphabet = self.data.text.classes
        symbol = partial(
            Port, kind="text", shape=("batch",), dtype="int64",
            range=(0.0, len(alphabet) - 1.0), classes=alphabet,
        )  # fmt: skip
        prompt, text = symbol("prompt", next="text"), symbol("text")
        return {"tell": Graph(self.tell, [prompt], [text], self.config.rounds)}
