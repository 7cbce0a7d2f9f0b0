"""The inputs of a graph (pictures, arrays, draws from the priors), and running it in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.draws import class_labels, class_name, draw, read_classes
from zoo.errors import UsageError
from zoo.pictures import BadPictureError, Pixels, ValueRange, fit, to_pixels, to_values
from zoo.ports import Fit, Port, describe_port, has_dynamic_size, is_pictorial, numbers_in_a_row
from zoo.runtime.files import (
    Picture,
    Source,
    find_pictures,
    match_arrays,
    read_arrays,
    safe_file_name,
    to_port_dtype,
    unique_name,
)
from zoo.runtime.session import Arrays, RunError, Session

MAX_DRAWN = 2**27  # numbers that are drawn at once, half a gigabyte
DEFAULT_COUNT = 16
DEFAULT_COLUMNS = 8  # of each class, where there are several
MAX_ROWS = 64  # of a batch
MAX_REASONS = 2  # in the error when no picture can be read
MAX_NUMBERS = 2**20  # in the widest port of a batch; layers inside the graph hold many times that
OnSkip = Callable[[BadPictureError], None]


@dataclass(frozen=True)
class Sizing:
    """How pictures are brought to the size that a port takes.

    Args:
        fit: how, where the port fixes the size.
        shorter_side: in pixels, where the port leaves the size open; a picture's own, when None.
        value_range: the values that are black and white in pictures of more than 8 bits; as
            `zoo.pictures.read_picture` chooses it, when None.
    """

    fit: Fit = "cover"
    shorter_side: int | None = None
    value_range: ValueRange | None = None

    def size_for(self, port: Port, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that a picture of these is brought to."""
        if self.shorter_side is not None:
            scale = self.shorter_side / min(height, width)
            height, width = max(1, round(height * scale)), max(1, round(width * scale))
        fixed_height, fixed_width = port.image_size
        return (
            fixed_height if isinstance(fixed_height, int) else height,
            fixed_width if isinstance(fixed_width, int) else width,
        )

    def apply(self, picture: Image.Image, port: Port) -> Pixels:
        """Return a picture as pixels (H, W, C) of the size and the colours that a port takes."""
        height, width = self.size_for(port, picture.height, picture.width)
        return fit(picture, height, width, 1 if port.channels == 1 else 3, self.fit)


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


@dataclass(frozen=True)
class Feed:
    """The inputs for all rows.

    Args:
        count: rows.
        arrays: inputs that are in memory, by port name, `count` rows each.
        pictures: inputs that are read when their turn comes, `count` of them, or none.
        port: the port that the pictures go to.
        sizing: how these are brought to the size that the port takes.
        classes: what files of each class are called, as many rows for each; or none.
        labels: what to write beside the rows of each class in a grid; or none.
        sources: every file that is read.
        notes: choices made for the user, to be logged.
    """

    count: int
    arrays: Mapping[str, NDArray[Any]]
    pictures: tuple[Picture, ...] = ()
    port: Port | None = None
    sizing: Sizing = field(default_factory=Sizing)
    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    notes: tuple[str, ...] = ()

    def name(self, row: int) -> str:
        """The file name of the result of a row, without a suffix: ``photo``, ``07``, ``boot-3``."""
        if self.pictures:
            return self.pictures[row].name
        if not self.classes:
            return f"{row + 1:0{len(str(self.count))}}"
        each = self.count // len(self.classes)
        return f"{self.classes[row // each]}-{row % each + 1:0{len(str(each))}}"


