"""Compares the rounds of a loop in an exported file with those of the model."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from zoo.draws import draw_example, example_shape
from zoo.errors import NotFoundError, ZooError
from zoo.loops import drive
from zoo.ports import DataSpec
from zoo.runtime.reference import Difference, compare_outputs, describe_excess
from zoo.runtime.session import Arrays, Session

if TYPE_CHECKING:
    from zoo.model.contract import Graph, Model

MAX_ROUNDS = 8  # that model and file run side by side
ROWS = 2


def compare_rounds(
    model: Model, graph: Graph, session: Session
) -> tuple[int, dict[str, Difference]]:
    """Run a step of a loop for some rounds in torch and in the file, each on its own results.

    Both get the same draws in every round. The first round must agree within the tolerance. After
    it, the differences are only measured: a loop may make a rounding error larger every time.

    Returns:
        How many rounds there were, and the differences after the last, by output; 0 and nothing for
        a graph that is no step of a loop.

    Raises:
        ZooError: they differ in the first round, or one of them fails in any round.
    """
    from zoo.model.inference import run_in_torch  # noqa: PLC0415 - re-verification needs no torch

    signature = graph.signature
    if not signature.is_step:
        return 0, {}
    rounds = min(signature.rounds or MAX_ROUNDS, MAX_ROUNDS)
    first = _first_inputs(model.data, graph)
    done, differences = 0, dict[str, Difference]()
    try:
        both = zip(
            drive(partial(run_in_torch, model, graph), signature, first, rounds=rounds),
            drive(session.run, signature, first, rounds=rounds),
            strict=True,
        )
        for wanted, found in both:
            done = wanted.number
            for port in graph.outputs:
                pair = (wanted.outputs[port.name], found.outputs[port.name])
                differences[port.name] = compare_outputs(port, [pair])
                excess = describe_excess(port, differences[port.name], None)
                if done == 1 and excess:
                    raise ZooError(
                        f"graph {session.description.graph!r} does not verify in the first round "
                        f"of its loop: {excess}",
                        hint="no file was written; the port's tolerance is the model's to declare",
                        code="not-verified",
                    )
    except NotFoundError as problem:  # what came out of the file is not finite
        raise ZooError(
            f"graph {session.description.graph!r} does not verify in round {done + 1} of its loop",
            cause=problem.message.replace(str(session.path), "the file"),
            hint="keep what goes round in bounds, such as with clamp",
            code="not-verified",
        ) from problem
    return rounds, differences


def _first_inputs(data: DataSpec, graph: Graph) -> Arrays:
    """Return inputs of the first round of a loop: what can be drawn is, as for a sample."""
    generator = np.random.default_rng(0)
    sizes = data.sizes
    batch = graph.inputs[0].shape[0]
    rows = batch if isinstance(batch, int) else ROWS
    found = {}
    for port in graph.inputs:
        shape = example_shape(port, rows, sizes)
        found[port.name] = (
            replace(port, shape=shape).draw(rows, generator)
            if port.is_drawn
            else draw_example(port, rows, sizes, generator)
        )
    return found
