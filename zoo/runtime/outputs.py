"""Runs a graph on its inputs in batches, and writes what comes out.

That is one picture, a grid, a file or a folder of files of its kind, a file of arrays, or JSON; of
the rounds of a loop, also an animation or a strip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.animations import strip, write_webp
from zoo.atomic import write_bytes
from zoo.errors import UsageError
from zoo.modalities import draw_cells, draw_page, modality_of, to_rows
from zoo.pictures import BadPictureError, Pixels, undo_fit, write_png
from zoo.ports import Fit, Port, Signature, has_dynamic_size, is_pictorial, numbers_in_a_row
from zoo.runtime.array_files import write_arrays
from zoo.runtime.inputs import Feed
from zoo.runtime.loops import Loop, compute
from zoo.runtime.session import Arrays, RunError, Session
from zoo.runtime.targets import MAX_HELD, Target

NAMES = "names"  # of the array in an .npz file, and the list in JSON, that says which row is which
MAX_ROWS = 64  # of a batch
MAX_NUMBERS = 2**20  # in the widest port of a batch; layers inside the graph hold many times that
MAX_REASONS = 2  # in the error when no picture can be read
OnSkip = Callable[[BadPictureError], None]


@dataclass(frozen=True)
class OriginalPicture:
    """A picture as it was before it was brought to the size and the colours of a port."""

    height: int
    width: int
    in_colour: bool


class LoadedPicture(NamedTuple):
    """A picture of a row as pixels of the port's size."""

    row: int
    pixels: Pixels
    original: OriginalPicture


@dataclass(frozen=True)
class Result:
    """The names of the rows of one batch, its outputs, and the pictures that went in, if any."""

    names: tuple[str, ...]
    outputs: Arrays
    originals: tuple[OriginalPicture, ...] = ()
    shown: tuple[NDArray[Any], ...] = ()  # the first output of the rounds that are shown


def run_batches(
    session: Session,
    feed: Feed,
    on_skip: OnSkip,
    batch_size: int | None = None,
    loop: Loop | None = None,
) -> Iterator[Result]:
    """Run the graph on all rows, batch by batch, in their order; each for all rounds of a loop.

    Ctrl-C in a loop ends it with what there is, if there is anything; `loop.stopped` says so.

    A picture that the user named and that cannot be read is an error; one that was found in a
    folder is reported and left out. So are those that a graph for all sizes fails on.

    Args:
        session: the graph.
        feed: all rows.
        on_skip: called with the error of every picture that is left out.
        batch_size: rows of a batch, at most; by default what the file fixes, or as memory allows.
        loop: of a step graph.

    Raises:
        BadPictureError: a named picture cannot be read, or no picture can.
        RunError: the graph fails.
    """
    if feed.port is None:
        yield from _array_batches(session, feed, batch_size or _rows_at_once(session, 1), loop)
    else:
        yield from _picture_results(session, feed, feed.port, on_skip, batch_size, loop)


def _picture_results(
    session: Session,
    feed: Feed,
    port: Port,
    on_skip: OnSkip,
    batch_size: int | None,
    loop: Loop | None,
) -> Iterator[Result]:
    """Run the graph on all pictures, those of one size together; they go into `port`."""
    done, failed = 0, None
    reasons: list[str] = []

    def skip(problem: BadPictureError) -> None:
        if len(reasons) < MAX_REASONS:
            reasons.append(f"{problem.message}: {problem.cause}")
        on_skip(problem)

    for part in _picture_batches(session, feed, skip, batch_size):
        rows_in_part = [each.row for each in part]
        inputs = {name: array[rows_in_part] for name, array in feed.arrays.items()}
        pixels = np.stack([each.pixels for each in part])
        inputs[port.name] = modality_of(port).to_numbers(pixels, port)
        try:
            computed = compute(session, feed, loop, inputs, rows_in_part)
        except RunError as problem:
            failed = problem
            _leave_out(feed, rows_in_part, problem, on_skip)
            continue
        if computed:
            done += len(part)
            originals = tuple(each.original for each in part)
            names = tuple(map(feed.name, rows_in_part))
            yield Result(names, computed.outputs, originals, computed.shown)
        if loop and _has_stopped(loop, done):
            return
    if done == 0:
        if failed:
            raise failed
        raise BadPictureError(
            f"none of the {feed.count} pictures could be read", cause="; ".join(reasons)
        )


