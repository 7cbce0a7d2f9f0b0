"""Registries, fetched if they have a URL, and what the user asks of them: a word, or a plugin.

A registry of the network is fetched with a time limit, checked, and kept as a copy.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
from packaging.version import InvalidVersion, Version

from zoo.atomic import replacing
from zoo.catalog.dataset import is_trusted_way, is_url
from zoo.catalog.registry import (
    MAX_FILE_BYTES,
    KnownPlugin,
    Registry,
    copy_of,
    load_second,
    normalised,
    read_registry,
)
from zoo.data.download import make_folder
from zoo.data.transfer import open_client
from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.messages import Log

SECONDS = 15.0  # for all of it, headers and redirects included; it is small

REQUIREMENT = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,78}[A-Za-z0-9])?)(?:\s*==\s*(\S{1,60}))?"
)


class FetchError(Exception):
    """The registry could not be fetched; the copy may be used."""


def refresh(url: str, log: Log, *, seconds: float = SECONDS) -> None:
    """Fetch a registry into its copy; where that fails and there is a copy, log why.

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
                raise FetchError(f"it is no registry: {problem}") from None
    except (FetchError, httpx.HTTPError, httpx.InvalidURL) as problem:
        why = " ".join(str(problem).split())[:200] or type(problem).__name__
        if not copy.exists():
            raise NotFoundError(
                f"the registry {url} could not be fetched",
                cause=why,
                hint="the network and the address, or --registry with a file",
                code="registry-unreachable",
            ) from None
        log(f"the registry {url} could not be fetched ({why}); using the copy of {_day(copy)}")


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
        raise FetchError(f"slower than {seconds:g} seconds")
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _read(url: str, seconds: float) -> bytes:
    content = b""
    end = time.monotonic() + seconds  # the thread ends as well, at the next piece
    with open_client(seconds) as client, client.stream("GET", url) as answer:
        if not all(is_trusted_way(str(hop.url)) for hop in (*answer.history, answer)):
            raise FetchError("it leads to an address that is not https")
        if answer.status_code != httpx.codes.OK:
            raise FetchError(f"HTTP {answer.status_code} {answer.reason_phrase}".strip())
        for piece in answer.iter_raw():
            content += piece
            if len(content) > MAX_FILE_BYTES:
                raise FetchError(f"larger than {MAX_FILE_BYTES} bytes")
            if time.monotonic() > end:
                raise FetchError(f"slower than {seconds:g} seconds")
    return content


def _day(path: Path) -> str:
    with suppress(OSError):
        return time.strftime("%Y-%m-%d", time.localtime(path.stat().st_mtime))
    return "earlier"


def load_registries(second: str | None, log: Log) -> Registry:
    """Return the zoo's registry and the second one, which is fetched first if it has a URL.

    Raises:
        NotFoundError: the second one cannot be fetched, and there is no copy.
        UsageError: the second one cannot be used.
    """
    named = os.environ.get("ZOO_REGISTRY", "") if second is None else second
    if is_url(named):
        refresh(named, log)
    registry = read_registry(second)
    for trouble in registry.troubles:
        log(f"passed over: {trouble}")
    return registry


def matching(plugins: Sequence[KnownPlugin], word: str) -> list[KnownPlugin]:
    """Return the plugins whose name, models or summary hold a word, whatever its case.

    Raises:
        NotFoundError: none does.
    """
    sought = word.casefold()
    found = [
        plugin
        for plugin in plugins
        if any(
            sought in text.casefold()
            for text in (plugin.distribution, *plugin.models, plugin.summary)
        )
    ]
    if not found:
        names = [name for plugin in plugins for name in (plugin.distribution, *plugin.models)]
        raise NotFoundError(
            f"no known plugin matches {word[:60]!r}.{did_you_mean(word, names)}",
            hint="zoo plugins search",
            code="plugin-not-found",
        )
    return found


def parse_requirement(words: str) -> tuple[str, str]:
    """Return distribution and version of ``NAME`` or ``NAME==VERSION``; no version is empty.

    Raises:
        UsageError: the words are neither.
    """
    found = REQUIREMENT.fullmatch(words.strip())
    try:
        version = str(Version(found[2])) if found and found[2] else ""
    except InvalidVersion:
        found = None
    if found is None:
        raise UsageError(
            f"{words[:60]!r} is neither NAME nor NAME==VERSION",
            hint="zoo plugins search",
            code="bad-value",
        )
    return normalised(found[1]), version


def find_listed(name: str, plugins: Sequence[KnownPlugin], *, unlisted: bool) -> KnownPlugin | None:
    """Return the plugin of a name; None for one that is in no registry and wanted all the same.

    Raises:
        NotFoundError: no registry lists it, and the user did not say that it need not be.
        UsageError: a registry lists it, and the user asked to pass the registry by.
    """
    for plugin in plugins:
        if plugin.distribution == name and unlisted:
            raise UsageError(
                f"{name} is listed, so only its listed releases are installed",
                hint="the same command without --unlisted",
                code="conflicting-options",
            )
        if plugin.distribution == name:
            return plugin
    if unlisted:
        return None
    for plugin in plugins:
        if name in plugin.models:
            raise NotFoundError(
                f"{name!r} is a model, and {plugin.distribution} the plugin that brings it",
                hint=plugin.how_to_install,
                code="plugin-not-found",
            )
    near = did_you_mean(name, [plugin.distribution for plugin in plugins])
    if near:  # without naming --unlisted: the misspelt name may be a squatter's
        raise NotFoundError(
            f"no registry lists {name!r}.{near}", hint="zoo plugins search", code="plugin-not-found"
        )
    raise NotFoundError(
        f"no registry lists {name!r}",
        cause="nobody has reviewed it, and a plugin is code that can do whatever you can",
        hint=f"zoo plugins install {name} --unlisted, if you trust who published it",
        code="plugin-not-found",
    )
