"""Checks of what records hold: each says whether a value can be used."""

from __future__ import annotations

import math

MAX_DIMENSION = 2**20
MAX_NAMES = 100_000


def is_word(value: object) -> bool:
    """Whether a value is a name as attributes have them, of at most 100 letters."""
    return isinstance(value, str) and value.isidentifier() and len(value) <= 100


def is_number(value: object) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, float | int) and not isinstance(value, bool) and math.isfinite(value)


def is_integer(value: object) -> bool:
    """Whether a value is a whole number, and not True or False."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_shape(shape: object) -> bool:
    """Whether a value is a shape: sizes, and words for those that may vary."""
    return (
        isinstance(shape, tuple)
        and 0 < len(shape) <= 8
        and all(
            (is_integer(size) and 0 < size <= MAX_DIMENSION)
            or (isinstance(size, str) and size.isidentifier())
            for size in shape
        )
    )


def is_range(value: object) -> bool:
    """Whether a value is a least and a greatest number."""
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(end, float | int) for end in value)
        and abs(value[0]) < 2**62
        and abs(value[1]) < 2**62
        and value[0] <= value[1]
    )


def are_names(value: object) -> bool:
    """Whether a value is a tuple of short texts."""
    return (
        isinstance(value, tuple)
        and len(value) <= MAX_NAMES
        and all(isinstance(name, str) and len(name) <= 200 for name in value)
    )


def require(condition: bool, what: str) -> None:
    """Raise a ValueError that says what is unusable, unless a condition holds."""
    if not condition:
        raise ValueError(f"unusable {what}")
