"""A name that the user typed -> exactly one thing, or an error that helps."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from zoo.catalog.card import Card
from zoo.catalog.dataset import Dataset, Weights
from zoo.catalog.plugins import DISABLED, Plugin, installed_plugins
from zoo.catalog.registry import (
    CORE,
    KnownPlugin,
    install_command,
    normalised,
    read_registry,
    reserved_names,
)
from zoo.errors import NotFoundError, PluginError, UsageError, did_you_mean

# Holds one folder a plugin, named as its distribution, with NAME.safetensors; it has no code.
WEIGHTS_PACKAGE = "zoo_weights"


@dataclass(frozen=True)
class ModelEntry:
    """A model that is installed: its card, and the plugin that it comes from."""

    card: Card
    plugin: Plugin

    @property
    def full_name(self) -> str:
        """``distribution:name``, which means this one and no other."""
        return f"{self.plugin.distribution}:{self.card.name}"

    @property
    def name(self) -> str:
        """What users type: the card's name, or the full one where that means another or none."""
        return self.full_name if self.card.name in self.plugin.shadowed else self.card.name

    def is_called(self, name: str) -> bool:
        """Whether a user who types `name`, or ``distribution:name``, means this one."""
        return name in {self.name, self.full_name}


def installed_models() -> list[ModelEntry]:
    """Return every model that is installed, by name."""
    found = [ModelEntry(card, plugin) for plugin in installed_plugins() for card in plugin.models]
    return sorted(found, key=lambda entry: (entry.card.name, entry.plugin.distribution))


def find_model(name: str) -> ModelEntry:
    """Return the model called `name`, or ``distribution:name``.

    Raises:
        NotFoundError: no installed plugin offers it.
        UsageError: several do, and the name does not say which.
    """
    found = installed_models()
    for entry in found:
        if entry.is_called(name):
            return entry
    alike = [entry.full_name for entry in found if entry.card.name == name]
    if alike and name not in reserved_names():
        raise UsageError(
            f"several plugins offer {name!r}", hint=" or ".join(alike), code="ambiguous-name"
        )
    raise _no_model(name, alike)


def plugins_and_models(word: str) -> tuple[list[str], list[ModelEntry]]:
    """Return what a word means: a distribution and its models, or one model and what brings it.

    Returns:
        Names of distributions, and models; both empty where nothing is called like that.
    """
    models = installed_models()
    distributions = {plugin.distribution for plugin in installed_plugins()}
    whole = sorted(each for each in distributions if normalised(each) == normalised(word))
    if whole:
        return whole, [each for each in models if each.plugin.distribution in whole]
    distribution, _, name = word.rpartition(":")
    for each in models:
        if distribution and normalised(each.plugin.distribution) == normalised(distribution):
            word = f"{each.plugin.distribution}:{name}"
    found = [each for each in models if each.is_called(word)]
    return sorted({each.plugin.distribution for each in found}), found


def load_class(entry: ModelEntry) -> type[Any]:
    """Import the class that a card names.

    Raises:
        PluginError: the file cannot be imported, or the class is not in it.
    """
    module, _, attribute = entry.card.model.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as problem:
        if isinstance(problem, ModuleNotFoundError) and extra_with(problem.name):
            raise  # the command says which extra brings it
        raise _broken(entry, problem) from problem
    if not isinstance(found, type):
        raise _broken(entry, TypeError(f"{entry.card.model} is not a class"))
    return found


def extras() -> dict[str, list[str]]:
    """Return the packages that each extra of zoo-core brings, by the extra's name.

    Nothing where zoo runs from its source without being installed.
    """
    found: dict[str, list[str]] = {}
    try:
        required = metadata.requires(CORE) or ()
    except metadata.PackageNotFoundError:
        return found
    for line in required:
        match = re.match(r"""([\w.-]+).*\bextra *== *['"]([^'"]+)""", line)
        if match:
            found.setdefault(match[2], []).append(match[1])
    return found


def extra_with(module: str | None) -> str:
    """Return the extra of zoo-core that brings a module, such as ``train`` for torch, or nothing.

    The packages of these extras are imported by the names that they are installed by.
    """
    package = (module or "").partition(".")[0].replace("_", "-")
    return next((name for name, there in extras().items() if package in there), "")


def missing_package(module: str) -> PluginError:
    """Return the error for a module that an extra of zoo-core would bring."""
    hint = install_command(CORE, extra=extra_with(module))
    name = module.partition(".")[0]
    return PluginError(f"{name} is not installed", hint=hint, code="missing-package")


def datasets() -> list[Dataset]:
    """Return every data set of the registry and of the plugins, by what users call it."""
    rows = list(read_registry().datasets)
    rows += [dataset for plugin in installed_plugins() for dataset in plugin.datasets]
    return sorted(rows, key=lambda dataset: dataset.name)


