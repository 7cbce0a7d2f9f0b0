"""The files under a folder, in natural order and without what operating systems leave behind."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from zoo.errors import NotFoundError

JUNK = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


def files_in(folder: Path) -> list[PurePath]:
    """Return the files under a folder, relative to it; hidden ones are passed over.

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


def describe(files: Sequence[PurePath]) -> str:
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
