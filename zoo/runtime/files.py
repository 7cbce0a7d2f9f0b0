"""The files that the user names: pictures, folders, patterns, arrays, standard input."""

from __future__ import annotations

import glob
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.atomic import replacing
from zoo.errors import NotFoundError, UsageError
from zoo.pictures import ValueRange, peek, read_picture, suffixes
from zoo.ports import Port, describe_port

LONGEST_WORD = 40  # characters; of some scripts, each takes four of a file system's 255 bytes
PIPE = "-"  # how standard input and output are named on the command line
MAX_PIPED = 2**30  # bytes from standard input
ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
NPY_BEGINNING = b"\x93NUMPY"
NPZ_BEGINNING = b"PK"  # no picture begins so

MAX_BYTES = 2**30  # of all arrays of a file, unpacked
MAX_ARRAYS = 64
Stored = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """A file or folder; or what came through standard input, whose content is in memory."""

    path: Path
    content: bytes | None = None

    def __str__(self) -> str:
        return str(self.path) if self.content is None else "standard input"

    def open(self) -> BinaryIO:
        """Open the file for reading."""
        return self.path.open("rb") if self.content is None else BytesIO(self.content)

    def read_picture(self, value_range: ValueRange | None = None) -> Image.Image:
        """Read the file as a picture, as `zoo.pictures.read_picture` does."""
        if self.content is None:
            return read_picture(self.path, value_range=value_range)
        return read_picture(self.open(), str(self), value_range)

    def picture_size(self) -> tuple[int, int]:
        """Return height and width of the picture in the file, as `zoo.pictures.peek` does."""
        return peek(self.path if self.content is None else self.open(), str(self))[:2]

    @property
    def holds_arrays(self) -> bool:
        """Whether it promises arrays: by its name, or by its first bytes where it has none."""
        if self.content is None:
            return self.path.suffix.lower() in ARRAY_SUFFIXES
        return self.content.startswith((NPY_BEGINNING, NPZ_BEGINNING))


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture to read.

    Args:
        source: where it is.
        name: what is made of it is called, below the output folder and without a suffix; unlike
            all others, whatever the file system thinks of capitals.
        named: whether the user named this file, not a folder that holds it.
    """

    source: Source
    name: str
    named: bool


def find_sources(
    words: Sequence[str], piped: BinaryIO | None, leave_out: Path | None = None
) -> list[Source]:
    """Return what the words of a command line name, in their order.

    A word is a path or, where nothing has that name, a pattern: ``photos/*.jpg``, ``**/*.png``.
    What fits a pattern comes in order of name, hidden files and folders without pictures passed
    over, and the folder `leave_out` unless the pattern begins inside it. ``-`` is standard input.

    Raises:
        NotFoundError: there is no such file, nothing fits, or standard input is empty or endless.
        UsageError: standard input is named twice.
    """
    if words.count(PIPE) > 1:
        raise UsageError("standard input, -, can be read once only")
    found: list[Source] = []
    for word in words:
        if word == PIPE:
            found.append(Source(Path("stdin"), _read_pipe(piped)))
        elif Path(word).exists() or not glob.has_magic(word):
            found.append(Source(Path(word)))
        else:
            found += [Source(path) for path in _fitting(word, leave_out)]
    for source in found:
        if source.content is None and not source.path.exists():
            raise NotFoundError(f"{source} not found", code="file-not-found")
    return found


def find_pictures(sources: Sequence[Source], leave_out: Path | None = None) -> tuple[Picture, ...]:
    """Return the pictures in the order of `sources`, folders with all below them in order of name.

    A file keeps its name, a file in a folder also the path from there. Where two would share a
    name, the later one has a number added: ``photo``, ``photo-2``. Hidden files, linked
    folders and the folder `leave_out` inside another one are passed over.

    Raises:
        NotFoundError: a folder holds no picture.
    """
    found = []
    passed_over = leave_out.resolve() if leave_out else None
    taken: set[str] = set()
    for source in sources:
        folder = source.path if source.content is None and source.path.is_dir() else None
        for path in _below(folder, passed_over) if folder else [source.path]:
            inner = path.relative_to(folder) if folder else Path(path.name)
            name = unique_name(inner.with_suffix("").as_posix(), taken)
            taken.add(name.casefold())
            found.append(Picture(Source(path) if folder else source, name, named=not folder))
    return tuple(found)


def safe_file_name(text: str) -> str:
    """Turn any text into a safe file name, which may be empty.

    Letters and digits of any script, ``-`` and ``_``; neither paths nor hidden files come of it.
    """
    letters = "".join(char if char.isalnum() or char == "_" else " " for char in text)
    return "-".join(letters.split())[:LONGEST_WORD].strip("-")


def _below(folder: Path, passed_over: Path | None) -> list[Path]:
    paths = sorted(_pictures_in(folder, passed_over))
    if not paths:
        raise NotFoundError(
            f"{folder} holds no pictures", cause="looked for .png, .jpg and the like below it"
        )
    return paths


def _pictures_in(folder: Path, passed_over: Path | None) -> Iterator[Path]:
    # what other files are is not asked: notes and thumbnail databases lie in folders too
    kinds = suffixes()
    return (path for path in _walk(folder, passed_over) if path.suffix.lower() in kinds)


def _read_pipe(piped: BinaryIO | None) -> bytes:
    content = b"" if piped is None else piped.read(MAX_PIPED + 1)
    if not content:
        raise NotFoundError("standard input is empty", hint="cat photo.png | zoo run FILE -")
    if len(content) > MAX_PIPED:
        raise NotFoundError(f"standard input holds more than {MAX_PIPED:,} bytes")
    return content


def _fitting(pattern: str, leave_out: Path | None) -> list[Path]:
    found = glob.iglob(pattern, recursive=True)  # noqa: PTH207 - which finds hidden files too
    paths = [Path(path) for path in found]
    if not paths:
        raise NotFoundError(f"nothing is called {pattern}, nor fits it as a pattern")
    passed_over = leave_out.resolve() if leave_out and leave_out.is_dir() else None
    if passed_over and _lies_in(_fixed_part(pattern), passed_over):
        passed_over = None  # the inputs lie where results go
    if passed_over:
        paths = [path for path in paths if not _lies_in(path, passed_over)]
    paths = [path for path in paths if not path.is_dir() or any(_pictures_in(path, passed_over))]
    if not paths:
        raise NotFoundError(
            f"{pattern} finds no pictures",
            cause="folders that hold none are passed over, and the folder for the results",
        )
    return sorted(paths)


def _fixed_part(pattern: str) -> Path:
    """Return the folder that a pattern begins in: ``photos`` of ``photos/*/a.png``."""
    return Path(*takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))


def _lies_in(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder)


def _walk(folder: Path, passed_over: Path | None) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(parent, name).resolve() != passed_over
        ]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def unique_name(name: str, taken: Collection[str]) -> str:
    """Return the name, with a number added where its small letters are taken: ``photo-2``."""
    candidate, number = name, 1
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _refuse(problem: OSError) -> NoReturn:
    raise problem


def read_arrays(path: Path | Source) -> Stored:
    """Return the arrays of a file by name, in the file's order; the one of an ``.npy`` has none.

    Raises:
        NotFoundError: the file is damaged, too large, or holds Python objects.
    """
    try:
        with path.open("rb") if isinstance(path, Path) else path.open() as file:
            size, _ = file.seek(0, os.SEEK_END), file.seek(0)
            if file.read(len(NPY_BEGINNING)) == NPY_BEGINNING:
                file.seek(0)
                _limit(size)
                return {"": _read(file)}
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _limit(sum(member.file_size for member in members), len(members))
                return {
                    member.filename.removesuffix(".npy"): _read(archive.open(member))
                    for member in members
                }
    except Exception as problem:  # decoders raise anything at all on damaged bytes
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise NotFoundError(f"cannot read arrays from {path}", cause=reason) from None


def write_arrays(
    path: Path | BinaryIO, arrays: Mapping[str, NDArray[Any]], *, compressed: bool = False
) -> None:
    """Write an ``.npz`` file in one piece; or to a stream, which may be a pipe."""
    if isinstance(path, Path):
        with replacing(path) as temporary, temporary.open("wb") as file:
            write_arrays(file, arrays, compressed=compressed)
        return
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def match_arrays(path: Source, stored: Stored, ports: Sequence[Port]) -> dict[str, str]:
    """Choose arrays for ports: those of their names or, where no name agrees, the first that fits.

    Returns:
        Names of arrays by name of port.

    Raises:
        UsageError: nothing fits; says what is there and what is wanted.
    """
    pairs = [(port, port.name) for port in ports if port.name in stored]
    if not pairs:
        every = ((port, name) for port in ports for name in stored)
        pairs = [(port, name) for port, name in every if _fits(port, stored[name])][:1]
    if not pairs or not all(_fits(port, stored[name]) for port, name in pairs):
        there = ", ".join(
            f"{f'{name[:40]!r} ' if name else ''}{array.dtype} {array.shape}"
            for name, array in stored.items()
        )[:300]
        wanted = "; ".join(map(describe_port, ports)) or "no more inputs"
        raise UsageError(
            f"{path} does not fit the graph, which takes {wanted}",
            cause=f"it holds {there or 'no arrays'}",
        )
    return {port.name: name for port, name in pairs}


def to_port_dtype(path: Source, port: Port, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array that fits a port in the port's dtype.

    Raises:
        UsageError: there are no rows, a label is no class of the port's, or whole numbers are
            given for an image that are no pixels of it.
        NotFoundError: there are values that are not finite.
    """
    if len(array) == 0:
        raise UsageError(f"{path} holds no rows for {port.name}")
    with np.errstate(over="ignore"):  # shows as infinite, below
        converted = array.astype(port.dtype)
    if not np.isfinite(converted).all():
        raise NotFoundError(f"{path} holds values for {port.name} that are not numbers")
    is_bounded = port.kind == "label" or (port.kind == "image" and array.dtype.kind in "iu")
    if is_bounded and port.range is not None:
        low, high = port.range
        if array.min() < low or array.max() > high:
            raise UsageError(
                f"{path} holds {port.kind}s outside of [{low:g}, {high:g}]",
                cause=f"its values are from {array.min():g} to {array.max():g}",
            )
    return converted


def _fits(port: Port, array: NDArray[Any]) -> bool:
    kinds = "fiu" if port.dtype == "float32" else "iu"
    return (
        array.dtype.kind in kinds
        and array.ndim == len(port.shape)
        and all(
            ours == theirs
            for ours, theirs in zip(port.shape[1:], array.shape[1:], strict=True)
            if isinstance(ours, int)
        )
    )


def _read(file: IO[bytes]) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _limit(size: int, members: int = 1) -> None:
    if size > MAX_BYTES or members > MAX_ARRAYS:
        raise ValueError(f"{members} arrays of {size:,} bytes; at most {MAX_ARRAYS}, {MAX_BYTES:,}")
