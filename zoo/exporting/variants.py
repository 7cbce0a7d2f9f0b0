"""The variants of an exported graph: uint8 pixels, fixed sizes, 16 and 8 bits, optimised.

`apply_variant` changes the ports of a graph before it is exported; `write_variant` makes another
file of an exported one. Names, types, dimensions and order of inputs and outputs stay, and only
operators of the ONNX standard are written.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
import onnxruntime
import onnxscript.optimizer
import torch
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
from torch import Tensor

from zoo.atomic import naming, replacing
from zoo.errors import UsageError, ZooError
from zoo.identity import METADATA_KEY, Description, Precision, to_text
from zoo.model.contract import Graph
from zoo.model.inference import as_tuple
from zoo.ports import Port

OPEN = {"height", "width"}  # what ports call the sizes of a picture that may vary
PRECISION_SUFFIXES: dict[Precision, str] = {
    "float32": "",
    "float16 weights": "half",
    "float16": "half-arithmetic",
    "int8": "int8",
}

Batch = Mapping[str, NDArray[Any]]  # inputs by port name
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


@dataclass(frozen=True)
class Variant:
    """How to write a graph."""

    # ``"float"`` keeps the model's own range; with ``"uint8"``, pictures go in and come out as
    # pixels (batch, height, width, channels) in [0, 255]
    io: Literal["float", "uint8"] = "float"
    # version of ONNX's operators; the exporter's own choice, when not given
    opset: int | None = None
    batch: int | None = None  # rows of every batch; any number, when not given
    # height and width of every picture, in a graph that takes any; any, when not given
    size: tuple[int, int] | None = None
    precision: Precision = "float32"  # of the numbers in the file
    optimised: bool = False  # whether ONNX Runtime simplifies the graph before it is written

    @property
    def is_reduced(self) -> bool:
        """Whether numbers are stored in fewer bits than the model's."""
        return self.precision != "float32"

    @property
    def is_plain(self) -> bool:
        """Whether the file is shipped as the exporter writes it."""
        return not (self.is_reduced or self.optimised)

    @property
    def suffix(self) -> str:
        """The variant in a file name, such as ``.uint8.int8``; defaults are left out."""
        parts = [
            self.io if self.io != "float" else "",
            f"batch{self.batch}" if self.batch else "",
            "{}x{}".format(*self.size) if self.size else "",
            f"opset{self.opset}" if self.opset else "",
            PRECISION_SUFFIXES[self.precision],
            "optimised" if self.optimised else "",
        ]
        return "".join(f".{part}" for part in parts if part)


def check_applies(graphs: Mapping[str, Graph], variant: Variant) -> None:
    """Check that pixels, and a size, have something to stand for.

    Raises:
        UsageError: one of them is wanted, and no graph takes or gives pictures.
    """
    ports = [port for graph in graphs.values() for port in (*graph.inputs, *graph.outputs)]
    has_size = any(port.is_picture or OPEN & set(port.shape) for port in ports)
    for option, is_asked, applies in (
        ("--io uint8", variant.io == "uint8", any(map(_is_picture, ports))),
        ("--size", variant.size is not None, has_size),
    ):
        if is_asked and not applies:
            kinds = ", ".join(dict.fromkeys(port.kind for port in ports))
            raise UsageError(
                f"{option} is for pictures, and this model has none",
                cause=f"what goes in and comes out of its graphs is {kinds}",
                hint=f"leave {option} out; all other numbers stay as they are",
                code="does-not-apply",
            )


def apply_variant(graph: Graph, variant: Variant) -> Graph:
    """Return the graph with the ports of the variant; its numbers stay float32.

    What goes round in a loop stays as it is: rounding to pixels would add up over the rounds.

    Raises:
        UsageError: a size is wanted that the graph does not take.
    """
    inputs = [_sized(port, variant) for port in graph.inputs]
    outputs = [_sized(port, variant) for port in graph.outputs]
    if variant.io == "float":
        return replace(graph, inputs=inputs, outputs=outputs)
    round_again = {port.next for port in inputs}
    taken = [_is_picture(port) and port.prior != "normal" and not port.next for port in inputs]
    given_back = [_is_picture(port) and port.name not in round_again for port in outputs]

    def function(*given: Tensor) -> tuple[Tensor, ...]:
        values = [
            _to_values(each, port) if is_pixels else each
            for each, port, is_pixels in zip(given, inputs, taken, strict=True)
        ]
        results = as_tuple(graph.function(*values))
        return tuple(
            _to_pixels(each, port) if is_pixels else each
            for each, port, is_pixels in zip(results, outputs, given_back, strict=True)
        )

    return replace(
        graph,
        function=function,
        inputs=_with_pixels(inputs, taken),
        outputs=_with_pixels(outputs, given_back),
    )


def _sized(port: Port, variant: Variant) -> Port:
    """Return the port with the batch and the picture size of the variant.

    Raises:
        UsageError: the port has a size of its own, and it is another.
    """
    is_one_size = port.is_picture and not OPEN & set(port.shape)
    if variant.size and is_one_size and port.image_size != variant.size:
        own, asked = ("{}x{}".format(*size) for size in (port.image_size, variant.size))
        raise UsageError(
            f"--size {asked}: {port.name} of this model is {own} and no other size",
            cause="the network was built for that size",
            hint=f"leave --size out; or train it on such pictures (zoo train … --size {asked})",
            code="wrong-size",
        )
    sizes: dict[int | str, int] = {}
    if variant.size:
        sizes = dict(zip(("height", "width"), variant.size, strict=True))
    if variant.batch:
        sizes["batch"] = variant.batch
    return replace(port, shape=tuple(sizes.get(each, each) for each in port.shape))


