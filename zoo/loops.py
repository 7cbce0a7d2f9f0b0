"""Drives a graph that is one step of a loop, round after round, in torch as in ONNX Runtime.

In the first round every input has its first value: drawn, given, or the default. In each round
after it, an input that names an output as its `next` is that output of the round before; an input
that was drawn is drawn anew; everything else stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from zoo.errors import UsageError
from zoo.modalities import Modality, modality_of
from zoo.ports import Port, Signature

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]
Step = Callable[[dict[str, Array]], Arrays]  # runs the graph once: outputs by name

MAX_FRAMES = 60  # rounds of an animation, unless somebody asks for more


class Round(NamedTuple):
    """One round: its number, from 1, and what went in and came out, by name of the port."""

    number: int
    inputs: dict[str, Array]
    outputs: dict[str, Array]


def drive(
    step: Step,
    signature: Signature,
    first: Arrays,
    *,
    rounds: int,
    seed: int = 0,
    given: Collection[str] = (),
    rows: Sequence[int] | None = None,
) -> Iterator[Round]:
    """Run a step graph for a number of rounds, and yield each round when it is done.

    What is drawn anew depends on the seed, the round and the number of the row alone, so that a row
    is the same in every batch. A class that was drawn stays: it says what the whole sample is of.

    Args:
        step: runs the graph.
        signature: of the graph.
        first: inputs of the first round, N rows each. Of a port with a `next`, an array with one
            dimension more is a sequence (N, elements, …): one element goes in a round, and the
            loop's own output after the last.
        rounds: how many there are.
        seed: of what is drawn after the first round.
        given: inputs that stay as they are in `first` although they have a prior.
        rows: number of each row; 0 to N - 1, when not given. Rows of one number draw the same.
    """
    numbers = range(len(next(iter(first.values())))) if rows is None else rows
    fed = {port.name: port.next for port in signature.inputs if port.next}
    sequences = {
        port.name: first[port.name]
        for port in signature.inputs
        if port.next and first[port.name].ndim > len(port.shape)
    }
    drawn = [
        replace(port, shape=first[port.name].shape)
        for port in signature.inputs
        if port.prior in {"normal", "uniform"} and not (port.next or port.name in given)
        if not port.is_label
    ]
    inputs = dict(first)
    outputs: dict[str, Array] = {}
    for number in range(1, rounds + 1):
        if number > 1:
            inputs = {**inputs, **draw_round(drawn, numbers, seed, number)}
            inputs |= {name: outputs[output] for name, output in fed.items()}
        for name, elements in sequences.items():
            if number <= elements.shape[1]:
                inputs[name] = np.ascontiguousarray(elements[:, number - 1])
        outputs = dict(step(inputs))
        yield Round(number, inputs, outputs)


def draw_round(
    ports: Sequence[Port], rows: Sequence[int], seed: int, number: int
) -> dict[str, Array]:
    """Draw the inputs of one round: each row by a generator of its own, port after port."""
    if not ports:
        return {}
    by_row = {}
    for row in dict.fromkeys(rows):
        generator = np.random.default_rng([seed, number, row])
        by_row[row] = [port.draw(1, generator) for port in ports]
    return {
        port.name: np.concatenate([by_row[row][index] for row in rows])
        for index, port in enumerate(ports)
    }


def choose_rounds(signature: Signature, asked: int | None, name: str) -> int | None:
    """Return how many rounds to run a graph for: as asked, else its own number; None for no step.

    Raises:
        UsageError: rounds are asked for and the graph is no step of a loop, or it is one and says
            no number.
    """
    if not signature.is_step:
        if asked is None:
            return None
        raise UsageError(
            f"--rounds: {name} is run once",
            cause="none of its inputs is an output of a round before",
            code="does-not-apply",
        )
    rounds = asked or signature.rounds
    if rounds is None:
        raise UsageError(
            f"{name} is one step of a loop: how many?", hint="--rounds N", code="how-many-rounds"
        )
    return rounds


def shown_rounds(rounds: int, every: int | None = None, most: int = MAX_FRAMES) -> tuple[int, ...]:
    """Return the rounds to show: every so many of them and the last, or `most`, evenly spaced."""
    if every is not None:
        return tuple(dict.fromkeys([*range(every, rounds + 1, every), rounds]))
    places = np.linspace(1, rounds, min(rounds, most)).round().astype(int)
    return tuple(dict.fromkeys(map(int, places)))


def is_sequence(port: Port) -> bool:
    """Whether the rounds of an output follow one another in time, as letters and sounds do."""
    return type(modality_of(port)).join is not Modality.join


def join_rounds(port: Port, rounds: Sequence[Array]) -> Array:
    """Return the result of a loop: rounds of a sequence joined along time, else the last one."""
    return modality_of(port).join(rounds, port)


def sequence_so_far(
    signature: Signature, port: Port, first: Arrays, done: Round, before: Array | None
) -> Array:
    """Return all of a sequence up to a round.

    A beginning that was given, such as a prompt, stands in the place of what came out meanwhile.

    Args:
        signature: of the graph.
        port: the output whose rounds follow one another.
        first: inputs of the first round, as `drive` takes them.
        done: the round.
        before: the sequence up to the round before; None in the first.
    """
    parts = [] if before is None else [before]
    for each in signature.inputs:
        given = first[each.name]
        was_given = each.next == port.name and given.ndim > len(each.shape)
        if was_given and done.number <= given.shape[1]:
            parts = [given[:, number] for number in range(done.number)]
    return join_rounds(port, [*parts, done.outputs[port.name]])
