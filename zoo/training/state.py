"""What the next step of a training depends on, as tensors and JSON: saved, and restored.

That is weights, optimisers, buffers and random generators, and the environment of the process
(device, versions, data), of which a change is reported. Nothing is pickled.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.optim import Optimizer

import zoo
from zoo.errors import NotFoundError, PluginError
from zoo.model.weights import own_tensors, tensors_as_bytes
from zoo.training import devices
from zoo.training.checkpoint import Checkpoint, damaged
from zoo.training.config import Job
from zoo.training.devices import Ranks
from zoo.training.players import TrainState

WEIGHTS, TENSORS = "model.safetensors", "training.safetensors"  # files of a checkpoint
GENERATORS = "generators"  # key of a rank's metadata
PYTHON, NUMPY, TORCH, DEVICE = "python", "numpy", "torch", "device"  # keys of random generators
DAMAGED = (KeyError, ValueError, TypeError, AttributeError, RecursionError, SafetensorError)


def shared_state(
    state: TrainState, raw_weights: Mapping[str, Tensor]
) -> tuple[bytes, dict[str, Any]]:
    """Return what all ranks have in common beside the weights: `TENSORS`, and a part that is JSON.

    That is the optimisers, the gradients that are not yet used, and the weights as the optimisers
    left them, while the model holds averages.

    Raises:
        PluginError: the state of an optimiser holds something that is no number and no tensor.
    """
    tensors = {f"raw.{name}": tensor for name, tensor in raw_weights.items()}
    players = {}
    for name, player in state.players.items():
        parts = {
            "optimiser": player.optimiser.state_dict(),
            "updates": player.updates,
            "gradients": player.gradients,
        }
        try:
            players[name], more = flatten_state(parts, name)
        except TypeError as problem:
            raise PluginError(
                f"the optimiser of {name!r} cannot be saved: {problem}", code="breaks-contract"
            ) from None
        tensors |= more
    return tensors_as_bytes(tensors), players


def rank_state(state: TrainState) -> bytes:
    """Return the state that only this rank has, as the bytes of a safetensors file.

    That is every buffer (BatchNorm statistics, image pools), for ranks see different images, and
    every random generator.
    """
    tensors = {f"buffer.{name}": each for name, each in _buffers(state).items()}
    generators, more = flatten_state(random_state(state.ranks.device), "generator")
    metadata = {GENERATORS: json.dumps(generators)}
    return tensors_as_bytes(tensors | more, metadata)


def rank_file(rank: int) -> str:
    """Return the name of the file that holds the state of a rank."""
    return f"rank-{rank}.safetensors"


@torch.no_grad()
def restore(state: TrainState, checkpoint: Checkpoint, *, rank: int, ranks: int) -> None:
    """Restore the model, its players and the random generators from a checkpoint.

    If the number of ranks was another one, every rank takes the buffers of the first, and keeps its
    own random generators.

    Raises:
        NotFoundError: the checkpoint does not fit the model.
    """
    path, device = checkpoint.path, state.ranks.device
    try:
        shared, _ = _read(path / TENSORS)
        weights, _ = _read(path / WEIGHTS)
        averaged = any(name.startswith("raw.") for name in shared)
        for name, tensor in own_tensors(state.model).items():
            is_averaged = averaged and tensor.is_floating_point()
            _fill(tensor, shared[f"raw.{name}"] if is_averaged else weights[name], name)
        for name, player in state.players.items():
            saved = unflatten_state(checkpoint.content["players"][name], shared)
            player.optimiser.load_state_dict(match_layout(saved["optimiser"], player.optimiser))
            player.updates = saved["updates"]
            player.gradients = [
                None if gradient is None else torch.empty_like(parameter).copy_(gradient)
                for parameter, gradient in zip(player.parameters, saved["gradients"], strict=False)
            ]
        same_ranks = ranks == checkpoint.ranks
        own, metadata = _read(path / rank_file(rank if same_ranks else 0))
        for name, buffer in _buffers(state).items():
            _fill(buffer, own[f"buffer.{name}"], name)
        if same_ranks:
            set_random_state(unflatten_state(json.loads(metadata[GENERATORS]), own), device)
    except DAMAGED as problem:
        raise damaged(path, f"it does not fit the model: {problem}") from problem


def _fill(tensor: Tensor, saved: Tensor, name: str) -> None:
    """Copy a saved tensor into one of the model, which must have its shape and type."""
    if tensor.shape != saved.shape or tensor.dtype != saved.dtype:
        raise ValueError(
            f"{name!r} is {saved.dtype} {tuple(saved.shape)}, "
            f"the model has {tensor.dtype} {tuple(tensor.shape)}"
        )
    tensor.copy_(saved)


def match_layout(state: dict[str, Any], optimiser: Optimizer) -> dict[str, Any]:
    """Give each tensor of an optimiser's state the memory layout and device of its parameter.

    Fused optimisers need the same layout for both.
    """
    parameters: list[Tensor] = [
        each for group in optimiser.param_groups for each in group["params"]
    ]
    for index, of_parameter in state["state"].items():
        if not isinstance(index, int) or not isinstance(of_parameter, dict):
            continue  # of all parameters together
        for key, value in of_parameter.items():
            if isinstance(value, Tensor) and value.ndim and value.shape == parameters[index].shape:
                pattern = torch.empty_like(parameters[index], dtype=value.dtype)
                of_parameter[key] = pattern.copy_(value)
    return state


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a file whose hash was compared before."""
    with safetensors.safe_open(path, framework="pt") as file:
        names = file.keys()
        return {name: file.get_tensor(name) for name in names}, file.metadata() or {}


