"""Real images and a training loop of a dozen lines, to drive a model through its contract."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import zoo
from zoo import Model

EMBEDDED = Path(zoo.__file__).parent / "data" / "embedded" / "fashion-mnist-small"


@cache
def clothes(count: int) -> Tensor:
    """Real images (count, 1, 28, 28) in [-1, 1]."""
    raw = gzip.decompress((EMBEDDED / "train-images-idx3-ubyte.gz").read_bytes())
    pixels = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, 28, 28)[:count]
    return torch.from_numpy(pixels / np.float32(127.5) - 1)


def train(model: Model, images: Tensor, *, steps: int, batch_size: int) -> Iterator[float]:
    """Train for a number of rounds; yield the sum of the terms of each."""
    (player,) = model.players().values()
    parameters = [each for module in player.modules for each in module.parameters()]
    optimiser = player.optimiser(parameters)
    rate = optimiser.param_groups[0]["lr"]
    order = torch.Generator().manual_seed(0)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = rate * player.schedule(step / steps)
        chosen = torch.randperm(len(images), generator=order)[:batch_size]
        (update,) = model.training_step({"image": images[chosen]})
        loss = torch.stack(list(update.terms.values())).sum()
        optimiser.zero_grad()
        loss.backward(inputs=parameters)
        optimiser.step()
        yield loss.item()
