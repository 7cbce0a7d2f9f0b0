"""Batches of a decoded split: an index gather, a move to the device, a scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.errors import UsageError
from zoo.modalities import modality_of
from zoo.ports import DataSpec, Port

Split = Mapping[str, "np.ndarray[Any, Any]"]
Indices = NDArray[np.int64]

PICTURES = 4  # dimensions of rows that have a memory layout: N, C, H, W


class Batches:
    """The training split, in an order that is a pure function of seed and epoch.

    Each step shares one batch among the ranks. Images that do not fill a last batch are left out
    of that epoch; every epoch leaves out others.

    Arrays of ports of one order stay aligned: row i of one belongs to row i of the other. The two
    domains of a translation have orders that know nothing of each other, unless they are pairs. An
    epoch goes through the larger domain once, and through the smaller one again and again, each
    time in a new order.

    Args:
        split: arrays by name of the port, as the modality of the port stores them. Those of two
            orders may differ in rows.
        data: the ports.
        batch_size: rows (of each domain) a step over all ranks together; a smaller split is one
            batch.
        seed: of the order.
        device: where the batches go.
        rank: of this process.
        ranks: processes that share each batch.
        memory_format: memory layout of batches with four dimensions, as the model's networks have
            it.

    Raises:
        UsageError: the batch cannot be shared equally.
    """

    def __init__(  # noqa: PLR0913 - all but three by name, and each has its own default
        self,
        split: Split,
        data: DataSpec,
        batch_size: int,
        *,
        seed: int,
        device: torch.device,
        rank: int = 0,
        ranks: int = 1,
        memory_format: torch.memory_format = torch.channels_last,
    ) -> None:
        check_shared(batch_size, ranks)
        self.images = length(split)
        if self.images < ranks:
            raise UsageError(
                f"{self.images} training images are too few for {ranks} devices",
                code="too-many-devices",
            )
        self.batch_size = min(batch_size, self.images - self.images % ranks)
        self.steps_per_epoch = self.images // self.batch_size
        self._split, self._seed, self._device = split, seed, device
        self._rank, self._ranks, self._memory_format = rank, ranks, memory_format
        self._data = data
        self._orders = {name: data[name].order for name in split}
        sizes = {(self._orders[name], len(rows)) for name, rows in split.items()}
        assert len(sizes) == len({*self._orders.values()}), "arrays of one order have as many rows"

    def epoch(self, number: int, first: int = 0) -> Iterator[dict[str, Tensor]]:
        """Yield this rank's share of the batches of an epoch, from the `first` one; all from 0."""
        orders = {name: self._order(name, number) for name in self._split}
        for step in range(first, self.steps_per_epoch):
            begin, end = step * self.batch_size, (step + 1) * self.batch_size
            share = slice(begin + self._rank, end, self._ranks)
            yield {
                name: _to_tensor(
                    array[orders[name][share]], self._data[name], self._device, self._memory_format
                )
                for name, array in self._split.items()
            }

    def _order(self, name: str, epoch: int) -> Indices:
        """Return which row of an array stands at each place of an epoch."""
        random = np.random.default_rng((self._seed, epoch, self._orders[name]))
        rows, places = len(self._split[name]), self.steps_per_epoch * self.batch_size
        rounds = [random.permutation(rows) for _ in range(-(-places // rows))]
        return np.concatenate(rounds)[:places]


def check_shared(batch_size: int, ranks: int) -> None:
    """Check that a batch can be shared equally.

    Raises:
        UsageError: it cannot.
    """
    if batch_size % ranks:
        raise UsageError(
            f"a batch of {batch_size} cannot be shared by {ranks} devices",
            hint=f"--batch-size {(batch_size // ranks + 1) * ranks}",
            code="bad-batch-size",
        )


def in_order(
    split: Split,
    data: DataSpec,
    batch_size: int,
    device: torch.device,
    memory_format: torch.memory_format = torch.channels_last,
) -> Iterator[dict[str, Tensor]]:
    """Yield a split in its own order, two domains side by side; the last batch may be smaller."""
    rows = common_rows(split)
    for start in range(0, rows, batch_size):
        chosen = np.arange(start, min(start + batch_size, rows))
        yield {
            name: _to_tensor(array[chosen], data[name], device, memory_format)
            for name, array in split.items()
        }


def length(split: Split) -> int:
    """Return how many rows a split has; of two domains, the larger one."""
    return max(map(len, split.values()))


def common_rows(split: Split) -> int:
    """Return how many rows `in_order` goes through; of two domains, those of the smaller one."""
    return min(map(len, split.values()))


def _to_tensor(
    array: np.ndarray[Any, Any],
    port: Port,
    device: torch.device,
    memory_format: torch.memory_format,
) -> Tensor:
    """Return rows of decoded data as numbers of their port."""
    form = modality_of(port).stored(port)
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda":  # from pinned memory, the copy goes on while the next one is gathered
        tensor = tensor.pin_memory()
    tensor = tensor.to(device, non_blocking=True)
    if form.axes:
        tensor = tensor.permute(form.axes)
    if tensor.ndim == PICTURES:
        tensor = tensor.contiguous(memory_format=memory_format)
    if form.divisor != 1 or form.offset:
        return tensor.float().div_(form.divisor).sub_(form.offset)
    return tensor.float() if port.dtype == "float32" else tensor.long()