def _with_pixels(ports: Sequence[Port], are_pixels: Sequence[bool]) -> list[Port]:
    return [
        _as_pixels(port) if is_pixels else port
        for port, is_pixels in zip(ports, are_pixels, strict=True)
    ]


def _is_picture(port: Port) -> bool:
    return port.is_picture and port.range is not None


def _as_pixels(port: Port) -> Port:
    batch, channels, height, width = port.shape
    return replace(
        port,
        shape=(batch, height, width, channels),
        dtype="uint8",
        range=(0.0, 255.0),
        layout="NHWC",
        tolerance=1.0,  # one grey level: what lies half-way may be rounded either way
    )


def _to_values(given: Tensor, port: Port) -> Tensor:
    """Pixels (N, H, W, C) -> numbers (N, C, H, W) in the range of the port."""
    assert port.range is not None
    low, high = port.range
    return given.permute(0, 3, 1, 2).to(torch.float32) * ((high - low) / 255) + low


def _to_pixels(result: Tensor, port: Port) -> Tensor:
    """Numbers (N, C, H, W) in the range of the port -> pixels (N, H, W, C)."""
    assert port.range is not None
    low, high = port.range
    scaled = (result.clamp(low, high) - low) * (255 / (high - low))
    return scaled.round().to(torch.uint8).permute(0, 2, 3, 1)


def write_variant(
    variant: Variant, source: Path, target: Path, description: Description,
    batches: Iterable[Batch],
) -> None:  # fmt: skip
    """Make a file of reduced precision, or an optimised one, of a float32 file.

    The description goes into its metadata; int8 is calibrated with the batches. `ZooError` if the
    tools fail on the graph.
    """
    if variant.optimised:
        optimised = source.with_suffix(".optimised") if variant.is_reduced else target
        optimise(source, optimised)
        source = optimised
    if variant.precision == "float16 weights":
        store_weights_in_float16(source, target)
    elif variant.precision == "float16":
        convert_to_float16(source, target)
    elif variant.precision == "int8":
        quantise_to_int8(source, target, batches)
    model = onnx.load(target)
    onnx.helper.set_model_props(model, {METADATA_KEY: to_text(description)})
    target.write_bytes(model.SerializeToString())


def store_weights_in_float16(source: Path, target: Path) -> None:
    """Store weights in float16; all arithmetic, and what flows through the graph, stays float32.

    Vectors (biases, statistics of a normalisation) and small tensors stay as they are, and so do
    weights that float16 cannot hold.

    Raises:
        ZooError: the file cannot be read as ONNX.
    """
    # An own step: onnxruntime.transformers.float16 stores weights in float16 and keeps operators
    # in float32, but then casts what flows between any two of them to float16 and back.
    with _external_tools(source, "stored in float16"):
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


def convert_to_float16(source: Path, target: Path) -> None:
    """Store weights in float16 and compute in it; inputs and outputs keep their types.

    Raises:
        ZooError: the tool that does it fails on the graph.
    """
    with _external_tools(source, "brought to float16"):
        model = convert_float_to_float16(onnx.load(source), keep_io_types=True)
        _write(ir.from_proto(model), source, target)


def quantise_to_int8(source: Path, target: Path, batches: Iterable[Batch]) -> None:
    """Store weights in eight bits, one scale a channel, and compute in eight bits where it helps.

    Static: the scales of what flows through the graph are those of the least and greatest values
    seen on `batches`. A graph without weights or products stays as it is.

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
        batches: inputs by port name, each of its port's type and shape.

    Raises:
        ZooError: there are no rows, or the tools fail on the graph.
    """
    with _external_tools(source, "quantised"), _temporary_folder() as folder:
        prepared, quantised = folder / "prepared.onnx", folder / "quantised.onnx"
        # symbolic shapes are for transformers, as the tool says
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantised,
            _Reader(batches),
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
    with _external_tools(source, "optimised"), _temporary_folder() as folder:
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

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next batch, or None behind the last one."""
        batch = next(self.batches, None)
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
    """Write a model that tools have made, with the metadata of its source alone."""
    ir.passes.Sequential(
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedOpsetsPass(),
        passes.TopologicalSortPass(),  # the tool for float16 puts its casts last
        passes.ClearMetadataAndDocStringPass(),  # of every operator, where it stood in a program
    )(model)
    metadata = ir.load(source).metadata_props
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    with replacing(target) as temporary:
        ir.save(model, temporary)


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Yield a folder for intermediate files; errors of its disk name it."""
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder, naming(Path(folder)):
        yield Path(folder)


@contextmanager
def _external_tools(source: Path, what: str) -> Iterator[None]:
    """Run tools without their log messages, and turn any exception of theirs into a `ZooError`.

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
            code="cannot-export",
        ) from problem
    finally:
        logging.disable(was)
        onnxruntime.set_default_logger_severity(WARNINGS)
