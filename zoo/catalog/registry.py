"""The catalogue of known plugins, data sets and weights: the one that ships, and a second one."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path

from zoo.catalog.home import copy_of
from zoo.catalog.known import CORE, KnownPlugin, in_a_clone, is_url
from zoo.catalog.registry_file import Registry, load_registry
from zoo.errors import UsageError, ZooError


def read_registry(second: str | None = None) -> Registry:
    """Return the catalogue that comes with the zoo, and a second one of a class or a company.

    The second one's data sets and weights hold before the zoo's own of the same name. Its plugins
    are added: it cannot take the name of one that the zoo lists, or of a first-party model.

    Args:
        second: path or URL of the second one; None for the one that ``ZOO_REGISTRY`` names. Of a
            URL the copy is read that `zoo plugins search` keeps.

    Raises:
        UsageError: the second one cannot be read, or takes a name that is not its own.
        ZooError: the catalogue of the installation cannot be read.
    """
    own = _own()
    named = os.environ.get("ZOO_REGISTRY", "") if second is None else second
    if not named:
        return own
    added = _second(named, "--registry" if second else "ZOO_REGISTRY")
    rows = {row.name: row for row in (*own.datasets, *added.datasets)}
    weights = {row.model: row for row in (*own.weights, *added.weights)}
    return Registry(
        tuple(rows.values()),
        tuple(weights.values()),
        (*own.plugins, *added.plugins),
        (*own.troubles, *added.troubles),
    )


def reserved_names() -> Mapping[str, str]:
    """Return the names that belong to the zoo, each with the distribution that may use it.

    These are the models of first-party plugins, installed or not, and the data sets of the
    catalogue that ships. They do not depend on a second registry.
    """
    own = _own()
    names = {row.name: CORE for row in own.datasets}
    for plugin in own.plugins:
        if plugin.tier == "first-party":
            names |= dict.fromkeys(plugin.models, plugin.distribution)
    return names


def plugin_of(model: str) -> KnownPlugin | None:
    """Return the plugin that is known to bring a model, called ``NAME`` or ``distribution:NAME``.

    Raises:
        UsageError: the second registry cannot be read.
    """
    distribution, _, name = model.rpartition(":")
    for plugin in read_registry().plugins:
        if name in plugin.models and distribution in {"", plugin.distribution}:
            return plugin
    return None


def install_command(distribution: str, *, extra: str = "", upgrade: bool = False) -> str:
    """Return what to type to install a distribution, or the newest version of it.

    Args:
        distribution: the zoo's own, one that a registry lists, or any other.
        extra: of the distribution, such as ``"train"``.
        upgrade: whether an older version is installed.

    Raises:
        UsageError: the second registry cannot be read.
    """
    if distribution == CORE:
        what = f"'.[{extra}]'" if extra else "."
        return in_a_clone(f"{'git pull && ' * upgrade}pip install {what}")
    for plugin in read_registry().plugins:
        if plugin.distribution == distribution:
            return plugin.how_to_install
    return f"pip install {'--upgrade ' * upgrade}{distribution}"


def load_second(path: Path, named: str) -> Registry:
    """Read a registry of a class or a company, which must not pass itself off as the zoo's.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no registry.
        UsageError: it takes names that are the zoo's.
    """
    added = load_registry(path, named)
    for plugin in added.plugins:
        _refuse_foreign_names(plugin, named)
    return added


@functools.cache
def _own() -> Registry:
    path = Path(__file__).with_name("registry.toml")  # inside an installed package
    path = path if path.exists() else Path(__file__).parents[2] / "registry.toml"
    try:
        return load_registry(path, str(path))
    except (OSError, ValueError) as problem:
        raise ZooError(
            f"the catalogue {path} cannot be read: {problem}",
            hint=in_a_clone("pip install --force-reinstall ."),
        ) from None


def _second(named: str, named_by: str) -> Registry:
    path = copy_of(named) if is_url(named) else Path(named)
    try:
        path = path.expanduser()
        return load_second(path, named if is_url(named) else str(path))
    except (OSError, ValueError, RuntimeError) as problem:  # RuntimeError: ~nobody has no home
        if is_url(named) and not path.exists():
            raise UsageError(
                f"there is no copy of the registry {named} yet", hint="zoo plugins search"
            ) from None
        raise UsageError(
            f"{named_by} names a file that cannot be read: {named}",
            cause=str(problem),
            hint=f"correct the file, or leave {named_by} out",
        ) from None


def _refuse_foreign_names(plugin: KnownPlugin, named: str) -> None:
    """Refuse a row of a second registry that passes itself off as the zoo's."""
    taken = {CORE, *(row.distribution for row in _own().plugins)}
    reserved = reserved_names()
    claims = [f"the plugin {plugin.distribution!r}"] if plugin.distribution in taken else []
    claims += [f"the name {model!r}" for model in plugin.models if model in reserved]
    claims += ["the tier 'first-party'"] if plugin.tier == "first-party" else []
    if claims:
        raise UsageError(
            f"registry {named}: plugin {plugin.distribution!r} claims {claims[0]}, which is zoo's",
            hint="another name in that row; a second registry adds plugins and replaces none",
        )
