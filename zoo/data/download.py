"""A row of the catalogue -> a folder with its verified files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.catalog.dataset import Download, RemoteFile
from zoo.data import cache
from zoo.data.parts import Progress, Report, size_of
from zoo.errors import NotFoundError, ZooError

PATIENCE = 30.0  # seconds


def fetch(row: Download, *, report: Report | None = None, patience: float = PATIENCE) -> Path:
    """Return the folder that holds the verified files of a row, downloading what is missing.

    A file takes its name in the cache only when its size and sha256 are right. A file that
    somebody put there by hand is used when it is right, and replaced when it is not.

    Args:
        row: a data set or weights; embedded data needs no download.
        report: told of bytes that come and of mirrors that fail.
        patience: seconds of silence, or of less than 1 kB a second, after which a server is left.

    Raises:
        NotFoundError: no mirror gave a file; the hint says what to fetch by hand, and whereto.
        ZooError: the cache cannot be written to.
    """
    folder = cache.data_folder(row)
    if row.embedded or not _missing(row, folder):
        with suppress(OSError):  # when it was last used, for `zoo data list --cached`
            os.utime(folder / cache.RECORDS)
        return folder
    tell = report or (lambda _: None)
    cache.make_folder(folder)
    try:
        with _one_at_a_time(folder, patience, tell) as alone:
            _download(row, folder, patience, tell, alone=alone)
    except OSError as problem:
        raise ZooError(
            f"{row.title} could not be written to {folder}: {problem.strerror or problem}",
            hint="make room, or put the cache elsewhere with ZOO_HOME=/another/folder",
        ) from problem
    return folder


def _missing(row: Download, folder: Path) -> dict[RemoteFile, str]:
    """Return the files that cannot be used as they are, each with the reason."""
    troubles = {file: cache.trouble(file, folder) for file in row.files}
    return {file: reason for file, reason in troubles.items() if reason}


def _download(row: Download, folder: Path, patience: float, tell: Report, *, alone: bool) -> None:
    missing = _missing(row, folder)  # none, if we have waited for another process
    if not missing:
        return
    from zoo.data import transfer  # here, because an HTTP library takes its time to import

    with transfer.open_client(patience) as client:
        for file, reason in missing.items():
            if (folder / file.name).exists():
                tell(Progress(file.name, note=f"cannot be used ({reason}); downloading it anew"))
            try:
                transfer.obtain(client, file, folder, tell, alone=alone)
            except transfer.MirrorError as problem:
                raise _unreachable(row, folder, str(problem)) from None


def _unreachable(row: Download, folder: Path, failures: str) -> NotFoundError:
    missing = _missing(row, folder)
    wrong = [
        f"the {file.name} there cannot be used ({reason})"
        for file, reason in missing.items()
        if (folder / file.name).exists()
    ]
    urls = " ".join(
        url if url.endswith(f"/{file.name}") else f"{url} (as {file.name})"
        for file in missing
        for url in file.urls[:1]
    )
    return NotFoundError(
        f"{row.title} is not in the cache and could not be downloaded",
        cause="; ".join([failures, *wrong]),
        hint=f"fetch by hand into {folder}: {urls}",
    )


@contextmanager
def _one_at_a_time(folder: Path, patience: float, tell: Report) -> Iterator[bool]:
    """Wait until no other process downloads the same; yield whether that is certain.

    This only saves bandwidth. Where the file system has no locks, or the other process stands
    still, we go on without.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / cache.LOCK)
    seen, since = -1, time.monotonic()
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            if seen == -1:
                tell(Progress("", note="another process downloads the same; waiting for it"))
            now = sum(map(size_of, folder.glob(".*.part")))
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > 2 * patience:
                break
        except (OSError, NotImplementedError):
            break
    try:
        yield lock.is_locked
    finally:
        lock.release()
