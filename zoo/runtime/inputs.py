"""The inputs of a graph: what the user names (pictures, folders, arrays), or draws from priors."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.atomic import SPECIAL, is_special
from zoo.draws import class_labels, class_name, draw, read_classes
from zoo.errors import NotFoundError, UsageError
from zoo.modalities import modality_of
from zoo.pictures import Pixels, ValueRange, fit, peek, read_picture, suffixes
from zoo.ports import Fit, Port, describe_port, has_dynamic_size, is_pictorial, numbers_in_a_row
from zoo.runtime.array_files import NPY_BEGINNING, SUFFIXES, read_inputs
from zoo.runtime.session import Session

PIPE = "-"  # how standard input and output are named on the command line
MAX_PIPED = 2**30  # bytes from standard input
NPZ_BEGINNING = b"PK"  # no picture begins so
LONGEST_WORD = 40  # characters; of some scripts, each takes four of a file system's 255 bytes
MAX_DRAWN = 2**27  # numbers that are drawn at once, half a gigabyte
DEFAULT_COUNT = 16
DEFAULT_COLUMNS = 8  # of each class, where there are several


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file or folder; or what came through standard input, whose content is in memory."""

    path: Path
    content: bytes | None = None

    def __str__(self) -> str:
        return str(self.path) if self.content is None else "standard input"

    def open(self, mode: Literal["rb"] = "rb") -> BinaryIO:
        """Open the file for reading."""
        return self.path.open(mode) if self.content is None else BytesIO(self.content)

    def read_picture(self, value_range: ValueRange | None = None) -> Image.Image:
        """Read the file as a picture, as `zoo.pictures.read_picture` does."""
        file = self.path if self.content is None else self.open()
        return read_picture(file, str(self), value_range)

    def picture_size(self) -> tuple[int, int]:
        """Return height and width of the picture in the file, as `zoo.pictures.peek` does."""
        return peek(self.path if self.content is None else self.open(), str(self))[:2]

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.content is None and self.path.is_dir()

    @property
    def holds_arrays(self) -> bool:
        """Whether it promises arrays: by its name, or by its first bytes where it has none."""
        if self.content is None:
            return self.path.suffix.lower() in SUFFIXES
        return self.content.startswith((NPY_BEGINNING, NPZ_BEGINNING))


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture to read.

    `name` is what the result is called, below the output folder and without a suffix; unlike all
    others, whatever the file system thinks of capitals.
    """

    file: InputFile
    name: str
    named: bool  # whether the user named this file, not a folder that holds it


@dataclass(frozen=True)
class Feed:
    """The inputs for all rows."""

    count: int  # rows
    arrays: Mapping[str, NDArray[Any]]  # by port name, `count` rows each
    pictures: tuple[Picture, ...] = ()  # read when their turn comes; `count` of them, or none
    port: Port | None = None  # that the pictures go to
    fit: Fit = "cover"  # how pictures are brought to the size, where the port fixes it
    shorter_side: int | None = None  # in pixels, where it leaves it open; None: the picture's own
    value_range: ValueRange | None = None  # as `zoo.pictures.read_picture` takes it
    classes: tuple[str, ...] = ()  # what files of each are called, as many rows for each; or none
    labels: tuple[str, ...] = ()  # to write beside the rows of each class in a grid; or none
    files: tuple[InputFile, ...] = ()  # every one that is read
    notes: tuple[str, ...] = ()  # choices made for the user, to be logged
    given: frozenset[str] = frozenset()  # names of the ports that nothing was drawn for

    def draw_of(self, row: int) -> int:
        """The number of a row's draws: rows of several classes share those of the first class."""
        return row % (self.count // len(self.classes)) if self.classes else row

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that a picture of these is brought to."""
        assert self.port is not None
        if self.shorter_side is not None:
            scale = self.shorter_side / min(height, width)
            height, width = max(1, round(height * scale)), max(1, round(width * scale))
        fixed_height, fixed_width = self.port.image_size
        return (
            fixed_height if isinstance(fixed_height, int) else height,
            fixed_width if isinstance(fixed_width, int) else width,
        )

    def to_size(self, picture: Image.Image) -> Pixels:
        """Return a picture as pixels (H, W, C) of the size and the colours that the port takes."""
        assert self.port is not None
        height, width = self.size_for(picture.height, picture.width)
        return fit(picture, height, width, 1 if self.port.channels == 1 else 3, self.fit)

    def name(self, row: int) -> str:
        """The file name of the result of a row, without a suffix: ``photo``, ``07``, ``boot-3``."""
        if self.pictures:
            return self.pictures[row].name
        if not self.classes:
            return f"{row + 1:0{len(str(self.count))}}"
        each = self.count // len(self.classes)
        return f"{self.classes[row // each]}-{row % each + 1:0{len(str(each))}}"


def find_inputs(
    words: Sequence[str], piped: BinaryIO | None, leave_out: Path | None = None
) -> list[InputFile]:
    """Return what the words of a command line name, in their order.

    A word is a path or, where nothing has that name, a pattern: ``photos/*.jpg``, ``**/*.png``.
    What fits a pattern comes in order of name, hidden files and folders without pictures passed
    over, and the folder `leave_out` unless the pattern begins inside it. ``-`` is standard input.

    Raises:
        NotFoundError: there is no such file, nothing fits, a file is a pipe, a socket or a device,
            or standard input is empty or endless.
        UsageError: standard input is named twice.
    """
    if words.count(PIPE) > 1:
        raise UsageError("standard input, -, can be read once only", code="conflicting-options")
    found: list[InputFile] = []
    for word in words:
        if word == PIPE:
            found.append(InputFile(Path("stdin"), _read_pipe(piped)))
        elif Path(word).exists() or not glob.has_magic(word):
            found.append(InputFile(Path(word)))
        else:
            found += [InputFile(path) for path in _fitting(word, leave_out)]
    for file in found:
        if file.content is None and not file.path.exists():
            raise NotFoundError(f"{file} not found", code="file-not-found")
        if file.content is None and is_special(file.path):
            raise NotFoundError(
                f"cannot read {file}", cause=SPECIAL, hint=f"cat {file} | zoo run FILE {PIPE}",
                code="bad-input",
            )  # fmt: skip
    return found


def _read_pipe(piped: BinaryIO | None) -> bytes:
    content = b"" if piped is None else piped.read(MAX_PIPED + 1)
    if not content:
        raise NotFoundError(
            "standard input is empty", hint="cat photo.png | zoo run FILE -", code="bad-input"
        )
    if len(content) > MAX_PIPED:
        raise NotFoundError(f"standard input holds more than {MAX_PIPED:,} bytes", code="bad-input")
    return content


def _fitting(pattern: str, leave_out: Path | None) -> list[Path]:
    """Return the files and the folders with pictures that fit a pattern."""
    found = glob.iglob(pattern, recursive=True)  # noqa: PTH207 - which finds hidden files too
    paths = [Path(path) for path in found]
    if not paths:
        raise NotFoundError(
            f"nothing is called {pattern}, nor fits it as a pattern", code="file-not-found"
        )
    passed_over = leave_out.resolve() if leave_out and leave_out.is_dir() else None
    fixed_part = Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))
    if passed_over and fixed_part.resolve().is_relative_to(passed_over):
        passed_over = None  # the inputs lie where results go
    if passed_over:
        paths = [path for path in paths if not path.resolve().is_relative_to(passed_over)]
    paths = [path for path in paths if not path.is_dir() or any(_pictures_in(path, passed_over))]
    if not paths:
        raise NotFoundError(
            f"{pattern} finds no pictures",
            cause="folders that hold none are passed over, and the folder for the results",
            code="no-pictures",
        )
    return sorted(paths)


def find_pictures(files: Sequence[InputFile], leave_out: Path | None = None) -> tuple[Picture, ...]:
    """Return the pictures in the order of `files`, folders with all below them in order of name.

    A file keeps its name, a file in a folder also the path from there. Where two would share a
    name, the later one has a number added: ``photo``, ``photo-2``. Hidden files, linked
    folders and the folder `leave_out` inside another one are passed over.

    Raises:
        NotFoundError: a folder holds no picture.
    """
    found: list[Picture] = []
    passed_over = leave_out.resolve() if leave_out else None
    taken: set[str] = set()

    def add(file: InputFile, inner: Path, *, named: bool) -> None:
        name = unique_name(inner.with_suffix("").as_posix(), taken)
        taken.add(name.casefold())
        found.append(Picture(file, name, named))

    for file in files:
        if not file.is_folder:
            add(file, Path(file.path.name), named=True)
            continue
        paths = sorted(_pictures_in(file.path, passed_over))
        if not paths:
            raise NotFoundError(
                f"{file} holds no pictures",
                cause="looked for .png, .jpg and the like below it",
                code="no-pictures",
            )
        for path in paths:
            add(InputFile(path), path.relative_to(file.path), named=False)
    return tuple(found)


def _pictures_in(folder: Path, passed_over: Path | None) -> Iterator[Path]:
    """Yield the pictures below a folder, by their suffixes: notes lie in folders too."""

    def refuse(problem: OSError) -> NoReturn:
        raise problem

    kinds = suffixes()
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(parent, name).resolve() != passed_over
        ]
        paths = (Path(parent, name) for name in files if not name.startswith("."))
        yield from (path for path in paths if path.suffix.lower() in kinds)


def unique_name(name: str, taken: Collection[str]) -> str:
    """Return the name, with a number added where its small letters are taken: ``photo-2``."""
    candidate, number = name, 1
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def safe_file_name(text: str) -> str:
    """Turn any text into a safe file name, which may be empty.

    Letters and digits of any script, ``-`` and ``_``; neither paths nor hidden files come of it.
    """
    letters = "".join(char if char.isalnum() or char == "_" else " " for char in text)
    return "-".join(letters.split())[:LONGEST_WORD].strip("-")


def prepare_feed(
    session: Session,
    given: Sequence[InputFile],
    *,
    count: int | None = None,
    seed: int = 0,
    classes: str | None = None,
    leave_out: Path | None = None,
    values: Mapping[str, NDArray[Any]] = MappingProxyType({}),
) -> Feed:
    """Find an input for every port: given files and values first, then draws from the priors.

    Args:
        session: the graph.
        given: pictures, folders of pictures, arrays.
        count: rows to draw where nothing is given; of several classes, for each.
        seed: of the draws; the same seed and count draw the same rows.
        classes: of the label that is drawn, as `zoo.draws.read_classes` takes them.
        leave_out: a folder whose pictures are not read, because results go there.
        values: by port, one row for all, as `zoo.draws.read_values` returns them.

    Raises:
        UsageError: too much, too little or the wrong thing is given; says what the graph takes.
        NotFoundError: what is given is damaged or empty.
    """
    inputs = [port for port in session.description.signature.inputs if port.name not in values]
    files = [file for file in given if file.holds_arrays]
    arrays, notes = read_inputs(files, inputs)
    places = [file for file in given if not file.holds_arrays]
    free = [port for port in inputs if port.name not in arrays]
    port = _port_for_pictures(session, places, free) if places else None
    pictures = find_pictures(places, leave_out)
    data = session.description.identity.data
    rows = {len(array) for array in arrays.values()} | ({len(pictures)} if pictures else set())
    given_rows = _same_rows(rows, count)
    ports = [each for each in free if each is not port]
    drawn = _draw_rows(session, ports, rows=given_rows, count=count, seed=seed, classes=classes)
    arrays |= {name: np.repeat(row, drawn.count, axis=0) for name, row in values.items()}
    return replace(
        drawn,
        arrays=arrays | dict(drawn.arrays),
        pictures=pictures,
        port=port,
        fit=data.ports[0].fit,
        value_range=data.ports[0].value_range,
        files=(*files, *(picture.file for picture in pictures)),
        notes=notes,
        given=frozenset({*arrays, *([port.name] if port else [])}),
    )


def _same_rows(rows: set[int], count: int | None) -> int | None:
    """Return how many rows all that is given has; None where nothing is.

    Raises:
        UsageError: numbers of rows differ, or rows are given and others are asked for.
    """
    if len(rows) > 1:
        raise UsageError(
            f"the inputs have different numbers of rows: {sorted(rows)}", code="bad-input"
        )
    if rows and count is not None:
        raise UsageError(
            "-n counts what is drawn, but inputs are given",
            hint="leave -n out",
            code="conflicting-options",
        )
    return min(rows, default=None)


def _port_for_pictures(session: Session, places: Sequence[InputFile], free: Sequence[Port]) -> Port:
    """Return the first free input that takes pictures; `UsageError` if none does."""
    for port in free:
        if is_pictorial(port):
            return port
    drawable = all(port.is_drawn for port in free)
    raise UsageError(
        f"{places[0]}: {session.description.graph} takes no pictures",
        cause=session.description.takes,
        hint=f"zoo run {session.path} " + ("-n 16 -o grid.png" if drawable else "codes.npz"),
        code="does-not-apply",
    )


def _draw_rows(
    session: Session,
    ports: Sequence[Port],
    *,
    rows: int | None,
    count: int | None,
    seed: int,
    classes: str | None,
) -> Feed:
    """Draw the ports that nothing was given for: `rows` where others have as many, else `count`.

    Raises:
        UsageError: a port has no prior, the classes do not fit, or it is too much at once.
    """
    for port in ports:
        if not port.is_drawn:
            wanted = "a picture or a folder" if is_pictorial(port) else "a file of numbers"
            example = "photo.png folder/ -o out/" if is_pictorial(port) else "codes.npz"
            raise UsageError(
                f"{session.description.graph} needs {describe_port(port)}: give {wanted}",
                hint=f"zoo run {session.path} {example}",
                code="missing-input",
            )
    chosen = None if classes is None else read_classes(classes, ports)
    several = chosen is not None and len(chosen) > 1
    if rows is not None and several:
        raise UsageError(
            "--class: inputs are given, and each goes with one class",
            hint="--class with one class",
            code="conflicting-options",
        )
    usual = min(DEFAULT_COUNT, modality_of(session.description.signature.outputs[0]).samples)
    each = rows or count or (min(DEFAULT_COLUMNS, usual) if several else usual)
    total = each * len(chosen or [None])
    if total * sum(map(numbers_in_a_row, ports)) > MAX_DRAWN:
        raise UsageError(
            f"{total:,} rows are too many to draw at once", hint="a smaller -n", code="too-many"
        )
    try:
        arrays = draw(ports, each, seed, chosen)
    except ValueError as problem:
        raise UsageError(f"{session.path}: {problem}", code="bad-input") from None
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


def with_sizing(session: Session, feed: Feed, fit: Fit | None, size: int | None) -> Feed:
    """Return the same rows with pictures that are brought to size as the user says.

    `fit` is how, where the file fixes the size; as before, when None. `size` is that of the
    shorter side, in pixels, where the file leaves it open; the pictures' own, when None.

    Raises:
        UsageError: one of these has nothing to decide.
    """
    is_open = feed.port is not None and has_dynamic_size(feed.port)
    is_fixed = feed.port is not None and not is_open
    for option, given, applies, does in (
        ("--size", size, is_open, "leaves open"),
        ("--fit", fit, is_fixed, "fixes"),
    ):
        if given is not None and not applies:
            raise UsageError(
                f"{option} is for pictures whose size the file {does}",
                cause=session.description.takes,
                hint=f"the same command without {option}",
                code="does-not-apply",
            )
    return replace(feed, fit=fit or feed.fit, shorter_side=size)
