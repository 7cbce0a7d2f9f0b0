"""What the user wrote after ``--data`` -> one place with one layout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from zoo.catalog.dataset import LAYOUTS, Dataset, Layout
from zoo.catalog.lookup import dataset_called, find_dataset
from zoo.data import layouts
from zoo.data.archives import SUFFIXES, is_archive, unpack
from zoo.data.download import Report, fetch
from zoo.data.inventory import private_folder
from zoo.data.listing import Listing, as_text, presentable
from zoo.errors import NotFoundError, UsageError, ZooError, did_you_mean


@dataclass(frozen=True)
class Source:
    """A data set that is here.

    Args:
        name: what the data set is called: its row in the catalogue, its folder or its archive.
        path: a folder, an archive or an .npz file.
        layout: how its files lie, or None where that is yet to be recognised.
        dataset: its row in the catalogue, if it has one.
        two_domains: whether two sets of images are wanted, which two folders of pictures are as
            well.
    """

    name: str
    path: Path
    layout: Layout | None = None
    dataset: Dataset | None = None
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

    def listed(self, root: Path, notes: tuple[str, ...] = ()) -> Listing:
        """List the data set at `root`, where `opened` has put it.

        Raises:
            NotFoundError: there is no data set, or its layout is not known.
        """
        listing = layouts.read(root, self.layout, self.pairs, two_domains=self.two_domains)
        return replace(listing, notes=(*notes, *listing.notes))

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


def find_source(text: str, *, report: Report | None = None) -> Source:
    """Return the data set that ``NAME``, ``PATH`` or ``PATH:LAYOUT`` means.

    A word that the catalogue knows is the catalogue's; ``./word`` is the folder of that name.

    Args:
        text: as the user wrote it.
        report: called with the progress of a download, where files are not here yet.

    Raises:
        NotFoundError: there is no such thing, or it cannot be downloaded.
        UsageError: the layout is none of the known ones, or the file is no data set.
    """
    found, layout = _look_up(text)
    if isinstance(found, Dataset):
        return Source(found.name, fetch(found, report=report), layout or found.layout, found)
    name = found.resolve().name
    if found.is_file():
        name = re.sub(r"(\.tar)?\.\w+$", "", name)
    return Source(presentable(name) or "data", found, layout)


def check_source(text: str) -> None:
    """Check that there is such a data set, without fetching it.

    Raises:
        NotFoundError: there is no such thing.
        UsageError: the layout is none of the known ones, or the file is no data set.
    """
    _look_up(text)


def _look_up(text: str) -> tuple[Dataset | Path, Layout | None]:
    if not text:
        raise UsageError("the data set has no name", hint="zoo data list")
    place, layout = _split_layout(text)
    dataset = dataset_called(place)
    if dataset:
        return dataset, layout
    path = _expand(place)
    if not path.exists():
        raise _nothing_there(text, place)
    if path.is_file() and not (is_archive(path) or path.suffix.lower() == ".npz"):
        raise UsageError(
            f"{place} is no data set",
            cause=f"a folder, or a file that ends in {', '.join(SUFFIXES)} or .npz, is one",
            hint="the folder that holds it",
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
        )
    return text, None


def _expand(text: str) -> Path:
    try:
        path = Path(text).expanduser()
        path.exists()
    except (RuntimeError, ValueError, OSError) as problem:  # no such user; a NUL; a name too long
        raise UsageError(f"{text[:60]!r} cannot be a path: {problem}") from None
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
