"""An ONNX file -> a smaller one with the same ports.

Every function reads one file and writes another one, which is to be measured (`zoo.export.quality`)
and verified. Names, types, dimensions and order of inputs and outputs stay, and so does what the
file says of itself. Only operators of the ONNX standard are written.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
import onnxruntime
import onnxscript.optimizer
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from zoo.atomic import naming, replacing
from zoo.errors import ZooError

Rows = Mapping[str, NDArray[Any]]

LEAST_NUMBERS = 128  # of a tensor that is halved: a Cast takes some 150 bytes
SILENT = 4  # of ONNX Runtime's logger …
WARNINGS = 2  # … and its default

# Operators whose weights and inputs become eight bits, and activations that these take in.
WEIGHTED = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
CLIPPING = ["Relu", "Clip"]
# What comes out of these stays float. Of a convolution it becomes eight bits, because ONNX Runtime
# computes a convolution in integers only then; a matrix product needs no such thing, and a
# transposed convolution is never computed in integers, so there it would cost quality for nothing.
FLOAT_RESULTS = ["ConvTranspose", "Gemm", "MatMul"]


def halve_weights(source: Path, target: Path) -> None:
    """Store weights in float16; all arithmetic, and what flows through the graph, stays float32.

    Vectors (biases, statistics of a normalisation) and small tensors stay as they are, and so do
    weights that float16 cannot hold.

    Raises:
        ZooError: the file cannot be read as ONNX.
    """
    # An own step: onnxruntime.transformers.float16 stores weights in float16 and keeps operators
    # in float32, but then casts what flows between any two of them to float16 and back.
    with _by_tools(source, "stored in float16"):
        model = ir.load(source)
        casts = []
        for name, weight in list(model.graph.initializers.items()):
            half = _as_half(weight.const_value)
            if half is None or weight.is_graph_input() or weight.is_graph_output():
                continue
            stored = ir.Value(name=f"{name}_half", const_value=ir.tensor(half))
            stored.shape, stored.dtype = ir.Shape(half.shape), ir.DataType.FLOAT16
            cast = ir.node("Cast", [stored], attributes={"to": ir.DataType.FLOAT},
                           name=f"{name}_cast")  # fmt: skip
            del model.graph.initializers[name]
            cast.outputs[0].name = name
            cast.outputs[0].shape, cast.outputs[0].dtype = weight.shape, ir.DataType.FLOAT
            weight.replace_all_uses_with(cast.outputs[0])
            model.graph.initializers[f"{name}_half"] = stored
            casts.append(cast)
        model.graph.insert_before(model.graph[0], casts)
        _write(model, source, target)


def halve(source: Path, target: Path) -> None:
    """Store weights in float16 and compute in it; inputs and outputs keep their types.

    Raises:
        ZooError: the tool that does it fails on the graph.
    """
    with _by_tools(source, "brought to float16"):
        model = convert_float_to_float16(onnx.load(source), keep_io_types=True)
        _write(ir.from_proto(model), source, target)


def quantise(source: Path, target: Path, rows: Iterable[Rows]) -> None:
    """Store weights in eight bits, one scale a channel, and compute in eight bits where it helps.

    Static: the scales of what flows through the graph are those of the least and greatest values
    seen on `rows`. A graph without weights or products stays as it is.

    Why so, measured as PSNR on trained models (DCGAN, conditional GAN, CycleGAN, VAE, two
    convolutional autoencoders): percentiles instead of the extremes change it by -0.1 to +1.0 dB,
    take twice the time and hold every layer's results for all rows in memory; entropy chose the
    extremes. Symmetric ranges cost 1 to 5 dB; signed numbers cost none, and are no quicker. Float
    results (`FLOAT_RESULTS`) gain 1 to 9 dB, clipping by the scale (`CLIPPING`) 3 dB where
    convolutions have no normalisation. Leaving out the last layer would gain 0.2 to 4 dB more, but
    may keep half of the bytes. Normalisations, whose weights are few, stay float. From 128 rows
    on, more of them change nothing.

    Args:
        source: file with float32 weights.
        target: file to write.
        rows: batches of inputs by port name, each of its port's type and shape.

    Raises:
        ZooError: there are no rows, or the tools fail on the graph.
    """
    with _by_tools(source, "quantised"), _scratch() as folder:
        prepared, quantised = folder / "prepared.onnx", folder / "quantised.onnx"
        # symbolic shapes are for transformers, as the tool says
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantised,
            _Reader(rows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*WEIGHTED, *CLIPPING],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={"OpTypesToExcludeOutputQuantization": FLOAT_RESULTS},
        )
        _write(ir.load(quantised), source, target)


def optimise(source: Path, target: Path) -> None:
    """Simplify a graph: constants folded, what does nothing removed, what belongs together fused.

    By onnxscript's optimiser and ONNX Runtime's own, at its basic level, which writes standard
    operators only. To be done before weights are halved: it would unfold these again.

    Raises:
        ZooError: the tools fail on the graph.
    """
    with _by_tools(source, "optimised"), _scratch() as folder:
        first, second = folder / "first.onnx", folder / "second.onnx"
        model = ir.load(source)
        onnxscript.optimizer.optimize(model)
        ir.save(model, first)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(second)
        onnxruntime.InferenceSession(first, options, providers=["CPUExecutionProvider"])
        _write(ir.load(second), source, target)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Batches of inputs as the quantiser asks for them."""

    def __init__(self, rows: Iterable[Rows]) -> None:
        self.rows = iter(rows)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next batch, or None behind the last one."""
        batch = next(self.rows, None)
        return None if batch is None else dict(batch)


def _as_half(weight: ir.TensorProtocol | None) -> NDArray[np.float16] | None:
    """Return a tensor in float16 if that saves bytes and keeps eleven bits of its greatest."""
    if weight is None or weight.dtype != ir.DataType.FLOAT:
        return None
    full = weight.numpy()
    if full.ndim < 2 or full.size < LEAST_NUMBERS:
        return None
    with np.errstate(over="ignore"):  # shows as infinite, below
        half = full.astype(np.float16)
    close = np.abs(half.astype(np.float32) - full).max() <= np.abs(full).max() * 2**-11
    return half if close else None


def _write(model: ir.Model, source: Path, target: Path) -> None:
    """Write a model that tools have made of a source, without what they left lying about."""
    ir.passes.Sequential(
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedOpsetsPass(),
        passes.TopologicalSortPass(),  # the tool for float16 puts its casts last
        passes.ClearMetadataAndDocStringPass(),  # of every operator, where it stood in a program
    )(model)
    said = ir.load(source).metadata_props
    model.metadata_props.clear()
    model.metadata_props.update(said)
    with replacing(target) as temporary:
        ir.save(model, temporary)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a folder for what tools write on the way; errors of its disk name it."""
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder, naming(Path(folder)):
        yield Path(folder)


@contextmanager
def _by_tools(source: Path, what: str) -> Iterator[None]:
    """Let tools work: what they say goes nowhere, and any exception of theirs becomes ours.

    Raises:
        ZooError: one of them fails.
    """
    was = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    onnxruntime.set_default_logger_severity(SILENT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ZooError, OSError):
        raise
    except Exception as problem:
        reason = " ".join(str(problem).replace(str(source), "the file").split())[:200]
        raise ZooError(
            f"{source.name} could not be {what}",
            cause=reason or type(problem).__name__,
            hint="the same command with --debug shows where",
        ) from problem
    finally:
        logging.disable(was)
        onnxruntime.set_default_logger_severity(WARNINGS)
