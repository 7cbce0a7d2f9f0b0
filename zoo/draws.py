"""Inputs without files: noise from the priors of ports, examples, classes and values by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.errors import UsageError, did_you_mean
from zoo.grids import legible
from zoo.modalities import Modality, modality_of

if TYPE_CHECKING:
    from zoo.ports import Port

MOST_CLASSES = 10_000  # at once; the ranges of labels come from files of strangers
MOST_TOLD = 10  # classes that an error names
LONGEST_TOLD = 40  # characters of a class that an error shows
LONGEST_NUMBER = 18  # digits
OPEN_SIZE = 16  # of a dimension whose size is not known

Arrays = dict[str, np.ndarray[Any, Any]]


def draw(
    ports: Sequence[Port], count: int, seed: int, classes: Sequence[int] | None = None
) -> Arrays:
    """Draw inputs from the priors of ports, in the order of the ports, with one generator.

    The same ports, count and seed give the same noise, `count` rows of it. Classes are numbers for
    the one label among the ports, in place of its prior. The same noise is repeated for each, class
    after class, so that a grid of `count` columns shows a row a class.

    Raises:
        ValueError: a port has no prior, or a dimension other than the batch varies.
        UsageError: there are classes, and not one label among the ports.
    """
    generator = np.random.default_rng(seed)
    if classes is None:
        return {port.name: port.draw(count, generator) for port in ports}
    label = _label(ports)
    return {
        port.name: np.repeat(np.asarray(classes, port.dtype), count)
        if port is label
        else np.concatenate([port.draw(count, generator)] * len(classes))
        for port in ports
    }


def read_values(assignments: Sequence[str], ports: Sequence[Port]) -> Arrays:
    """Read what a user wrote after ``--set``: ``PORT=VALUE``, several times; one row for each port.

    A value is a number, which fills a port of one number a row or one that has a default; the name
    of a class, of a label; or text, of a port of text. Text for a symbol that goes round in a loop
    is a sequence, (1, symbols), of which one goes in a round.

    Raises:
        UsageError: there is no such port, it takes no such value, or it is set twice.
    """
    by_name = {port.name: port for port in ports}
    found: Arrays = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        name = name.strip()
        if not equals or not name:
            raise UsageError(f"--set {_shown(assignment)!r} is not PORT=VALUE", code="bad-value")
        if name not in by_name:
            raise UsageError(
                f"--set {_shown(name)}: no input is called that.{did_you_mean(name, by_name)}",
                cause=f"the inputs are {', '.join(by_name)}",
                code="does-not-apply",
            )
        if name in found:
            raise UsageError(f"--set {name} stands there twice", code="bad-value")
        port = by_name[name]
        reads_text = type(modality_of(port)).read_text is not Modality.read_text
        found[name] = _symbols(port, value) if reads_text else _number(port, value)
    return found


def _number(port: Port, text: str) -> np.ndarray[Any, Any]:
    """Return one row of a port, filled with a number or the number of a class."""
    numbers = [size for size in port.shape[1:] if size != 1]
    if port.default is None and numbers:
        shape = ", ".join(map(str, port.shape))
        raise UsageError(
            f"--set {port.name} takes no single number: it is ({shape})",
            hint="an .npz file",
            code="bad-value",
        )
    if any(isinstance(size, str) for size in port.shape[1:]):
        raise UsageError(
            f"--set {port.name}: its size is open", hint="an .npz file", code="bad-value"
        )
    if port.is_label and port.classes:
        value = float(read_classes(text, [port])[0])
    else:
        try:
            value = float(text)
        except ValueError:
            raise UsageError(
                f"--set {port.name}={_shown(text)} is no number", code="bad-value"
            ) from None
    low, high = port.range or (-np.inf, np.inf)
    if not (np.isfinite(value) and low <= value <= high):
        raise UsageError(
            f"--set {port.name}={_shown(text)} is outside of [{low:g}, {high:g}]", code="bad-value"
        )
    if port.dtype != "float32" and not value.is_integer():
        raise UsageError(f"--set {port.name}={_shown(text)} is no whole number", code="bad-value")
    return np.full((1, *(int(size) for size in port.shape[1:])), value, port.dtype)


def _symbols(port: Port, text: str) -> np.ndarray[Any, Any]:
    """Return text as the numbers of its symbols: (1, symbols), or (1,) for a port of one symbol."""
    if not text:
        raise UsageError(f"--set {port.name} is empty", code="bad-value")
    found = modality_of(port).read_text(text, port)
    if len(port.shape) == 1 and port.next:
        return found
    wanted = port.shape[1] if len(port.shape) == 2 else 1
    if isinstance(wanted, int) and found.shape[1] != wanted:
        raise UsageError(
            f"--set {port.name} takes {wanted} symbols, not {found.shape[1]}", code="bad-value"
        )
    return found if len(port.shape) == 2 else found[:, 0]


def draw_example(
    port: Port, rows: int, sizes: Mapping[str, int], generator: np.random.Generator
) -> np.ndarray[Any, Any]:
    """Draw values that a port could take, of the shape that `example_shape` gives it."""
    shape = example_shape(port, rows, sizes)
    if port.range is None or port.prior == "normal":
        return generator.standard_normal(shape, np.float32).astype(port.dtype)
    low, high = port.range
    if port.dtype == "float32":
        return (generator.random(shape, np.float32) * (high - low) + low).astype(port.dtype)
    return generator.integers(int(low), int(high), shape, port.dtype, endpoint=True)


def example_shape(port: Port, rows: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return the shape of `rows` rows of a port; a batch that it fixes is what it is.

    `sizes` fill by their words what the shape leaves open; what else is open is small, and of
    sound one second.
    """
    batch, *others = port.shape
    small = port.rate or OPEN_SIZE
    first = batch if isinstance(batch, int) else rows
    return first, *(sizes.get(each, small) if isinstance(each, str) else each for each in others)


