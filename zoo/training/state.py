"""All that a training's next step depends on, taken down as tensors and JSON, and put back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from lightning_fabric.wrappers import is_wrapped
from torch import Tensor, nn
from torch.optim import Optimizer

from zoo.errors import PluginError
from zoo.model.contract import Model
from zoo.model.weights import in_plain_order, save_tensors
from zoo.training.checkpoint import Checkpoint, damaged
from zoo.training.plain import like, put_together, take_apart
from zoo.training.randomness import random_state, set_random_state
from zoo.training.seats import Table

GENERATORS = "generators"  # key of a rank's metadata


def write_shared(folder: Path, table: Table, trained: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write what all ranks have in common, beside the weights; return the part that is JSON.

    Args:
        folder: of the checkpoint.
        table: with the optimisers.
        trained: the weights as the optimisers left them, where the model holds their averages.

    Raises:
        PluginError: an optimiser remembers something that is no number and no tensor.
    """
    tensors = {f"trained.{name}": tensor for name, tensor in trained.items()}
    optimisers = {}
    for player, seat in table.seats.items():
        try:
            state = seat.optimiser.state_dict()
            optimisers[player], more = take_apart(state, f"{player}.optimiser")
        except TypeError as problem:
            raise PluginError(f"the training of {player!r} cannot be saved: {problem}") from None
        tensors |= more
    save_tensors(folder / "training.safetensors", tensors)
    return optimisers


def state_of_rank(table: Table) -> bytes:
    """Return what this rank alone has, as the bytes of a safetensors file.

    That is every buffer (BatchNorm statistics, image pools), for ranks see different images, and
    every random generator.
    """
    tensors = {f"buffer.{name}": each for name, each in _buffers(table.model).items()}
    generators, more = take_apart(random_state(table.fabric.device), "generator")
    metadata = {GENERATORS: json.dumps(generators)}
    return safetensors.torch.save(in_plain_order(tensors | more), metadata)


@torch.no_grad()
def restore(table: Table, checkpoint: Checkpoint, *, rank: int, ranks: int) -> None:
    """Put the model, the optimisers and the random generators back to where they were.

    Where another number of ranks was at work, every rank takes the first one's buffers, and keeps
    the generators that it has.

    Raises:
        NotFoundError: the checkpoint does not fit the model.
    """
    path = checkpoint.path
    try:
        shared, _ = _read(path / "training.safetensors")
        weights, _ = _read(path / "model.safetensors")
        averaged = any(name.startswith("trained.") for name in shared)
        for name, tensor in table.model.state_dict().items():
            is_averaged = averaged and tensor.is_floating_point()
            _fill(tensor, shared[f"trained.{name}"] if is_averaged else weights[name], name)
        for player, seat in table.seats.items():
            state = put_together(checkpoint.facts["optimisers"][player], shared)
            seat.optimiser.load_state_dict(laid_out(state, seat.optimiser))
        as_before = ranks == checkpoint.ranks
        own, metadata = _read(path / f"rank-{rank if as_before else 0}.safetensors")
        for name, buffer in _buffers(table.model).items():
            _fill(buffer, own[f"buffer.{name}"], name)
        if as_before:
            generators = put_together(json.loads(metadata[GENERATORS]), own)
            set_random_state(generators, table.fabric.device)
    except (
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
        safetensors.SafetensorError,
    ) as problem:
        raise damaged(path, f"it does not fit the model: {problem}") from problem


def _fill(tensor: Tensor, saved: Tensor, name: str) -> None:
    if tensor.shape != saved.shape or tensor.dtype != saved.dtype:
        raise ValueError(
            f"{name!r} is {saved.dtype} {tuple(saved.shape)}, "
            f"the model has {tensor.dtype} {tuple(tensor.shape)}"
        )
    tensor.copy_(saved)


def laid_out(state: dict[str, Any], optimiser: Optimizer) -> dict[str, Any]:
    """Give what an optimiser remembers of a parameter the layout in memory of that parameter.

    Fused optimisers go through both side by side.
    """
    parameters: Sequence[Tensor] = [
        each for group in optimiser.param_groups for each in group["params"]
    ]
    for index, remembered in state["state"].items():
        if not isinstance(index, int) or not isinstance(remembered, dict):
            continue  # of all parameters together
        for key, value in remembered.items():
            if isinstance(value, Tensor) and value.ndim and value.shape == parameters[index].shape:
                remembered[key] = like(value, parameters[index])
    return state


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a file whose every byte is known to be our own."""
    with safetensors.safe_open(path, framework="pt") as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def _buffers(model: Model) -> dict[str, Tensor]:
    """Return every buffer by the name it has in the model file, through the trainer's wrapping."""
    found = dict(model.named_buffers(recurse=False))
    for name, child in model.named_children():
        network = child.module if is_wrapped(child) else child
        assert isinstance(network, nn.Module)
        found |= {f"{name}.{key}": buffer for key, buffer in network.named_buffers()}
    return found
