"""Loops that begin with data: which rows of a data set go into the first round of a step graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.errors import UsageError
from zoo.loops import is_sequence
from zoo.modalities import modality_of
from zoo.model.contract import Model
from zoo.model.inference import default_rounds
from zoo.ports import DataSpec, Port, is_pictorial, shapes_agree
from zoo.sampling import as_port_takes

Array = np.ndarray[Any, Any]

GIVEN = 4  # of a sequence, at most so small a part of the rounds takes in what the data begins with


@dataclass(frozen=True)
class Beginning:
    """Inputs of the first round of a loop that are rows of data.

    Attributes:
        arrays: numbers by name of the input, as many rows each; of a sequence that goes in round by
            round, with one dimension more, as `zoo.loops.drive` takes it.
        items: what the rows are called, such as pictures.
        share: how much of each row is given, in (0, 1].
    """

    arrays: Mapping[str, Array]
    items: str
    share: float

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.arrays.values())))


def loops_from_data(model: Model, *, asked: bool = False) -> list[str]:
    """Return the steps of loops that need data to begin, and give what can be seen, heard or read.

    Where data is `asked` for, those as well that could begin with a draw or a default.
    """
    found = []
    for name, graph in model.graphs().items():
        first, *_ = graph.outputs
        if graph.signature.is_step and modality_of(first).presents(first):
            takes = graph.signature.required or (
                asked and inputs_from_data(model, name, asked=True)
            )
            found += [name] if takes else []
    return found


def inputs_from_data(model: Model, name: str, *, asked: bool = False) -> dict[str, Port | None]:
    """Return the inputs of a step of a loop that rows of data go into, by name.

    With each is the port of the data that has them, or None if none has. Where data is `asked` for,
    what goes round comes from it also where it could be drawn.
    """
    found: dict[str, Port | None] = {}
    for port in model.graphs()[name].inputs:
        source = source_of(model.data, port)
        goes_round = bool(port.next) and modality_of(port).presents(port)
        if not port.is_drawn or (asked and goes_round and source is not None):
            found[port.name] = source
    return found


def source_of(data: DataSpec, port: Port) -> Port | None:
    """Return the port of data whose rows an input takes, the one of its own name if there is one.

    Pictures are brought to its size. Of what has a time, such as text and sound, longer rows are
    taken in pieces.
    """
    like = [each for each in data.ports if each.kind == port.kind]
    if port.domain in data.sides:
        like = [each for each in like if each.name == data.side_of(port.domain)]
    like.sort(key=lambda each: each.name != port.name)
    return next((each for each in like if _fits(each, port)), None)


def _fits(source: Port, port: Port) -> bool:
    if is_pictorial(source) and is_pictorial(port):
        return True
    same = source.dtype == port.dtype and source.classes == port.classes
    rows = np.broadcast_to(np.int64(0), (1, *(int(size) for size in source.shape[1:])))
    return same and _pieces(rows, port) is not None


def begin_with(
    model: Model,
    name: str,
    ports: Mapping[str, Port | None],
    split: Mapping[str, Array],
    count: int,
    rounds: int | None = None,
) -> Beginning:
    """Return rows from all over a split of data for the inputs of a step of a loop.

    Inputs of one source get different rows, such as the two pictures of a style transfer.

    Args:
        model: with the graph.
        name: of the graph.
        ports: by name of an input, the port of the data; at least one, and none is None.
        split: decoded rows by port of the data.
        count: rows; fewer where there are fewer.
        rounds: of the loop; its own number, when not given.

    Raises:
        UsageError: the split does not hold one of the ports.
    """
    graph = model.graphs()[name]
    sources = {key: source.name for key, source in ports.items() if source is not None}
    missing = [each for each in sources.values() if each not in split]
    if missing:
        raise UsageError(
            f"{name} of {model.data.name} begins with {missing[0]}, which is not held out",
            cause=f"held out are {', '.join(split)}",
            code="wrong-data",
        )
    uses = max(Counter(sources.values()).values())
    count = max(1, min(count, min(len(split[each]) for each in sources.values()) // uses))
    most = max(1, (rounds or default_rounds(graph)) // GIVEN)
    arrays: dict[str, Array] = {}
    share, taken = 1.0, Counter[str]()
    for port in graph.inputs:
        if port.name not in sources:
            continue
        source = model.data[sources[port.name]]
        stored = split[source.name]
        places = np.linspace(0, len(stored) - 1, count * uses).round().astype(int)
        rows = np.asarray(stored[places[taken[source.name] :: uses]])
        taken[source.name] += 1
        arrays[port.name], part = _as_input(rows, source, port, most)
        share = min(share, part)
    first = next(iter(sources.values()))
    return Beginning(arrays, modality_of(model.data[first]).items, share)


def _as_input(rows: Array, source: Port, port: Port, most: int) -> tuple[Array, float]:
    """Return decoded rows as an input takes them, and how much of each that is."""
    if is_pictorial(port):
        return modality_of(port).to_numbers(as_port_takes(rows, port), port), 1.0
    numbers = modality_of(source).to_numbers(rows, source)
    pieces = _pieces(numbers, port)
    assert pieces is not None  # which `source_of` has seen
    if pieces is numbers:
        return numbers, 1.0
    given = min(most, pieces.shape[1]) if port.next else 1
    array = pieces[:, :given] if port.next else pieces[:, 0]
    return np.ascontiguousarray(array), given / pieces.shape[1]


def _pieces(numbers: Array, port: Port) -> Array | None:
    """Return rows as a port takes them; longer ones in pieces along the last dimension, the time.

    Returns:
        The rows themselves (N, …), their pieces (N, pieces, …), or None where they do not fit.
    """
    shape, (*others, time) = port.shape[1:], numbers.shape
    if shapes_agree(shape, numbers.shape[1:]):
        return numbers
    one_by_one = len(shape) == len(others) - 1  # a piece has no dimension for the time
    length = 1 if one_by_one else shape[-1] if len(shape) == len(others) else 0
    if not (is_sequence(port) and isinstance(length, int) and 0 < length <= time):
        return None
    if not shapes_agree(shape[: len(others) - 1], others[1:]):
        return None
    count = time // length
    whole = numbers[..., : count * length].reshape(*others, count, length)
    pieces = np.moveaxis(whole, -2, 1)
    return pieces[..., 0] if one_by_one else pieces
