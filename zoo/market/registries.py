"""Registries of the network: fetched with a time limit, checked, and kept as a copy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx

from zoo.atomic import replacing
from zoo.catalog.registry import MAX_FILE_BYTES, copy_of, is_trusted_way, load_second
from zoo.data.cache import make_folder
from zoo.data.transfer import open_client
from zoo.errors import NotFoundError

SECONDS = 15.0  # for all of it, headers and redirects included; it is small

Tell = Callable[[str], None]


class UnfetchedError(Exception):
    """The registry could not be had; the copy may serve."""


def refresh(url: str, tell: Tell, *, seconds: float = SECONDS) -> None:
    """Bring the copy of a registry up to date, or say why it stays as it is.

    Args:
        url: where the registry lies.
        tell: told that an older copy is used.
        seconds: after which the server is left.

    Raises:
        NotFoundError: it cannot be fetched, and there is no copy.
        UsageError: it takes names that are the zoo's, or its URL cannot be trusted.
    """
    copy = copy_of(url)
    make_folder(copy.parent)
    try:
        with replacing(copy) as temporary:
            temporary.write_bytes(_get(url, seconds))
            try:
                load_second(temporary, url)
            except ValueError as problem:
                raise UnfetchedError(f"it is no registry: {problem}") from None
    except (UnfetchedError, httpx.HTTPError, httpx.InvalidURL) as problem:
        why = " ".join(str(problem).split())[:200] or type(problem).__name__
        if not copy.exists():
            raise NotFoundError(
                f"the registry {url} could not be fetched",
                cause=why,
                hint="the network and the address, or --registry with a file",
            ) from None
        tell(f"the registry {url} could not be fetched ({why}); using the copy of {_day(copy)}")


def _get(url: str, seconds: float) -> bytes:
    """Fetch a registry in a thread that is left behind when the time is over.

    A timeout of the client would hold for each piece that comes, headers included, not for all.
    """
    outcome: list[bytes | BaseException] = []

    def work() -> None:
        try:
            outcome.append(_read(url, seconds))
        except BaseException as problem:  # raised again where it is waited for
            outcome.append(problem)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise UnfetchedError(f"slower than {seconds:g} seconds")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _read(url: str, seconds: float) -> bytes:
    content = b""
    end = time.monotonic() + seconds  # the thread ends as well, at the next piece
    with open_client(seconds) as client, client.stream("GET", url) as answer:
        if not all(is_trusted_way(str(hop.url)) for hop in (*answer.history, answer)):
            raise UnfetchedError("it leads to an address that is not https")
        if answer.status_code != httpx.codes.OK:
            raise UnfetchedError(f"HTTP {answer.status_code} {answer.reason_phrase}".strip())
        for piece in answer.iter_raw():
            content += piece
            if len(content) > MAX_FILE_BYTES:
                raise UnfetchedError(f"larger than {MAX_FILE_BYTES} bytes")
            if time.monotonic() > end:
                raise UnfetchedError(f"slower than {seconds:g} seconds")
    return content


def _day(path: Path) -> str:
    with suppress(OSError):
        return time.strftime("%Y-%m-%d", time.localtime(path.stat().st_mtime))
    return "earlier"