def dataset_called(name: str) -> Dataset | None:
    """Return the data set that `name`, or ``distribution:name``, means, if it means one."""
    distribution, _, plain = name.rpartition(":")
    for plugin in installed_plugins():  # a full name is good where the plain one would do as well
        if plugin.distribution == distribution and plain in {row.name for row in plugin.datasets}:
            name = plain
    return next((dataset for dataset in datasets() if dataset.name == name), None)


def find_dataset(name: str) -> Dataset:
    """Return the data set called `name`, or ``distribution:name``.

    Raises:
        NotFoundError: the catalogue has none of that name.
        UsageError: several plugins bring one of that name.
    """
    found = dataset_called(name)
    if found is not None:
        return found
    known = [dataset.name for dataset in datasets()]
    alike = [each for each in known if each.endswith(f":{name}")]
    if alike:
        raise UsageError(
            f"several plugins bring a data set {name!r}",
            hint=" or ".join(alike),
            code="ambiguous-name",
        )
    near = did_you_mean(name, known)
    raise NotFoundError(
        f"data set {name[:60]!r} not found.{near}", hint="zoo data list", code="data-not-found"
    )


def published_weights(entry: ModelEntry) -> list[Weights]:
    """Return the published weights of a model, its default ones first; a registry has plain names.

    The default ones are those of the model's own name, or else the first of the registry.
    """
    rows = [row for row in read_registry().weights if row.model == entry.name]
    return sorted(rows, key=lambda row: row.name != entry.name)


def weights_called(name: str) -> Weights | None:
    """Return the published weights of a name, if the registry has any."""
    return next((row for row in read_registry().weights if row.name == name), None)


def find_model_or_weights(name: str) -> tuple[ModelEntry, Weights | None]:
    """Return the model that a name means, or the one of published weights of that name, and these.

    A model comes before weights of its name, which may be another model's.

    Raises:
        NotFoundError: nothing installed is called so.
        UsageError: several plugins offer a model of that name.
    """
    try:
        return find_model(name), None
    except NotFoundError:
        weights = weights_called(name)
        if weights is None or weights.model == name:
            raise
        return find_model(weights.model), weights


def weights_here(entry: ModelEntry, weights: Weights) -> Path | None:
    """Return the file of published weights in the package zoo-weights, if it is there."""
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, entry.plugin.distribution, weights.file.name)
        if path.is_file():
            return path
    return None


def known_plugin_with(model: str) -> KnownPlugin | None:
    """Return the plugin of the registries that brings a model, ``NAME`` or ``distribution:NAME``.

    Raises:
        UsageError: the second registry cannot be read.
    """
    distribution, _, name = model.rpartition(":")
    for plugin in read_registry().plugins:
        if name in plugin.models and distribution in {"", plugin.distribution}:
            return plugin
    return None


def _no_model(name: str, alike: Sequence[str]) -> NotFoundError:
    """Return the error for a model that is not here: broken, to be installed, or misspelt."""
    known = known_plugin_with(name)
    plugins = {plugin.distribution: plugin for plugin in installed_plugins()}
    here = plugins.get(known.distribution) if known else None
    missing = f"model {name[:60]!r} not found"
    if known and here is None:
        others = f"; {' and '.join(alike)} is another model" if alike else ""
        return NotFoundError(
            missing,
            cause=f"{known.distribution} offers it and is not installed{others}",
            hint=known.how_to_install,
            code="model-not-found",
        )
    if here and (here.trouble or here.left_out):
        is_disabled = here.left_out == DISABLED
        return NotFoundError(
            missing,
            cause=f"{here.distribution} offers it and is not loaded: "
            f"{here.trouble or here.left_out}",
            hint=f"zoo plugins {'enable ' + here.distribution if is_disabled else 'list'}",
            code="model-not-found",
        )
    names = [entry.card.name for entry in installed_models()]
    names += [row.name for row in read_registry().weights if row.model in names]
    near = did_you_mean(name.rpartition(":")[2], names)
    absent = [each.distribution for each in plugins.values() if each.trouble or each.left_out]
    cause = f"not loaded: {', '.join(absent)} (zoo plugins list says why)" if absent else ""
    return NotFoundError(f"{missing}.{near}", cause=cause, hint="zoo list", code="model-not-found")


def _broken(entry: ModelEntry, problem: Exception) -> PluginError:
    return PluginError(
        f"model {entry.card.name!r} of {entry.plugin.distribution} cannot be imported: "
        f"{type(problem).__name__}: {problem}",
        cause="the plugin is broken or was made for another version of zoo-core",
        hint=install_command(entry.plugin.distribution, upgrade=True),
        code="plugin-failed",
    )
