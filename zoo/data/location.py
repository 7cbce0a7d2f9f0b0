"""What the user wrote after ``--data`` -> one place, and what lies there before it is decoded."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, cast

import numpy as np

from zoo.catalog.dataset import LAYOUTS, Dataset, Layout
from zoo.catalog.lookup import dataset_called, find_dataset
from zoo.data.archives import unpack
from zoo.data.download import OnProgress, fetch, private_folder
from zoo.errors import NotFoundError, UsageError, ZooError, did_you_mean
from zoo.modalities import modalities
from zoo.modalities.base import Side
from zoo.ports import Port

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")  # of archives
WHOLE = {".npz", ".csv", ".tsv", ".jsonl"}  # of files that are a data set alone
JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
# Name below the root, NUL, and size, times of change and number of the file; nothing after the NUL
# for a broken link. One text a file, because a hundred thousand of them are listed at every start.
FoundFile = str


@dataclass(frozen=True)
class DataLocation:
    """A data set that is here."""

    name: str  # what the data set is called: its row in the catalogue, its folder or its archive
    path: Path  # a folder, an archive or an .npz file
    layout: Layout | None = None  # how its files lie, or None where that is yet to be recognised
    dataset: Dataset | None = None  # its row in the catalogue, if it has one
    # whether two sets of images are wanted, which two folders of pictures are as well
    two_domains: bool = False

    @property
    def reference(self) -> str:
        """What finds the data set again from anywhere: its name, or its absolute path."""
        if self.dataset:
            usual = self.layout == self.dataset.layout
            return self.name if usual else f"{self.name}:{self.layout}"
        path = as_text(self.path.absolute())
        return f"{path}:{self.layout}" if self.layout else path

    @property
    def pairs(self) -> tuple[str, ...]:
        """Splits whose two sides hold pairs of one name."""
        return self.dataset.pairs if self.dataset else ()

    @contextmanager
    def opened(self) -> Iterator[tuple[Path, tuple[str, ...]]]:
        """Open the data set; archives are unpacked as long as it lasts.

        Errors that are raised inside call the files as the user knows them, by the archive.

        Yields:
            The folder, or .npz file, of the data, and sentences on how archives were read.

        Raises:
            NotFoundError: an archive is damaged.
            ZooError: the cache cannot be written to.
        """
        archives = [path for path in self._files() if is_archive(path) and path.is_file()]
        if not archives:
            yield self.path, ()
            return
        with private_folder() as folder:
            notes = [unpack(archive, folder) for archive in archives]
            try:
                yield folder, tuple(filter(None, notes))
            except ZooError as problem:
                where = as_text(self.path)
                problem.hint = problem.hint.replace(
                    f"an archive itself: {folder}/", f"unpack {where}, and give its "
                )
                for part in ("message", "cause", "hint"):
                    text = getattr(problem, part)
                    setattr(problem, part, text.replace(str(folder), where))
                raise

    def _files(self) -> list[Path]:
        """Return the files that may have to be unpacked."""
        if self.dataset is None:
            return [self.path]
        if self.dataset.embedded:
            return sorted(self.path.iterdir())
        return [self.path / file.name for file in self.dataset.files]

    def shown(self, path: Path, root: Path) -> str:
        """Return a path under the opened `root` as the user knows it: in an archive, its name."""
        known = path if root == self.path else path.relative_to(root)
        return as_text(known)


def locate_data(text: str, *, report: OnProgress | None = None) -> DataLocation:
    """Return the data set that ``NAME``, ``PATH`` or ``PATH:LAYOUT`` means.

    A word that the catalogue knows is the catalogue's; ``./word`` is the folder of that name.

    Raises:
        NotFoundError: there is no such thing, or it cannot be downloaded.
        UsageError: the layout is none of the known ones, or the file is no data set.
    """
    found, layout = _look_up(text)
    if isinstance(found, Dataset):
        return DataLocation(found.name, fetch(found, report=report), layout or found.layout, found)
    name = found.resolve().name
    if found.is_file():
        name = re.sub(r"(\.tar)?\.\w+$", "", name)
    return DataLocation(presentable(name) or "data", found, layout)


def check_data_is_there(text: str) -> None:
    """Check that there is such a data set, without fetching it.

    Raises:
        NotFoundError: there is no such thing.
        UsageError: the layout is none of the known ones, or the file is no data set.
    """
    _look_up(text)


def _look_up(text: str) -> tuple[Dataset | Path, Layout | None]:
    if not text:
        raise UsageError("the data set has no name", hint="zoo data list", code="bad-value")
    place, layout = _split_layout(text)
    dataset = dataset_called(place)
    if dataset:
        return dataset, layout
    path = _expand(place)
    if not path.exists():
        raise _nothing_there(text, place)
    whole = sorted(WHOLE | {end for each in modalities().values() if each.layout
                            for end in each.suffixes()})  # fmt: skip
    if path.is_file() and not (is_archive(path) or path.suffix.lower() in whole):
        raise UsageError(
            f"{place} is no data set",
            cause=f"a folder, or a file that ends in {', '.join([*SUFFIXES, *whole])}, is one",
            hint="the folder that holds it",
            code="bad-value",
        )
    return path, layout


def _split_layout(text: str) -> tuple[str, Layout | None]:
    """Take ``:LAYOUT`` off; other colons belong to the path, as after a drive's letter."""
    place, colon, word = text.rpartition(":")
    if not colon or dataset_called(text) or _expand(text).exists():
        return text, None
    if word in LAYOUTS and place:
        return place, cast(Layout, word)
    if len(place) > 1 and (dataset_called(place) or _expand(place).exists()):
        raise UsageError(
            f"unknown layout {word[:40]!r}.{did_you_mean(word, LAYOUTS)}",
            hint=f"one of: {', '.join(LAYOUTS)}",
            code="bad-value",
        )
    return text, None


