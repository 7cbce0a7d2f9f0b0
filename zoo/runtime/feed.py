"""What goes into a graph: pictures and arrays that the user names, and draws from the priors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from zoo.errors import UsageError
from zoo.ports import Fit, Port
from zoo.runtime.arrays import as_input, match_arrays, read_arrays
from zoo.runtime.description import has_open_sizes, is_pictorial
from zoo.runtime.files import Picture, Source, find_pictures
from zoo.runtime.noise import draw_rows
from zoo.runtime.pixels import Sizing
from zoo.runtime.session import Arrays, Session


@dataclass(frozen=True)
class Feed:
    """All rows that go in.

    Args:
        count: rows.
        arrays: inputs that are in memory, by port name, `count` rows each.
        pictures: inputs that are read when their turn comes, `count` of them, or none.
        port: the port that the pictures go to.
        sizing: how these are brought to the size that the port takes.
        classes: what files of each class are called, as many rows for each; or none.
        labels: what to write beside the rows of each class in a grid; or none.
        sources: every file that is read.
        notes: choices made for the user, to be told.
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
        """What is made of a row is called, without a suffix: ``photo``, ``07``, ``boot-3``."""
        if self.pictures:
            return self.pictures[row].name
        if not self.classes:
            return f"{row + 1:0{len(str(self.count))}}"
        each = self.count // len(self.classes)
        return f"{self.classes[row // each]}-{row % each + 1:0{len(str(each))}}"


def prepare(
    session: Session,
    given: Sequence[Source],
    *,
    count: int | None = None,
    seed: int = 0,
    classes: str | None = None,
    leave_out: Path | None = None,
) -> Feed:
    """Find an input for every port: what is given first, then draws from the priors.

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
    data = session.description.data
    sizing = Sizing(data.fit, None, data.value_range)
    rows = {len(array) for array in arrays.values()} | ({len(pictures)} if pictures else set())
    if len(rows) > 1:
        raise UsageError(f"the inputs have different numbers of rows: {sorted(rows)}")
    if rows and count is not None:
        raise UsageError("-n counts what is drawn, but inputs are given", hint="leave -n out")
    ports = [each for each in inputs if each.name not in arrays and each is not port]
    given_rows = rows.pop() if rows else None
    drawn = draw_rows(session, ports, rows=given_rows, count=count, seed=seed, classes=classes)
    sources = (*files, *(picture.source for picture in pictures))
    return Feed(
        drawn.count,
        arrays | drawn.arrays,
        pictures,
        port,
        sizing,
        drawn.classes,
        drawn.labels,
        sources,
        notes,
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
    is_open = feed.port is not None and has_open_sizes(feed.port)
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


def _read_inputs(files: Sequence[Source], ports: Sequence[Port]) -> tuple[Arrays, tuple[str, ...]]:
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
