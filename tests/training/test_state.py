"""Optimisers of every kind, taken apart and put together: they go on as if nothing had been."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.training.state import flatten_state, match_layout, unflatten_state

OPTIMISERS = [
    partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    partial(torch.optim.SGD, lr=0.1),
    partial(torch.optim.Adam, lr=0.1),
    partial(torch.optim.Adam, lr=0.1, amsgrad=True, fused=True),
    partial(torch.optim.AdamW, lr=0.1, foreach=True),
    partial(torch.optim.RMSprop, lr=0.1, centered=True),
    partial(torch.optim.Adagrad, lr=0.1),
    partial(torch.optim.ASGD, lr=0.1),
    partial(torch.optim.Rprop, lr=0.1),
    partial(torch.optim.NAdam, lr=0.1),
    partial(torch.optim.RAdam, lr=0.1),
    partial(torch.optim.Adamax, lr=0.1),
    partial(torch.optim.Adadelta, lr=0.1),
]


def steps(network: nn.Module, optimiser: Optimizer, seeds: range) -> None:
    for seed in seeds:
        torch.manual_seed(seed)
        optimiser.zero_grad()
        network(torch.randn(4, 3)).square().sum().backward()
        optimiser.step()


@pytest.mark.parametrize("make", OPTIMISERS, ids=lambda each: f"{each.func.__name__}")
def test_an_optimiser_goes_on_to_the_bit(make: Any) -> None:
    networks = []
    for broken_off in (False, True):
        torch.manual_seed(0)
        network = nn.Linear(3, 2)
        optimiser = make(network.parameters())
        steps(network, optimiser, range(3))
        if broken_off:
            value, tensors = flatten_state(optimiser.state_dict(), "all")
            told = json.loads(json.dumps(value, allow_nan=False))
            optimiser = make(network.parameters())
            optimiser.load_state_dict(unflatten_state(told, tensors))
        steps(network, optimiser, range(3, 6))
        networks.append(network)
    for one, other in zip(*(each.parameters() for each in networks), strict=True):
        assert torch.equal(one, other)


def test_what_goes_in_comes_out() -> None:
    value = {
        1: [None, True, 0.1, float("inf"), -float("inf")],
        "two": (3, ("four", {"nested": [torch.arange(3)]})),
        (5, 6): {},
    }
    plain, tensors = flatten_state(value, "x")
    found = unflatten_state(json.loads(json.dumps(plain, allow_nan=False)), tensors)
    (tensor,) = found["two"][1][1].pop("nested")
    assert torch.equal(tensor, torch.arange(3))
    value["two"][1][1].pop("nested")  # type: ignore[index, union-attr] # as written above
    assert found == value
    assert isinstance(next(iter(found)), int)


def test_keys_that_look_alike_keep_their_own_tensors() -> None:
    value = {
        "a.b": torch.zeros(1),
        "a": {"b": torch.ones(1)},
        1: torch.ones(1),
        "1": torch.zeros(1),
    }
    plain, tensors = flatten_state(value, "x")
    found = unflatten_state(json.loads(json.dumps(plain)), tensors)
    assert [float(found[key]) for key in ("a.b", 1, "1")] == [0, 1, 0]
    assert float(found["a"]["b"]) == 1


class Counting(torch.optim.SGD):
    """Remembers something that belongs to no parameter."""

    def step(self, closure: Any = None) -> Any:
        self.state["rounds"] = self.state.get("rounds", 0) + 1  # type: ignore[index, call-overload] # any key is allowed
        return super().step(closure)


def test_what_an_optimiser_remembers_of_no_parameter_is_left_as_it_is() -> None:
    network = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it
    optimiser = Counting(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.randn(1, 2, 5, 5)).sum().backward()
    optimiser.step()
    state = optimiser.state_dict()
    flat = {index: {key: each.contiguous() for key, each in one.items()}
            for index, one in state["state"].items() if isinstance(one, dict)}  # fmt: skip
    found = match_layout({**state, "state": {**flat, "rounds": 1}}, optimiser)
    assert found["state"]["rounds"] == 1
    assert found["state"][0]["momentum_buffer"].stride() == network.weight.stride()


def test_what_cannot_be_kept_is_named() -> None:
    with pytest.raises(TypeError, match=r"adam\.hook is a function"):
        flatten_state({"hook": lambda: None}, "adam")


NEVER_SAVED: list[Any] = [
    {"tensor": "none"},
    {"float": "1e999"},
    {"list": []},
    {"a": 1, "b": 2},
    {"tuple": 3},
    {"tensor": ["x"]},
    {"dict": [1]},
]


@pytest.mark.parametrize("value", NEVER_SAVED, ids=str)
def test_what_was_never_saved_is_refused(value: Any) -> None:
    no_tensors: dict[str, Tensor] = {}
    with pytest.raises((ValueError, TypeError)):
        unflatten_state(value, no_tensors)
