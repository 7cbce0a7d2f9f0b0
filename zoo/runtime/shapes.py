"""Shapes and types of arrays: as a file promises them, as its graph has them, as they come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.ports import Port

if TYPE_CHECKING:
    import onnxruntime

ELEMENT_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)", "uint8": "tensor(uint8)"}


def compare(side: str, ports: Sequence[Port], arguments: Sequence[onnxruntime.NodeArg]) -> None:
    """Require that the graph has the promised ports: names, element types, shapes.

    Raises:
        ValueError: they disagree.
    """
    promised, found = [port.name for port in ports], [each.name for each in arguments]
    if promised != found:
        raise ValueError(f"it promises {side}s {promised}, its graph has {found}")
    for port, argument in zip(ports, arguments, strict=True):
        agreed = ELEMENT_TYPES[port.dtype] == argument.type and agree(port.shape, argument.shape)
        # a size that is said to vary, a batch above all, must not be fixed in what the graph takes
        varies = side == "output" or not any(
            isinstance(ours, str) and isinstance(theirs, int)
            for ours, theirs in zip(port.shape, argument.shape, strict=False)
        )
        if not (agreed and varies):
            raise ValueError(
                f"it promises {side} {port.name} {port.dtype} {in_brackets(port.shape)}, "
                f"its graph has {argument.type} {in_brackets(argument.shape)}"
            )


def agree(promised: Sequence[int | str], found: Sequence[int | str | None]) -> bool:
    """Whether two shapes have one rank and, where both are fixed, one size."""
    return len(promised) == len(found) and all(
        ours == theirs
        for ours, theirs in zip(promised, found, strict=True)
        if isinstance(ours, int) and isinstance(theirs, int)
    )


def open_sizes(ports: Sequence[Port], inputs: Mapping[str, NDArray[Any]]) -> dict[int | str, int]:
    """Return the sizes of the dimensions that vary, by the word for them; the batch is not one.

    Raises:
        UsageError: two inputs differ in a dimension of one word.
    """
    found: dict[int | str, int] = {}
    for port in ports:
        for word, size in zip(port.shape[1:], inputs[port.name].shape[1:], strict=False):
            if isinstance(word, str) and found.setdefault(word, size) != size:
                raise UsageError(f"the inputs differ in {word}: {found[word]} and {size}")
    return found


def filled_up(array: NDArray[Any], start: int, count: int) -> NDArray[Any]:
    """Return `count` rows; where the array ends before, its last row stands for what is missing."""
    part = array[start : start + count]
    missing = np.repeat(part[-1:], count - len(part), axis=0)
    return np.concatenate([part, missing]) if len(missing) else part


def in_brackets(shape: Sequence[int | str | None]) -> str:
    """Return a shape in words."""
    return f"({', '.join(map(str, shape))})"