def _array_batches(session: Session, feed: Feed, size: int, loop: Loop | None) -> Iterator[Result]:
    """Run the graph on inputs that are in memory, `size` rows at once."""
    done = 0
    for start in range(0, feed.count, size):
        rows = range(start, min(start + size, feed.count))
        inputs = {name: array[start : rows.stop] for name, array in feed.arrays.items()}
        if computed := compute(session, feed, loop, inputs, rows):
            done += len(rows)
            names = tuple(map(feed.name, rows))
            yield Result(names, computed.outputs, shown=computed.shown)
        if loop and _has_stopped(loop, done):
            return


def _has_stopped(loop: Loop, done: int) -> bool:
    """Whether Ctrl-C has ended a loop; raises it again where not one row has come out."""
    if loop.stopped is not None and done == 0:
        raise KeyboardInterrupt
    return loop.stopped is not None


def _leave_out(feed: Feed, rows: Sequence[int], problem: RunError, on_skip: OnSkip) -> None:
    """Skip pictures of a size that the graph fails on; raise the error if the user named one."""
    assert feed.port is not None
    pictures = [feed.pictures[row] for row in rows]
    reason = ", ".join(filter(None, (problem.message, problem.cause)))
    problem.message = f"{pictures[0].file}: {problem.message}"
    if any(picture.named for picture in pictures) or not has_dynamic_size(feed.port):
        raise problem
    for picture in pictures:
        on_skip(BadPictureError(str(picture.file), cause=reason))


def _picture_batches(
    session: Session, feed: Feed, on_skip: OnSkip, batch_size: int | None
) -> Iterator[list[LoadedPicture]]:
    """Yield pictures of one size, as many at once as memory allows."""
    part: list[LoadedPicture] = []
    for row, picture in enumerate(feed.pictures):
        try:
            image = picture.file.read_picture(feed.value_range)
        except BadPictureError as problem:
            if picture.named:
                problem.hint = session.description.takes
                raise
            on_skip(problem)
            continue
        pixels = feed.to_size(image)
        most = batch_size or _rows_at_once(session, pixels.size)
        if part and (part[0].pixels.shape != pixels.shape or len(part) >= most):
            yield part
            part = []
        original = OriginalPicture(image.height, image.width, image.mode == "RGB")
        part.append(LoadedPicture(row, pixels, original))
    if part:
        yield part