def _buffers(state: TrainState) -> dict[str, Tensor]:
    """Return every buffer by the name it has in the model file, through the trainer's wrapping."""
    found = dict(state.model.named_buffers(recurse=False))
    for name, child in state.model.named_children():
        buffers = state.ranks.unwrap(child).named_buffers()
        found |= {f"{name}.{key}": buffer for key, buffer in buffers}
    return found


def flatten_state(value: Any, name: str) -> tuple[Any, dict[str, Tensor]]:
    """Split a nested value, such as an optimiser's state, into JSON and tensors by name.

    Dictionaries keep the types of their keys and their order, tuples stay tuples, and every float
    comes back to the bit. The names of the tensors begin with `name`.

    Raises:
        TypeError: it holds something beside None, booleans, numbers, texts, tensors, lists, tuples
            and dictionaries.
    """
    tensors: dict[str, Tensor] = {}

    def flatten(part: Any, path: str) -> Any:
        if isinstance(part, Tensor):
            key = f"{name}.{len(tensors)}"  # a path of keys might be that of two
            tensors[key] = part
            return {"tensor": key}
        if isinstance(part, float) and not math.isfinite(part):
            return {"float": repr(part)}
        if part is None or isinstance(part, bool | int | float | str):
            return part
        if isinstance(part, list | tuple):
            items = [flatten(each, f"{path}.{index}") for index, each in enumerate(part)]
            return items if isinstance(part, list) else {"tuple": items}
        if isinstance(part, dict):
            pairs = [
                [flatten(key, ""), flatten(each, f"{path}.{key}")] for key, each in part.items()
            ]
            return {"dict": pairs}
        raise TypeError(f"{path} is a {type(part).__name__}, which cannot be saved")

    return flatten(value, name), tensors


def unflatten_state(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the nested value that `flatten_state` was given.

    Raises:
        ValueError: `flatten_state` does not return such a value, or a tensor is missing.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [unflatten_state(each, tensors) for each in value]
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError("not a value that was saved")
    ((kind, content),) = value.items()
    if kind == "tensor" and content in tensors:
        return tensors[content]
    if kind == "float" and content in {"nan", "inf", "-inf"}:
        return float(content)
    if kind == "tuple" and isinstance(content, list):
        return tuple(unflatten_state(each, tensors) for each in content)
    if kind == "dict" and isinstance(content, list):
        return {unflatten_state(key, {}): unflatten_state(each, tensors) for key, each in content}
    raise ValueError(f"not a value that was saved: {str(kind)[:40]!r}")


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the states of Python's, NumPy's, torch's and the device's generators."""
    numpy_state = np.random.get_state(legacy=False)  # what a plugin may draw from
    assert isinstance(numpy_state, dict)
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    state = {PYTHON: random.getstate(), NUMPY: numpy_state, TORCH: torch.get_rng_state()}
    if device.type == "cuda":
        state[DEVICE] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state[DEVICE] = torch.mps.get_rng_state()
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Set the states of the generators; a device of another kind keeps its own.

    Raises:
        ValueError: the states are missing or damaged.
    """
    try:
        random.setstate(state[PYTHON])
        numpy_state = state[NUMPY]
        numpy_state["state"]["key"] = np.array(numpy_state["state"]["key"], dtype=np.uint32)
        np.random.set_state(numpy_state)
        torch.set_rng_state(state[TORCH])
        if DEVICE in state and device.type == "cuda":
            torch.cuda.set_rng_state(state[DEVICE], device)
        elif DEVICE in state and device.type == "mps":
            torch.mps.set_rng_state(state[DEVICE])
    except (KeyError, TypeError, RuntimeError) as problem:
        raise ValueError(f"the state of a random generator is damaged: {problem}") from None


def environment(job: Job, device: torch.device) -> dict[str, str]:
    """Return what else the bits of a training's result depend on."""
    plugin = job.entry.plugin
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "device": kind,
        "precision": devices.precision(job.settings, device.type),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "zoo-core": zoo.__version__,
        plugin.distribution: plugin.version,
        "data": job.store.digest,
    }


def changed_environment(job: Job, checkpoint: Checkpoint, ranks: Ranks) -> list[str]:
    """Return a line for each part of the environment that changed since a checkpoint was written.

    Raises:
        NotFoundError: the data has changed.
    """
    compiled = checkpoint.content.get("job", {}).get("training", {}).get("compile", [])
    before = {
        **checkpoint.content["environment"],
        "devices": str(checkpoint.ranks),
        "compiled networks": ", ".join(compiled) or "none",
    }
    now = {
        **environment(job, ranks.device),
        "devices": str(ranks.size),
        "compiled networks": ", ".join(job.settings.compile) or "none",
    }
    if before.get("data") != now["data"]:
        data = checkpoint.content.get("job", {}).get("data", job.data)
        moved = f"; that was {data!r}" if data != job.data else ""
        raise NotFoundError(
            f"{job.data!r} is not the data that the run was trained on{moved}",
            cause=f"{job.items} were added, removed or changed since",
            hint="zoo data check says what is there; without --resume a new run begins",
            code="data-changed",
        )
    return [
        f"{name} {value}, it was {before.get(name, 'not there')}"
        for name, value in now.items()
        if before.get(name) != value
    ]
