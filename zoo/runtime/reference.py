"""Reference files: stored inputs and outputs of an exported file, and the difference of outputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.errors import NotFoundError
from zoo.ports import Port
from zoo.runtime.array_files import read_arrays, write_arrays
from zoo.runtime.session import Arrays

FOLDER = "reference"  # of a bundle


class Example(NamedTuple):
    """Inputs of one batch, and the outputs of the model, by port name."""

    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True)
class Difference:
    """How much one output differs between two runs, over all numbers that were compared.

    `loss` is the root of the mean squared difference, in percent of the output's range: of the
    port's, or of the values that were wanted, where the port has none.
    """

    greatest: float  # absolute difference, in the port's unit
    mean: float  # absolute difference, in the port's unit
    loss: float


def compare_outputs(port: Port, pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> Difference:
    """Compare arrays of one output, each wanted one with the one that was found.

    A NaN counts as an infinite difference.
    """
    greatest = total = squares = 0.0
    low, high, count = np.inf, -np.inf, 0
    for wanted, found in pairs:
        with np.errstate(invalid="ignore"):
            difference = np.abs(found.astype(np.float64) - wanted)
        difference = np.where(np.isnan(difference), np.inf, difference)
        greatest = max(greatest, float(difference.max()))
        total += float(difference.sum())
        squares += float((difference**2).sum())
        low, high = min(low, float(wanted.min())), max(high, float(wanted.max()))
        count += difference.size
    if port.range is not None:
        low, high = port.range
    rms = float(np.sqrt(squares / count))
    loss = 100 * rms / (high - low) if high > low else 100.0 * (rms > 0)
    return Difference(greatest, total / count, loss)


def describe_excess(port: Port, difference: Difference, max_loss: float | None) -> str:
    """Return in words by how much an output differs more than it may; empty if it does not.

    A float32 file, where `max_loss` is None, may differ by the tolerance of the port; one of
    reduced precision may lose `max_loss` percent.
    """
    if max_loss is None:
        if difference.greatest <= port.tolerance:
            return ""
        differs = f"{difference.greatest:.3g}, more than {port.tolerance:g}"
        return f"output {port.name!r} differs by {differs}"
    if difference.loss <= max_loss:
        return ""
    return f"output {port.name!r} loses {difference.loss:.3g} %, more than {max_loss:g} %"


def write_reference(path: Path, examples: Iterable[Example]) -> None:
    """Write examples as an ``.npz`` file: ``0.input.latent``, ``0.output.image``, ``1.…``."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, example in enumerate(examples):
        arrays |= {f"{number}.input.{name}": array for name, array in example.inputs.items()}
        arrays |= {f"{number}.output.{name}": array for name, array in example.outputs.items()}
    write_arrays(path, arrays, compressed=True)


def read_reference(path: Path, inputs: Iterable[Port], outputs: Iterable[Port]) -> list[Example]:
    """Read the examples of a graph; `NotFoundError` if damaged, or unlike the graph's ports."""
    stored = read_arrays(path)
    inputs, outputs = tuple(inputs), tuple(outputs)
    numbers = sorted({key.partition(".")[0] for key in stored})
    try:
        found = [
            Example(
                {port.name: stored[f"{number}.input.{port.name}"] for port in inputs},
                {port.name: stored[f"{number}.output.{port.name}"] for port in outputs},
            )
            for number in numbers
        ]
    except KeyError as problem:
        raise NotFoundError(f"{path} lacks {problem}", code="damaged-export") from None
    if not found:
        raise NotFoundError(f"{path} holds no examples", code="damaged-export")
    for example in found:
        pairs = [(port, example.inputs[port.name]) for port in inputs]
        pairs += [(port, example.outputs[port.name]) for port in outputs]
        for port, array in pairs:
            if array.dtype != port.dtype or array.ndim != len(port.shape) or array.size == 0:
                raise NotFoundError(
                    f"{path} holds arrays that do not fit {port.name}", code="damaged-export"
                )
    return found
