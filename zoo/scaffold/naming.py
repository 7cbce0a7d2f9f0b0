"""One name that the user typed -> all names in a new plugin, or an error that says why not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import keyword
from dataclasses import dataclass

from zoo.catalog.card import MAX_NAME, check_name
from zoo.catalog.lookup import offers
from zoo.catalog.registry import read_registry, reserved_names
from zoo.errors import UsageError

PREFIX = "zoo-"  # of distributions, so that their import names hide nobody else's module


@dataclass(frozen=True)
class Names:
    """What a new plugin and its parts are called.

    Args:
        model: what users type after ``zoo train``.
    """

    model: str

    @property
    def distribution(self) -> str:
        """What users type after ``pip install``."""
        return self.model if self.model.startswith(PREFIX) else PREFIX + self.model

    @property
    def package(self) -> str:
        """What Python imports."""
        return self.distribution.replace("-", "_")

    @property
    def module(self) -> str:
        """The file of the model, inside the package."""
        return self.model.replace("-", "_")

    @property
    def class_name(self) -> str:
        """The model's class."""
        return "".join(word.capitalize() for word in self.model.split("-"))


def names_of(model: str) -> Names:
    """Return the names of a plugin for a new model.

    Raises:
        UsageError: the name is no name, is taken or reserved, or is a word of Python.
    """
    names = Names(model)
    try:
        check_name(model, "model")
    except ValueError as problem:
        raise UsageError(str(problem), hint="zoo plugins new my-model") from None
    reason = _why_not(names)
    if reason:
        raise UsageError(
            f"a new model cannot be called {model!r}: {reason}",
            hint=f"zoo plugins new my-{model[:12].strip('-')}",
        )
    return names


def _why_not(names: Names) -> str:
    """Return why nobody can use these names, or nothing where they are free."""
    if len(names.distribution) > MAX_NAME:
        return f"{names.distribution}, its distribution, has more than {MAX_NAME} characters"
    offering = [offer.plugin.distribution for offer in offers() if offer.card.name == names.model]
    if offering:
        return f"{offering[0]}, which is installed, has a model of that name"
    for row in read_registry().plugins:
        if names.model in row.models or names.distribution == row.distribution:
            return f"the name belongs to {row.distribution}, which the catalogue lists"
    if names.model in reserved_names():
        return "the name is reserved for zoo's own"
    if _is_distribution(names.distribution) or _is_module(names.package):
        return f"{names.distribution} is installed already"
    if keyword.iskeyword(names.module):
        return "it is a word of Python's, and the model's file could not be imported"
    if _is_module(names.module):
        return f"{names.module} is a module of Python's or of an installed package"
    return ""


def _is_module(name: str) -> bool:
    """Whether `import name` finds something; a folder that merely lies here does not count."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None


def _is_distribution(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
