"""A download under way: how far it is, and its part on the disk, which outlives a killed process.

A part is a private folder, ``.<file>.<random>.part``, with the bytes that have come (`content`)
and where they came from (`source.json`). A download that fails renames it to ``.rest``; the next
one renames either kind to a name of its own and goes on. Nobody else ever writes into the folder
that a process owns, so correctness does not rest on a lock.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.atomic import write_json
from zoo.records import read_json


@dataclass(frozen=True)
class Progress:
    """A moment of a download.

    Args:
        file: name of the file.
        done: bytes that are here.
        total: bytes in all, or None where nobody tells.
        note: something to tell the user, such as a mirror that failed; otherwise empty.
    """

    file: str
    done: int = 0
    total: int | None = None
    note: str = ""


Report = Callable[[Progress], None]


@contextmanager
def part_of(folder: Path, name: str, *, alone: bool) -> Iterator[Path]:
    """Yield a private part for the file `name`, with what an earlier download left of it.

    When the block fails, the part stays for the next download; when it ends well, all go.

    Args:
        folder: where the file will lie.
        name: its name.
        alone: whether a lock says that the owner of any other part is dead.
    """
    part = folder / f".{name}.{secrets.token_hex(4)}.part"
    _adopt(part, [left for left in leftovers(folder, name) if alone or left.suffix == ".rest"])
    part.mkdir(exist_ok=True)
    try:
        yield part
    except BaseException:
        if size_of(part):
            with suppress(OSError):
                part.rename(part.with_suffix(".rest"))
        else:
            shutil.rmtree(part, ignore_errors=True)
        raise
    for left in leftovers(folder, name):
        shutil.rmtree(left, ignore_errors=True)


def leftovers(folder: Path, name: str) -> list[Path]:
    """Return the parts of a file, the fullest first."""
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.(part|rest)")
    found = [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    return sorted(found, key=size_of, reverse=True)


def size_of(part: Path) -> int:
    """Return how many bytes of its file a part holds."""
    try:
        return content(part).stat().st_size
    except OSError:
        return 0


def content(part: Path) -> Path:
    """Return where the bytes of a part lie."""
    return part / "content"


def forget(part: Path) -> None:
    """Drop the bytes of a part."""
    content(part).unlink(missing_ok=True)


def write_source(part: Path, url: str, validator: str | None) -> None:
    """Remember where the bytes come from, and the server's mark of that state of its file."""
    write_json(part / "source.json", {"url": url, "validator": validator})


def validator_of(part: Path, url: str) -> str | None:
    """Return the mark that came with the bytes of a part, if they came from `url`."""
    try:
        source = read_json(part / "source.json", dict[str, str | None])
    except (OSError, ValueError):
        return None
    return source.get("validator") if source.get("url") == url else None


def _adopt(part: Path, candidates: list[Path]) -> None:
    """Rename the fullest part that another download has left to `part`, if there is one."""
    for left in candidates:
        try:
            left.rename(part)
        except OSError:  # another process was quicker
            continue
        if left.suffix == ".part":
            # Its process was killed; or it is alive, where locks lie: write to a copy.
            with suppress(FileNotFoundError):
                shutil.copyfile(content(part), part / "copy")
                (part / "copy").replace(content(part))
        return