def read_classes(text: str, ports: Sequence[Port]) -> list[int]:
    """Read what a user wrote after ``--class``, for the one label among the ports to be drawn.

    That is the name of a class, in capitals or not, its number, several of them with commas
    between, or ``all``. Returned are numbers of classes in the order of the text, each once.

    Raises:
        UsageError: a class is unknown, there are too many, or the ports do not hold one label.
    """
    label = _label(ports)
    numbers = _numbers_of(label)
    if text.strip().casefold() == "all":
        _limit(numbers.stop - numbers.start)  # len() has a limit of its own
        return list(numbers)
    names = _names(label, numbers)
    whole = _find(text, names, numbers)  # a name may hold a comma itself
    if whole is not None:
        return [whole]
    found: dict[int, None] = {}
    for word in text.split(","):
        number = _find(word, names, numbers)
        if number is None:
            raise _unknown(word, label, numbers)
        found[number] = None
    _limit(len(found))
    return list(found)


def choose_classes(classes: str | int | Sequence[str | int], ports: Sequence[Port]) -> list[int]:
    """Return the numbers of classes that a program asks for: numbers, or what `read_classes` takes.

    Raises:
        UsageError: a class is unknown, there are too many, or the ports do not hold one label.
    """
    found: dict[int, None] = {}
    for each in [classes] if isinstance(classes, str | int) else classes:
        if isinstance(each, str):
            found |= dict.fromkeys(read_classes(each, ports))
            continue
        label = _label(ports)
        if each not in _numbers_of(label):
            raise _unknown(str(each), label, _numbers_of(label))
        found[int(each)] = None
    return list(found)


def _numbers_of(label: Port) -> range:
    """Return the numbers of the classes of a label; `UsageError` where it does not say them."""
    low, high = label.range or (0, len(label.classes) - 1)
    numbers = range(int(low), int(high) + 1)
    if not numbers:
        raise UsageError(
            f"{label.name} does not say which classes there are", code="does-not-apply"
        )
    return numbers


def class_name(number: int, ports: Sequence[Port]) -> str:
    """Return the name of a class of the one label among the ports, or its number as text."""
    classes = _label(ports).classes
    return classes[number] if 0 <= number < len(classes) else str(number)


def class_labels(numbers: Sequence[int], ports: Sequence[Port]) -> tuple[str, ...]:
    """Return what stands beside a row of each class: its name, or number if illegible."""
    return tuple(legible(class_name(number, ports), str(number)) for number in numbers)


def _label(ports: Sequence[Port]) -> Port:
    labels = [port for port in ports if port.is_label]
    if not labels:
        names = ", ".join(port.name for port in ports) or "nothing"
        raise UsageError(
            "--class: there is no class to choose",
            cause=f"no label is drawn here, but {names}",
            code="does-not-apply",
        )
    if len(labels) > 1:
        names = ", ".join(port.name for port in labels)
        raise UsageError(
            "--class: there is more than one label to choose for",
            cause=names,
            code="does-not-apply",
        )
    return labels[0]


def _names(label: Port, numbers: range) -> dict[str, int]:
    """Return the classes by name, as it is written and in small letters; the first one counts."""
    known = enumerate(map(str.strip, label.classes))
    named = [(name, number) for number, name in known if name and number in numbers]
    small = {name.casefold(): number for name, number in reversed(named)}
    return small | dict(reversed(named))


def _find(word: str, names: Mapping[str, int], numbers: range) -> int | None:
    word = word.strip()
    number = names.get(word, names.get(word.casefold()))
    if number is None and word.isascii() and word.isdecimal() and len(word) <= LONGEST_NUMBER:
        number = int(word)
    return number if number in numbers else None


def _limit(count: int) -> None:
    if count > MOST_CLASSES:
        raise UsageError(
            f"{count:,} classes are too many at once",
            cause=f"at most {MOST_CLASSES:,}",
            code="too-many",
        )


def _unknown(word: str, label: Port, numbers: range) -> UsageError:
    near = did_you_mean(word.strip(), [name.casefold() for name in label.classes if name.strip()])
    told = ", ".join(_shown(name) for name in label.classes[:MOST_TOLD])
    more = len(label.classes) - MOST_TOLD
    if more > 0:
        told += f" and {more:,} more"
    return UsageError(
        f"unknown class {_shown(word.strip())!r}.{near}",
        cause=f"the classes are {told}" if told else "",
        hint=f"a name, a number from {numbers[0]} to {numbers[-1]}, several with commas, or all",
        code="unknown-class",
    )


def _shown(name: str) -> str:
    """Return a name as an error can show it: short, in one line, nothing that moves a cursor."""
    shown = "".join(char if char.isprintable() else "?" for char in name)
    return shown if len(shown) <= LONGEST_TOLD else shown[: LONGEST_TOLD - 3] + "..."
