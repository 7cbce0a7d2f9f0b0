"""One graph of a model -> one ONNX file that says what it is and was verified.

The description goes into the file before the file is verified, and nothing is written to the file
afterwards: the bytes that were verified are the bytes that are shipped.
"""

from __future__ import annotations

import logging
import warnings
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

from zoo.errors import PluginError, UsageError, ZooError
from zoo.exporting.metadata import describe_graph
from zoo.exporting.quality import (
    CalibrationData,
    QualityLoss,
    quality_losses,
    quality_losses_in_float16,
)
from zoo.exporting.variants import Variant, apply_variant, write_variant
from zoo.exporting.verify import (
    MAX_LOSS,
    Verified,
    check_onnx,
    draw_extreme,
    trials,
    verify,
)
from zoo.identity import METADATA_KEY, Description, ExportedFile, Figures, FileFacts, to_text
from zoo.manifest import facts_of
from zoo.model.checks import line_in_package, line_of_graph, root_reason, why_not_exported
from zoo.model.contract import Graph, Model
from zoo.model.inference import evaluating, example_inputs, run_in_torch
from zoo.model.weights import Trained
from zoo.runtime.reference import Difference, Example, compare_outputs, describe_excess
from zoo.runtime.session import Arrays, open_session
from zoo.runtime.timing import measure_speed

MAX_BYTES = 2**31 - 2**24  # of weights; a protocol buffer cannot be longer than 2 GiB
OLDEST_TRIED = 12  # opset below which the exporter writes nothing
RANDOM_OPERATORS = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
                    "Bernoulli", "Multinomial", "Dropout"}  # fmt: skip
NOISY_LOGGERS = ("torch.onnx", "torch.export", "torch.fx.experimental.symbolic_shapes",
                 "torch._dynamo", "onnxscript", "onnx_ir")  # fmt: skip
TIMED_RUNS, WARMUP_RUNS = 15, 2  # of each file, to compare their speed
REFERENCE_ROWS = 2  # of a file of reduced precision


@dataclass(frozen=True)
class Savings:
    """How a file compares with the plain float32 file of the same graph."""

    size: float  # bytes of the file, as a share of the float file's
    # how many times as fast the file is, measured here on one batch of the smallest size
    speed: float
    # how far each output is from the float file's, by output; empty for a file that was only
    # optimised
    losses: Mapping[str, QualityLoss]


@dataclass(frozen=True)
class ExportedGraph:
    """A file that was verified, or measured if it has reduced precision."""

    path: Path  # of the file
    facts: FileFacts  # name, bytes and sha256 of the file, taken before it was verified
    description: Description  # what the file says of itself
    # between the model in torch and the file, by output; of a file of reduced precision, between
    # the float32 file and it
    differences: Mapping[str, Difference]
    checks: Figures  # figures by output, for the manifest
    trials: int  # number of comparisons behind the differences
    # kinds of inputs on which the model only amplifies rounding errors; they are not among the
    # trials
    ill_conditioned: list[str]
    examples: list[Example]  # inputs and outputs for the reference file
    savings: Savings | None = None  # of an optimised file or one of reduced precision
    # metrics of the model, by name, with the float32 file and with this one
    quality: Figures = field(default_factory=dict)

    def listed(self, reference: FileFacts) -> ExportedFile:
        """Return what the manifest says of the file, whose bytes are those that were verified."""
        about = self.description
        return ExportedFile(
            **vars(self.facts),
            graph=about.graph,
            signature=about.signature,
            precision=about.precision,
            normalisation=about.normalisation,
            dropout=about.dropout,
            written_by=about.written_by,
            reference=reference,
            checks=self.checks,
            quality=self.quality,
        )


