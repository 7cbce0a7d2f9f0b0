"""One graph of a model -> one ONNX file that says what it is."""

from __future__ import annotations

import logging
import warnings
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

from zoo.errors import UsageError, ZooError
from zoo.model.contract import Graph, Model
from zoo.model.inference import evaluating
from zoo.runtime.description import METADATA_KEY, Description
from zoo.runtime.examples import example

MOST_BYTES = 2**31 - 2**24  # of weights; a protocol buffer cannot be longer than 2 GiB
OLDEST_TRIED = 12  # opset below which the exporter writes nothing
EXAMPLE_BATCH = 2  # a batch of one would be taken for a constant
RANDOM_OPERATORS = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
                    "Bernoulli", "Multinomial", "Dropout"}  # fmt: skip


class _Exported(nn.Module):
    """A graph's function as the module that the exporter wants, with the model's parameters."""

    def __init__(self, model: Model, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def export_graph(
    model: Model, graph: Graph, about: Description, path: Path, *, opset: int | None = None
) -> None:
    """Write one graph with named inputs and outputs, every dimension that may vary left open.

    Args:
        model: with the weights to export.
        graph: of the model, in the form that it shall have.
        about: what the file will say of itself.
        path: file to write; not yet verified.
        opset: version of ONNX's operators; the exporter's own choice, when not given.

    Raises:
        UsageError: the graph cannot be expressed in that opset.
        ZooError: the exporter cannot express the graph, or the graph draws random numbers.
    """
    newest = onnx.defs.onnx_opset_version()
    if opset is not None and opset > newest:
        raise UsageError(f"opset {opset} is not known here", hint=f"--opset {newest} or less")
    written = _export(model, graph, about, opset)
    reached = written.opset_imports[""]
    if opset is not None and opset != reached:
        lowest = _lowest(model, graph, about, range(max(opset, OLDEST_TRIED) + 1, reached))
        raise UsageError(
            f"graph {about.graph!r} of {about.model} cannot be written in opset {opset}",
            cause="it has operators that are newer, and nothing older that does the same",
            hint=f"--opset {lowest}, or leave --opset out",
        )
    _check(written, about)
    # a runtime of the opset's time reads no newer format
    written.ir_version = onnx.helper.find_min_ir_version_for(
        [onnx.helper.make_opsetid(domain, version)
         for domain, version in written.opset_imports.items()]
    )  # fmt: skip
    # of every operator, where it stood in a program: paths of this machine, and no user's concern
    ClearMetadataAndDocStringPass()(written)
    written.metadata_props[METADATA_KEY] = about.to_text()
    ir.save(written, path)


def _export(model: Model, graph: Graph, about: Description, opset: int | None) -> ir.Model:
    """Return the graph as torch's exporter writes it, in the opset where it can.

    Raises:
        ZooError: the exporter cannot express the graph.
    """
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
    try:
        with evaluating(model), _quiet():
            program = torch.onnx.export(
                _Exported(model, graph.function).eval(),
                tuple(map(torch.from_numpy, examples(model, graph).values())),
                input_names=[port.name for port in graph.inputs],
                output_names=[port.name for port in graph.outputs],
                dynamic_shapes={"inputs": varying},
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
    except Exception as problem:
        raise ZooError(
            f"graph {about.graph!r} of {about.model} cannot be exported: {_first_line(problem)}",
            cause="it uses an operation that ONNX lacks, or fixes a size that the port leaves open",
            hint="the same command with --debug shows where",
        ) from problem
    assert program is not None
    return program.model


def _lowest(model: Model, graph: Graph, about: Description, opsets: range) -> int:
    """Return the lowest of some opsets in which the graph can be written, or the one above all.

    What can be written in one opset can be written in those above.
    """

    def can_be_written(opset: int) -> bool:
        return _export(model, graph, about, opset).opset_imports[""] == opset

    return opsets.start + bisect_left(opsets, True, key=can_be_written)


def _check(model: ir.Model, about: Description) -> None:
    """Require nothing drawn at random, and room in one file.

    Raises:
        ZooError: random numbers are drawn, or there are too many weights.
    """
    drawn = {node.op_type for node in model.graph} & RANDOM_OPERATORS
    if drawn:
        raise ZooError(
            f"graph {about.graph!r} of {about.model} draws random numbers ({', '.join(drawn)})",
            hint="noise comes in through a port that has a prior",
        )
    size = sum(each.const_value.nbytes for each in model.graph.initializers.values()
               if each.const_value is not None)  # fmt: skip
    if size > MOST_BYTES:
        raise ZooError(
            f"graph {about.graph!r} of {about.model} holds {size / 2**30:.1f} GiB of weights",
            cause="one ONNX file holds less than 2 GiB, and an export is one file a graph",
        )


def annotate(path: Path, about: Description) -> None:
    """Replace what a file says of itself."""
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {METADATA_KEY: about.to_text()})
    path.write_bytes(model.SerializeToString())


def examples(model: Model, graph: Graph) -> dict[str, np.ndarray[Any, Any]]:
    """Draw inputs that the graph could take, of the size of the model's data."""
    generator = np.random.default_rng(0)
    sizes = {"height": model.data.height, "width": model.data.width}
    return {port.name: example(port, EXAMPLE_BATCH, sizes, generator) for port in graph.inputs}


class _quiet(warnings.catch_warnings):  # noqa: N801 - a context manager used like a function
    """Keep the exporter's notes to programmers away from users."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        for logger in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir"):
            logging.getLogger(logger).setLevel(logging.ERROR)


def _first_line(problem: Exception) -> str:
    return next((line.strip() for line in str(problem).splitlines() if line.strip()), "")[:200]