def _expand(text: str) -> Path:
    try:
        path = Path(text).expanduser()
        path.exists()
    except (RuntimeError, ValueError, OSError) as problem:  # no such user; a NUL; a name too long
        raise UsageError(f"{text[:60]!r} cannot be a path: {problem}", code="bad-path") from None
    return path


def _nothing_there(text: str, place: str) -> NotFoundError:
    if re.search(r"[/\\]|^[.~]", place) or is_archive(Path(place)) or place.endswith(".npz"):
        return NotFoundError(
            f"no such file or folder: {place}", hint="zoo data list", code="data-not-found"
        )
    try:
        find_dataset(text)
    except NotFoundError as problem:
        either = "there is no file or folder of that name either"
        return NotFoundError(problem.message, cause=either, hint=problem.hint, code=problem.code)
    raise AssertionError("the catalogue was asked before")


def is_archive(path: PurePath) -> bool:
    """Whether the name of a file is that of an archive that is unpacked."""
    return path.name.lower().endswith(SUFFIXES)


def files_in(folder: Path, found: Sequence[FoundFile] | None = None) -> list[PurePath]:
    """Return the files under a folder, relative to it, in natural order; hidden ones are left out.

    `found` is what `list_folder` says of the folder, where that is known.

    Raises:
        NotFoundError: a folder cannot be read.
    """
    names = names_of(list_folder(folder) if found is None else found)
    return sorted(map(PurePath, names), key=lambda path: [natural(part) for part in path.parts])


def list_folder(folder: Path) -> list[FoundFile]:
    """Return the files under a folder, with what the system knows of each, in a fixed order.

    Raises:
        NotFoundError: a folder cannot be read.
    """
    found: list[FoundFile] = []
    try:
        _walk(str(folder), "", set(), found)
    except OSError as problem:
        raise NotFoundError(
            f"cannot read {problem.filename}", cause=problem.strerror or "", code="cannot-read"
        ) from None
    return sorted(found)


