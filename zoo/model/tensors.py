"""What a safetensors file says that it holds, held against its size before anything is read.

The library takes such a file at its word: a million names of empty tensors, dimensions of 2^62
beside one of 0, names that no terminal should show.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import NotFoundError

MAX_HEADER_BYTES = 8 * 2**20  # a model of 10,000 tensors needs about one MiB
MAX_TENSORS = 20_000
MAX_NAME = 200  # characters
MAX_DIMENSION = 2**31
MAX_DIMENSIONS = 8
METADATA = "__metadata__"  # the one entry that is no tensor
SIZES = {  # bytes of a number
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Contents:
    """What a file says that it holds: shapes by name of tensor, and words of its writer."""

    shapes: Mapping[str, Shape]
    metadata: Mapping[str, str]


def look(path: Path) -> Contents:
    """Read the header of a safetensors file, and nothing behind it.

    Raises:
        NotFoundError: the file is missing or damaged, or claims more than any model has.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= min(MAX_HEADER_BYTES, size):
                raise damaged(path, "not a safetensors file, or cut short")
            content = json.loads(file.read(length))
        metadata = dict(content.pop(METADATA, None) or {})
        if len(content) > MAX_TENSORS:
            raise damaged(path, f"more than {MAX_TENSORS:,} tensors")
        room = size - 8 - length
        shapes = {_checked(name): _shape(name, entry, room) for name, entry in content.items()}
        return Contents(shapes, metadata)
    except FileNotFoundError:
        raise NotFoundError(f"{path} not found", code="file-not-found") from None
    except IsADirectoryError:
        raise NotFoundError(f"{path} is a folder, not a weight file", code="cannot-read") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as problem:
        raise damaged(path, str(problem)) from None


def damaged(path: Path, why: str) -> NotFoundError:
    """Return the error for a file that cannot be what it should be."""
    return NotFoundError(
        f"{path} is damaged: {' '.join(why.split())[:200]}", code="damaged-weights"
    )


def _checked(name: str) -> str:
    if not (name.isprintable() and 0 < len(name) <= MAX_NAME):
        raise ValueError(f"no tensor is called {name[:60]!r}")
    return name


def _shape(name: str, entry: Any, room: int) -> Shape:
    """Return the shape of a tensor whose bytes are in the file.

    Args:
        name: of the tensor.
        entry: what the header says of it.
        room: bytes that there are behind the header.
    """
    shape, (begin, end) = entry["shape"], entry["data_offsets"]
    whole = all(type(each) is int and 0 <= each <= MAX_DIMENSION for each in (*shape, begin, end))
    if not (whole and len(shape) <= MAX_DIMENSIONS and entry["dtype"] in SIZES):
        raise ValueError(f"tensor {name!r} has an impossible shape or type")
    if end > room or end - begin != math.prod(shape) * SIZES[entry["dtype"]]:
        raise ValueError(f"tensor {name!r} does not lie where the header says")
    return tuple(shape)
