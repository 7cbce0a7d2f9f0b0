"""Exported graphs on ONNX Runtime: opened, checked against what they promise, run on batches."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import NotFoundError, PluginError, UsageError, ZooError
from zoo.ports import Port
from zoo.runtime.description import METADATA_KEY, Description
from zoo.runtime.screening import check_file, unusable

if TYPE_CHECKING:
    import onnxruntime

Arrays = dict[str, NDArray[Any]]

MOST_THREADS = 8  # small graphs gain nothing beyond, and the machine may have other work
LONGEST_RUN = 1800.0  # seconds for one batch, of at most 64 rows
TERMINATED = "terminate flag"  # how ONNX Runtime says that it was told to stop
OUT_OF_MEMORY = ("bad_alloc", "Failed to alloc")  # how ONNX Runtime says it
SILENT = 4  # of ONNX Runtime's logger; what goes wrong arrives as an exception
ELEMENT_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)"}


class RunError(ZooError):
    """A graph failed on its inputs, which may be too large or too small for it."""


@dataclass(frozen=True)
class Session:
    """A graph that is ready to run on the CPU.

    Args:
        path: its file.
        description: what the file says of itself; its ports are those of the graph.
        engine: ONNX Runtime's session.
    """

    path: Path
    description: Description
    engine: onnxruntime.InferenceSession

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run one batch.

        Args:
            inputs: by port name, each of its port's dtype and shape, all of the same N >= 1 rows.

        Returns:
            The outputs by port name, in the order of the ports, each of N rows of finite numbers.
            A dimension that varies has one size wherever the ports call it by the same word.

        Raises:
            UsageError: two inputs differ in a dimension that their ports call by the same word.
            RunError: ONNX Runtime refuses the inputs, has no memory for them, or fails.
            NotFoundError: what comes out is not what the file promises.
        """
        sizes = _sizes(self.description.signature.inputs, inputs)
        ports = self.description.signature.outputs
        try:
            with _time_limit() as limit:
                outputs = self.engine.run([port.name for port in ports], dict(inputs), limit)
        except Exception as problem:  # its exceptions have no base of their own
            raise self._failure(problem, inputs) from None
        rows = len(next(iter(inputs.values())))
        for port, output in zip(ports, outputs, strict=True):
            promised = (rows, *(sizes.get(size, size) for size in port.shape[1:]))
            self._check_output(port, output, promised)
        return {port.name: output for port, output in zip(ports, outputs, strict=True)}

    def _failure(self, problem: Exception, inputs: Mapping[str, NDArray[Any]]) -> RunError:
        shapes = [f"{name} {_in_brackets(array.shape)}" for name, array in inputs.items()]
        taken = ", ".join(shapes)[:200]
        if any(sign in str(problem) for sign in OUT_OF_MEMORY):
            return RunError(
                f"{self.path}: not enough memory for {taken}",
                hint="smaller pictures, or a machine with more memory",
            )
        if TERMINATED in str(problem):
            return RunError(f"{self.path} was not done with {taken} after {LONGEST_RUN:,.0f} s")
        return RunError(f"{self.path} could not be run on {taken}", cause=_in_short(problem))

    def _check_output(
        self, port: Port, output: NDArray[Any], promised: Sequence[int | str]
    ) -> None:
        if not _agree(promised, output.shape):
            raise NotFoundError(
                f"{self.path} gave {port.name} of shape {output.shape} "
                f"where {_in_brackets(promised)} is promised",
                cause="the file was not written by zoo, or is damaged",
            )
        if not np.isfinite(output).all():
            raise NotFoundError(
                f"{self.path} gave {port.name} with values that are not numbers",
                cause="its weights are damaged, or its inputs far from what it was trained on",
            )


