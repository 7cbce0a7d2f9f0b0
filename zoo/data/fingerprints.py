"""Which data set it is: a hash of all that its files hold, read once.

Names, sizes and times alone do not tell two data sets apart: files of a reproducible archive, of a
container image, or replaced in place may agree in all of them. So every byte is read the first
time. Later it is enough that no file was touched since, which the times of change and the numbers
of the files tell: these cannot be set at will. A few pieces of the files are read again all the
same, because disk images may repeat even these.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.atomic import write_json
from zoo.catalog.dataset import cache_home
from zoo.data.download import make_folder
from zoo.data.location import (
    DataLocation,
    FoundFile,
    found_file,
    last_change,
    list_folder,
    names_of,
)
from zoo.errors import ZooError
from zoo.records import read_json

KNOWN = "fingerprints.json"  # in the cache: hash of all bytes, by what tells it without reading
MOST_KNOWN = 256  # data sets; the oldest are forgotten, which costs a reading
SETTLED = 2.0  # seconds; what changed more recently may change again without a new time
SAMPLED_FILES, PIECE = 64, 4096  # that are looked into each time, and bytes of each piece
AT_ONCE = 256  # files that one thread reads in turn
THREADS = min(8, os.cpu_count() or 1)
SMALL = 2**16  # bytes of a file that takes longer to open than to read
PORTION = 2**18  # bytes of a file that are read at once
# a pipe that nobody writes to must not be waited for; only Windows tells text from bytes
READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def data_files(location: DataLocation) -> list[FoundFile] | None:
    """Return all files of a data set; None where the catalogue has the hashes of them all.

    Raises:
        NotFoundError: a folder cannot be read.
    """
    row, root = location.dataset, location.path
    if row and not row.embedded and all(file.sha256 for file in row.files):
        return None
    if root.is_dir():
        return list_folder(root)
    # the name says how it is read, and is not part of what it holds
    return [found_file(root.suffix.lower(), root.stat())]


def fingerprint(location: DataLocation, files: Sequence[FoundFile] | None) -> str:
    """Return what changes when any byte or any name of a data set does.

    Where a data set lies does not matter. The hashes of the catalogue are taken where it has them
    all, because a download was held against them. `files` are what `data_files` returned.
    """
    row, root = location.dataset, location.path
    if files is None:
        assert row is not None
        return _hash(json.dumps([[file.name, file.sha256] for file in row.files]).encode())
    began = time.time()
    identity = _identity(root, files)
    known = _read_known()
    if identity in known:
        return known[identity]
    found = _content(root, files)
    if last_change(files) < began - SETTLED:
        with suppress(OSError, ZooError):  # a cache that others keep for us may be read-only
            make_folder(cache_home())
            latest = [*known.items(), (identity, found)][-MOST_KNOWN:]
            write_json(cache_home() / KNOWN, dict(latest))
    return found


def _place(root: Path, name: str) -> str:
    return f"{root}/{name}" if root.is_dir() else str(root)


def _identity(root: Path, files: Sequence[FoundFile]) -> str:
    """Return what changes when a file is touched, replaced, or another one of the same name."""
    digest = hashlib.sha256(os.fsencode("\n".join(files)))
    last = max(len(files) - 1, 0)
    chosen = {last * number // SAMPLED_FILES for number in range(SAMPLED_FILES + 1)}
    for name in names_of([files[place] for place in sorted(chosen)] if files else ()):
        digest.update(_pieces(_place(root, name)))
    return digest.hexdigest()


def _pieces(path: str) -> bytes:
    """Return a hash of the beginning, the middle and the end of a file."""
    found = []
    with suppress(OSError), _opened(path) as file:
        size = os.fstat(file).st_size
        for start in sorted({0, size // 2, max(0, size - PIECE)}):
            os.lseek(file, start, os.SEEK_SET)
            found.append(os.read(file, PIECE))
    return _hash(b"".join(found)).encode()


def _content(root: Path, files: Sequence[FoundFile]) -> str:
    """Return a hash of the names and all bytes of files."""
    digest = hashlib.sha256()
    ordered = sorted(names_of(files), key=os.fsencode)
    groups = [ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE)]
    is_folder = root.is_dir()

    def hashes(group: Sequence[str]) -> list[str]:
        return [_hash_file(f"{root}/{name}" if is_folder else str(root)) for name in group]

    # of small files, threads would only wait for one another
    sizes = (int(each.partition("\0")[2].partition(" ")[0] or 0) for each in files)
    with ThreadPoolExecutor(THREADS if sum(sizes) > SMALL * len(files) else 1) as pool:
        for group, found in zip(groups, pool.map(hashes, groups), strict=True):
            for name, each in zip(group, found, strict=True):
                digest.update(b"%b\0%b\n" % (os.fsencode(name), each.encode()))
    return digest.hexdigest()


def _hash_file(path: str) -> str:
    digest = hashlib.sha256()
    try:
        with _opened(path) as file:
            while portion := os.read(file, PORTION):
                digest.update(portion)
    except OSError as problem:  # decoding will say which picture it is
        return f"unreadable: {problem.errno}"
    return digest.hexdigest()


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """Open a plain file for reading bytes; a pipe, which might never end, is an `OSError`."""
    file = os.open(path, READ_ONLY)
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "no plain file", path)
        yield file
    finally:
        os.close(file)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_known() -> dict[str, str]:
    """Return what was read before; a file that is missing or damaged only costs time."""
    try:
        return read_json(cache_home() / KNOWN, dict[str, str])
    except (OSError, ValueError):
        return {}
