"""Runs a graph on its inputs in batches, and writes what comes out.

That is one picture, a grid, a folder of pictures, a file of arrays, or JSON.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError, ZooError
from zoo.pictures import (
    MEGAPIXEL,
    BadPictureError,
    Pixels,
    grid,
    to_pixels,
    to_values,
    undo_fit,
    write_png,
)
from zoo.ports import Fit, Port, Signature, has_dynamic_size, is_pictorial, numbers_in_a_row
from zoo.runtime.array_files import write_arrays
from zoo.runtime.engine import free_memory, peak_memory
from zoo.runtime.inputs import PIPE, Feed, Picture
from zoo.runtime.session import Arrays, RunError, Session, draw_examples

MAX_HELD = 2**27  # numbers of a grid or a file of arrays, half a gigabyte
MAX_PRINTED = 2**20  # numbers in JSON on stdout, some twenty megabytes
MOST = {"grid": MAX_HELD, "arrays": MAX_HELD, "json": MAX_PRINTED}
NAMES = "names"  # of the array in an .npz file, and the list in JSON, that says which row is which
MAX_ROWS = 64  # of a batch
MAX_NUMBERS = 2**20  # in the widest port of a batch; layers inside the graph hold many times that
MAX_REASONS = 2  # in the error when no picture can be read
LARGE = 2 * MEGAPIXEL  # pixels of a picture from which an estimate is worth its time
TRIAL = 512  # pixels a side, of the picture that is tried
FAR = 3  # times as large as the pictures of the training, or as small, along a side
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


def run_batches(
    session: Session, feed: Feed, on_skip: OnSkip, batch_size: int | None = None
) -> Iterator[Result]:
    """Run the graph on all rows, batch by batch, in their order.

    A picture that the user named and that cannot be read is an error; one that was found in a
    folder is reported and left out. So are those that a graph for all sizes fails on.

    Args:
        session: the graph.
        feed: all rows.
        on_skip: called with the error of every picture that is left out.
        batch_size: rows of a batch, at most; by default what the file fixes, or as memory allows.

    Raises:
        BadPictureError: a named picture cannot be read, or no picture can.
        RunError: the graph fails.
    """
    if feed.port is None:
        yield from _array_batches(session, feed, batch_size or _rows_at_once(session, 1))
        return
    done, failed = 0, None
    reasons: list[str] = []

    def skip(problem: BadPictureError) -> None:
        if len(reasons) < MAX_REASONS:
            reasons.append(f"{problem.message}: {problem.cause}")
        on_skip(problem)

    for part in _picture_batches(session, feed, skip, batch_size):
        rows_in_part = [each.row for each in part]
        inputs = {name: array[rows_in_part] for name, array in feed.arrays.items()}
        inputs[feed.port.name] = pixels_to_port(np.stack([each.pixels for each in part]), feed.port)
        try:
            outputs = session.run(inputs)
        except RunError as problem:
            failed = problem
            _leave_out(feed, rows_in_part, problem, on_skip)
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


def _array_batches(session: Session, feed: Feed, size: int) -> Iterator[Result]:
    """Run the graph on inputs that are in memory, `size` rows at once."""
    for start in range(0, feed.count, size):
        rows = range(start, min(start + size, feed.count))
        inputs = {name: array[start : rows.stop] for name, array in feed.arrays.items()}
        yield Result(tuple(map(feed.name, rows)), session.run(inputs))


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


def pixels_to_port(pixels: Pixels, port: Port) -> NDArray[Any]:
    """Return pixels (N, H, W, C) as an image port takes them: in its range, layout and dtype.

    A port of uint8 takes pixels as they are.
    """
    if port.dtype == "uint8":
        values = pixels if port.layout == "NHWC" else pixels.transpose(0, 3, 1, 2)
    else:
        low, high = port.range or (-1.0, 1.0)
        values = to_values(pixels, low, high).astype(port.dtype, copy=False)
        values = values if port.layout == "NCHW" else values.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(values)


def port_to_pixels(values: NDArray[Any], port: Port) -> Pixels:
    """Return the numbers of an image port that has a range as pixels (N, H, W, C)."""
    if port.dtype == "uint8":
        return values if port.layout == "NHWC" else values.transpose(0, 2, 3, 1)
    assert port.range is not None
    return to_pixels(values if port.layout == "NCHW" else values.transpose(0, 3, 1, 2), *port.range)


def notes_on_sizes(session: Session, feed: Feed) -> list[str]:
    """Return notes on pictures whose size is open: unlike the training's, and what they will take.

    Their sizes are read from their headers.

    Raises:
        ZooError: there is less memory than the largest picture takes, which the user named.
        RunError: the graph fails on a small picture.
    """
    if feed.port is None or not has_dynamic_size(feed.port):
        return []
    sizes = []
    for picture in feed.pictures:
        try:
            size = picture.file.picture_size()
        except BadPictureError:  # reported when it is read
            continue
        sizes.append((feed.size_for(*size), picture))
    if not sizes:
        return []
    largest, picture = max(sizes, key=lambda each: math.prod(each[0]))
    smallest, _ = min(sizes, key=lambda each: math.prod(each[0]))
    notes = [_far_from_training(session, largest, smallest), _estimate(session, picture, *largest)]
    return [note for note in notes if note]


def _far_from_training(
    session: Session, largest: tuple[int, int], smallest: tuple[int, int]
) -> str:
    """Return a note if pictures are far larger or smaller than in the training; else nothing."""
    learnt = session.description.identity.data.sizes
    if "height" not in learnt:
        return ""
    usual = min(learnt["height"], learnt["width"])
    most, least = min(largest) / usual, min(smallest) / usual
    if most < FAR and least > 1 / FAR:
        return ""
    far = f"{most:.0f} times as large" if most >= FAR else f"{1 / least:.0f} times as small"
    return (
        f"pictures are up to {far} as those of the training, {learnt['height']}x{learnt['width']}, "
        f"where results may be poor; --size {usual} scales them to that size"
    )


def _estimate(session: Session, picture: Picture, height: int, width: int) -> str:
    """Return a note on memory and time for the largest picture, if it is large; else nothing.

    A small picture is run to find out. Where the system does not tell how much memory a process
    holds, only the time is said.
    """
    if height * width < LARGE:
        return ""
    inputs = draw_examples(session.description, rows=1, size=(TRIAL, TRIAL))
    times = height * width / TRIAL**2
    started = time.perf_counter()
    peak = peak_memory(lambda: session.run(inputs))
    seconds = (time.perf_counter() - started) * times
    note = f"{picture.file}, {height}x{width}, takes about {seconds:,.0f} s"
    if peak is None:
        return note
    needed, free = peak * times, free_memory()
    note += f" and {needed / 2**30:.1f} GiB of memory"
    if free is None or needed <= free:
        return f"{note}; --size N computes with smaller pictures"
    note += f"; {free / 2**30:.1f} GiB are free"
    if not picture.named:  # it is left out when its turn comes, and holds up no other
        return note
    fitting = int((0.5 * free / needed) ** 0.5 * min(height, width))
    raise ZooError(note, hint=f"--size {max(8, fitting // 8 * 8)} computes with smaller pictures")


@dataclass(frozen=True)
class Target:
    """What is written, and where; `path` is None for standard output.

    A grid has as many `columns` as there are rows of a class, and a label for each class; None and
    none for a square.
    """

    kind: Literal["picture", "grid", "folder", "arrays", "json"]
    path: Path | None = None
    columns: int | None = None
    labels: tuple[str, ...] = ()


def choose_target(session: Session, feed: Feed, output: str | None) -> Target:
    """Decide what is written, and where.

    `output` is what the user asked for: ``x.png``, ``x.npz`` or a folder; ``-`` for what would be
    in ``x.png`` or, where no pictures come out, ``x.npz``, to standard output; None for a grid or
    folder named like the graph's file, or JSON where no pictures come out.

    Raises:
        UsageError: the graph does not give that, it would not fit, or an input would be lost.
    """
    target = _decide(session, feed, output)
    outputs = session.description.signature.outputs
    held = outputs[:1] if target.kind == "grid" else outputs
    numbers = feed.count * sum(map(numbers_in_a_row, held))
    if numbers > MOST.get(target.kind, numbers):
        instead = "-o folder/" if is_pictorial(outputs[0]) else "-o codes.npz, in parts"
        where = "JSON" if target.kind == "json" else f"one file, {_destination(output)}"
        raise UsageError(
            f"{feed.count} rows are too many for {where}", hint=instead, code="too-many"
        )
    if target.kind == "picture" and feed.count > 1:
        raise UsageError(
            f"{feed.count} pictures do not go into one file, {_destination(output)}",
            hint=f"-o {session.path.stem}/",
            code="bad-output",
        )
    _protect_inputs(feed, target)
    return target


def write_results(
    results: Iterable[Result], port: Port, target: Target, pipe: BinaryIO, fit: Fit | None = None
) -> list[Path]:
    """Write results to any target but JSON, those for a folder as they come; return the files.

    Pictures are made of `port`, the first output. `fit` is how the pictures that went in were
    brought to size, where what comes out is to have their own size again.
    """
    if target.kind == "folder":
        assert target.path is not None
        return [
            _write(target.path / f"{name}.png", pixels)
            for result in results
            for name, pixels in zip(result.names, _pictures(result, port, fit), strict=True)
        ]
    if target.kind == "arrays":
        names, values = join_results(results, MAX_HELD)
        if target.path:
            target.path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(target.path or pipe, {NAMES: np.array(names), **values})
        return [target.path] if target.path else []
    pictures = [each for result in results for each in _pictures(result, port, fit)]
    _require_one_size([each.shape for each in pictures])
    page = pictures[0]
    if target.kind == "grid":
        page = grid(np.stack(pictures), target.columns, target.labels)
    if target.path is None:
        write_png(pipe, page)
        return []
    return [_write(target.path, page)]


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


def _decide(session: Session, feed: Feed, output: str | None) -> Target:
    pictures_come_out = is_pictorial(session.description.signature.outputs[0])
    stem = session.path.stem  # never a name from inside the file
    if output in {None, PIPE} and not pictures_come_out:
        return Target("json" if output is None else "arrays")
    if output is None:
        return Target("folder", Path(stem)) if feed.pictures else _grid(Path(f"{stem}.png"), feed)
    if output == PIPE:
        return Target("picture") if feed.pictures else _grid(None, feed)
    path = Path(output)
    suffix = path.suffix.lower()
    is_folder = path.is_dir() or output.endswith((os.sep, "/")) or not suffix
    if suffix == ".npz" and not is_folder:
        return Target("arrays", path)
    if not is_folder and suffix != ".png":
        raise UsageError(
            f"-o {output}: pictures are written as .png or into a folder, numbers as .npz",
            hint=f"-o {output}/ for a folder",
            code="bad-output",
        )
    if not pictures_come_out:
        raise UsageError(
            f"-o {output}: no pictures come out; {session.description.gives}",
            hint="-o codes.npz, or no -o for JSON",
            code="bad-output",
        )
    if is_folder:
        return Target("folder", path)
    return Target("picture", path) if feed.pictures else _grid(path, feed)


def _grid(path: Path | None, feed: Feed) -> Target:
    """Return a square of rows or, where there are several classes, a line for each."""
    classes = len(feed.classes)
    if classes < 2:
        return Target("grid", path)
    return Target("grid", path, feed.count // classes, feed.labels)


def _protect_inputs(feed: Feed, target: Target) -> None:
    if target.path is None:
        return
    written: Iterable[Path] = [target.path]
    if target.kind == "folder":
        written = (target.path / f"{picture.name}.png" for picture in feed.pictures)
    inputs = {file.path.resolve() for file in feed.files if file.content is None}
    for path in written:
        if path.exists() and path.resolve() in inputs:
            raise UsageError(
                f"{path} is an input and would be overwritten", hint="another -o", code="bad-output"
            )


def keeps_size(signature: Signature, port: Port) -> bool:
    """Whether the first output is a picture of the size of an input port."""
    output = signature.outputs[0]
    return is_pictorial(output) and output.image_size == port.image_size


def _pictures(result: Result, port: Port, fit: Fit | None) -> Sequence[Pixels]:
    """Return outputs as pixels (H, W, C), of the size of the input pictures if `fit` is given."""
    pixels = port_to_pixels(result.outputs[port.name], port)
    if fit is None or not result.originals:
        return list(pixels)
    return [
        undo_fit(each, original.height, original.width, fit)
        for each, original in zip(pixels, result.originals, strict=True)
    ]


def _write(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, pixels)
    return path


def _require_one_size(shapes: Sequence[tuple[int, ...]]) -> None:
    if len(set(shapes)) > 1:
        raise UsageError(
            "the results have different sizes",
            hint="-o folder/ writes each by itself",
            code="bad-output",
        )


def _destination(output: str | None) -> str:
    return "standard output" if output == PIPE else str(output)
