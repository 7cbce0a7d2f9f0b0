"""What the user asks of the registries: a word to look for, or a plugin to install."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from packaging.version import InvalidVersion, Version

from zoo.catalog.registry import KnownPlugin, Registry, is_url, normalised, read_registry
from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.market.registries import Tell, refresh

WISH = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,78}[A-Za-z0-9])?)(?:\s*==\s*(\S{1,60}))?")


def registry_now(second: str | None, tell: Tell) -> Registry:
    """Return the zoo's registry and the second one, which is fetched first if it has a URL.

    Args:
        second: path or URL; None for what ``ZOO_REGISTRY`` names.
        tell: told of what had to be passed over.

    Raises:
        NotFoundError: the second one cannot be fetched, and there is no copy.
        UsageError: the second one cannot be used.
    """
    named = os.environ.get("ZOO_REGISTRY", "") if second is None else second
    if is_url(named):
        refresh(named, tell)
    registry = read_registry(second)
    for trouble in registry.troubles:
        tell(f"passed over: {trouble}")
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
        )
    return found


def read_wish(words: str) -> tuple[str, str]:
    """Return distribution and version of ``NAME`` or ``NAME==VERSION``; no version is empty.

    Raises:
        UsageError: the words are neither.
    """
    found = WISH.fullmatch(words.strip())
    try:
        version = str(Version(found[2])) if found and found[2] else ""
    except InvalidVersion:
        found = None
    if found is None:
        raise UsageError(
            f"{words[:60]!r} is neither NAME nor NAME==VERSION", hint="zoo plugins search"
        )
    return normalised(found[1]), version


def find_listed(name: str, plugins: Sequence[KnownPlugin], *, unlisted: bool) -> KnownPlugin | None:
    """Return the plugin of a name; None for one that is in no registry and wanted all the same.

    Args:
        name: a distribution, normalised.
        plugins: all that are known.
        unlisted: whether the user wants one that nobody reviewed.

    Raises:
        NotFoundError: no registry lists it, and the user did not say that it need not be.
        UsageError: a registry lists it, and the user asked to pass the registry by.
    """
    for plugin in plugins:
        if plugin.distribution == name and unlisted:
            raise UsageError(
                f"{name} is listed, so only its listed releases are installed",
                hint="the same command without --unlisted",
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
            )
    near = did_you_mean(name, [plugin.distribution for plugin in plugins])
    if near:  # no word of --unlisted: a misspelt name is what somebody may have lain in wait with
        raise NotFoundError(f"no registry lists {name!r}.{near}", hint="zoo plugins search")
    raise NotFoundError(
        f"no registry lists {name!r}",
        cause="nobody has reviewed it, and a plugin is code that can do whatever you can",
        hint=f"zoo plugins install {name} --unlisted, if you trust who published it",
    )
