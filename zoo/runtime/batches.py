"""Rows on their way through a graph, a batch at a time: in order, and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from zoo.pictures import BadPictureError, Pixels
from zoo.ports import Port
from zoo.runtime.description import has_open_sizes, numbers_in_a_row
from zoo.runtime.feed import Feed
from zoo.runtime.pixels import into_port
from zoo.runtime.session import Arrays, RunError, Session

MOST_ROWS = 64  # of a batch
MOST_REASONS = 2  # that are told when no picture can be read
MOST_NUMBERS = 2**20  # in the widest port of a batch; layers inside the graph hold many times that

Report = Callable[[BadPictureError], None]


@dataclass(frozen=True)
class Original:
    """A picture as it was before it was brought to the size and the colours of a port."""

    height: int
    width: int
    in_colour: bool


@dataclass(frozen=True)
class Result:
    """What came out of one batch.

    Args:
        names: of the rows.
        outputs: by port name, a row each.
        originals: the pictures that went in, where some did.
    """

    names: tuple[str, ...]
    outputs: Arrays
    originals: tuple[Original, ...] = ()


def batches(
    session: Session, feed: Feed, report: Report, batch_size: int | None = None
) -> Iterator[Result]:
    """Run the graph on all rows, batch by batch, in their order.

    A picture that the user named and that cannot be read is an error; one that was found in a
    folder is reported and left out. So are those that a graph for all sizes fails on.

    Args:
        session: the graph.
        feed: all rows.
        report: is told of every picture that is left out.
        batch_size: rows of a batch, at most; when not given, as many as the file fixes, or as
            many of its size as seem right.

    Raises:
        BadPictureError: a named picture cannot be read, or no picture can.
        RunError: the graph fails.
    """
    if feed.port is None:
        size = batch_size or _rows_at_once(session, 1)
        for start in range(0, feed.count, size):
            rows = range(start, min(start + size, feed.count))
            inputs = {name: array[start : rows.stop] for name, array in feed.arrays.items()}
            yield Result(tuple(map(feed.name, rows)), session.run(inputs))
        return
    done, failed = 0, None
    reasons: list[str] = []

    def refuse(problem: BadPictureError) -> None:
        if len(reasons) < MOST_REASONS:
            reasons.append(f"{problem.message}: {problem.cause}")
        report(problem)

    for part in _picture_batches(session, feed, feed.port, refuse, batch_size):
        rows_in_part = [each.row for each in part]
        inputs = {name: array[rows_in_part] for name, array in feed.arrays.items()}
        inputs[feed.port.name] = into_port(np.stack([each.pixels for each in part]), feed.port)
        try:
            outputs = session.run(inputs)
        except RunError as problem:
            failed = problem
            _leave_out(feed, rows_in_part, problem, report)
            continue
        done += len(part)
        originals = tuple(each.original for each in part)
        yield Result(tuple(map(feed.name, rows_in_part)), outputs, originals)
    if done == 0:
        if failed:
            raise failed
        raise BadPictureError(
            f"none of the {feed.count} pictures could be read", cause="; ".join(reasons)
        )


def _leave_out(feed: Feed, rows: Sequence[int], problem: RunError, report: Report) -> None:
    """Report pictures of a size that the graph fails on, or raise where nobody may miss them."""
    assert feed.port is not None
    pictures = [feed.pictures[row] for row in rows]
    told = problem.message if not problem.cause else f"{problem.message}, {problem.cause}"
    problem.message = f"{pictures[0].source}: {problem.message}"
    if any(picture.named for picture in pictures) or not has_open_sizes(feed.port):
        raise problem
    for picture in pictures:
        report(BadPictureError(str(picture.source), cause=told))


@dataclass(frozen=True)
class _Row:
    row: int
    pixels: Pixels
    original: Original


def _picture_batches(
    session: Session, feed: Feed, port: Port, report: Report, batch_size: int | None
) -> Iterator[list[_Row]]:
    """Yield pictures of one size with their row numbers, as many at once as memory allows."""
    part: list[_Row] = []
    for row, picture in enumerate(feed.pictures):
        try:
            image = picture.source.read_picture(feed.sizing.value_range)
        except BadPictureError as problem:
            if picture.named:
                problem.hint = session.description.takes
                raise
            report(problem)
            continue
        pixels = feed.sizing.apply(image, port)
        most = batch_size or _rows_at_once(session, pixels.size)
        if part and (part[0].pixels.shape != pixels.shape or len(part) >= most):
            yield part
            part = []
        part.append(_Row(row, pixels, Original(image.height, image.width, image.mode == "RGB")))
    if part:
        yield part


def _rows_at_once(session: Session, numbers: int) -> int:
    """Return the rows of a batch when one row of the inputs holds at least `numbers` numbers."""
    if session.rows is not None:
        return session.rows
    signature = session.description.signature
    widest = max(map(numbers_in_a_row, (*signature.inputs, *signature.outputs)))
    return max(1, min(MOST_ROWS, MOST_NUMBERS // max(widest, numbers)))
