"""Files of the catalogue over HTTP: mirrors, resumed downloads, size and sha256."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx

from zoo import __version__
from zoo.catalog.dataset import RemoteFile
from zoo.data.download import (
    Progress,
    Report,
    cache_problem,
    empty_part,
    part_content,
    part_of,
    record_verified,
    size_of,
    validator_of,
    write_source,
)
from zoo.errors import UsageError, ZooError
from zoo.manifest import sha256_of

LARGEST_FILE = 2**37  # bytes; for files of which neither catalogue nor server tells the size
SLOWEST = 1024  # bytes a second, on average over the time for which we have patience
WORTHWHILE = 2**20  # bytes; an attempt that brings less counts as a failed one
MAX_FAILURES = 3
PAUSE = 0.5  # seconds, after a failed attempt

Advance = Callable[[int, int | None], None]  # bytes that are here, bytes in all


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
        ) from None


def obtain(
    client: httpx.Client, file: RemoteFile, folder: Path, report: Report, *, alone: bool
) -> None:
    """Download one file into `folder`, from the first mirror that gives it.

    Args:
        client: what `open_client` returned.
        file: what to download.
        folder: where to.
        report: called with the bytes that come and the mirrors that fail.
        alone: whether a lock keeps others from downloading the same file.

    Raises:
        MirrorError: no mirror gives it; says of each what it did.
        ZooError: where locks do not work, another process got in the way.
    """
    try:
        with part_of(folder, file.name, alone=alone) as part:
            sha256 = _first_that_gives(client, file, part, report)
            part_content(part).replace(folder / file.name)
            record_verified(folder / file.name, sha256)
    except FileNotFoundError:  # our part has gone: another process took it, or cleared it away
        if cache_problem(file, folder):
            raise ZooError(
                f"another process downloads {file.name} too, and took over what had come",
                hint="wait for it, then type the command again",
            ) from None


def _first_that_gives(client: httpx.Client, file: RemoteFile, part: Path, report: Report) -> str:
    """Complete the part from the first mirror that can, and return its sha256."""

    def advance(done: int, total: int | None) -> None:
        report(Progress(file.name, done, total))

    failures = []
    for url in file.urls:
        try:
            sha256 = _fill(client, url, file, part, advance)
        except MirrorError as problem:
            failures.append(f"{urlsplit(url).netloc}: {problem}")
            if url != file.urls[-1]:
                report(Progress(file.name, note=f"{failures[-1]}; trying another mirror"))
            continue
        if file.sha256 is None:
            note = f"nobody publishes its sha256; recorded {sha256}"
            report(Progress(file.name, note=note))
        return sha256
    raise MirrorError("; ".join(failures))


def _fill(client: httpx.Client, url: str, file: RemoteFile, part: Path, advance: Advance) -> str:
    """Complete the part from one mirror and return its sha256, which is the right one."""
    begun = size_of(part) > 0
    _receive(client, url, file, part, advance)
    found = sha256_of(part_content(part))
    if file.sha256 in {None, found}:
        return found
    empty_part(part)
    if begun:  # what an earlier download left may be to blame, so this mirror gets a fair chance
        return _fill(client, url, file, part, advance)
    raise MirrorError(
        f"sent a file whose sha256 is {found[:12]}… instead of {str(file.sha256)[:12]}…"
    )


def _receive(
    client: httpx.Client, url: str, file: RemoteFile, part: Path, advance: Advance
) -> None:
    """Bring the rest of a file, in as many attempts as it takes while the server keeps giving.

    Raises:
        MirrorError: this URL does not give it. What has come stays in the part.
    """
    failures = 0
    while True:
        before = size_of(part)
        try:
            if _attempt(client, url, file, part, advance):
                return
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            gained = size_of(part) - before
            failures = 0 if gained >= WORTHWHILE else failures + 1
            dawdles = failures and isinstance(problem, httpx.TimeoutException)
            if gained <= 0 or dawdles or failures == MAX_FAILURES:
                raise MirrorError(_describe(problem)) from None
            time.sleep(PAUSE)


def _attempt(
    client: httpx.Client, url: str, file: RemoteFile, part: Path, advance: Advance
) -> bool:
    """Ask once for what is missing; return whether the part is complete."""
    done = size_of(part)
    if file.bytes is not None and done >= file.bytes:
        return True  # killed after the last byte and before the check
    with client.stream("GET", url, headers=_range(url, file, part)) as answer:
        if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            empty_part(part)  # what we have is no beginning of what they have
            return False
        start, total = _extent(answer, done)
        if file.bytes is not None and total not in {None, file.bytes}:
            raise MirrorError(f"entries {total} bytes instead of {file.bytes}")
        if start == 0:
            empty_part(part)  # before their source is overwritten
        write_source(part, url, _validator(answer))
        with part_content(part).open("r+b" if start else "wb") as out:
            out.seek(start)
            _copy(answer, out, file.bytes or total, client.timeout.read or 0.0, advance)
            os.fsync(out.fileno())
    return True


def _copy(
    answer: httpx.Response, out: BinaryIO, total: int | None, patience: float, advance: Advance
) -> None:
    """Write the body as it comes over the wire, never more than was announced."""
    done = out.tell()
    began, came = time.monotonic(), 0
    for piece in answer.iter_raw():
        done, came = done + len(piece), came + len(piece)
        if done > (total or LARGEST_FILE):
            out.truncate(0)
            raise MirrorError(f"sends more than the {total or LARGEST_FILE} bytes announced")
        out.write(piece)
        out.flush()  # so that a killed process loses nothing that has come
        advance(done, total)
        elapsed = time.monotonic() - began
        if elapsed > patience:
            if came < SLOWEST * elapsed:
                raise httpx.ReadTimeout(f"slower than {SLOWEST} bytes a second")
            began, came = time.monotonic(), 0
    if total is not None and done < total:
        raise httpx.RemoteProtocolError(f"ended after {done} of {total} bytes")


def _range(url: str, file: RemoteFile, part: Path) -> dict[str, str]:
    """Return the headers that ask for the bytes that are missing.

    ``If-Range`` makes the server send everything if its file has changed. Another mirror, or one
    that gave no validator, is only asked to go on where a published hash will verify the result.
    """
    done, validator = size_of(part), validator_of(part, url)
    if done and validator:
        return {"Range": f"bytes={done}-", "If-Range": validator}
    return {"Range": f"bytes={done}-"} if done and file.sha256 else {}


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