def names_of(found: Iterable[FoundFile]) -> list[str]:
    """Return the names of files below the folder that they were found in."""
    return [each.partition("\0")[0] for each in found]


def found_file(name: str, status: os.stat_result) -> FoundFile:
    """Return a file with all that changes when it is touched or replaced."""
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{name}\0{status.st_size} {times} {status.st_ino}"


def last_change(found: Iterable[FoundFile]) -> float:
    """Return when the last of some files was changed, in seconds since 1970; 0 without files."""
    facts = (each.partition("\0")[2].split() for each in found)
    return max((int(each[2]) for each in facts if each), default=0) / 1e9


def _walk(folder: str, above: str, seen: set[tuple[int, int]], found: list[FoundFile]) -> None:
    """Add the files under a folder to `found`; their names begin with `above`."""
    status = os.stat(folder)  # noqa: PTH116 - a hundred thousand paths as objects take seconds
    if (status.st_dev, status.st_ino) in seen:  # links may lead in a circle
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if is_junk(name):
                continue
            if entry.is_dir():
                _walk(entry.path, f"{above}{name}/", seen, found)
                continue
            try:
                found.append(found_file(above + name, entry.stat()))
            except FileNotFoundError:
                found.append(f"{above}{name}\0")


def natural(text: str) -> tuple[list[Any], str]:
    """Return a key for sorting that puts ``class 2`` before ``class 10``."""
    parts: list[Any] = re.split(r"(\d+)", text.casefold())
    parts[1::2] = map(int, parts[1::2])
    return parts, text


def describe_files(files: Sequence[PurePath]) -> str:
    """Say in a line what lies there."""
    kinds = Counter(path.suffix.lower() or "without a suffix" for path in files).most_common(4)
    folders = sorted({path.parts[0] for path in files if len(path.parts) > 1})[:6]
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds) or "no files"
    return f"it holds {counted}" + (f"; folders {', '.join(folders)}" if folders else "")


def presentable(name: str) -> str:
    """Return a file's name as text that can be printed, stored and sent."""
    return "".join(char if char.isprintable() else "_" for char in as_text(name))[:200]


def as_text(path: str | PurePath) -> str:
    """Return a path as text that can be encoded; names on a disk may be any bytes."""
    return os.fsencode(path).decode("utf-8", "replace")


def is_junk(name: str) -> bool:
    """Whether a file or a folder is hidden, or left behind by an operating system."""
    return name.startswith(".") or name.lower() in JUNK


@dataclass(frozen=True)
class Listing:
    """A data set before it is decoded."""

    layout: Layout  # how its files lie
    # by split (``train``, ``validation``, ``test``) and side (``image``, or ``a`` and ``b`` of a
    # translation)
    splits: Mapping[str, Mapping[str, Side]]
    classes: tuple[str, ...] = ()  # names of the classes, by label number
    domains: tuple[str, ...] = ()  # names of the two sides
    # ports that are known without a survey, by name: those of text, tables and what lies beside
    ports: Mapping[str, Port] = field(default_factory=dict)
    # splits in which picture i of ``a`` and picture i of ``b`` show one thing
    pairs: tuple[str, ...] = ()
    # sentences on what of the files is not used, or is read in a way that may surprise
    notes: tuple[str, ...] = ()
    tables: tuple[Path, ...] = ()  # files that the labels were read from
    left_out: tuple[Path, ...] = ()  # pictures that a note tells of

    def files(self) -> tuple[set[Path], bool]:
        """Return the files that are read, and whether items come from arrays instead."""
        used = set(self.tables)
        holds_arrays = False
        for sides in self.splits.values():
            for side in sides.values():
                if isinstance(side.items, np.ndarray):
                    holds_arrays = True
                else:
                    used.update(side.items)
        return used, holds_arrays
