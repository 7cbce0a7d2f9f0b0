"""A moving average of a model's weights, which is what samples and exports are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from zoo.model.contract import Model


class Average:
    """The exponential moving average of all weights and running statistics.

    The generator of an adversarial game wanders; the average of where it has been makes better
    pictures than any one place. Source: Yazıcı et al. 2019, arXiv:1806.04498.

    What a run measures, shows and saves for use is then the averages, those of a discriminator too.

    Args:
        model: whose weights are averaged, as the optimisers move them.
        decay: share of the average that stays at each step, below 1. In the beginning it is
            (1 + step) / (10 + step), so that the first weights are soon forgotten.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self._decay = decay
        self._weights = _floating(model)
        self._averages = {name: tensor.clone() for name, tensor in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        weights = list(self._weights.values())
        torch._foreach_lerp_(list(self._averages.values()), weights, 1 - decay)

    @torch.no_grad()
    def restore(self, averages: Mapping[str, Tensor]) -> None:
        """Take up averages of before, by the names that weight files have."""
        for name, average in self._averages.items():
            average.copy_(averages[name])

    @property
    def others(self) -> Mapping[str, Tensor]:
        """The weights that the model does not hold now: inside `in_place`, the trained ones."""
        return self._averages

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model hold the averages as long as it lasts."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weight in self._weights.items():
            held = weight.clone()
            weight.copy_(self._averages[name])
            self._averages[name].copy_(held)


def _floating(model: Model) -> dict[str, Tensor]:
    """Return the tensors that weight files hold and that can be averaged, without copying."""
    return {name: each for name, each in model.state_dict().items() if each.is_floating_point()}
