"""Batches of a decoded split: an index gather, a move to the device, a scale to [-1, 1]."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import UsageError

Split = Mapping[str, "np.ndarray[Any, Any]"]


class Batches:
    """The training split, in an order that is a pure function of seed and epoch.

    Each step shares one batch among the ranks. Images that do not fill a last batch are left out
    of that epoch; every epoch leaves out others.

    Args:
        split: arrays of equal length: ``image`` uint8 (N, H, W, C) and perhaps ``label`` (N,).
        batch_size: images a step over all ranks together; a smaller split is one batch.
        seed: of the order.
        device: where the batches go.
        rank: of this process.
        ranks: processes that share each batch.

    Raises:
        UsageError: the batch cannot be shared equally.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        seed: int,
        device: torch.device,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if batch_size % ranks:
            raise UsageError(
                f"a batch of {batch_size} cannot be shared by {ranks} devices",
                hint=f"--batch-size {(batch_size // ranks + 1) * ranks}",
            )
        self.images = length(split)
        if self.images < ranks:
            raise UsageError(f"{self.images} training images are too few for {ranks} devices")
        self.batch_size = min(batch_size, self.images - self.images % ranks)
        self.steps_per_epoch = self.images // self.batch_size
        self._split, self._seed, self._device = split, seed, device
        self._rank, self._ranks = rank, ranks

    def epoch(self, number: int) -> Iterator[dict[str, Tensor]]:
        """Yield this rank's share of every batch of an epoch, counted from 0."""
        order = np.random.default_rng((self._seed, number)).permutation(self.images)
        for step in range(self.steps_per_epoch):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield gather(self._split, batch[self._rank :: self._ranks], self._device)


def in_order(split: Split, batch_size: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """Yield a whole split in its own order; the last batch may be smaller."""
    images = length(split)
    for start in range(0, images, batch_size):
        yield gather(split, np.arange(start, min(start + batch_size, images)), device)


def gather(split: Split, indices: np.ndarray[Any, Any], device: torch.device) -> dict[str, Tensor]:
    """Return the chosen images (n, C, H, W) in [-1, 1], channels last in memory, and labels."""
    return {name: _to_tensor(array[indices], device) for name, array in split.items()}


def length(split: Split) -> int:
    """Return how many images a split has."""
    return len(next(iter(split.values())))


def _to_tensor(array: np.ndarray[Any, Any], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array)).to(device)
    if tensor.dtype != torch.uint8:
        return tensor
    return tensor.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
