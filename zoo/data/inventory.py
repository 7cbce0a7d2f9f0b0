"""What lies in the cache: downloads and decoded data, listed and removed.

All of it can be had anew. Decoded data that is removed is first renamed, so that a process that is
killed leaves nothing that could be taken for data; the rest goes when something is decoded.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from zoo.catalog.dataset import cache_home
from zoo.data.download import ABANDONED, LOCK, PREFIX, RECORDS, store_home
from zoo.errors import ZooError
from zoo.ports import Port
from zoo.records import typed

FORMAT = 5  # of decoded data and of how it comes about; data in another one is decoded anew
DESCRIPTION = "store.json"
USED = "used.txt"  # where the data lay when it was last used; its time is that of the last use
Kind = Literal["download", "decoded", "unfinished"]


@dataclass(frozen=True)
class Cached:
    """One thing in the cache."""

    kind: Kind  # a download, decoded data, or decoded data that was never finished
    id: str  # what names it in ``zoo data rm``
    name: str  # of the data set; empty where it is not known
    source: str  # what it was made of: a path, or a name in the catalogue; likewise
    form: str  # what the data was decoded to, in words; empty for all else
    bytes: int  # that it takes
    used: float  # when it was last used, in seconds since 1970
    stale: str  # why it is of no use any more; empty where it is
    path: Path  # where it lies

    def is_called(self, word: str) -> bool:
        """Whether a user means it: by its name, its source, or at least 6 letters of its id."""
        place = os.path.abspath(word)  # noqa: PTH100 - a link stays as the user named it
        by_id = self.id == word or (len(word) >= 6 and self.id.startswith(word))
        return by_id or word == self.name or self.source in {word, place}

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {**asdict(self), "path": str(self.path)}


def inventory() -> list[Cached]:
    """Return everything in the cache that `remove` removes, by kind, the latest used first."""
    found = [*_downloads(), *_decoded()]
    return sorted(found, key=lambda each: (each.kind, -each.used))


def remove(item: Cached) -> None:
    """Remove one thing from the cache.

    Whoever has it open keeps what is open.

    Raises:
        ZooError: it is being downloaded, or cannot be removed.
    """
    try:
        if item.kind == "download":
            _remove_download(item.path)
        else:
            _remove_folder(item.path)
    except FileNotFoundError:  # another process was quicker
        return
    except OSError as problem:
        raise ZooError(
            f"{item.path} cannot be removed: {problem.strerror or problem}",
            hint="end the processes that use it" if os.name == "nt" else "",
            code="cannot-write",
        ) from problem


def _downloads() -> Iterator[Cached]:
    for folder in _folders(cache_home() / "downloads"):
        name = folder.name.replace("--", ":")
        mark = folder / RECORDS
        used = _time(mark) if mark.is_file() else _newest(folder)
        yield Cached("download", name, name, name, "", _size(folder), used, "", folder)


def _decoded() -> Iterator[Cached]:
    for folder in _folders(store_home()):
        if folder.name.startswith(PREFIX):
            newest = _newest(folder)
            stale = "left by a killed process" if time.time() - newest > ABANDONED else ""
            yield Cached(
                "unfinished", folder.name, "", "", "", _size(folder), newest, stale, folder
            )
            continue
        facts = _facts(folder)
        name, form, source = facts.get("name", ""), facts.get("form", ""), _source(folder)
        used = max(_time(folder / USED), _time(folder / DESCRIPTION))
        stale = ""
        if facts.get("format") != FORMAT:
            stale = "of another version of the zoo"
        elif Path(source).is_absolute() and not _is_there(source):
            stale = "its source is gone"
        yield Cached("decoded", folder.name, name, source, form, _size(folder), used, stale, folder)


def _facts(folder: Path) -> dict[str, Any]:
    """Return format, name and form of decoded data, as far as its description tells them."""
    from zoo.modalities import modality_of  # here, because it imports numpy

    try:
        description = json.loads((folder / DESCRIPTION).read_text("utf-8"))
        name = description["spec"]["name"]
        port = typed(description["spec"]["ports"][0], Port)
        rows = sum(max(each["shape"][0] for each in split.values())
                   for split in description["splits"].values())  # fmt: skip
        return {
            "format": description.get("format"),
            "name": str(name),
            "form": f"{rows:,} of {modality_of(port).describe(port)}",
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _source(folder: Path) -> str:
    try:
        return (folder / USED).read_text("utf-8", "replace")
    except OSError:
        return ""


def _is_there(source: str) -> bool:
    """Whether a place is there, which may have its layout behind a colon."""
    return any(Path(each).exists() for each in (source, source.rpartition(":")[0]) if each)


def _folders(home: Path) -> list[Path]:
    return sorted(path for path in home.iterdir() if path.is_dir()) if home.is_dir() else []


def _files(folder: Path) -> Iterator[os.stat_result]:
    for path in folder.rglob("*"):
        with suppress(OSError):
            status = path.lstat()
            if path.is_file():
                yield status


def _size(folder: Path) -> int:
    return sum(status.st_size for status in _files(folder))


def _newest(folder: Path) -> float:
    return max((status.st_mtime for status in _files(folder)), default=_time(folder))


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _remove_folder(folder: Path) -> None:
    aside = store_home() / f"{PREFIX}{os.urandom(8).hex()}"
    if folder.parent == store_home():
        folder.rename(aside)
        folder = aside
    shutil.rmtree(folder)


def _remove_download(folder: Path) -> None:
    from filelock import FileLock, Timeout  # here, because `zoo data list` must not wait for it

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ZooError(
            f"{folder} is being downloaded by another process", code="being-downloaded"
        ) from None
    except (OSError, NotImplementedError):  # a file system without locks
        pass
    try:
        shutil.rmtree(folder)
    finally:
        lock.release()
