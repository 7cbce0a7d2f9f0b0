"""A step graph on ONNX Runtime: runs its rounds on a batch, and keeps what there is on Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from zoo.loops import drive, is_sequence, sequence_so_far
from zoo.runtime.inputs import Feed
from zoo.runtime.session import Arrays, Session


@dataclass
class Loop:
    """How many rounds a step graph is run for, and what became of it.

    Attributes:
        rounds: how many.
        seed: of what is drawn after the first round.
        shown: rounds whose first output is kept, for an animation or a strip.
        tick: called after each round with the number of rows.
        stopped: the round that was done last when Ctrl-C ended the loop; None if nothing did.
    """

    rounds: int
    seed: int
    shown: tuple[int, ...] = ()
    tick: Callable[[int], object] = bool
    stopped: int | None = None


class Computed(NamedTuple):
    """What came of a batch: its outputs, and the first output of the rounds that are shown."""

    outputs: Arrays
    shown: tuple[NDArray[Any], ...] = ()


def compute(
    session: Session, feed: Feed, loop: Loop | None, inputs: Arrays, rows: Sequence[int]
) -> Computed | None:
    """Run a batch: once, or for all rounds of a loop.

    After Ctrl-C what there is comes out, and `loop.stopped` says so; None where nothing is there.

    Args:
        session: the graph.
        feed: all rows.
        loop: of a step graph.
        inputs: of the batch.
        rows: which of all rows the batch holds.

    Raises:
        RunError: the graph fails.
    """
    if loop is None:
        return Computed(session.run(inputs))
    signature = session.description.signature
    first, *_ = signature.outputs
    sequences = [port for port in signature.outputs if is_sequence(port)]
    whole, outputs = Arrays(), Arrays()
    shown: list[NDArray[Any]] = []
    done = 0
    driven = drive(
        session.run,
        signature,
        inputs,
        rounds=loop.rounds,
        seed=loop.seed,
        given=feed.given,
        rows=[feed.draw_of(row) for row in rows],
    )
    try:
        for each in driven:
            done, outputs = each.number, each.outputs
            for port in sequences:
                before = whole.get(port.name)
                whole[port.name] = sequence_so_far(signature, port, inputs, each, before)
            if done in loop.shown:
                shown.append(outputs[first.name])
            loop.tick(len(rows))
    except KeyboardInterrupt:
        loop.stopped = done
        if not outputs:
            return None
        if loop.shown and done not in loop.shown:
            shown.append(outputs[first.name])
    return Computed({**outputs, **whole}, tuple(shown))
