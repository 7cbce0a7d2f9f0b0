"""Which of the installed plugins the user wants: ``ZOO_PLUGINS``, and those that are disabled.

``plugins.json`` holds the disabled ones: in the folder that ``ZOO_HOME`` names, otherwise where
the platform keeps configurations. It is the user's, for all environments.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from zoo.atomic import write_json
from zoo.catalog.home import cache_home
from zoo.catalog.known import normalised
from zoo.errors import NotFoundError, UsageError, ZooError, did_you_mean
from zoo.records import read_json

VARIABLE = "ZOO_PLUGINS"  # the only plugins that are wanted, with commas; empty for none
DISABLED = "disabled"


def left_out(distributions: Collection[str]) -> Mapping[str, str]:
    """Return which of the installed distributions are not to be loaded, each with the reason.

    Raises:
        UsageError: ``ZOO_PLUGINS`` names one that is not installed.
        ZooError: ``plugins.json`` cannot be read.
    """
    off = disabled()
    reasons = dict.fromkeys((name for name in distributions if normalised(name) in off), DISABLED)
    allowed = os.environ.get(VARIABLE)
    if allowed is None:
        return reasons
    wanted = {
        normalised(_find(word.strip(), distributions, VARIABLE))
        for word in allowed.split(",")
        if word.strip()
    }
    others = (name for name in distributions if normalised(name) not in wanted)
    return reasons | dict.fromkeys(others, f"left out by --no-plugins or {VARIABLE}")


def disable(name: str, distributions: Collection[str]) -> str:
    """Remember that a plugin is not to be loaded; return what it is called.

    Raises:
        NotFoundError: none of the installed distributions is called so.
        ZooError: ``plugins.json`` cannot be read or written.
    """
    found = _find(name, distributions, "zoo plugins disable")
    _write(disabled() | {normalised(found)})
    return found


def enable(name: str, distributions: Collection[str]) -> str:
    """Forget that a plugin is disabled, be it installed or no longer; return what it is called.

    Raises:
        NotFoundError: no plugin of that name is installed or disabled.
        ZooError: ``plugins.json`` cannot be read or written.
    """
    before = disabled()
    gone = before - {normalised(each) for each in distributions}
    found = _find(name, [*distributions, *gone], "zoo plugins enable")
    _write(before - {normalised(found)})
    return found


def disabled() -> frozenset[str]:
    """Return the names of the plugins that are disabled, normalised.

    Raises:
        ZooError: ``plugins.json`` cannot be read.
    """
    path = _path()
    try:
        return frozenset(read_json(path, dict[str, list[str]])["disabled"])
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except KeyError:
        raise _unreadable(path, "'disabled' is missing") from None
    except (OSError, ValueError) as problem:
        raise _unreadable(path, str(problem)) from None


def _write(names: frozenset[str]) -> None:
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"disabled": sorted(names)})


def _path() -> Path:
    if os.environ.get("ZOO_HOME"):
        return cache_home() / "plugins.json"
    import platformdirs  # here, because whoever names a ZOO_HOME need not wait for it

    return platformdirs.user_config_path("zoo", appauthor=False) / "plugins.json"


def _unreadable(path: Path, cause: str) -> ZooError:
    return ZooError(
        f"{path}, which says what plugins are disabled, cannot be read",
        cause=cause,
        hint="remove the file, and disable them again",
    )


def _find(name: str, distributions: Collection[str], asked_by: str) -> str:
    """Return the distribution that a user means, however it is spelt."""
    for distribution in distributions:
        if normalised(distribution) == normalised(name):
            return distribution
    kind = UsageError if asked_by == VARIABLE else NotFoundError
    raise kind(
        f"{asked_by}: no plugin {name[:60]!r} is installed.{did_you_mean(name, distributions)}",
        hint="zoo plugins list" if kind is NotFoundError else f"correct {VARIABLE}, or unset it",
    )
