"""Discovery of plugins: each entry point is loaded alone, and its names are settled.

Every entry point is registered with a plugin manager of its own, so that a plugin that raises,
misspells a hook, hangs or imports torch spoils nothing but its own row in `zoo plugins list`.

A name that one plugin alone offers is its own. Names of first-party models and of the catalogue's
data sets are reserved, whether they are installed or not. Whatever a plain name does not mean is
called ``distribution:name``.

``plugins.json`` holds the plugins that the user has disabled, for all environments: in the folder
that ``ZOO_HOME`` names, otherwise where the platform keeps configurations.
"""

from __future__ import annotations

import functools
import os
import time
import traceback
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple, TypedDict, TypeVar

import pluggy

import zoo
from zoo.atomic import write_json
from zoo.catalog.card import Card
from zoo.catalog.dataset import Dataset, cache_home
from zoo.catalog.discovery import Isolation, TooSlowError, declared, isolated, unmet
from zoo.catalog.registry import normalised, reserved_names
from zoo.errors import NotFoundError, UsageError, ZooError, did_you_mean
from zoo.records import read_json

if TYPE_CHECKING:
    from zoo.modalities.base import Modality

PROJECT = "zoo"  # the name of pluggy's project and of the entry-point group
VARIABLE = "ZOO_PLUGINS"  # the only plugins that are wanted, with commas; empty for none
DISABLED = "disabled"

Entry = TypeVar("Entry", Card, Dataset)
Claims = dict[str, set[str]]  # name -> the distributions that offer it

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Hooks:
    """The hooks that a plugin may implement."""

    @staticmethod
    @hookspec
    def zoo_models() -> Sequence[Card]:
        """Return the cards of the models that this plugin provides."""
        raise AssertionError("a hook specification is never called")

    @staticmethod
    @hookspec
    def zoo_datasets() -> Sequence[Dataset]:
        """Return the data sets that this plugin adds to the catalogue."""
        raise AssertionError("a hook specification is never called")

    @staticmethod
    @hookspec
    def zoo_modalities() -> Sequence[Modality]:
        """Return the kinds of data that this plugin adds."""
        raise AssertionError("a hook specification is never called")


