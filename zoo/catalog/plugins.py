"""Discovery of plugins through entry points, each apart from all others.

Every entry point is loaded by itself and registered with a plugin manager of its own, so that a
plugin that raises, misspells a hook, hangs or imports torch spoils nothing but its own row in
`zoo plugins list`.
"""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import pluggy

import zoo
from zoo.catalog import choice, hookspecs
from zoo.catalog.card import Card
from zoo.catalog.dataset import Dataset
from zoo.catalog.isolation import Isolation, TooSlowError, isolated
from zoo.catalog.known import normalised
from zoo.catalog.metadata import declared, unmet
from zoo.catalog.names import settle
from zoo.errors import did_you_mean

Entry = TypeVar("Entry", Card, Dataset)


@dataclass(frozen=True)
class Plugin:
    """One entry point and what became of it.

    Args:
        distribution: the installed package that brings it, normalised; ``?`` and the name of the
            entry point where the package's own name is lost.
        version: version of that package.
        module: what the entry point names.
        models: cards it provides.
        datasets: data sets it provides.
        trouble: why it provides nothing, with file and line where known; empty when all is well.
        notes: what does not keep it from working: what it printed, whose names it shares.
        left_out: why it was not loaded although nothing ails it; empty when it was.
        seconds: that its import and its hooks took; 0 where it was not imported.
        shadowed: models of it that only ``distribution:name`` means.
    """

    distribution: str
    version: str
    module: str
    models: tuple[Card, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    trouble: str = ""
    notes: tuple[str, ...] = ()
    left_out: str = ""
    seconds: float = 0.0
    shadowed: frozenset[str] = frozenset()


@functools.cache
def installed() -> tuple[Plugin, ...]:
    """Return every plugin that is installed, broken ones included, ordered by distribution.

    Raises:
        UsageError: ``ZOO_PLUGINS`` names a plugin that is not installed.
        ZooError: it cannot be read which plugins are disabled.
    """
    found = _entries()
    left_out = choice.left_out([plugin.distribution for plugin, _ in found])
    plugins = []
    with isolated() as isolation:
        for plugin, entry in found:
            if plugin.distribution in left_out:
                plugins.append(replace(plugin, left_out=left_out[plugin.distribution]))
            else:
                plugins.append(plugin if plugin.trouble else _load(plugin, entry, isolation))
    return settle(plugins)


def distributions() -> list[str]:
    """Return what the installed plugins are called; none of them is imported."""
    return sorted({plugin.distribution for plugin, _ in _entries()})


def _entries() -> list[tuple[Plugin, EntryPoint]]:
    """Return what the metadata says of every plugin, without importing any."""
    found = []
    for one in declared(hookspecs.PROJECT):
        about = one.about
        ranges = [unmet(requirement, zoo.__version__) for requirement in about.needs]
        needed = ",".join(each for each in ranges if each)
        trouble = f"needs zoo-core {needed}; {zoo.__version__} is installed" if needed else ""
        trouble = one.trouble or trouble
        for entry in one.entries or [EntryPoint("", "", hookspecs.PROJECT)]:
            # A name of its own choosing could be one that belongs to somebody else.
            name = normalised(about.name) or f"?{entry.name}"
            found.append((Plugin(name, about.version, entry.value, trouble=trouble), entry))
    return sorted(found, key=lambda pair: (pair[0].distribution, pair[0].module))


def _load(plugin: Plugin, entry: EntryPoint, isolation: Isolation) -> Plugin:
    began = time.perf_counter()
    package = plugin.module.partition(".")[0]
    try:
        models, datasets, trouble = isolation.run(lambda: _answers(entry, package))
    except BaseException as problem:  # a plugin may raise anything; its row tells
        if isolation.interrupted:
            raise
        is_ours = type(problem) is TooSlowError
        models, datasets = (), ()
        trouble = _explain(problem, package) if is_ours else "raises what cannot be shown"
    trouble = trouble or isolation.left_behind
    return replace(
        plugin,
        models=() if trouble else models,
        datasets=() if trouble else datasets,
        trouble=trouble,
        notes=(f"prints when it is imported: {isolation.printed}",) if isolation.printed else (),
        seconds=time.perf_counter() - began,
    )


def _answers(entry: EntryPoint, package: str) -> tuple[tuple[Card, ...], tuple[Dataset, ...], str]:
    """Return what a plugin provides, and why it provides nothing.

    What it raises is told here, under the same watch: showing it may run the plugin's code.
    """
    try:
        models, datasets = _ask(entry.load(), entry.name)
    except TooSlowError:
        raise
    except BaseException as problem:  # a plugin may raise anything; its row tells
        return (), (), _explain(problem, package)
    nothing = "provides nothing: is @zoo.hookimpl missing on its functions?"
    return models, datasets, "" if models or datasets else nothing


def _ask(module: ModuleType, name: str) -> tuple[tuple[Card, ...], tuple[Dataset, ...]]:
    """Register a module with a manager of its own and call its hooks."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name)
        manager.check_pending()
    except pluggy.PluginValidationError as problem:
        raise _HookError(_unknown_hook(manager, module) or str(problem)) from None
    models = _flatten(manager.hook.zoo_models(), Card, "zoo_models")
    datasets = _flatten(manager.hook.zoo_datasets(), Dataset, "zoo_datasets")
    return models, datasets


def _flatten(answers: Sequence[Iterable[Entry]], kind: type[Entry], hook: str) -> tuple[Entry, ...]:
    entries = [entry for answer in answers for entry in answer]
    for entry in entries:
        if not isinstance(entry, kind):
            raise TypeError(f"{hook}() must return {kind.__name__}s, not {type(entry).__name__}")
        if ":" in entry.name:
            raise ValueError(f"{hook}() returns {entry.name!r}: a plugin names its own plainly")
    names = [entry.name for entry in entries]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"{hook}() returns {sorted(repeated)[0]!r} twice")
    return tuple(entries)


class _HookError(Exception):
    """A plugin implements what no hook of this zoo-core is; told as it stands."""


def _unknown_hook(manager: pluggy.PluginManager, module: ModuleType) -> str:
    """Return which hook, or argument of a hook, of a module is specified nowhere."""
    known = {name: getattr(manager.hook, name).spec for name in dir(hookspecs)
             if hasattr(hookspecs.__dict__[name], f"{hookspecs.PROJECT}_spec")}  # fmt: skip
    for name, function in vars(module).items():
        options = manager.parse_hookimpl_opts(module, name)
        if options is None:
            continue
        hook = options["specname"] or name
        code = function.__code__
        where = f"({code.co_filename}, line {code.co_firstlineno})"
        why = "a newer zoo-core needed, or a typo"
        if hook not in known:
            return f"unknown hook {hook!r}: {why}.{did_you_mean(hook, known)} {where}"
        for argument in code.co_varnames[: code.co_argcount]:
            arguments = known[hook].argnames
            if argument not in arguments:
                near = did_you_mean(argument, arguments)
                return f"unknown argument {argument!r} of hook {hook!r}: {why}.{near} {where}"
    return ""


def _explain(problem: BaseException, package: str) -> str:
    """Return kind, message, file and line of what a plugin raised, in one line.

    The line is the last one of the plugin's own package, or of what it called by another name.
    """
    if isinstance(problem, _HookError):
        return str(problem)
    frames = [
        (Path(frame.f_code.co_filename), line)
        for frame, line in traceback.walk_tb(problem.__traceback__)
        if not frame.f_code.co_filename.startswith("<")
    ]
    own = [(file, line) for file, line in frames if package in {*file.parts, file.stem}]
    others = [(file, line) for file, line in frames if not _is_ours(file)]
    where = "".join(f" ({file}, line {line})" for file, line in (own or others)[-1:])
    try:
        message = " ".join(str(problem).split())[:300]
    except BaseException:  # an exception of the plugin's own making, which cannot say what it is
        message = "(its message cannot be shown)"
    kind = type(problem).__name__
    return f"{kind}: {message}{where}" if message else f"{kind}{where}"


def _is_ours(file: Path) -> bool:
    return file.parent == Path(__file__).parent or "pluggy" in file.parts
