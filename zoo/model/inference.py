"""Using a model without training it: its graphs on arrays, its metrics over a set of images."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.model.contract import Batch, Graph, Model
from zoo.ports import DataSpec, Port

Arrays = Mapping[str, "np.ndarray[Any, Any]"]

MOST_ROWS = 500  # evaluated at a time; without gradients they take little memory …
MOST_NUMBERS = 2**21  # … unless they are large: in one port, whose layers hold many times that
EVALUATION_SEED = 0  # noise of every evaluation, so that two evaluations can be compared


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Put the model in evaluation mode without gradients, and leave it as it was found.

    Random numbers drawn inside, torch's, NumPy's and Python's, start from a fixed seed and do not
    disturb those outside.
    """
    was_training = model.training
    model.eval()
    device = device_of(model)
    others = [] if device.type == "cpu" else [device]
    generators = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(others, device_type=device.type), torch.no_grad():
            torch.manual_seed(EVALUATION_SEED)
            random.seed(EVALUATION_SEED)
            np.random.seed(EVALUATION_SEED)
            yield
    finally:
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        model.train(was_training)


def device_of(model: Model) -> torch.device:
    """Return the device of the model's parameters."""
    return next(iter(model.parameters())).device


def evaluation_batch(data: DataSpec) -> int:
    """Return how many images of the data are evaluated at a time."""
    return _rows_at_once(data.pixels)


def run_graph(model: Model, name: str, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """Run one graph of the model on arrays, as `run_in_torch` does."""
    return run_in_torch(model, model.graphs()[name], inputs)


def run_in_torch(model: Model, graph: Graph, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """Run a graph on arrays, one an input port, and return one an output port.

    Rows are run some at a time, so that memory stays bounded, unless the graph has a fixed batch.
    """
    device = device_of(model)
    rows = len(inputs[graph.inputs[0].name])
    found: dict[str, list[np.ndarray[Any, Any]]] = {port.name: [] for port in graph.outputs}
    widest = max(
        *(inputs[port.name][0].size for port in graph.inputs), *map(_fixed_size, graph.outputs)
    )
    batch = graph.inputs[0].shape[0]
    size = batch if isinstance(batch, int) else _rows_at_once(widest)
    with evaluating(model):
        for start in range(0, rows, size):
            portion = slice(start, start + size)
            given = [torch.from_numpy(inputs[port.name][portion]) for port in graph.inputs]
            outputs = as_tuple(graph.function(*(tensor.to(device) for tensor in given)))
            for port, tensor in zip(graph.outputs, outputs, strict=True):
                found[port.name].append(tensor.to("cpu").numpy())
    return {key: np.concatenate(parts) for key, parts in found.items()}


def _rows_at_once(numbers: int) -> int:
    """Return how many rows are run together when each holds so many numbers."""
    return max(1, min(MOST_ROWS, MOST_NUMBERS // numbers))


def _fixed_size(port: Port) -> int:
    return math.prod(size for size in port.shape[1:] if isinstance(size, int))


def as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return what a graph's function returned as a tuple."""
    return outputs if isinstance(outputs, tuple) else (outputs,)


def mean_metrics(model: Model, batches: Iterable[Batch]) -> dict[str, float]:
    """Return the validation metrics averaged over all images."""
    sums: dict[str, float] = {}
    images = 0
    with evaluating(model):
        for batch in batches:
            size = len(next(iter(batch.values())))
            images += size
            for name, value in model.validation_step(batch).items():
                sums[name] = sums.get(name, 0.0) + float(value) * size
    return {name: total / images for name, total in sums.items()}
