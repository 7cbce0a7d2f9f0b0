"""Using a model without training it: its graphs on arrays, its metrics over a set of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.model.contract import Batch, Model

Arrays = Mapping[str, "np.ndarray[Any, Any]"]

EVALUATION_BATCH = 500  # images at a time; without gradients they take little memory
EVALUATION_SEED = 0  # noise of every evaluation, so that two evaluations can be compared


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Put the model in evaluation mode without gradients, and leave it as it was found.

    Random numbers drawn inside start from a fixed seed and do not disturb those outside.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(EVALUATION_SEED)
            yield
    finally:
        model.train(was_training)


def device_of(model: Model) -> torch.device:
    """Return the device of the model's parameters."""
    return next(iter(model.parameters())).device


def run_graph(model: Model, name: str, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """Run one graph of the model on arrays, one an input port, and return one an output port."""
    graph = model.graphs()[name]
    device = device_of(model)
    rows = len(inputs[graph.inputs[0].name])
    found: dict[str, list[np.ndarray[Any, Any]]] = {port.name: [] for port in graph.outputs}
    with evaluating(model):
        for start in range(0, rows, EVALUATION_BATCH):
            portion = slice(start, start + EVALUATION_BATCH)
            given = [torch.from_numpy(inputs[port.name][portion]) for port in graph.inputs]
            outputs = as_tuple(graph.function(*(tensor.to(device) for tensor in given)))
            for port, tensor in zip(graph.outputs, outputs, strict=True):
                found[port.name].append(tensor.to("cpu").numpy())
    return {key: np.concatenate(parts) for key, parts in found.items()}


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
