"""Pictures that the user named, and those in the folders that the user named."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from zoo.errors import NotFoundError
from zoo.pictures import suffixes

LONGEST_WORD = 40  # characters; of some scripts, each takes four of a file system's 255 bytes


@dataclass(frozen=True)
class Picture:
    """One picture to read.

    Args:
        path: its file.
        name: what is made of it is called, below the output folder and without a suffix; unlike
            all others, whatever the file system thinks of capitals.
        named: whether the user named this file, not a folder that holds it.
    """

    path: Path
    name: str
    named: bool


def find_pictures(places: Sequence[Path], leave_out: Path | None = None) -> tuple[Picture, ...]:
    """Return the pictures in the order of `places`, folders with all below them in order of name.

    A file keeps its name, a file in a folder also the path from there. Where two would share a
    name, the later one has a number added: ``photo``, ``photo-2``. Hidden files, linked
    folders and the folder `leave_out` inside another one are passed over.

    Raises:
        NotFoundError: a folder holds no picture.
    """
    found = []
    passed_over = leave_out.resolve() if leave_out else None
    taken: set[str] = set()
    for place in places:
        for path in _below(place, passed_over) if place.is_dir() else [place]:
            inner = path.relative_to(place) if place.is_dir() else Path(path.name)
            name = unlike(inner.with_suffix("").as_posix(), taken)
            taken.add(name.casefold())
            found.append(Picture(path, name, named=not place.is_dir()))
    return tuple(found)


def file_word(text: str) -> str:
    """Return what a file may be called after a text of a stranger; nothing may be left of it.

    Letters and digits of any script, ``-`` and ``_``; neither paths nor hidden files come of it.
    """
    letters = "".join(char if char.isalnum() or char == "_" else " " for char in text)
    return "-".join(letters.split())[:LONGEST_WORD].strip("-")


def _below(folder: Path, passed_over: Path | None) -> list[Path]:
    # what other files are is not asked: notes and thumbnail databases lie in folders too
    kinds = suffixes()
    paths = sorted(path for path in _walk(folder, passed_over) if path.suffix.lower() in kinds)
    if not paths:
        raise NotFoundError(
            f"{folder} holds no pictures", cause="looked for .png, .jpg and the like below it"
        )
    return paths


def _walk(folder: Path, passed_over: Path | None) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(parent, name).resolve() != passed_over
        ]
        yield from (Path(parent, name) for name in files if not name.startswith("."))


def unlike(name: str, taken: Collection[str]) -> str:
    """Return the name, with a number added where its small letters are taken: ``photo-2``."""
    candidate, number = name, 1
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{name}-{number}"
    return candidate


def _refuse(problem: OSError) -> NoReturn:
    raise problem