@dataclass(frozen=True)
class GraphExporter:
    """Writes graphs of one model in one variant, and verifies each file that it writes."""

    trained: Trained  # the model and the header of its weight file
    variant: Variant  # of every graph
    weights_sha256: str  # of the weight file
    # inputs to quantise and to measure files of reduced precision with
    calibration: CalibrationData
    max_loss: float  # that a file of reduced precision may have, in percent of an output's range

    def export(self, name: str, path: Path, scratch: Path) -> ExportedGraph:
        """Write one graph to a file and verify the file.

        Args:
            name: of the graph.
            path: of the file; it is not changed after it was verified.
            scratch: a folder for intermediate files.

        Raises:
            UsageError: the graph has no such variant.
            ZooError: it cannot be exported, does not verify, or loses more than it may.
        """
        variant, model = self.variant, self.trained.model
        graph = self._graph(name)
        description = describe_graph(self.trained, name, graph, weights_sha256=self.weights_sha256)
        plain = path if variant.is_plain else scratch / path.name
        export_graph(model, graph, description, plain, opset=variant.opset)
        verified = self._verified(graph, plain, description)
        if variant.is_plain:
            return verified
        description = replace(description, precision=variant.precision)
        batches: list[Arrays] = []
        if variant.precision == "int8":
            batches = self.calibration.calibration_batches(model, name, graph)
        write_variant(variant, plain, path, description, batches)
        if variant.is_reduced:
            return self._measured(name, graph, plain, path, description)
        return replace(self._verified(graph, path, description), savings=_savings(plain, path, {}))

    def _graph(self, name: str) -> Graph:
        """Return the graph as the variant has it.

        Raises:
            UsageError: the model does not take images of the variant's size.
        """
        model, size = self.trained.model, self.variant.size
        graph = apply_variant(model.graphs()[name], self.variant)
        if size:
            try:
                run_in_torch(model, graph, example_inputs(model, graph))
            except Exception as problem:  # a network raises anything on a size not made for it
                reason = " ".join(str(problem).split())[:200] or type(problem).__name__
                learnt = model.data.sizes
                raise UsageError(
                    f"--size {size[0]}x{size[1]}: {name} of {self.trained.identity.model} does not "
                    "take pictures of that size",
                    cause=reason,
                    hint=f"--size {learnt['height']}x{learnt['width']}, as it was trained on",
                    code="wrong-size",
                ) from problem
        return graph

    def _verified(self, graph: Graph, path: Path, description: Description) -> ExportedGraph:
        """Compare a float32 file with the model."""
        facts = facts_of(path)
        found = verify(self.trained.model, graph, path)
        checks = {
            port.name: {
                "tolerance": port.tolerance,
                "greatest": found.differences[port.name].greatest,
                "mean": found.differences[port.name].mean,
                "trials": found.trials,
                "ill_conditioned_trials": len(found.ill_conditioned),
                **_figures_of_rounds(found, port.name),
            }
            for port in graph.outputs
        }
        return ExportedGraph(
            path,
            facts,
            description,
            found.differences,
            checks,
            found.trials,
            found.ill_conditioned,
            found.examples,
        )

    def _measured(
        self, name: str, graph: Graph, plain: Path, path: Path, description: Description
    ) -> ExportedGraph:
        """Compare a file of reduced precision with the float32 file, on held-out inputs.

        Raises:
            ZooError: it loses more than it may.
        """
        facts = facts_of(path)
        check_onnx(path)
        model = self.trained.model
        batches = self.calibration.measurement_batches(model, name, graph)
        float_session, session = open_session(plain), open_session(path)
        for trial in trials(model.data, graph):
            session.run(draw_extreme(graph, trial))  # checks that it takes the size, all is finite
        example = self._example(graph, batches[0])
        outputs = session.run(example.inputs)
        on_example = {
            port.name: compare_outputs(port, [(example.outputs[port.name], outputs[port.name])])
            for port in graph.outputs
        }
        losses = quality_losses(float_session, session, batches)
        in_float16: dict[str, QualityLoss] = {}
        if description.precision == "float16":
            in_float16 = quality_losses_in_float16(float_session, path, example.inputs)
            for output, loss in in_float16.items():
                losses[output] = max(losses[output], loss, key=lambda each: each.loss)
        for differences in (losses, on_example):
            self._require_small_losses(description, differences)
        checks = self._checks(losses, len(batches), in_float16=bool(in_float16))
        return ExportedGraph(
            path,
            facts,
            description,
            losses,
            checks,
            len(batches),
            [],
            [example],
            _savings(plain, path, losses),
        )

    def _checks(
        self, losses: Mapping[str, QualityLoss], batches: int, *, in_float16: bool
    ) -> dict[str, dict[str, float]]:
        """Return the figures of a file of reduced precision for the manifest, by output."""
        return {
            output: {
                "loss_percent": loss.loss,
                MAX_LOSS: self.max_loss,
                "greatest": loss.greatest,
                "mean": loss.mean,
                "batches": batches,
                **({"psnr_db": loss.psnr} if loss.psnr is not None else {}),
                **({"batches_in_float16": 1} if in_float16 else {}),
            }
            for output, loss in losses.items()
        }

    def _example(self, graph: Graph, inputs: Arrays) -> Example:
        """Return a few rows of a batch, with the outputs of the model."""
        fixed = isinstance(graph.inputs[0].shape[0], int)
        few = inputs if fixed else {key: array[:REFERENCE_ROWS] for key, array in inputs.items()}
        return Example(few, run_in_torch(self.trained.model, graph, few))

    def _require_small_losses(
        self, description: Description, differences: Mapping[str, Difference]
    ) -> None:
        """Compare the loss of every output with the limit.

        Raises:
            ZooError: an output loses more.
        """
        for port in description.signature.outputs:
            excess = describe_excess(port, differences[port.name], self.max_loss)
            if excess:
                raise ZooError(
                    f"graph {description.graph!r} as {description.precision} is too far from the "
                    f"float file: {excess}",
                    cause="the loss is a root mean square, in percent of the output's range",
                    hint="--half, which loses less; or --max-quality-loss PERCENT; "
                    "no file was written",
                    code="quality-loss",
                )


