"""An exported graph on ONNX Runtime: opened, compared with its description, run on batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.draws import draw_example
from zoo.errors import NotFoundError, PluginError, UsageError, ZooError
from zoo.identity import METADATA_KEY, Description, from_text
from zoo.ports import Port, has_dynamic_size, shapes_agree
from zoo.runtime.engine import (
    TIME_LIMIT,
    TooLongError,
    call_in_thread,
    candidates,
    create_inference_session,
    short_message,
    time_limit,
)
from zoo.runtime.screening import check_file, read_description

if TYPE_CHECKING:
    import onnxruntime

ELEMENT_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)", "uint8": "tensor(uint8)"}

Arrays = dict[str, NDArray[Any]]
OUT_OF_MEMORY = ("bad_alloc", "Failed to alloc")  # in messages of ONNX Runtime


def check_ports(side: str, ports: Sequence[Port], arguments: Sequence[onnxruntime.NodeArg]) -> None:
    """Raise `ValueError` where a graph has other names, element types or shapes than promised."""
    promised, found = [port.name for port in ports], [each.name for each in arguments]
    if promised != found:
        raise ValueError(f"it promises {side}s {promised}, its graph has {found}")
    for port, argument in zip(ports, arguments, strict=True):
        sizes = zip(port.shape, argument.shape, strict=False)
        # a size that is said to vary, a batch above all, must not be fixed in what the graph takes
        fixed = any(isinstance(ours, str) and isinstance(theirs, int) for ours, theirs in sizes)
        agreed = shapes_agree(port.shape, argument.shape) and not (side == "input" and fixed)
        if ELEMENT_TYPES[port.dtype] != argument.type or not agreed:
            raise ValueError(
                f"it promises {side} {port.name} {port.dtype} {format_shape(port.shape)}, "
                f"its graph has {argument.type} {format_shape(argument.shape)}"
            )


def dynamic_sizes(
    ports: Sequence[Port], inputs: Mapping[str, NDArray[Any]]
) -> dict[int | str, int]:
    """Return the sizes of the dimensions that vary but for the batch, by the word for them.

    `UsageError` if two inputs differ in a dimension of one word.
    """
    found: dict[int | str, int] = {}
    for port in ports:
        for word, size in zip(port.shape[1:], inputs[port.name].shape[1:], strict=False):
            if isinstance(word, str) and found.setdefault(word, size) != size:
                raise UsageError(
                    f"the inputs differ in {word}: {found[word]} and {size}", code="bad-input"
                )
    return found


def pad_rows(array: NDArray[Any], start: int, count: int) -> NDArray[Any]:
    """Return `count` rows from `start`; the last row is repeated if the array ends before."""
    part = array[start : start + count]
    missing = np.repeat(part[-1:], count - len(part), axis=0)
    return np.concatenate([part, missing]) if len(missing) else part


def format_shape(shape: Sequence[int | str | None]) -> str:
    """Return a shape in words."""
    return f"({', '.join(map(str, shape))})"


def draw_examples(
    description: Description, *, rows: int, size: tuple[int, int] | None = None, seed: int = 0
) -> dict[str, NDArray[Any]]:
    """Draw inputs for a graph: from the priors of its ports, else anything in their range.

    `rows`, and `size` as height and width of images, count where the file leaves them open; the
    size is that of the data that the model was trained on, when not given.
    """
    asked = dict(zip(("height", "width"), size, strict=True)) if size else {}
    sizes = {**description.identity.data.sizes, **asked}
    generator = np.random.default_rng(seed)
    return {
        port.name: draw_example(port, rows, sizes, generator)
        for port in description.signature.inputs
    }


class RunError(ZooError):
    """A graph failed on its inputs, which may be too large or too small for it."""

    code = "run-failed"


@dataclass(frozen=True)
class Session:
    """A graph that is ready to run: its file, and ONNX Runtime's session, the `engine`."""

    path: Path
    description: Description  # what the file says of itself; its ports are those of the graph
    engine: onnxruntime.InferenceSession
    provider: str = "cpu"  # a key of `zoo.runtime.engine.PROVIDERS`
    notes: tuple[str, ...] = ()  # choices made for the user, to be logged

    @property
    def rows(self) -> int | None:
        """Rows that every run takes, where the file fixes them."""
        signature = self.description.signature
        sizes = (port.shape[0] for port in (*signature.inputs, *signature.outputs))
        return next((size for size in sizes if isinstance(size, int)), None)

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run one batch; where the file fixes the rows of a run, in as many runs as it takes.

        The last of these is filled up with repeats of its last row, which are cut off again.
        Inputs are of their port's dtype and shape, all of the same N >= 1 rows; outputs are finite,
        of N rows. A dimension that varies has one size wherever ports call it by the same word.

        Raises:
            UsageError: two inputs differ in a dimension that their ports call by the same word.
            RunError: ONNX Runtime refuses the inputs, has no memory for them, or fails.
            NotFoundError: what comes out is not what the file promises.
        """
        rows = len(next(iter(inputs.values())))
        if self.rows in {None, rows}:
            return self._run(inputs)
        assert self.rows is not None
        parts = [
            self._run({name: pad_rows(array, start, self.rows) for name, array in inputs.items()})
            for start in range(0, rows, self.rows)
        ]
        return {name: np.concatenate([part[name] for part in parts])[:rows] for name in parts[0]}

    def _run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        import onnxruntime  # noqa: PLC0415 - a description is read and shown without it

        sizes = dynamic_sizes(self.description.signature.inputs, inputs)
        ports = self.description.signature.outputs
        names = [port.name for port in ports]
        options = onnxruntime.RunOptions()  # which stop a run between two operators
        try:
            outputs = call_in_thread(
                lambda: list(self.engine.run(names, dict(inputs), options)),
                lambda: setattr(options, "terminate", True),
            )
        except ZooError:
            raise
        except Exception as problem:  # its exceptions have no base of their own
            raise self._failure(problem, inputs) from None
        rows = len(next(iter(inputs.values())))
        for port, output in zip(ports, outputs, strict=True):
            promised = (rows, *(sizes.get(size, size) for size in port.shape[1:]))
            self._check_output(port, output, promised)
        return {port.name: output for port, output in zip(ports, outputs, strict=True)}

    def time_runs(self, inputs: Arrays, count: int, tick: Callable[[], object]) -> list[float]:
        """Return the seconds of each of `count` runs, with nothing but `tick()` between them.

        `RunError` if all of them together take too long.
        """

        def runs() -> list[float]:
            taken = []
            for _ in range(count):
                started = time.perf_counter()
                self.engine.run(None, inputs)
                taken.append(time.perf_counter() - started)
                tick()
            return taken

        try:
            return call_in_thread(runs)
        except TooLongError:
            raise RunError(
                f"{self.path}: {count} runs were not done after {time_limit():,.0f} s",
                hint=f"--repeat 1, or {TIME_LIMIT}=SECONDS before the command",
                code="time-limit",
            ) from None

    def _failure(self, problem: Exception, inputs: Mapping[str, NDArray[Any]]) -> RunError:
        """Return the error for a run that failed with inputs of these shapes."""
        shapes = [f"{name} {format_shape(array.shape)}" for name, array in inputs.items()]
        taken = ", ".join(shapes)[:200]
        if isinstance(problem, TooLongError):
            return RunError(
                f"{self.path} was not done with {taken} after {time_limit():,.0f} s",
                hint=f"{TIME_LIMIT}=SECONDS before the command allows more",
                code="time-limit",
            )
        if any(sign in str(problem) for sign in OUT_OF_MEMORY):
            return RunError(
                f"{self.path}: not enough memory for {taken}",
                hint="smaller pictures, a smaller --batch-size, or a machine with more memory",
                code="out-of-memory",
            )
        reason = short_message(problem)
        if _is_small(self, inputs):
            learnt = self.description.identity.data.sizes
            words = ", ".join(f"{word} {size}" for word, size in learnt.items())
            return RunError(
                f"{self.path} could not be run on {taken}, most likely too small",
                cause=f"it was trained with {words}; {reason}",
                hint="larger inputs",
            )
        return RunError(f"{self.path} could not be run on {taken}", cause=reason)

    def _check_output(
        self, port: Port, output: NDArray[Any], promised: Sequence[int | str]
    ) -> None:
        if not shapes_agree(promised, output.shape):
            raise NotFoundError(
                f"{self.path} gave {port.name} of shape {output.shape} "
                f"where {format_shape(promised)} is promised",
                cause="the file was not written by zoo, or is damaged",
                code="bad-onnx",
            )
        if not np.isfinite(output).all():
            raise NotFoundError(
                f"{self.path} gave {port.name} with values that are not numbers",
                cause="its weights are damaged, or its inputs far from what it was trained on",
                code="bad-onnx",
            )


def open_session(
    path: Path,
    *,
    threads: int | None = None,
    provider: str = "cpu",
    memory_pattern: bool | None = None,
    spin: bool = False,
) -> Session:
    """Open an exported file and check that its graph has the ports that it promises.

    Args:
        path: an ``.onnx`` file written by ``zoo export``.
        threads: that one operator is spread over; one a CPU, up to 8, when not given.
        provider: what to run on, as `zoo.runtime.engine` calls it; ``"auto"`` for the first
            that is installed and runs the file.
        memory_pattern: whether the memory of a run is laid out as the last run of the same shapes
            needed it; when not given, where the file fixes all sizes but the batch, because a
            pattern is kept for each size that comes.
        spin: whether threads wait for work busily. On two free cores, networks of this zoo ran 1.1
            to 1.5 times as fast so; two processes at once on these cores, a third as fast.

    Raises:
        NotFoundError: the file is missing, damaged, not the zoo's, contradicts itself, or may not
            be run (`screening`).
        UsageError: the path is a folder.
        PluginError: onnxruntime is not installed, or the provider is not, or does not work.
    """
    check_file(path)
    *others, last = candidates(provider)
    if memory_pattern is None:
        description = read_description(path)
        memory_pattern = description is not None and not any(
            map(has_dynamic_size, description.signature.inputs)
        )
    opened = partial(_open, path, threads=threads, memory_pattern=memory_pattern, spin=spin)
    notes: list[str] = []
    for name in others:
        try:
            return replace(opened(name), notes=tuple(notes))
        except PluginError as problem:
            notes.append(f"{problem.message}: {problem.cause}")
    return replace(opened(last), notes=tuple(notes))


def _open(
    path: Path, provider: str, *, threads: int | None, memory_pattern: bool, spin: bool
) -> Session:
    """Open a file on one provider, and see that it runs there where that is not the CPU."""
    engine = create_inference_session(
        path, provider, threads=threads, memory_pattern=memory_pattern, spin=spin
    )
    try:
        text = engine.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if text is None:
            raise NotFoundError(
                f"{path} does not say what it takes and gives",
                cause="it is an ONNX file, but not one that zoo wrote",
                hint="zoo export MODEL --onnx",
                code="bad-onnx",
            )
        description = from_text(text, Description)
        check_ports("input", description.signature.inputs, engine.get_inputs())
        check_ports("output", description.signature.outputs, engine.get_outputs())
    except ValueError as problem:  # also where text in the file is no UTF-8
        raise NotFoundError(
            f"{path}: what it says of itself cannot be used",
            cause=short_message(problem),
            code="bad-onnx",
        ) from None
    session = Session(path, description, engine, provider)
    if provider != "cpu":
        try:
            session.run(draw_examples(description, rows=1))
        except ZooError as problem:
            raise PluginError(
                f"the provider {provider} cannot run {path}",
                cause=f"{problem.message}; {problem.cause}"[:300],
                hint="--provider auto, or --provider cpu",
                code="provider-unavailable",
            ) from None
    return session


def _is_small(session: Session, inputs: Mapping[str, NDArray[Any]]) -> bool:
    """Whether an input of an open size is smaller than the data that the model was trained on."""
    learnt = session.description.identity.data.sizes
    for port in session.description.signature.inputs:
        array = inputs[port.name]
        if has_dynamic_size(port) and array.ndim == len(port.shape):
            for word, size in replace(port, shape=array.shape).sizes.items():
                if int(size) < learnt.get(word, 0):
                    return True
    return False