class Provided(NamedTuple):
    """What the hooks of a plugin return."""

    models: tuple[Card, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    modalities: tuple[Modality, ...] = ()


@dataclass(frozen=True)
class Plugin:
    """One entry point and what became of it."""

    # the installed package that brings it, normalised; ``?`` and the name of the entry point where
    # the package's own name is lost
    distribution: str
    version: str  # version of that package
    module: str  # what the entry point names
    models: tuple[Card, ...] = ()  # cards it provides
    datasets: tuple[Dataset, ...] = ()  # data sets it provides
    modalities: tuple[Modality, ...] = ()  # kinds of data it provides
    # why it provides nothing, with file and line where known; empty when all is well
    trouble: str = ""
    # what does not keep it from working: what it printed, whose names it shares
    notes: tuple[str, ...] = ()
    left_out: str = ""  # why it was not loaded although nothing is wrong with it; empty when it was
    seconds: float = 0.0  # that its import and its hooks took; 0 where it was not imported
    shadowed: frozenset[str] = frozenset()  # models of it that only ``distribution:name`` means


@functools.cache
def installed_plugins() -> tuple[Plugin, ...]:
    """Return every plugin that is installed, broken ones included, ordered by distribution.

    Raises:
        UsageError: ``ZOO_PLUGINS`` names a plugin that is not installed.
        ZooError: it cannot be read which plugins are disabled.
    """
    found = _entries()
    excluded = _excluded([plugin.distribution for plugin, _ in found])
    plugins = []
    with isolated() as isolation:
        for plugin, entry in found:
            if plugin.distribution in excluded:
                plugins.append(replace(plugin, left_out=excluded[plugin.distribution]))
            else:
                plugins.append(plugin if plugin.trouble else _load(plugin, entry, isolation))
    return resolve_names(plugins)


def distributions() -> list[str]:
    """Return what the installed plugins are called; none of them is imported."""
    return sorted({plugin.distribution for plugin, _ in _entries()})


def _entries() -> list[tuple[Plugin, EntryPoint]]:
    """Return what the metadata says of every plugin, without importing any."""
    found = []
    for one in declared(PROJECT):
        ranges = (unmet(requirement, zoo.__version__) for requirement in one.requirements)
        needed = ",".join(filter(None, ranges))
        trouble = f"needs zoo-core {needed}; {zoo.__version__} is installed" if needed else ""
        trouble = one.trouble or trouble
        for entry in one.entries or [EntryPoint("", "", PROJECT)]:
            # A name that it chose itself could belong to another distribution.
            name = normalised(one.name) or f"?{entry.name}"
            found.append((Plugin(name, one.version, entry.value, trouble=trouble), entry))
    return sorted(found, key=lambda pair: (pair[0].distribution, pair[0].module))


def _load(plugin: Plugin, entry: EntryPoint, isolation: Isolation) -> Plugin:
    began = time.perf_counter()
    package = plugin.module.partition(".")[0]
    try:
        provided, trouble = isolation.run(lambda: _answers(entry, package))
    except BaseException as problem:  # a plugin may raise anything; its row says what
        if isolation.interrupted:
            raise
        is_ours = type(problem) is TooSlowError
        provided = Provided()
        trouble = _explain(problem, package) if is_ours else "raises what cannot be shown"
    trouble = trouble or isolation.left_behind
    return replace(
        plugin,
        **({} if trouble else provided._asdict()),
        trouble=trouble,
        notes=(f"prints when it is imported: {isolation.printed}",) if isolation.printed else (),
        seconds=time.perf_counter() - began,
    )


def _answers(entry: EntryPoint, package: str) -> tuple[Provided, str]:
    """Return what a plugin provides, and why it provides nothing.

    What it raises is explained here, still isolated: showing it may run the plugin's code.
    """
    try:
        provided = _ask(entry.load(), entry.name)
    except TooSlowError:
        raise
    except BaseException as problem:  # a plugin may raise anything; its row says what
        return Provided(), _explain(problem, package)
    nothing = "provides nothing: is @zoo.hookimpl missing on its functions?"
    return provided, "" if any(provided) else nothing


def _ask(module: ModuleType, name: str) -> Provided:
    """Register a module with a manager of its own and call its hooks."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Hooks)
    try:
        manager.register(module, name)
        manager.check_pending()
    except pluggy.PluginValidationError as problem:
        raise _HookError(_unknown_hook(manager, module) or str(problem)) from None
    models = _flatten(manager.hook.zoo_models(), Card, "zoo_models")
    datasets = _flatten(manager.hook.zoo_datasets(), Dataset, "zoo_datasets")
    return Provided(models, datasets, _modalities(manager.hook.zoo_modalities()))


def _modalities(answers: Sequence[Iterable[Modality]]) -> tuple[Modality, ...]:
    """Return the kinds of data of a plugin; few plugins have any."""
    entries = [entry for answer in answers for entry in answer]
    if not entries:
        return ()
    from zoo.modalities import Modality, register

    for entry in entries:
        if not isinstance(entry, Modality):
            raise TypeError(
                f"zoo_modalities() must return instances of Modality, not {type(entry).__name__}"
            )
        if not entry.kind.isidentifier():
            raise ValueError(f"zoo_modalities() returns a kind that is no word: {entry.kind!r}")
        register(entry)
    return tuple(entries)


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
    """A plugin implements what no hook of this zoo-core is; its message is complete."""


def _unknown_hook(manager: pluggy.PluginManager, module: ModuleType) -> str:
    """Return which hook, or argument of a hook, of a module is specified nowhere."""
    relay = manager.hook
    hooks = (relay.zoo_models, relay.zoo_datasets, relay.zoo_modalities)
    known = {hook.name: hook.spec.argnames for hook in hooks if hook.spec}
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
            if argument not in known[hook]:
                near = did_you_mean(argument, known[hook])
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


def resolve_names(plugins: Sequence[Plugin]) -> tuple[Plugin, ...]:
    """Give every plugin the names by which its models and data sets are reached, and note disputes.

    Raises:
        ZooError: the catalogue of the installation cannot be read.
    """
    reserved = reserved_names()
    plugins = _without_repeats(plugins)
    models: Claims = defaultdict(set)
    datasets: Claims = defaultdict(set)
    for plugin in plugins:
        for card in plugin.models:
            models[card.name].add(plugin.distribution)
        for row in plugin.datasets:
            datasets[row.name].add(plugin.distribution)
    return tuple(_settle_one(plugin, models, datasets, reserved) for plugin in plugins)


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


def _settle_one(
    plugin: Plugin, models: Claims, datasets: Claims, reserved: Mapping[str, str]
) -> Plugin:
    own = plugin.distribution
    shadowed, notes = _contested("model", plugin.models, own, models, reserved)
    hidden, more = _contested("data set", plugin.datasets, own, datasets, reserved)
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
        notes=(*plugin.notes, *notes, *more),
        shadowed=frozenset(shadowed),
    )


def _contested(
    kind: str,
    rows: Sequence[Card | Dataset],
    own: str,
    claims: Claims,
    reserved: Mapping[str, str],
) -> tuple[set[str], list[str]]:
    """Return the plain names that do not mean this distribution's, and a note on each dispute."""
    taken, notes = set(), []
    for name in (row.name for row in rows):
        others = sorted(claims[name] - {own})
        owner = reserved.get(name)
        if owner == normalised(own):
            if others:
                listed = ", ".join(f"{other}:{name}" for other in others)
                notes.append(f"{kind} {name!r} is offered by others too, as {listed}")
        elif owner or others:
            taken.add(name)
            whose = f"{owner}'s" if owner else f"also offered by {', '.join(others)}"
            notes.append(f"{kind} {name!r} is {whose}: this one is {own}:{name}")
    return taken, notes


class _DisabledPlugins(TypedDict):
    """What ``plugins.json`` says."""

    disabled: list[str]


def _excluded(distributions: Collection[str]) -> Mapping[str, str]:
    """Return which of the installed distributions are not to be loaded, each with the reason.

    Raises:
        UsageError: ``ZOO_PLUGINS`` names one that is not installed.
        ZooError: ``plugins.json`` cannot be read.
    """
    off = disabled_plugins()
    reasons = dict.fromkeys((name for name in distributions if normalised(name) in off), DISABLED)
    allowed = os.environ.get(VARIABLE)
    if allowed is None:
        return reasons
    words = filter(None, map(str.strip, allowed.split(",")))
    wanted = {normalised(_find(word, distributions, VARIABLE)) for word in words}
    others = (name for name in distributions if normalised(name) not in wanted)
    return reasons | dict.fromkeys(others, f"left out by --no-plugins or {VARIABLE}")


def disable_plugin(name: str, distributions: Collection[str]) -> str:
    """Remember that a plugin is not to be loaded; return what it is called.

    Raises:
        NotFoundError: none of the installed distributions is called so.
        ZooError: ``plugins.json`` cannot be read or written.
    """
    found = _find(name, distributions, "zoo plugins disable")
    _write(disabled_plugins() | {normalised(found)})
    return found


def enable_plugin(name: str, distributions: Collection[str]) -> str:
    """Forget that a plugin is disabled, be it installed or no longer; return what it is called.

    Raises:
        NotFoundError: no plugin of that name is installed or disabled.
        ZooError: ``plugins.json`` cannot be read or written.
    """
    before = disabled_plugins()
    found = _find(name, [*distributions, *before], "zoo plugins enable")
    _write(before - {normalised(found)})
    return found


def disabled_plugins() -> frozenset[str]:
    """Return the names of the plugins that are disabled, normalised.

    Raises:
        ZooError: ``plugins.json`` cannot be read.
    """
    path = _path()
    try:
        return frozenset(read_json(path, _DisabledPlugins)["disabled"])
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except (OSError, ValueError) as problem:
        raise ZooError(
            f"{path}, which says what plugins are disabled, cannot be read",
            cause=str(problem),
            hint="remove the file, and disable them again",
        ) from None


def _write(names: frozenset[str]) -> None:
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"disabled": sorted(names)})


def _path() -> Path:
    if os.environ.get("ZOO_HOME"):
        return cache_home() / "plugins.json"
    import platformdirs  # here, because it is not needed where ZOO_HOME is set

    return platformdirs.user_config_path("zoo", appauthor=False) / "plugins.json"


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
