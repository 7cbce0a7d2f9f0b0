"""Samples of a graph whose inputs can all be drawn, round after round where it is a loop's step.

The graph may be a model's own or an exported file: it is run by a function on arrays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from zoo import pictures
from zoo.draws import draw
from zoo.errors import UsageError
from zoo.loops import Step, drive, is_sequence, sequence_so_far
from zoo.modalities import to_rows
from zoo.ports import MOST_SAMPLES, Port, Signature

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]

FREE_ROUNDS = 16  # of a step of a loop that says no number, where nobody asks for one


def sample_rounds(  # noqa: PLR0913 - most of them by name, with defaults
    step: Step,
    signature: Signature,
    sizes: Mapping[str, int],
    *,
    count: int,
    seed: int,
    classes: Sequence[int] | None = None,
    given: Arrays | None = None,
    rounds: int | None = None,
) -> Iterator[Array]:
    """Yield samples of a graph, as decoded data holds them; of a step of a loop, of every round.

    Of the classes that are asked for by number there are `count` each, with the same noise, class
    after class. Of a sequence, such as text, a round is all of it up to there.

    Args:
        step: runs the graph.
        signature: of the graph.
        sizes: what dimensions that the graph leaves open are, by their words.
        count: samples, or samples of each class.
        seed: of the noise.
        classes: numbers of classes that are asked for.
        given: for each input that is not drawn, one row for all, as `zoo.draws.read_values` returns
            it, or `count` rows, as `zoo.model.beginnings` takes them from data.
        rounds: of a step of a loop; its own number, when not given.
    """
    given = given or {}
    ports = [at_sizes(port, sizes) for port in signature.inputs if port.name not in given]
    inputs = draw(ports, count, seed, classes)
    total = count * (1 if classes is None else len(classes))
    inputs |= {key: np.concatenate([each] * (total // len(each))) for key, each in given.items()}
    rows = [row % count for row in range(total)]
    yield from driven_rows(step, signature, inputs, given, seed=seed, rows=rows, rounds=rounds)


def check_count(count: int, classes: Sequence[int] | None) -> None:
    """Raise a `UsageError` where so many samples, of each class, are none or too many."""
    if count < 1 or len(classes or [None]) * count > MOST_SAMPLES:
        raise UsageError(
            f"{count} of each of {len(classes)} classes are too many"
            if classes
            else f"{count} samples cannot be drawn at once",
            hint=f"from 1 to {MOST_SAMPLES:,} in all",
            code="too-many",
        )


def driven_rows(
    step: Step,
    signature: Signature,
    inputs: Mapping[str, Array],
    given: Collection[str],
    *,
    seed: int = 0,
    rows: Sequence[int] | None = None,
    rounds: int | None = None,
) -> Iterator[Array]:
    """Yield the first output as decoded data holds it, after every round of a step of a loop.

    Args:
        step: runs the graph.
        signature: of the graph.
        inputs: of the first round.
        given: those of them that stay as they are although they have a prior.
        seed: of what is drawn after the first round.
        rows: number of each row; rows of one number draw the same.
        rounds: of a step of a loop; its own number, when not given.
    """
    port = signature.outputs[0]
    whole: Array | None = None
    driven = drive(
        step,
        signature,
        inputs,
        rounds=(signature.is_step and rounds) or default_rounds(signature),
        seed=seed,
        given=frozenset(given),
        rows=rows,
    )
    for each in driven:
        numbers = each.outputs[port.name]
        if is_sequence(port) and signature.is_step:
            numbers = whole = sequence_so_far(signature, port, inputs, each, whole)
        yield to_rows(numbers, port)


def map_images(
    step: Step, signature: Signature, images: Array, *, rounds: int | None = None
) -> Array:
    """Return what a graph from image to image makes of images, uint8 (N, H, W, C).

    The images are brought to the channels and the size that the graph takes. Inputs beside them are
    drawn from their priors. A step of a loop is run for `rounds`, or its own number of them.
    """
    (given,) = signature.required
    inputs = draw([port for port in signature.inputs if port is not given], len(images), seed=0)
    taken = as_port_takes(images, given)
    inputs[given.name] = pictures.to_values(taken, *(given.range or (-1.0, 1.0)))
    for pixels in driven_rows(step, signature, inputs, [given.name], rounds=rounds):
        last = pixels
    return last


def as_port_takes(images: Array, port: Port) -> Array:
    """Return images, uint8 (N, H, W, C), in the channels and the size of a port.

    A size that may vary stays the images' own. Pictures of other proportions are cut off.
    """
    own = images.shape[1:3]
    height, width = (
        wanted if isinstance(wanted, int) else there
        for wanted, there in zip(port.image_size, own, strict=True)
    )
    return pictures.fit_all(images, height, width, port.channels)


def default_rounds(signature: Signature) -> int:
    """Return how many rounds a sample of a graph takes when nobody says: 1 where it is no step."""
    return (signature.rounds or FREE_ROUNDS) if signature.is_step else 1


def at_sizes(port: Port, sizes: Mapping[str, int]) -> Port:
    """Return a port whose sizes, where they may vary, are those that are given by their words."""
    batch, *others = port.shape
    shape = (sizes.get(each, each) if isinstance(each, str) else each for each in others)
    return replace(port, shape=(batch, *shape))
