"""The files under a folder, in natural order, and the pictures of each side of each split."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.catalog.dataset import Layout
from zoo.errors import NotFoundError

JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
Half = Literal["", "left", "right"]


def files_in(folder: Path) -> list[PurePath]:
    """Return the files under a folder, relative to it; hidden ones are left out.

    Raises:
        NotFoundError: a folder cannot be read.
    """
    found: list[PurePath] = []
    seen = set()
    for name, folders, files in os.walk(folder, onerror=_unreadable, followlinks=True):
        status = Path(name).stat()
        if (status.st_dev, status.st_ino) in seen:  # links may lead in a circle
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = [each for each in folders if not is_junk(each)]
        relative = PurePath(name).relative_to(folder)
        found += [relative / each for each in files if not is_junk(each)]
    return sorted(found, key=lambda path: [natural(part) for part in path.parts])


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


def _unreadable(problem: OSError) -> None:
    raise NotFoundError(f"cannot read {problem.filename}", cause=problem.strerror or "")


@dataclass(frozen=True)
class Side:
    """The pictures of one side of one split.

    Args:
        pictures: paths, to be read one by one, or pixels (N, H, W, C), bytes or other numbers.
        labels: class numbers (N,), or None.
        half: the part of each picture that counts, where two stand side by side.
    """

    pictures: Sequence[Path] | NDArray[Any]
    labels: NDArray[np.int64] | None = None
    half: Half = ""


@dataclass(frozen=True)
class Listing:
    """A data set before it is decoded.

    Args:
        layout: how its files lie.
        splits: by split (``train``, ``validation``, ``test``) and side (``image``, or ``a`` and
            ``b`` of a translation).
        classes: names of the classes, by label number.
        domains: names of the two sides.
        pairs: splits in which picture i of ``a`` and picture i of ``b`` show one thing.
        notes: sentences on what of the files is not used, or is read in a way that may surprise.
    """

    layout: Layout
    splits: Mapping[str, Mapping[str, Side]]
    classes: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def paired(self, splits: Sequence[str]) -> Listing:
        """Return the listing with those of `splits` that it has brought into pairs, by file name.

        Raises:
            NotFoundError: a picture has no partner.
        """
        splits = [split for split in splits if {"a", "b"} == set(self.splits.get(split, ()))]
        matched = {split: _matched(split, self.splits[split]) for split in splits}
        return replace(self, splits={**self.splits, **matched}, pairs=(*self.pairs, *splits))


def _matched(split: str, sides: Mapping[str, Side]) -> dict[str, Side]:
    """Return both sides in the order of their pictures' names."""
    named: dict[str, dict[str, Path]] = {}
    for name, side in sides.items():
        assert not isinstance(side.pictures, np.ndarray)
        named[name] = {path.stem: path for path in side.pictures}
        if len(named[name]) < len(side.pictures):
            raise NotFoundError(
                f"the {split} split should hold pairs; a name stands twice in {name}"
            )
    alone = sorted(named["a"].keys() ^ named["b"].keys())
    if alone:
        raise NotFoundError(
            f"the {split} split should hold pairs of one name, but {len(alone)} have no partner",
            cause=", ".join(alone[:5]),
        )
    return {name: Side([paths[stem] for stem in named["a"]]) for name, paths in named.items()}
