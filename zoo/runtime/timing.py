"""How long runs of exported files take, measured so that files can be compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.runtime.description import has_open_sizes
from zoo.runtime.examples import examples
from zoo.runtime.session import Session

PERCENTILES = (50, 90, 99)
TURNS = 5  # of each file, in alternation (`zoo bench` tells the number) …
PAUSE = 0.02  # … and the seconds in which the other file's threads stop waiting busily


@dataclass(frozen=True)
class Timing:
    """How fast one file is on batches of one size.

    Args:
        rows: of a batch.
        p50_ms: milliseconds that half of all runs took at most.
        p90_ms: the same of nine in ten.
        p99_ms: the same of 99 in a hundred.
        rows_per_second: over all runs.
        speed: how many times as many rows as the first file, by the median.
    """

    rows: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    rows_per_second: float
    speed: float


def measure(
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
        rows: of a batch; what the file fixes, else one, when not given.
        size: height and width of images, where a file leaves them open.
        repeat: runs of each file that are timed.
        warmup: runs of each file before.
        seed: of the inputs.
        tick: called after every run.

    Returns:
        A timing for each file.

    Raises:
        UsageError: a file does not take batches or images of that size.
    """
    batches = [_inputs(session, rows, size, seed) for session in sessions]
    for _ in range(max(warmup, 1)):  # at least one, which checks what comes out
        for session, inputs in zip(sessions, batches, strict=True):
            session.run(inputs)
            tick()
    seconds: list[list[float]] = [[] for _ in sessions]
    for turn in np.array_split(np.arange(repeat), min(TURNS, repeat)):
        for session, inputs, taken in zip(sessions, batches, seconds, strict=True):
            time.sleep(PAUSE)
            for _ in turn:
                started = time.perf_counter()
                session.engine.run(None, inputs)
                taken.append(time.perf_counter() - started)
                tick()
    counts = [len(next(iter(inputs.values()))) for inputs in batches]
    first = float(np.median(seconds[0])) / counts[0]
    return [_timing(count, taken, first) for count, taken in zip(counts, seconds, strict=True)]


def _timing(rows: int, seconds: Sequence[float], first: float) -> Timing:
    """Return the figures of one file; `first` is seconds a row of the first one."""
    p50, p90, p99 = (float(each) for each in np.percentile(seconds, PERCENTILES))
    return Timing(
        rows, 1000 * p50, 1000 * p90, 1000 * p99, rows * len(seconds) / sum(seconds),
        first / (p50 / rows),
    )  # fmt: skip


def _inputs(
    session: Session, rows: int | None, size: tuple[int, int] | None, seed: int
) -> Mapping[str, NDArray[Any]]:
    about = session.description
    if session.rows is not None and rows not in {None, session.rows}:
        raise UsageError(
            f"{session.path} takes batches of {session.rows} only", hint="leave --batch out"
        )
    images = [port for port in about.signature.inputs if port.kind == "image"]
    for port in images:
        if size and not has_open_sizes(port) and port.image_size != size:
            own, asked = ("{}x{}".format(*each) for each in (port.image_size, size))
            raise UsageError(f"{session.path} takes images of {own} only, not {asked}")
    if size and not images:
        raise UsageError(f"--size: {about.takes}, which is no image", hint="leave --size out")
    return examples(about, rows=rows or 1, size=size, seed=seed)
