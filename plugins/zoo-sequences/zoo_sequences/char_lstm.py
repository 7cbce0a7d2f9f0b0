"""Character LSTM: a recurrent network that predicts the next symbol of a text.

Paper: Graves 2013, "Generating Sequences With Recurrent Neural Networks", arXiv:1308.0850.
Sizes and data: Karpathy 2015, "The Unreasonable Effectiveness of Recurrent Neural Networks".

Model (eq. 7-11 without peephole weights), for symbols x_1 … x_T of an alphabet:
    (h_t, c_t) = LSTM(E x_t; h_{t-1}, c_{t-1}),  h_0 = c_0 = 0
    p(x_{t+1} | x_1 … x_t) = softmax(W h_t + b)

Objective, mean over symbols and batch, in nats:
    network:  min  -log p(x_{t+1} | x_1 … x_t)

The graph `next` is one step: symbol and state in, next symbol and state out. The symbol is drawn by
the Gumbel-max trick from noise that comes in, u ~ U(0, 1), at a temperature τ:
    x_{t+1} = argmax(W h_t + b - τ log(-log u)),  which is a draw from softmax((W h_t + b) / τ)

Departures from the paper: an embedding of the symbols in place of one-hot vectors, no peephole
weights, and no connections that skip layers. The state is zero at the beginning of each window, in
training and validation alike, so the first symbols of a window are predicted from little context.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zoo import DataSpec, Goal, Graph, Model, Player, Port, Training, Update, one_cycle, option

START = "\n"  # comes before a text without a prompt


@dataclass(frozen=True)
class CharLSTMConfig:
    """What can be set with ``--set``."""

    layers: int = option(1, "LSTM layers", at_least=1, at_most=16)
    hidden: int = option(256, "cells of a layer", at_least=1, at_most=8192)
    embedding: int = option(64, "numbers that a symbol becomes", at_least=1, at_most=4096)
    dropout: float = option(
        0.0, "share of a layer's outputs set to 0 in training", at_least=0.0, below=1.0
    )
    clip_norm: float = option(1.0, "greatest norm of the gradient", above=0.0)
    lr: float = option(2e-3, "highest learning rate of Adam", above=0.0, at_most=1.0)
    rounds: int = option(400, "symbols of a sample", at_least=1, at_most=100_000)


class Network(nn.Module):
    """Symbols (N, T) and a state -> logits of the next symbol (N, T, alphabet), and the state.

    A state is two tensors (layers, N, hidden), h and c; zeros, when not given.
    """

    def __init__(self, config: CharLSTMConfig, alphabet: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(alphabet, config.embedding)
        self.lstm = nn.LSTM(
            config.embedding,
            config.hidden,
            config.layers,
            batch_first=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.logits = nn.Linear(config.hidden, alphabet)

    def forward(
        self, symbols: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        outputs, state = self.lstm(self.embedding(symbols), state)
        return self.logits(self.dropout(outputs)), state


class CharLSTM(Model):
    """A network that predicts the next symbol, and one step of writing with it."""

    Config = CharLSTMConfig
    config: CharLSTMConfig
    training_defaults = Training(epochs=10, batch_size=32)
    goal = Goal("bits", "lowest")

    def __init__(self, config: CharLSTMConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.network = Network(config, len(data.text.classes))

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=self.config.lr)
        clip = self.config.clip_norm
        return {"network": Player([self.network], adam, schedule=one_cycle, clip_norm=clip)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("network", nats=self.nats(batch["text"]))

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {"bits": self.nats(batch["text"]) / math.log(2)}

    def nats(self, text: Tensor) -> Tensor:
        """Return -log p of all symbols but the first of windows (N, T): their mean, a scalar."""
        logits, _ = self.network(text[:, :-1])
        return cross_entropy(logits.flatten(0, 1).float(), text[:, 1:].flatten())

    def write(
        self, symbol: Tensor, hidden: Tensor, cell: Tensor, temperature: Tensor, u: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x_t, h_{t-1}, c_{t-1}, τ, u -> x_{t+1}, h_t, c_t; states are (N, layers, hidden)."""
        before = hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()
        logits, (hidden, cell) = self.network(symbol[:, None], before)
        gumbel = -torch.log(-torch.log(u.clamp(1e-6, 1 - 1e-6)))
        chosen = torch.argmax(logits[:, 0].float() + temperature[:, None] * gumbel, dim=1)
        return chosen, hidden.transpose(0, 1), cell.transpose(0, 1)

    def graphs(self) -> Mapping[str, Graph]:
        alphabet = self.data.text.classes
        text = partial(
            Port,
            kind="text",
            shape=("batch",),
            dtype="int64",
            range=(0.0, len(alphabet) - 1.0),
            classes=alphabet,
        )
        start = alphabet.index(START) if START in alphabet else 0
        state = ("batch", self.config.layers, self.config.hidden)
        inputs = [
            text("prompt", default=float(start), next="text"),
            Port("hidden", "values", state, prior="zeros", next="next_hidden"),
            Port("cell", "values", state, prior="zeros", next="next_cell"),
            Port("temperature", "values", ("batch",), range=(0.0, 10.0), default=1.0),
            Port("u", "values", ("batch", len(alphabet)), range=(0.0, 1.0), prior="uniform"),
        ]
        outputs = [
            text("text"),
            Port("next_hidden", "values", state),
            Port("next_cell", "values", state),
        ]
        return {"next": Graph(self.write, inputs, outputs, self.config.rounds)}
