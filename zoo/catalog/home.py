"""The folder of what can be had anew: downloads, decoded data, copies of registries.

Where ``ZOO_HOME`` names it, it also holds ``plugins.json``: which plugins the user has disabled.
"""

from __future__ import annotations

import os
from pathlib import Path

from zoo.catalog.known import is_trusted_way
from zoo.errors import UsageError


def cache_home() -> Path:
    """Return the cache's folder; it need not exist yet.

    ``ZOO_HOME`` names it; otherwise it is the place that the platform gives to caches.

    Raises:
        UsageError: ``ZOO_HOME`` names the home of a user that there is not.
    """
    named = os.environ.get("ZOO_HOME", "")
    if not named:
        import platformdirs  # here, because most commands only look at ZOO_HOME or at nothing

        return platformdirs.user_cache_path("zoo", appauthor=False)
    try:
        return Path(named).expanduser().absolute()
    except RuntimeError as problem:
        raise UsageError(f"ZOO_HOME={named} cannot be used: {problem}") from None


def copy_of(url: str) -> Path:
    """Return where the copy of a registry of the network is kept.

    Raises:
        UsageError: the URL is one that others could change on the way.
    """
    import hashlib

    if not is_trusted_way(url):
        raise UsageError(f"registry {url[:200]!r} is not safe from changes", hint="an https:// URL")
    return cache_home() / "registries" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.toml"
