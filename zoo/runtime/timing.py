"""How long runs of exported files take, measured so that files can be compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.ports import Port, has_dynamic_size
from zoo.runtime.session import Session, draw_examples

PERCENTILES = (50, 90, 99)
TURNS = 5  # of each file, in alternation (`zoo bench` tells the number) …
PAUSE = 0.02  # … and the seconds in which the other file's threads stop waiting busily


@dataclass(frozen=True)
class Timing:
    """How fast one file is on batches of one size.

    `speed` is how many times as many rows as the first file, by the median; None where batches or
    images are unlike the first file's.
    """

    rows: int  # of a batch
    size: tuple[int, int] | None  # height and width of the first image that goes in, if any
    p50_ms: float  # milliseconds that half of all runs took at most
    p90_ms: float
    p99_ms: float
    rows_per_second: float  # over all runs
    speed: float | None


def measure_speed(
    sessions: Sequence[Session],
    *,
    rows: int | None = None,
    size: tuple[int, int] | None = None,
    repeat: int,
    warmup: int,
    seed: int = 0,
    tick: Callable[[], object] = bool,
) -> list[Timing]:
    """Time files in alternation, a fifth of the runs of each in turn, on inputs that are drawn.

    What is timed is ONNX Runtime's own call, with the inputs in memory: neither reading pictures
    nor the checks of `Session.run`, which the runs to warm up pass through.

    Args:
        sessions: the files.
        rows: of a batch; when not given, what a file fixes. Where one leaves that open, what the
            first of the others fixes, else one.
        size: height and width of images, where a file leaves them open; when not given, what the
            first of the others fixes, else those of the data that the model was trained on.
        repeat: runs of each file that are timed.
        warmup: runs of each file before.
        seed: of the inputs.
        tick: called after every run.

    Raises:
        UsageError: a file does not take batches or images of that size.
    """
    for session in sessions:
        _check(session, rows, size)
    rows = rows or next((session.rows for session in sessions if session.rows), 1)
    size = size or next(filter(None, (_fixed_size(_images(session)) for session in sessions)), None)
    batches = [
        draw_examples(session.description, rows=rows, size=size, seed=seed) for session in sessions
    ]
    for _ in range(max(warmup, 1)):  # at least one, which checks what comes out
        for session, inputs in zip(sessions, batches, strict=True):
            session.run(inputs)
            tick()
    seconds: list[list[float]] = [[] for _ in sessions]
    for turn in np.array_split(np.arange(repeat), min(TURNS, repeat)):
        for session, inputs, taken in zip(sessions, batches, seconds, strict=True):
            time.sleep(PAUSE)
            taken.extend(session.time_runs(inputs, len(turn), tick))
    return _timings(sessions, batches, seconds)


def _timings(
    sessions: Sequence[Session],
    batches: Sequence[Mapping[str, NDArray[Any]]],
    seconds: Sequence[Sequence[float]],
) -> list[Timing]:
    """Return the figures of each file, the speeds against the first of them."""
    timings: list[Timing] = []
    for session, inputs, taken in zip(sessions, batches, seconds, strict=True):
        rows = len(next(iter(inputs.values())))
        images = [replace(port, shape=inputs[port.name].shape) for port in _images(session)]
        size = _fixed_size(images)
        p50, p90, p99 = (1000 * float(each) for each in np.percentile(taken, PERCENTILES))
        first = timings[0] if timings else Timing(rows, size, p50, p90, p99, 0.0, None)
        # a file that takes no images has rows to compare all the same
        is_alike = rows == first.rows and len({size, first.size} - {None}) < 2
        speed = first.p50_ms / p50 if is_alike else None
        timings.append(Timing(rows, size, p50, p90, p99, rows * len(taken) / sum(taken), speed))
    return timings


def _images(session: Session) -> list[Port]:
    return [port for port in session.description.signature.inputs if port.is_picture]


def _fixed_size(images: Sequence[Port]) -> tuple[int, int] | None:
    """Return height and width of the first image port that fixes both."""
    for port in images:
        height, width = port.image_size
        if isinstance(height, int) and isinstance(width, int):
            return height, width
    return None


def _check(session: Session, rows: int | None, size: tuple[int, int] | None) -> None:
    """Raise `UsageError` if a file does not take what the user asked for."""
    if session.rows is not None and rows not in {None, session.rows}:
        raise UsageError(
            f"{session.path} takes batches of {session.rows} only",
            hint="leave --batch out",
            code="wrong-size",
        )
    images = _images(session)
    for port in images:
        if size and not has_dynamic_size(port) and port.image_size != size:
            own, asked = ("{}x{}".format(*each) for each in (port.image_size, size))
            raise UsageError(
                f"{session.path} takes images of {own} only, not {asked}", code="wrong-size"
            )
    if size and not images:
        takes = session.description.takes
        raise UsageError(
            f"--size: {takes}, which is no image", hint="leave --size out", code="does-not-apply"
        )
