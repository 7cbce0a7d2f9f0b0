"""What goes into a graph: pictures and arrays that the user names, and draws from the priors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import NotFoundError, UsageError
from zoo.pictures import BadPictureError, Pixels, fit, read_picture, to_values
from zoo.ports import Port
from zoo.runtime.arrays import ARRAY_SUFFIXES, as_input, match_arrays, read_arrays
from zoo.runtime.description import has_open_sizes, is_pictorial, numbers_in_a_row
from zoo.runtime.files import Picture, find_pictures
from zoo.runtime.noise import draw_rows
from zoo.runtime.session import Arrays, RunError, Session

MOST_ROWS = 64  # of a batch
MOST_NUMBERS = 2**20  # in the widest port of a batch; layers inside the graph hold many times that

Report = Callable[[BadPictureError], None]


@dataclass(frozen=True)
class Feed:
    """All rows that go in.

    Args:
        count: rows.
        arrays: inputs that are in memory, by port name, `count` rows each.
        pictures: inputs that are read when their turn comes, `count` of them, or none.
        port: the port that the pictures go to.
        classes: what the rows of each class are called, as many rows for each; or none.
        sources: every file that is read.
        notes: choices made for the user, to be told.
    """

    count: int
    arrays: Mapping[str, NDArray[Any]]
    pictures: tuple[Picture, ...] = ()
    port: Port | None = None
    classes: tuple[str, ...] = ()
    sources: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    def name(self, row: int) -> str:
        """What is made of a row is called, without a suffix: ``photo``, ``07``, ``boot-3``."""
        if self.pictures:
            return self.pictures[row].name
        if not self.classes:
            return f"{row + 1:0{len(str(self.count))}}"
        each = self.count // len(self.classes)
        return f"{self.classes[row // each]}-{row % each + 1:0{len(str(each))}}"


@dataclass(frozen=True)
class Result:
    """What came out of one batch: a name a row, and the outputs by port name."""

    names: tuple[str, ...]
    outputs: Arrays


def prepare(
    session: Session,
    given: Sequence[Path],
    *,
    count: int | None = None,
    seed: int = 0,
    classes: str | None = None,
    leave_out: Path | None = None,
) -> Feed:
    """Find an input for every port: what is given first, then draws from the priors.

    Args:
        session: the graph.
        given: pictures, folders of pictures, ``.npy`` and ``.npz`` files.
        count: rows to draw where nothing is given; of several classes, for each.
        seed: of the draws; the same seed and count draw the same rows.
        classes: of the label that is drawn, as `zoo.draws.read_classes` takes them.
        leave_out: a folder whose pictures are not read, because results go there.

    Raises:
        UsageError: too much, too little or the wrong thing is given; says what the graph takes.
        NotFoundError: what is given is missing, damaged or empty.
    """
    inputs = session.description.signature.inputs
    missing = [path for path in given if not path.exists()]
    if missing:
        raise NotFoundError(f"{missing[0]} not found")
    files = [path for path in given if path.suffix.lower() in ARRAY_SUFFIXES]
    arrays, notes = _read_inputs(files, inputs)
    places = [path for path in given if path not in files]
    port = _port_for_pictures(session, places, arrays) if places else None
    pictures = find_pictures(places, leave_out)
    rows = {len(array) for array in arrays.values()} | ({len(pictures)} if pictures else set())
    if len(rows) > 1:
        raise UsageError(f"the inputs have different numbers of rows: {sorted(rows)}")
    if rows and count is not None:
        raise UsageError("-n counts what is drawn, but inputs are given", hint="leave -n out")
    ports = [each for each in inputs if each.name not in arrays and each is not port]
    given_rows = rows.pop() if rows else None
    drawn = draw_rows(session, ports, rows=given_rows, count=count, seed=seed, classes=classes)
    sources = (*files, *(picture.path for picture in pictures))
    return Feed(drawn.count, arrays | drawn.arrays, pictures, port, drawn.classes, sources, notes)


def batches(session: Session, feed: Feed, report: Report) -> Iterator[Result]:
    """Run the graph on all rows, batch by batch.

    A picture that the user named and that cannot be read is an error; one that was found in a
    folder is reported and left out. So are those that a graph for all sizes fails on.

    Raises:
        BadPictureError: a named picture cannot be read, or no picture can.
        RunError: the graph fails.
    """
    if feed.port is None:
        size = _rows_at_once(session, 1)
        for start in range(0, feed.count, size):
            rows = range(start, min(start + size, feed.count))
            inputs = {name: array[start : rows.stop] for name, array in feed.arrays.items()}
            yield Result(tuple(map(feed.name, rows)), session.run(inputs))
        return
    done, failed = 0, None
    for part in _picture_batches(session, feed, feed.port, report):
        rows_in_part = [row for row, _ in part]
        inputs = {name: array[rows_in_part] for name, array in feed.arrays.items()}
        pixels = np.stack([each for _, each in part])
        low, high = feed.port.range or (-1.0, 1.0)
        inputs[feed.port.name] = to_values(pixels, low, high).astype(feed.port.dtype, copy=False)
        try:
            outputs = session.run(inputs)
        except RunError as problem:
            failed = problem
            _leave_out(feed, rows_in_part, problem, report)
            continue
        done += len(part)
        yield Result(tuple(map(feed.name, rows_in_part)), outputs)
    if done == 0:
        if failed:
            raise failed
        raise BadPictureError(f"none of the {feed.count} pictures could be read")


def _leave_out(feed: Feed, rows: Sequence[int], problem: RunError, report: Report) -> None:
    """Report pictures of a size that the graph fails on, or raise where nobody may miss them."""
    assert feed.port is not None
    pictures = [feed.pictures[row] for row in rows]
    told = problem.message if not problem.cause else f"{problem.message}, {problem.cause}"
    problem.message = f"{pictures[0].path}: {problem.message}"
    if any(picture.named for picture in pictures) or not has_open_sizes(feed.port):
        raise problem
    for picture in pictures:
        report(BadPictureError(str(picture.path), cause=told))


def _picture_batches(
    session: Session, feed: Feed, port: Port, report: Report
) -> Iterator[list[tuple[int, Pixels]]]:
    """Yield pictures of one size with their row numbers, as many at once as memory allows."""
    part: list[tuple[int, Pixels]] = []
    for row, picture in enumerate(feed.pictures):
        try:
            pixels = _read(picture.path, port)
        except BadPictureError as problem:
            if picture.named:
                problem.hint = session.description.takes
                raise
            report(problem)
            continue
        if part and (
            part[0][1].shape != pixels.shape or len(part) >= _rows_at_once(session, pixels.size)
        ):
            yield part
            part = []
        part.append((row, pixels))
    if part:
        yield part


def _read(path: Path, port: Port) -> Pixels:
    """Read a picture at the port's size, or at its own where the port leaves that open."""
    picture = read_picture(path)
    channels, height, width = port.shape[1:]
    return fit(
        picture,
        height if isinstance(height, int) else picture.height,
        width if isinstance(width, int) else picture.width,
        1 if channels == 1 else 3,
    )


def _rows_at_once(session: Session, numbers: int) -> int:
    """Return the rows of a batch when one row of the inputs holds at least `numbers` numbers."""
    signature = session.description.signature
    if any(port.shape[0] == 1 for port in signature.inputs):
        return 1
    widest = max(map(numbers_in_a_row, (*signature.inputs, *signature.outputs)))
    return max(1, min(MOST_ROWS, MOST_NUMBERS // max(widest, numbers)))


def _read_inputs(files: Sequence[Path], ports: Sequence[Port]) -> tuple[Arrays, tuple[str, ...]]:
    """Return inputs from files of arrays, and a note for each that was not matched by name."""
    arrays: Arrays = {}
    notes = []
    for path in files:
        stored = read_arrays(path)
        free = {port.name: port for port in ports if port.name not in arrays}
        for port, name in match_arrays(path, stored, list(free.values())).items():
            arrays[port] = as_input(path, free[port], stored[name])
            if name not in {"", port}:
                notes.append(f"{port} is {name[:40]!r} of {path}")
    return arrays, tuple(notes)


def _port_for_pictures(session: Session, places: Sequence[Path], arrays: Arrays) -> Port:
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
