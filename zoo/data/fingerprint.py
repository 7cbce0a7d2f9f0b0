"""One hash of all that a data set's files hold: read once, recognised without reading afterwards.

Names, sizes and times alone do not tell two data sets apart: files of a reproducible archive, of a
container image, or replaced in place may agree in all of them. So every byte is read the first
time. Later it is enough that no file was touched since, which the times of change and the numbers
of the files tell: these cannot be set at will. A few pieces of the files are read again all the
same, because disk images may repeat even these.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.atomic import write_json
from zoo.catalog.dataset import cache_home
from zoo.data import tree
from zoo.data.cache import make_folder
from zoo.data.source import Source
from zoo.errors import NotFoundError, ZooError

KNOWN = "fingerprints.json"  # in the cache: hash of all bytes, by what tells it without reading
MOST_KNOWN = 256  # data sets; the oldest are forgotten, which costs a reading
SETTLED = 2.0  # seconds; what changed more recently may change again without a new time
SAMPLED_FILES, PIECE = 64, 4096  # that are looked into each time, and bytes of each piece
AT_ONCE = 256  # files that one thread reads in turn
THREADS = min(8, os.cpu_count() or 1)

_File = tuple[bytes, str, os.stat_result | None]  # name below the root; path; None: a broken link


def fingerprint(source: Source) -> str:
    """Return what changes when any byte or any name of a data set does.

    Where a data set lies does not matter. The hashes of the catalogue are taken where it has them
    all, because a download was held against them.

    Raises:
        NotFoundError: a folder cannot be read.
    """
    row = source.dataset
    if row and not row.embedded and all(file.sha256 for file in row.files):
        return _hash(json.dumps([[file.name, file.sha256] for file in row.files]).encode())
    began = time.time()
    files = _files(source.path)
    identity = _identity(files)
    known = _read_known()
    if identity in known:
        return known[identity]
    found = _content(files)
    changes = [status.st_ctime for _, _, status in files if status]
    if max(changes, default=0.0) < began - SETTLED:
        with suppress(OSError, ZooError):  # a cache that others keep for us may be read-only
            make_folder(cache_home())
            latest = [*known.items(), (identity, found)][-MOST_KNOWN:]
            write_json(cache_home() / KNOWN, dict(latest))
    return found


def _files(root: Path) -> list[_File]:
    """Return all files of a data set, in an order that is always the same."""
    try:
        if not root.is_dir():  # the name says how it is read, and is not part of what it holds
            return [(root.suffix.lower().encode(), str(root), root.stat())]
        return sorted(_walk(str(root), b"", set()))
    except OSError as problem:
        raise NotFoundError(f"cannot read {problem.filename}: {problem.strerror}") from None


def _walk(folder: str, above: bytes, seen: set[tuple[int, int]]) -> Iterator[_File]:
    """Yield the files that `tree.files_in` lists, with what the system knows of each."""
    status = os.stat(folder)  # noqa: PTH116 - a hundred thousand paths as objects take seconds
    if (status.st_dev, status.st_ino) in seen:  # links may lead in a circle
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            if tree.is_junk(entry.name):
                continue
            name = above + os.fsencode(entry.name)
            if entry.is_dir():
                yield from _walk(entry.path, name + b"/", seen)
                continue
            try:
                yield name, entry.path, entry.stat()
            except FileNotFoundError:
                yield name, entry.path, None


def _identity(files: list[_File]) -> str:
    """Return what changes when a file is touched, replaced, or another one of the same name."""
    digest = hashlib.sha256()
    for name, _, status in files:
        facts = status and (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        digest.update(b"%b\0%b\n" % (name, repr(facts).encode()))
    last = max(len(files) - 1, 0)
    chosen = {last * number // SAMPLED_FILES for number in range(SAMPLED_FILES + 1)}
    for place in sorted(chosen) if files else ():
        digest.update(_pieces(files[place]))
    return digest.hexdigest()


def _pieces(file: _File) -> bytes:
    """Return the beginning, the middle and the end of a file."""
    _, path, status = file
    if status is None:
        return b""
    found = []
    with suppress(OSError), Path(path).open("rb", buffering=0) as opened:
        for start in sorted({0, status.st_size // 2, max(0, status.st_size - PIECE)}):
            opened.seek(start)
            found.append(opened.read(PIECE))
    return _hash(b"".join(found)).encode()


def _content(files: list[_File]) -> str:
    """Return a hash of the names and all bytes of files."""
    digest = hashlib.sha256()
    groups = [files[start : start + AT_ONCE] for start in range(0, len(files), AT_ONCE)]
    with ThreadPoolExecutor(THREADS) as pool:
        for group, hashes in zip(groups, pool.map(_hash_all, groups), strict=True):
            for (name, _, _), each in zip(group, hashes, strict=True):
                digest.update(b"%b\0%b\n" % (name, each.encode()))
    return digest.hexdigest()


def _hash_all(files: list[_File]) -> list[str]:
    return [_hash_of_file(path) for _, path, _ in files]


def _hash_of_file(path: str) -> str:
    try:
        with Path(path).open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:  # decoding will tell which picture it is
        return f"unreadable: {problem.errno}"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_known() -> dict[str, str]:
    """Return what was read before; a file that is missing or damaged only costs time."""
    try:
        known: Any = json.loads((cache_home() / KNOWN).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: each for key, each in known.items() if isinstance(each, str)}