def _figures_of_rounds(found: Verified, output: str) -> dict[str, float]:
    """Return the figures of the rounds of a loop for the manifest; nothing for another graph."""
    if not found.rounds:
        return {}
    return {"rounds": found.rounds, "greatest_after_rounds": found.after_rounds[output].greatest}


def _savings(plain: Path, path: Path, losses: Mapping[str, QualityLoss]) -> Savings:
    """Compare size and speed of a file with those of the float32 file."""
    sessions = [open_session(each) for each in (plain, path)]
    _, timed = measure_speed(sessions, repeat=TIMED_RUNS, warmup=WARMUP_RUNS)
    assert timed.speed is not None  # both have the same sizes
    return Savings(path.stat().st_size / plain.stat().st_size, timed.speed, losses)


class _Exported(nn.Module):
    """A graph's function as the module that the exporter wants, with the model's parameters."""

    def __init__(self, model: Model, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def export_graph(
    model: Model, graph: Graph, description: Description, path: Path, *, opset: int | None = None
) -> None:
    """Write one graph with named inputs and outputs, every dimension that may vary left open.

    Args:
        model: with the weights to export.
        graph: of the model, in the form that it shall have.
        description: what goes into the metadata of the file.
        path: file to write; not yet verified.
        opset: version of ONNX's operators; the exporter's own choice, when not given.

    Raises:
        UsageError: the graph cannot be expressed in that opset.
        ZooError: the exporter cannot express the graph, or the graph draws random numbers.
    """
    newest = onnx.defs.onnx_opset_version()
    if opset is not None and opset > newest:
        raise UsageError(
            f"opset {opset} is not known here",
            hint=f"--opset {newest} or less",
            code="opset-unavailable",
        )
    written = _export(model, graph, description, opset)
    reached = written.opset_imports[""]
    if opset is not None and opset != reached:
        lowest = _lowest(model, graph, description, range(max(opset, OLDEST_TRIED) + 1, reached))
        raise UsageError(
            f"{_name(description)} cannot be written in opset {opset}",
            cause="it has operators that are newer, and nothing older that does the same",
            hint=f"--opset {lowest}, or leave --opset out",
            code="opset-unavailable",
        )
    _check(written, description)
    # a runtime of the opset's time reads no newer format
    written.ir_version = onnx.helper.find_min_ir_version_for(
        [onnx.helper.make_opsetid(domain, version)
         for domain, version in written.opset_imports.items()]
    )  # fmt: skip
    # of every operator, where it stood in a program: paths of this machine, and no user's concern
    ClearMetadataAndDocStringPass()(written)
    written.metadata_props[METADATA_KEY] = to_text(description)
    ir.save(written, path)


def _export(model: Model, graph: Graph, description: Description, opset: int | None) -> ir.Model:
    """Return the graph as torch's exporter writes it, in the opset where it can.

    Raises:
        PluginError: the exporter cannot express the graph.
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
                tuple(map(torch.from_numpy, example_inputs(model, graph).values())),
                input_names=[port.name for port in graph.inputs],
                output_names=[port.name for port in graph.outputs],
                dynamic_shapes={"inputs": varying},
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
    except Exception as problem:
        where = line_in_package(problem, model) or line_of_graph(model, graph)
        reason = root_reason(problem)
        cause, hint = why_not_exported(reason)
        raise PluginError(
            f"{_name(description)} ({where}) cannot be exported: {reason}",
            cause=cause,
            hint=hint,
            code="cannot-export",
        ) from problem
    assert program is not None
    return program.model


def _lowest(model: Model, graph: Graph, description: Description, opsets: range) -> int:
    """Return the lowest of some opsets in which the graph can be written, or the one above all.

    What can be written in one opset can be written in those above.
    """

    def can_be_written(opset: int) -> bool:
        return _export(model, graph, description, opset).opset_imports[""] == opset

    return opsets.start + bisect_left(opsets, True, key=can_be_written)


def _check(model: ir.Model, description: Description) -> None:
    """Require nothing drawn at random, and room in one file.

    Raises:
        ZooError: random numbers are drawn, or there are too many weights.
    """
    drawn = {node.op_type for node in model.graph} & RANDOM_OPERATORS
    if drawn:
        raise ZooError(
            f"{_name(description)} draws random numbers ({', '.join(drawn)})",
            hint="noise comes in through a port that has a prior",
            code="cannot-export",
        )
    size = sum(each.const_value.nbytes for each in model.graph.initializers.values()
               if each.const_value is not None)  # fmt: skip
    if size > MAX_BYTES:
        raise ZooError(
            f"{_name(description)} holds {size / 2**30:.1f} GiB of weights",
            cause="one ONNX file holds less than 2 GiB, and an export is one file a graph",
            code="cannot-export",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes to programmers and its listings of programs away from users."""
    for logger in NOISY_LOGGERS:
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    with warnings.catch_warnings(), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        yield


def _name(description: Description) -> str:
    return f"graph {description.graph!r} of {description.identity.model}"
