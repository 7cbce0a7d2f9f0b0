"""A name that the user typed -> exactly one thing, or an error that helps."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.catalog.card import Card
from zoo.catalog.dataset import Dataset, Weights
from zoo.catalog.plugins import Plugin, installed
from zoo.catalog.registry import read_registry
from zoo.errors import NotFoundError, PluginError, UsageError, did_you_mean


@dataclass(frozen=True)
class Offer:
    """A model and the plugin that offers it."""

    card: Card
    plugin: Plugin

    def is_called(self, name: str) -> bool:
        """Whether a user who types `name`, or ``distribution:name``, may mean this one."""
        distribution, _, plain = name.rpartition(":")
        return self.card.name == plain and distribution in {"", self.plugin.distribution}


def offers() -> list[Offer]:
    """Return every model that is installed, by name."""
    found = [Offer(card, plugin) for plugin in installed() for card in plugin.models]
    return sorted(found, key=lambda offer: (offer.card.name, offer.plugin.distribution))


def find_model(name: str) -> Offer:
    """Return the model called `name`, or ``distribution:name``.

    Raises:
        NotFoundError: no installed plugin offers it.
        UsageError: several do, and the name does not say which.
    """
    matches = [offer for offer in offers() if offer.is_called(name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = [f"{offer.plugin.distribution}:{offer.card.name}" for offer in matches]
        raise UsageError(f"several plugins offer {name!r}", hint=" or ".join(names))
    raise _no_model(name)


def load_class(offer: Offer) -> type[Any]:
    """Import the class that a card names.

    Raises:
        PluginError: the file cannot be imported, or the class is not in it.
    """
    module, _, attribute = offer.card.model.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as problem:
        if problem.name in {"torch", "lightning_fabric"}:
            raise needs_extra("train", problem.name) from None
        raise _broken(offer, problem) from problem
    except Exception as problem:
        raise _broken(offer, problem) from problem
    if not isinstance(found, type):
        raise _broken(offer, TypeError(f"{offer.card.model} is not a class"))
    return found


def needs_extra(extra: str, module: str) -> PluginError:
    """Return the error for a package that an extra of zoo-core would bring."""
    return PluginError(f"{module} is not installed", hint=f"pip install 'zoo-core[{extra}]'")


def datasets() -> list[Dataset]:
    """Return every data set of the registry and of the plugins, by name."""
    rows = list(read_registry().datasets)
    rows += [dataset for plugin in installed() for dataset in plugin.datasets]
    return sorted(rows, key=lambda dataset: dataset.name)


def find_dataset(name: str) -> Dataset:
    """Return the data set called `name`.

    Raises:
        NotFoundError: the catalogue has none of that name.
        UsageError: several plugins bring one of that name.
    """
    matches = [dataset for dataset in datasets() if dataset.name == name]
    if len(matches) > 1:
        raise UsageError(
            f"several plugins bring a data set {name!r}", hint="zoo plugins list shows which"
        )
    if not matches:
        near = did_you_mean(name, [dataset.name for dataset in datasets()])
        raise NotFoundError(f"data set {name[:60]!r} not found.{near}", hint="zoo data list")
    return matches[0]


def published_weights(model: str) -> Weights | None:
    """Return the published weights of a model, if the registry has any."""
    return next((row for row in read_registry().weights if row.model == model), None)


def _no_model(name: str) -> NotFoundError:
    near = did_you_mean(name.rpartition(":")[2], _names(offers()))
    broken = [plugin.distribution for plugin in installed() if plugin.trouble]
    cause = f"{', '.join(broken)} could not be loaded (zoo plugins list)" if broken else ""
    return NotFoundError(f"model {name[:60]!r} not found.{near}", cause=cause, hint="zoo list")


def _names(found: Sequence[Offer]) -> list[str]:
    return [offer.card.name for offer in found]


def _broken(offer: Offer, problem: Exception) -> PluginError:
    return PluginError(
        f"model {offer.card.name!r} of {offer.plugin.distribution} cannot be imported: "
        f"{type(problem).__name__}: {problem}",
        cause="the plugin is broken or was made for another version of zoo-core",
        hint=f"pip install --upgrade {offer.plugin.distribution}",
    )
