"""One graph of a model -> one ONNX file that says what it is."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.errors import PluginError, ZooError
from zoo.model.contract import Graph, Model
from zoo.model.inference import evaluating
from zoo.model.weights import Header
from zoo.ports import Port
from zoo.runtime.description import METADATA_KEY, Description

EXAMPLE_BATCH = 2  # a batch of one would be taken for a constant
RANDOM_OPERATORS = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
                    "Bernoulli", "Multinomial"}  # fmt: skip


class _Exported(nn.Module):
    """A graph's function as the module that the exporter wants, with the model's parameters."""

    def __init__(self, model: Model, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def export_graph(model: Model, header: Header, name: str, path: Path) -> None:
    """Write one graph with named inputs and outputs, every dimension that may vary left open.

    Args:
        model: with the weights to export.
        header: what its weight file says; the ONNX file carries the same facts.
        name: of the graph.
        path: file to write; not yet verified.

    Raises:
        PluginError: a name in the graph's ports cannot be written into a file.
        ZooError: the exporter cannot express the graph, or the graph draws random numbers.
    """
    graph = model.graphs()[name]
    text = description(header, name, graph).to_text()
    dimensions = {
        size: torch.export.Dim(size)
        for port in graph.inputs
        for size in port.shape
        if isinstance(size, str)
    }
    varying = tuple(
        {axis: dimensions[size] for axis, size in enumerate(port.shape) if isinstance(size, str)}
        for port in graph.inputs
    )
    generator = np.random.default_rng(0)
    sizes = {"height": model.data.height, "width": model.data.width}
    examples = [example(port, EXAMPLE_BATCH, sizes, generator) for port in graph.inputs]
    try:
        with evaluating(model), _quiet():
            program = torch.onnx.export(
                _Exported(model, graph.function).eval(),
                tuple(torch.from_numpy(array) for array in examples),
                input_names=[port.name for port in graph.inputs],
                output_names=[port.name for port in graph.outputs],
                dynamic_shapes={"inputs": varying},
                dynamo=True,
                verbose=False,
            )
    except Exception as problem:
        raise ZooError(
            f"graph {name!r} of {header.model} cannot be exported: {_first_line(problem)}",
            cause="it uses an operation that ONNX lacks, or fixes a size that the port leaves open",
            hint="the same command with --debug shows where",
        ) from problem
    assert program is not None
    drawn = {node.op_type for node in program.model.graph} & RANDOM_OPERATORS
    if drawn:
        raise ZooError(
            f"graph {name!r} of {header.model} draws random numbers ({', '.join(drawn)})",
            hint="noise comes in through a port that has a prior",
        )
    program.model.metadata_props[METADATA_KEY] = text
    program.save(path, external_data=False)


def description(header: Header, name: str, graph: Graph) -> Description:
    """Return what the file of one graph says of itself.

    Raises:
        PluginError: a name in the graph's ports cannot be written into a file.
    """
    try:
        return Description(
            model=header.model,
            graph=name,
            distribution=header.distribution,
            version=header.version,
            data=header.data,
            signature=graph.signature,
            config=header.config,
            step=header.step,
            metrics=header.metrics,
        )
    except ValueError as problem:
        raise PluginError(f"graph {name!r} of {header.model} declares an {problem}") from None


def example(
    port: Port, count: int, sizes: Mapping[str, int], generator: np.random.Generator
) -> np.ndarray[Any, Any]:
    """Draw values that a port could take: (count, …); `sizes` fill what its shape leaves open."""
    shape = (count, *(sizes.get(each, 2) if isinstance(each, str) else each
                      for each in port.shape[1:]))  # fmt: skip
    if port.range is None:
        return generator.standard_normal(shape).astype(port.dtype)
    low, high = port.range
    if port.dtype == "int64":
        return generator.integers(int(low), int(high), shape, endpoint=True)
    return generator.uniform(low, high, shape).astype(port.dtype)


class _quiet(warnings.catch_warnings):  # noqa: N801 - a context manager used like a function
    """Keep the exporter's notes to programmers away from users."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        for logger in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir"):
            logging.getLogger(logger).setLevel(logging.ERROR)


def _first_line(problem: Exception) -> str:
    return next((line.strip() for line in str(problem).splitlines() if line.strip()), "")[:200]