def prepare_feed(
    session: Session,
    given: Sequence[Source],
    *,
    count: int | None = None,
    seed: int = 0,
    classes: str | None = None,
    leave_out: Path | None = None,
) -> Feed:
    """Find an input for every port: the given files first, then draws from the priors.

    Args:
        session: the graph.
        given: pictures, folders of pictures, arrays.
        count: rows to draw where nothing is given; of several classes, for each.
        seed: of the draws; the same seed and count draw the same rows.
        classes: of the label that is drawn, as `zoo.draws.read_classes` takes them.
        leave_out: a folder whose pictures are not read, because results go there.

    Returns:
        All rows; pictures are brought to size as in the training.

    Raises:
        UsageError: too much, too little or the wrong thing is given; says what the graph takes.
        NotFoundError: what is given is damaged or empty.
    """
    inputs = session.description.signature.inputs
    files = [source for source in given if source.holds_arrays]
    arrays, notes = _read_inputs(files, inputs)
    places = [source for source in given if not source.holds_arrays]
    port = _port_for_pictures(session, places, arrays) if places else None
    pictures = find_pictures(places, leave_out)
    data = session.description.identity.data
    rows = {len(array) for array in arrays.values()} | ({len(pictures)} if pictures else set())
    if len(rows) > 1:
        raise UsageError(f"the inputs have different numbers of rows: {sorted(rows)}")
    if rows and count is not None:
        raise UsageError("-n counts what is drawn, but inputs are given", hint="leave -n out")
    ports = [each for each in inputs if each.name not in arrays and each is not port]
    given_rows = rows.pop() if rows else None
    drawn = _draw_rows(session, ports, rows=given_rows, count=count, seed=seed, classes=classes)
    return replace(
        drawn,
        arrays=arrays | dict(drawn.arrays),
        pictures=pictures,
        port=port,
        sizing=Sizing(data.fit, None, data.value_range),
        sources=(*files, *(picture.source for picture in pictures)),
        notes=notes,
    )


def with_sizing(session: Session, feed: Feed, fit: Fit | None, size: int | None) -> Feed:
    """Return the same rows with pictures that are brought to size as the user says.

    Args:
        session: the graph.
        feed: all rows.
        fit: how, where the file fixes the size; as before, when not given.
        size: of the shorter side, in pixels, where the file leaves the size open; the pictures'
            own, when not given.

    Raises:
        UsageError: one of these has nothing to decide.
    """
    is_open = feed.port is not None and has_dynamic_size(feed.port)
    if size is not None and not is_open:
        raise UsageError(
            "--size is for pictures whose size the file leaves open",
            cause=session.description.takes,
            hint="the same command without --size",
        )
    if fit is not None and (feed.port is None or is_open):
        raise UsageError(
            "--fit is for pictures whose size the file fixes",
            cause=session.description.takes,
            hint="the same command without --fit",
        )
    return replace(feed, sizing=replace(feed.sizing, fit=fit or feed.sizing.fit, shorter_side=size))


def _draw_rows(
    session: Session,
    ports: Sequence[Port],
    *,
    rows: int | None,
    count: int | None,
    seed: int,
    classes: str | None,
) -> Feed:
    """Draw rows for the ports that nothing was given for.

    Args:
        session: the graph.
        ports: those of its inputs that are to be drawn.
        rows: of what was given; None, where nothing was.
        count: rows that the user wants; None for 16, or for 8 of each of several classes.
        seed: of the draws.
        classes: of the label among the ports, as the user writes them; None draws them too.

    Raises:
        UsageError: a port has no prior, the classes do not fit, or it is too much at once.
    """
    for port in ports:
        if port.prior is None:
            wanted = "a picture or a folder" if is_pictorial(port) else "an .npy or .npz file"
            example = "photo.png folder/ -o out/" if is_pictorial(port) else "codes.npz"
            raise UsageError(
                f"{session.description.graph} needs {describe_port(port)}: give {wanted}",
                hint=f"zoo run {session.path} {example}",
            )
    chosen = None if classes is None else read_classes(classes, ports)
    several = chosen is not None and len(chosen) > 1
    if rows is not None and several:
        raise UsageError(
            "--class: inputs are given, and each goes with one class", hint="--class with one class"
        )
    each = rows or count or (DEFAULT_COLUMNS if several else DEFAULT_COUNT)
    total = each * len(chosen or [None])
    if total * sum(map(numbers_in_a_row, ports)) > MAX_DRAWN:
        raise UsageError(f"{total:,} rows are too many to draw at once", hint="a smaller -n")
    try:
        arrays = draw(ports, each, seed, chosen)
    except ValueError as problem:
        raise UsageError(f"{session.path}: {problem}") from None
    if chosen is None:
        return Feed(total, arrays)
    names, labels = _class_names(chosen, ports), class_labels(chosen, ports)
    return Feed(total, arrays, classes=names, labels=labels)