def _rows_at_once(session: Session, numbers: int) -> int:
    """Return the rows of a batch when one row of the inputs holds at least `numbers` numbers."""
    if session.rows is not None:
        return session.rows
    signature = session.description.signature
    widest = max(map(numbers_in_a_row, (*signature.inputs, *signature.outputs)))
    return max(1, min(MAX_ROWS, MAX_NUMBERS // max(widest, numbers)))


def write_results(
    results: Iterable[Result], port: Port, target: Target, pipe: BinaryIO, fit: Fit | None = None
) -> list[Path]:
    """Write results to files or a pipe, those for a folder as they come; return the files.

    They are made of `port`, the first output. `fit` is how the pictures that went in were brought
    to size, where what comes out is to have their own size again.
    """
    modality = modality_of(port)
    if target.kind == "folder":
        assert target.path is not None
        return [
            _write(target.path / f"{name}{modality.suffix}", modality.encode(row[None], port))
            for result in results
            for name, row in zip(result.names, _rows(result, port, fit), strict=True)
        ]
    if target.kind == "arrays":
        names, values = join_results(results, MAX_HELD)
        if target.path:
            target.path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(target.path or pipe, {NAMES: np.array(names), **values})
        return [target.path] if target.path else []
    if target.shown:
        return _write_rounds(list(results), port, target, pipe, fit)
    rows = [each for result in results for each in _rows(result, port, fit)]
    _require_one_size([each.shape for each in rows])
    if target.kind == "grid":
        page = draw_page(np.stack(rows), port, target.columns, target.labels)
        return _write_png(target.path, page, pipe)
    if target.kind == "picture":
        return _write_png(target.path, rows[0], pipe)
    content = modality.encode(np.stack(rows), port)
    if target.path is None:
        pipe.write(content)
        return []
    return [_write(target.path, content)]


def _write_rounds(
    results: Sequence[Result], port: Port, target: Target, pipe: BinaryIO, fit: Fit | None
) -> list[Path]:
    """Write the rounds that are shown, as an animation or as a strip; return the file."""
    rounds = []
    for number in range(max(len(result.shown) for result in results)):
        rows = [
            each
            for result in results  # the last batch may have been stopped
            for each in _to_rows(
                result.shown[min(number, len(result.shown) - 1)], result, port, fit
            )
        ]
        _require_one_size([each.shape for each in rows])
        rounds.append(np.stack(rows))
    if target.kind == "strip":
        cells = [draw_cells(each, port) for each in rounds]
        return _write_png(target.path, strip(cells, target.labels), pipe)
    is_photo = len(rounds[0]) == 1 and results[0].originals
    pages = [
        each[0] if is_photo else draw_page(each, port, target.columns, target.labels)
        for each in rounds
    ]
    if target.path is not None:
        target.path.parent.mkdir(parents=True, exist_ok=True)
    write_webp(target.path or pipe, pages)
    return [target.path] if target.path else []


def join_results(results: Iterable[Result], most: int) -> tuple[list[str], Arrays]:
    """Join all batches: the names, and the outputs by port name, a row each.

    `UsageError` if the rows have different sizes, or hold more than `most` numbers in all.
    """
    whole, numbers = [], 0
    for result in results:
        numbers += sum(array.size for array in result.outputs.values())
        if numbers > most:  # known only now, where the graph leaves a size open
            raise UsageError(
                f"the results are too large for one file: more than {most:,} numbers",
                hint="fewer or smaller inputs at once",
                code="too-many",
            )
        whole.append(result)
    names = [name for result in whole for name in result.names]
    joined: Arrays = {}
    for port in whole[0].outputs:
        parts = [result.outputs[port] for result in whole]
        _require_one_size([part.shape[1:] for part in parts])
        joined[port] = np.concatenate(parts)
    return names, joined


def keeps_size(signature: Signature, port: Port) -> bool:
    """Whether the first output is a picture of the size of an input port."""
    output = signature.outputs[0]
    return is_pictorial(output) and output.image_size == port.image_size


def _rows(result: Result, port: Port, fit: Fit | None) -> Sequence[NDArray[Any]]:
    """Return outputs as decoded data holds them, of the size of the input pictures if `fit`."""
    return _to_rows(result.outputs[port.name], result, port, fit)


def _to_rows(
    values: NDArray[Any], result: Result, port: Port, fit: Fit | None
) -> Sequence[NDArray[Any]]:
    """Return numbers of a port, for the rows of a result, as `_rows` does."""
    rows = to_rows(values, port)
    if fit is None or not result.originals:
        return list(rows)
    return [
        undo_fit(each, original.height, original.width, fit)
        for each, original in zip(rows, result.originals, strict=True)
    ]


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    return path


def _write_png(path: Path | None, page: Pixels, pipe: BinaryIO) -> list[Path]:
    """Write a picture to a file or, without one, to the pipe; return the file."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path or pipe, page)
    return [path] if path else []


def _require_one_size(shapes: Sequence[tuple[int, ...]]) -> None:
    if len(set(shapes)) > 1:
        raise UsageError(
            "the results have different sizes",
            hint="-o folder/ writes each by itself",
            code="bad-output",
        )
