"""Whose a name is, where several plugins offer one, or where it belongs to the zoo.

A name that one plugin alone offers is its own. Names of first-party models and of the catalogue's
data sets are reserved, whether they are installed or not. Whatever a plain name does not mean is
called ``distribution:name``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from zoo.catalog.known import normalised
from zoo.catalog.registry import reserved_names

if TYPE_CHECKING:
    from zoo.catalog.plugins import Plugin

Claims = Mapping[str, Sequence[str]]  # name -> the distributions that offer it


def settle(plugins: Sequence[Plugin]) -> tuple[Plugin, ...]:
    """Give every plugin the names by which its models and data sets are reached, and say so.

    Raises:
        ZooError: the catalogue of the installation cannot be read.
    """
    reserved = reserved_names()
    plugins = _without_repeats(plugins)
    models = _claims([(p.distribution, [card.name for card in p.models]) for p in plugins])
    datasets = _claims([(p.distribution, [row.name for row in p.datasets]) for p in plugins])
    return tuple(_settled(plugin, models, datasets, reserved) for plugin in plugins)


def _without_repeats(plugins: Sequence[Plugin]) -> list[Plugin]:
    """Let only the first of several modules of one distribution offer a name."""
    seen: set[tuple[str, str, str]] = set()
    found = []
    for plugin in plugins:
        offered = [("model", plugin.distribution, card.name) for card in plugin.models]
        offered += [("data set", plugin.distribution, row.name) for row in plugin.datasets]
        repeated = [each for each in offered if each in seen]
        seen.update(offered)
        if repeated:
            kind, _, name = repeated[0]
            trouble = f"another module of {plugin.distribution} offers {kind} {name!r} already"
            plugin = replace(plugin, models=(), datasets=(), trouble=trouble)  # noqa: PLW2901
        found.append(plugin)
    return found


def _settled(
    plugin: Plugin, models: Claims, datasets: Claims, reserved: Mapping[str, str]
) -> Plugin:
    own = plugin.distribution
    shadowed = {
        card.name for card in plugin.models if not _is_own(card.name, own, models, reserved)
    }
    hidden = {row.name for row in plugin.datasets if not _is_own(row.name, own, datasets, reserved)}
    notes = [
        *_notes("model", [card.name for card in plugin.models], own, models, reserved),
        *_notes("data set", [row.name for row in plugin.datasets], own, datasets, reserved),
    ]
    if not (notes or hidden):
        return plugin
    return replace(
        plugin,
        models=tuple(
            replace(card, data=f"{own}:{card.data}") if card.data in hidden else card
            for card in plugin.models
        ),
        datasets=tuple(
            replace(row, name=f"{own}:{row.name}") if row.name in hidden else row
            for row in plugin.datasets
        ),
        notes=(*plugin.notes, *notes),
        shadowed=frozenset(shadowed),
    )


def _claims(offered: Sequence[tuple[str, Sequence[str]]]) -> Claims:
    found: dict[str, list[str]] = defaultdict(list)
    for distribution, names in offered:
        for name in names:
            found[name].append(distribution)
    return found


def _is_own(name: str, distribution: str, claims: Claims, reserved: Mapping[str, str]) -> bool:
    """Whether the plain name means what this distribution offers."""
    if name in reserved:
        return normalised(distribution) == reserved[name]
    return len(set(claims[name])) == 1


def _notes(
    kind: str, names: Sequence[str], own: str, claims: Claims, reserved: Mapping[str, str]
) -> list[str]:
    notes = []
    for name in names:
        others = sorted(set(claims[name]) - {own})
        if name in reserved and normalised(own) != reserved[name]:
            notes.append(f"{kind} {name!r} is {reserved[name]}'s: this one is {own}:{name}")
        elif name in reserved and others:
            told = ", ".join(f"{other}:{name}" for other in others)
            notes.append(f"{kind} {name!r} is offered by others too, as {told}")
        elif others:
            told = (
                f"{kind} {name!r} is also offered by {', '.join(others)}: this one is {own}:{name}"
            )
            notes.append(told)
    return notes
