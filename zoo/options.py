"""Configuration: frozen dataclasses whose every field says its default, range and reason.

Values come as text (``--set lr=1e-3``) or from TOML and leave as the type that the field declares.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from zoo.errors import UsageError, did_you_mean

ConfigType = TypeVar("ConfigType")

MOST_ELEMENTS = 1000  # of a list; each is a layer, and a file of a stranger may ask for a million
LARGEST_INTEGER = 2**63 - 1  # what TOML, JSON readers and tensors all hold


def option(
    default: Any,
    reason: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    unit: str = "",
) -> Any:
    """Declare one field of a configuration.

    Args:
        default: the value when nobody says otherwise.
        reason: one line on what the field does and why the default is what it is.
        at_least: smallest value allowed (for a tuple: of every element).
        at_most: greatest value allowed.
        above: values must be strictly greater.
        below: values must be strictly smaller.
        unit: unit of the value, such as ``"images"`` or ``"nats"``.
    """
    limits = {"at_least": at_least, "at_most": at_most, "above": above, "below": below}
    return dataclasses.field(
        default=default, metadata={"reason": reason, "unit": unit, "limits": limits}
    )


@dataclasses.dataclass(frozen=True)
class Option:
    """One field of a configuration, as `zoo show` prints it and `--set` fills it."""

    name: str
    type: Any
    default: Any
    reason: str
    unit: str
    limits: Mapping[str, float | None]

    @property
    def allowed(self) -> str:
        """The values that the field takes, in words: ``"mse | bce"``, ``"integer ≥ 1"``."""
        return _describe(self.type, self.limits)

    def parse(self, value: object) -> Any:
        """Return `value` as the field's type.

        Raises:
            UsageError: the value has the wrong type, is out of range or is not finite.
        """
        try:
            return _convert(self.type, value, self.limits)
        except ValueError as problem:
            shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
            raise UsageError(
                f"{self.name} = {shown}: {problem}",
                hint=f"{self.name} takes {self.allowed}",
                code="bad-value",
            ) from None


def options_of(config_type: type) -> dict[str, Option]:
    """Return the options of a configuration dataclass by name, in the order of declaration."""
    hints = get_type_hints(config_type)
    return {
        field.name: Option(
            name=field.name,
            type=hints[field.name],
            default=field.default,
            reason=field.metadata.get("reason", ""),
            unit=field.metadata.get("unit", ""),
            limits=field.metadata.get("limits", {}),
        )
        for field in dataclasses.fields(config_type)
    }


def configure(config_type: type[ConfigType], values: Mapping[str, object]) -> ConfigType:
    """Build a configuration from the defaults and `values`.

    Raises:
        UsageError: an unknown key (the message names the nearest one) or an unusable value.
    """
    options = options_of(config_type)
    parsed = {}
    for key, value in values.items():
        if key not in options:
            raise unknown_option(key, options)
        parsed[key] = options[key].parse(value)
    return config_type(**parsed)


def unknown_option(key: str, known: Mapping[str, object]) -> UsageError:
    """Return the error for a key that no configuration knows."""
    names = ", ".join(sorted(known))
    return UsageError(
        f"unknown option {key[:60]!r}.{did_you_mean(key, known)}",
        hint=f"one of: {names}",
        code="unknown-option",
    )


def plain_options(config: Any) -> dict[str, Any]:
    """Return a configuration as what TOML and JSON can hold; tuples become lists."""
    plain = dataclasses.asdict(config)
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in plain.items()
        if value is not None
    }


def show_value(value: object) -> str:
    """Return a value as a user would type it after ``--set key=``."""
    if isinstance(value, tuple):
        return ",".join(show_value(each) for each in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else str(value)


def _convert(kind: Any, value: object, limits: Mapping[str, float | None]) -> Any:
    origin = get_origin(kind)
    if origin is Literal:
        return _choice(get_args(kind), value)
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise ValueError("a list was expected")
        if len(parts) > MOST_ELEMENTS:
            raise ValueError(f"a list of at most {MOST_ELEMENTS:,} was expected")
        element = get_args(kind)[0]
        return tuple(
            _convert(element, part.strip() if isinstance(part, str) else part, limits)
            for part in ([] if parts == [""] else parts)
        )
    if origin is types.UnionType:
        if value is None or value == "none":
            return None
        kind = next(each for each in get_args(kind) if each is not types.NoneType)
        return _convert(kind, value, limits)
    if kind is bool:
        return _boolean(value)
    if kind is str:
        if not isinstance(value, str):
            raise ValueError("text was expected")
        return value
    number = _integer(value) if kind is int else _real(value)
    _check_limits(number, limits)
    return number


def _choice(choices: tuple[Any, ...], value: object) -> Any:
    for choice in choices:
        if value == choice or str(value) == str(choice):
            return choice
    raise ValueError(f"not one of the choices.{did_you_mean(str(value), map(str, choices))}")


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("true or false was expected")


def _integer(value: object) -> int:
    number = value
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?[0-9]{1,400}", value):
            raise ValueError("a whole number was expected")
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int):
        raise ValueError("a whole number was expected")
    if abs(number) > LARGEST_INTEGER:
        raise ValueError("too large")
    return number


def _real(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a number was expected")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError("a number was expected") from None
    if not math.isfinite(number):
        raise ValueError("a finite number was expected")
    return number


def _check_limits(number: float, limits: Mapping[str, float | None]) -> None:
    at_least, at_most = limits.get("at_least"), limits.get("at_most")
    above, below = limits.get("above"), limits.get("below")
    if at_least is not None and number < at_least:
        raise ValueError(f"must be at least {_plain(at_least)}")
    if at_most is not None and number > at_most:
        raise ValueError(f"must be at most {_plain(at_most)}")
    if above is not None and number <= above:
        raise ValueError(f"must be above {_plain(above)}")
    if below is not None and number >= below:
        raise ValueError(f"must be below {_plain(below)}")


def _describe(kind: Any, limits: Mapping[str, float | None]) -> str:
    origin = get_origin(kind)
    if origin is Literal:
        return " | ".join(map(str, get_args(kind)))
    if origin is tuple:
        return f"list of {_describe(get_args(kind)[0], limits)}"
    if origin is types.UnionType:
        inner = next(each for each in get_args(kind) if each is not types.NoneType)
        return f"{_describe(inner, limits)} | none"
    if kind is bool:
        return "true | false"
    if kind is str:
        return "text"
    signs = {"at_least": "≥", "above": ">", "at_most": "≤", "below": "<"}
    found = {sign: limits.get(name) for name, sign in signs.items()}
    bounds = [f"{sign} {_plain(limit)}" for sign, limit in found.items() if limit is not None]
    return " ".join(["integer" if kind is int else "number", ", ".join(bounds)]).strip()


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:g}"
