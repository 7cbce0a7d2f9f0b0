"""Nested values, such as an optimiser's state, as JSON beside tensors; no pickle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def take_apart(value: Any, name: str) -> tuple[Any, dict[str, Tensor]]:
    """Return a nested value as what JSON can hold, and the tensors in it by name.

    Dictionaries keep the types of their keys and their order, tuples stay tuples, and every float
    comes back to the bit.

    Args:
        value: of None, booleans, numbers, texts, tensors, lists, tuples and dictionaries.
        name: what the names of the tensors begin with.

    Raises:
        TypeError: it holds something else.
    """
    tensors: dict[str, Tensor] = {}

    def plain(part: Any, path: str) -> Any:
        if isinstance(part, Tensor):
            key = f"{name}.{len(tensors)}"  # a path of keys might be that of two
            tensors[key] = part
            return {"tensor": key}
        if isinstance(part, float) and not math.isfinite(part):
            return {"float": repr(part)}
        if part is None or isinstance(part, bool | int | float | str):
            return part
        if isinstance(part, list | tuple):
            items = [plain(each, f"{path}.{index}") for index, each in enumerate(part)]
            return items if isinstance(part, list) else {"tuple": items}
        if isinstance(part, dict):
            pairs = [[plain(key, ""), plain(each, f"{path}.{key}")] for key, each in part.items()]
            return {"dict": pairs}
        raise TypeError(f"{path} is a {type(part).__name__}, which cannot be saved")

    return plain(value, name), tensors


def put_together(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the nested value that `take_apart` was given.

    Raises:
        ValueError: it is nothing that `take_apart` returns, or a tensor is missing.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [put_together(each, tensors) for each in value]
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError("not a value that was saved")
    ((kind, content),) = value.items()
    if kind == "tensor" and content in tensors:
        return tensors[content]
    if kind == "float" and content in {"nan", "inf", "-inf"}:
        return float(content)
    if kind == "tuple" and isinstance(content, list):
        return tuple(put_together(each, tensors) for each in content)
    if kind == "dict" and isinstance(content, list):
        pairs = ((put_together(key, {}), put_together(each, tensors)) for key, each in content)
        return dict(pairs)
    raise ValueError(f"not a value that was saved: {str(kind)[:40]!r}")


def like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """Return the tensor on the device of another one and laid out in memory like it."""
    return torch.empty_like(pattern, dtype=tensor.dtype).copy_(tensor)