def open_session(path: Path, *, threads: int | None = None) -> Session:
    """Open an exported file and check that its graph has the ports that it promises.

    Args:
        path: an ``.onnx`` file written by ``zoo export``.
        threads: threads to compute with; as many as there are CPUs, up to 8, when not given.

    Raises:
        NotFoundError: the file is missing, damaged, not the zoo's, contradicts itself, or may not
            be run (`screening`).
        UsageError: the path is a folder.
        PluginError: onnxruntime is not installed.
    """
    check_file(path)
    engine = _load(path, threads or min(_cpus(), MOST_THREADS))
    try:
        text = engine.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise NotFoundError(
                f"{path} does not say what it takes and gives",
                cause="it is an ONNX file, but not one that zoo wrote",
                hint="zoo export MODEL --onnx",
            )
        description = Description.from_text(text)
        _compare("input", description.signature.inputs, engine.get_inputs())
        _compare("output", description.signature.outputs, engine.get_outputs())
    except ValueError as problem:  # also where text in the file is no UTF-8
        raise NotFoundError(
            f"{path}: what it says of itself cannot be used", cause=_in_short(problem)
        ) from None
    return Session(path, description, engine)


def _load(path: Path, threads: int) -> onnxruntime.InferenceSession:
    try:
        import onnxruntime  # noqa: PLC0415 - a description is read and shown without it
    except ImportError as problem:
        raise PluginError(
            "zoo run needs the package onnxruntime",
            cause=str(problem),
            hint="pip install onnxruntime",
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(
            path,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # it would print
        )
    except Exception as problem:  # its exceptions have no base of their own
        raise unusable(path, _in_short(problem)) from None


@contextmanager
def _time_limit() -> Iterator[onnxruntime.RunOptions]:
    """Yield options that stop a run between two operators once it has taken too long."""
    import onnxruntime  # noqa: PLC0415 - as in `_load`

    options = onnxruntime.RunOptions()
    clock = threading.Timer(LONGEST_RUN, setattr, (options, "terminate", True))
    clock.daemon = True
    clock.start()
    try:
        yield options
    finally:
        clock.cancel()


def _compare(side: str, ports: Sequence[Port], arguments: Sequence[onnxruntime.NodeArg]) -> None:
    """Require that the graph has the promised ports: names, element types, shapes.

    Raises:
        ValueError: they disagree.
    """
    promised, found = [port.name for port in ports], [each.name for each in arguments]
    if promised != found:
        raise ValueError(f"it promises {side}s {promised}, its graph has {found}")
    for port, argument in zip(ports, arguments, strict=True):
        agree = ELEMENT_TYPES[port.dtype] == argument.type and _agree(port.shape, argument.shape)
        # a size that is said to vary, a batch above all, must not be fixed in what the graph takes
        varies = side == "output" or not any(
            isinstance(ours, str) and isinstance(theirs, int)
            for ours, theirs in zip(port.shape, argument.shape, strict=False)
        )
        if not (agree and varies):
            raise ValueError(
                f"it promises {side} {port.name} {port.dtype} {_in_brackets(port.shape)}, "
                f"its graph has {argument.type} {_in_brackets(argument.shape)}"
            )


def _agree(promised: Sequence[int | str], found: Sequence[int | str | None]) -> bool:
    """Whether two shapes have one rank and, where both are fixed, one size."""
    return len(promised) == len(found) and all(
        ours == theirs
        for ours, theirs in zip(promised, found, strict=True)
        if isinstance(ours, int) and isinstance(theirs, int)
    )


def _sizes(ports: Sequence[Port], inputs: Mapping[str, NDArray[Any]]) -> dict[int | str, int]:
    """Return the sizes of the dimensions that vary, by the word for them; the batch is not one."""
    found: dict[int | str, int] = {}
    for port in ports:
        for word, size in zip(port.shape[1:], inputs[port.name].shape[1:], strict=False):
            if isinstance(word, str) and found.setdefault(word, size) != size:
                raise UsageError(f"the inputs differ in {word}: {found[word]} and {size}")
    return found


def _in_brackets(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join(map(str, shape))})"


def _in_short(problem: Exception) -> str:
    """Return an exception's message in one line, without ONNX Runtime's prefix."""
    line = " ".join(str(problem).split()).rpartition("[ONNXRuntimeError] : ")[2]
    return (line or type(problem).__name__)[:300]


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