def _class_names(classes: Sequence[int], ports: Sequence[Port]) -> tuple[str, ...]:
    """Return a file name for each class; no two are alike, and none is a path."""
    words: dict[str, str] = {}
    for number in classes:
        word = safe_file_name(class_name(number, ports)) or f"class-{number}"
        if word.casefold() in words:
            word = unique_name(f"{word}-{number}", words)
        words[word.casefold()] = word
    return tuple(words.values())


def _read_inputs(files: Sequence[Source], ports: Sequence[Port]) -> tuple[Arrays, tuple[str, ...]]:
    """Return inputs from files of arrays, and a note for each that was not matched by name."""
    arrays: Arrays = {}
    notes = []
    for path in files:
        stored = read_arrays(path)
        free = {port.name: port for port in ports if port.name not in arrays}
        for port, name in match_arrays(path, stored, list(free.values())).items():
            arrays[port] = to_port_dtype(path, free[port], stored[name])
            if name not in {"", port}:
                notes.append(f"{port} is {name[:40]!r} of {path}")
    return arrays, tuple(notes)


def _port_for_pictures(session: Session, places: Sequence[Source], arrays: Arrays) -> Port:
    free = [port for port in session.description.signature.inputs if port.name not in arrays]
    for port in free:
        if is_pictorial(port):
            return port
    drawable = all(port.prior for port in free)
    raise UsageError(
        f"{places[0]}: {session.description.graph} takes no pictures",
        cause=session.description.takes,
        hint=f"zoo run {session.path} " + ("-n 16 -o grid.png" if drawable else "codes.npz"),
    )


@dataclass(frozen=True)
class OriginalPicture:
    """A picture as it was before it was brought to the size and the colours of a port."""

    height: int
    width: int
    in_colour: bool


@dataclass(frozen=True)
class Result:
    """The outputs of one batch.

    Args:
        names: of the rows.
        outputs: by port name, a row each.
        originals: the pictures that went in, where some did.
    """

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
        batch_size: rows of a batch, at most; when not given, as many as the file fixes, or as
            many of its size as seem right.

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

    for part in _picture_batches(session, feed, feed.port, skip, batch_size):
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
    reason = problem.message if not problem.cause else f"{problem.message}, {problem.cause}"
    problem.message = f"{pictures[0].source}: {problem.message}"
    if any(picture.named for picture in pictures) or not has_dynamic_size(feed.port):
        raise problem
    for picture in pictures:
        on_skip(BadPictureError(str(picture.source), cause=reason))


@dataclass(frozen=True)
class _Row:
    row: int
    pixels: Pixels
    original: OriginalPicture


def _picture_batches(
    session: Session, feed: Feed, port: Port, on_skip: OnSkip, batch_size: int | None
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
            on_skip(problem)
            continue
        pixels = feed.sizing.apply(image, port)
        most = batch_size or _rows_at_once(session, pixels.size)
        if part and (part[0].pixels.shape != pixels.shape or len(part) >= most):
            yield part
            part = []
        part.append(
            _Row(row, pixels, OriginalPicture(image.height, image.width, image.mode == "RGB"))
        )
    if part:
        yield part


def _rows_at_once(session: Session, numbers: int) -> int:
    """Return the rows of a batch when one row of the inputs holds at least `numbers` numbers."""
    if session.rows is not None:
        return session.rows
    signature = session.description.signature
    widest = max(map(numbers_in_a_row, (*signature.inputs, *signature.outputs)))
    return max(1, min(MAX_ROWS, MAX_NUMBERS // max(widest, numbers)))
