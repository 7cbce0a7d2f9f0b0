"""Files of the catalogue over HTTP: mirrors, resumed downloads, size and sha256.

A download under way is a *part*: a private folder, ``.<file>.<random>.part``, with the bytes that
have come (`content`) and where they came from (`source.json`). A download that fails renames it to
``.rest``; the next one renames either kind to a name of its own and goes on. Nobody else ever
writes into the folder that a process owns, so correctness does not rest on a lock.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx
from filelock import FileLock, Timeout

from zoo import __version__
from zoo.atomic import write_json
from zoo.catalog.dataset import Downloadable, RemoteFile
from zoo.data.download import (
    LOCK,
    DownloadProgress,
    OnProgress,
    cache_problem,
    missing_files,
    record_verified,
)
from zoo.errors import NotFoundError, UsageError, ZooError
from zoo.manifest import sha256_of
from zoo.records import read_json

LARGEST_FILE = 2**37  # bytes; for files of which neither catalogue nor server tells the size
SLOWEST = 1024  # bytes a second, on average over the time for which we have patience
WORTHWHILE = 2**20  # bytes; an attempt that brings less counts as a failed one
MAX_FAILURES = 3
PAUSE = 0.5  # seconds, after a failed attempt


class MirrorError(Exception):
    """This URL does not give the file; another one may."""


def open_client(patience: float) -> httpx.Client:
    """Return a client that waits `patience` seconds for a server, and for each piece it sends.

    Raises:
        UsageError: a proxy or a certificate file that the environment names cannot be used.
    """
    headers = {"User-Agent": f"zoo/{__version__}", "Accept-Encoding": "identity"}
    try:
        return httpx.Client(
            follow_redirects=True, max_redirects=5, timeout=patience, headers=headers
        )
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as problem:
        raise UsageError(
            f"the network settings of the environment cannot be used: {problem}",
            hint="look at HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE",
            code="bad-environment",
        ) from None


def download(row: Downloadable, folder: Path, patience: float, report: OnProgress) -> None:
    """Download the files of a row that are missing, one process at a time where locks work.

    Raises:
        NotFoundError: no mirror gave a file.
        ZooError: where locks do not work, another process got in the way.
        OSError: the folder cannot be written to.
    """
    with _one_at_a_time(folder, patience, report) as alone, open_client(patience) as client:
        # none is missing, if we have waited for another process
        for file, reason in missing_files(row, folder).items():
            if (folder / file.name).exists():
                note = f"cannot be used ({reason}); downloading it anew"
                report(DownloadProgress(file.name, note=note))
            try:
                _obtain(client, file, folder, report, alone=alone)
            except MirrorError as problem:
                raise _unreachable(row, folder, str(problem)) from None


@contextmanager
def _one_at_a_time(folder: Path, patience: float, report: OnProgress) -> Iterator[bool]:
    """Wait until no other process downloads the same; yield whether that is certain.

    This only saves bandwidth. Where the file system has no locks, or the other process stands
    still, we go on without.
    """
    lock = FileLock(folder / LOCK)
    seen, since = -1, time.monotonic()
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0.5)
        except Timeout:
            if seen == -1:
                report(
                    DownloadProgress("", note="another process downloads the same; waiting for it")
                )
            now = sum(map(_size_of, folder.glob(".*.part")))
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


def _unreachable(row: Downloadable, folder: Path, failures: str) -> NotFoundError:
    missing = missing_files(row, folder)
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
        code="download-failed",
    )


def _obtain(
    client: httpx.Client, file: RemoteFile, folder: Path, report: OnProgress, *, alone: bool
) -> None:
    """Download one file into `folder`, from the first mirror that gives it.

    Raises:
        MirrorError: no mirror gives it; says of each what it did.
        ZooError: where locks do not work, another process got in the way.
    """
    try:
        with _part_of(folder, file.name, alone=alone) as part:
            transfer = _Transfer(client, file, part, report)
            sha256 = transfer.from_first_mirror()
            transfer.content.replace(folder / file.name)
            record_verified(folder / file.name, sha256)
    except FileNotFoundError:  # our part has gone: another process took it, or cleared it away
        if cache_problem(file, folder):
            raise ZooError(
                f"another process downloads {file.name} too, and took over what had come",
                hint="wait for it, then type the command again",
                code="being-downloaded",
            ) from None


@contextmanager
def _part_of(folder: Path, name: str, *, alone: bool) -> Iterator[Path]:
    """Yield a private part for the file `name`, with what an earlier download left of it.

    When the block fails, the part stays for the next download; when it ends well, all go. `alone`
    says that we hold the lock, so that the owner of any other part is dead.
    """
    part = folder / f".{name}.{os.urandom(4).hex()}.part"
    for left in _leftovers(folder, name):
        if (alone or left.suffix == ".rest") and _adopt(left, part):
            break
    part.mkdir(exist_ok=True)
    try:
        yield part
    except BaseException:
        if _size_of(part):
            with suppress(OSError):
                part.rename(part.with_suffix(".rest"))
        else:
            shutil.rmtree(part, ignore_errors=True)
        raise
    for left in _leftovers(folder, name):
        shutil.rmtree(left, ignore_errors=True)


def _leftovers(folder: Path, name: str) -> list[Path]:
    """Return the parts of a file, the fullest first."""
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{8}}\.(part|rest)")
    found = [path for path in folder.iterdir() if pattern.fullmatch(path.name)]
    return sorted(found, key=_size_of, reverse=True)


def _size_of(part: Path) -> int:
    """Return how many bytes of its file a part holds."""
    try:
        return (part / "content").stat().st_size
    except OSError:
        return 0


def _adopt(left: Path, part: Path) -> bool:
    """Rename a part that another download has left to `part`, unless another process does."""
    try:
        left.rename(part)
    except OSError:
        return False
    if left.suffix == ".part":
        # Its process was killed; or it is alive, where locks lie: write to a copy.
        with suppress(FileNotFoundError):
            shutil.copyfile(part / "content", part / "copy")
            (part / "copy").replace(part / "content")
    return True


class _Transfer:
    """One file on its way into a part."""

    def __init__(
        self, client: httpx.Client, file: RemoteFile, part: Path, report: OnProgress
    ) -> None:
        self.content = part / "content"
        self._client, self._file, self._part, self._report = client, file, part, report

    def from_first_mirror(self) -> str:
        """Complete the part from the first mirror that can, and return its sha256."""
        file, failures = self._file, []
        for url in file.urls:
            try:
                sha256 = self._complete(url)
            except MirrorError as problem:
                failures.append(f"{urlsplit(url).netloc}: {problem}")
                if url != file.urls[-1]:
                    note = f"{failures[-1]}; trying another mirror"
                    self._report(DownloadProgress(file.name, note=note))
                continue
            if file.sha256 is None:
                note = f"nobody publishes its sha256; recorded {sha256}"
                self._report(DownloadProgress(file.name, note=note))
            return sha256
        raise MirrorError("; ".join(failures))

    def _complete(self, url: str) -> str:
        """Complete the part from one mirror and return its sha256, which is the right one."""
        begun = _size_of(self._part) > 0
        self._receive(url)
        found = sha256_of(self.content)
        if self._file.sha256 in {None, found}:
            return found
        self.content.unlink(missing_ok=True)
        if begun:  # what an earlier download left may be to blame: this mirror gets a fair chance
            return self._complete(url)
        expected = str(self._file.sha256)
        raise MirrorError(f"sent a file whose sha256 is {found[:12]}… instead of {expected[:12]}…")

    def _receive(self, url: str) -> None:
        """Bring the rest of a file, in as many attempts as it takes while the server keeps giving.

        Raises:
            MirrorError: this URL does not give it. What has come stays in the part.
        """
        failures = 0
        while True:
            before = _size_of(self._part)
            try:
                if self._attempt(url):
                    return
            except (httpx.HTTPError, httpx.InvalidURL) as problem:
                gained = _size_of(self._part) - before
                failures = 0 if gained >= WORTHWHILE else failures + 1
                dawdles = failures and isinstance(problem, httpx.TimeoutException)
                if gained <= 0 or dawdles or failures == MAX_FAILURES:
                    raise MirrorError(_describe(problem)) from None
                time.sleep(PAUSE)

    def _attempt(self, url: str) -> bool:
        """Ask once for what is missing; return whether the part is complete."""
        done, size = _size_of(self._part), self._file.bytes
        if size is not None and done >= size:
            return True  # killed after the last byte and before the check
        with self._client.stream("GET", url, headers=self._range(url, done)) as answer:
            if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and done:
                self.content.unlink()  # what we have is no beginning of what they have
                return False
            start, total = _extent(answer, done)
            if size is not None and total not in {None, size}:
                raise MirrorError(f"offers {total} bytes instead of {size}")
            if start == 0:
                self.content.unlink(missing_ok=True)  # before their source is overwritten
            source = {"url": url, "validator": _validator(answer)}
            write_json(self._part / "source.json", source)
            with self.content.open("r+b" if start else "wb") as out:
                out.seek(start)
                self._copy(answer, out, size or total)
                os.fsync(out.fileno())
        return True

    def _range(self, url: str, done: int) -> dict[str, str]:
        """Return the headers that ask for the bytes that are missing.

        ``If-Range`` makes the server send everything if its file has changed. Another mirror, or
        one that gave no validator, is only asked to go on where a published hash will verify the
        result.
        """
        try:
            source = read_json(self._part / "source.json", dict[str, str | None])
        except (OSError, ValueError):
            source = {}
        validator = source.get("validator") if source.get("url") == url else None
        if done and validator:
            return {"Range": f"bytes={done}-", "If-Range": validator}
        return {"Range": f"bytes={done}-"} if done and self._file.sha256 else {}

    def _copy(self, answer: httpx.Response, out: BinaryIO, total: int | None) -> None:
        """Write the body as it comes over the wire, never more than was announced."""
        done, patience = out.tell(), self._client.timeout.read or 0.0
        began, came = time.monotonic(), 0
        for piece in answer.iter_raw():
            done, came = done + len(piece), came + len(piece)
            if done > (total or LARGEST_FILE):
                out.truncate(0)
                raise MirrorError(f"sends more than the {total or LARGEST_FILE} bytes announced")
            out.write(piece)
            out.flush()  # so that a killed process loses nothing that has come
            self._report(DownloadProgress(self._file.name, done, total))
            elapsed = time.monotonic() - began
            if elapsed > patience:
                if came < SLOWEST * elapsed:
                    raise httpx.ReadTimeout(f"slower than {SLOWEST} bytes a second")
                began, came = time.monotonic(), 0
        if total is not None and done < total:
            raise httpx.RemoteProtocolError(f"ended after {done} of {total} bytes")


def _extent(answer: httpx.Response, done: int) -> tuple[int, int | None]:
    """Return at which byte the body starts, and the size of the whole file, if it is given."""
    if answer.status_code == httpx.codes.PARTIAL_CONTENT:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if span is None or int(span[1]) != done:
            raise MirrorError("answers with another part than the one asked for")
        return done, None if span[2] == "*" else int(span[2])
    if answer.status_code != httpx.codes.OK:
        raise MirrorError(f"HTTP {answer.status_code} {answer.reason_phrase}".strip())
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _validator(answer: httpx.Response) -> str | None:
    """Return what names this state of the server's file and may stand in ``If-Range``."""
    tag: str = answer.headers.get("ETag", "W/")
    if not tag.startswith("W/"):  # a weak tag may name several states
        return tag
    date: str | None = answer.headers.get("Last-Modified")
    return date


def _describe(problem: Exception) -> str:
    """Return in a few words why a server did not deliver."""
    words = " ".join(str(problem).split())[:200]
    if isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout):
        return f"no connection ({words})" if words else "no connection"
    if isinstance(problem, httpx.TimeoutException):
        return words if words.startswith("slower") else "stopped sending"
    return words or type(problem).__name__
