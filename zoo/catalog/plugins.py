"""Discovery of plugins through entry points, each apart from all others.

Every entry point is loaded by itself and registered with a plugin manager of its own, so that a
plugin that raises, misspells a hook or imports torch spoils nothing but its own row in
`zoo plugins list`.
"""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import pluggy

from zoo.catalog import hookspecs
from zoo.catalog.card import Card
from zoo.catalog.dataset import Dataset

HEAVY = frozenset({"torch", "onnx", "onnxruntime", "onnxscript", "lightning_fabric"})

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Plugin:
    """One entry point and what became of it.

    Args:
        distribution: the installed package that brings it.
        version: version of that package.
        module: what the entry point names.
        models: cards it provides.
        datasets: data sets it provides.
        trouble: why it provides nothing, with file and line where known; empty when all is well.
    """

    distribution: str
    version: str
    module: str
    models: tuple[Card, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    trouble: str = ""


@functools.cache
def installed() -> tuple[Plugin, ...]:
    """Return every plugin that is installed, broken ones included, ordered by distribution."""
    found = entry_points(group=hookspecs.PROJECT)
    plugins = [_load(entry) for entry in found]
    return tuple(sorted(plugins, key=lambda plugin: (plugin.distribution, plugin.module)))


def _load(entry: EntryPoint) -> Plugin:
    distribution, version = (
        (entry.dist.name, entry.dist.version) if entry.dist else (entry.name, "")
    )
    models: tuple[Card, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    trouble = ""
    try:
        with _refusing_heavy_imports():
            models, datasets = _ask(entry.load(), entry.name)
        if not models and not datasets:
            trouble = "provides nothing: is @zoo.hookimpl missing on its functions?"
    except (Exception, SystemExit) as problem:  # a plugin may raise anything; its row tells
        trouble = _explain(problem)
    return Plugin(distribution, version, entry.value, models, datasets, trouble)


def _ask(module: ModuleType, name: str) -> tuple[tuple[Card, ...], tuple[Dataset, ...]]:
    """Register a module with a manager of its own and call its hooks."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(module, name)
    manager.check_pending()  # a hook that nobody specified is a misspelling
    models = _flatten(manager.hook.zoo_models(), Card, "zoo_models")
    datasets = _flatten(manager.hook.zoo_datasets(), Dataset, "zoo_datasets")
    return models, datasets


def _flatten(answers: Sequence[Sequence[Entry]], kind: type[Entry], hook: str) -> tuple[Entry, ...]:
    entries = [entry for answer in answers for entry in answer]
    for entry in entries:
        if not isinstance(entry, kind):
            raise TypeError(f"{hook}() must return {kind.__name__}s, not {type(entry).__name__}")
    names = [entry.name for entry in entries]  # type: ignore[attr-defined] # both kinds have one
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"{hook}() returns {sorted(repeated)[0]!r} twice")
    return tuple(entries)


def _explain(problem: BaseException) -> str:
    """Return kind, message, file and line of what a plugin raised, in one line."""
    frames = [
        frame
        for frame in traceback.extract_tb(problem.__traceback__)
        if not frame.filename.startswith("<") and Path(frame.filename) != Path(__file__)
    ]
    own = [frame for frame in frames if "pluggy" not in Path(frame.filename).parts]
    where = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    message = " ".join(str(problem).split())[:300]
    return f"{type(problem).__name__}: {message}{where}"


class HeavyImportError(Exception):
    """A plugin imported at the top level what makes every command slow."""


class _RefusingLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        raise HeavyImportError(
            f"imports {spec.name} when it is discovered, which would slow down every command; "
            "import it in the model's own file"
        )

    def exec_module(self, module: ModuleType) -> None:
        raise AssertionError(f"create_module refused {module} before")


class _RefusingFinder(MetaPathFinder):
    """Finds heavy modules, as `importlib.util.find_spec` may ask, but refuses to load them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return ModuleSpec(name, _RefusingLoader()) if name in HEAVY else None


@contextmanager
def _refusing_heavy_imports() -> Iterator[None]:
    finder = _RefusingFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
