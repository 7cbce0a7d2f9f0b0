"""`zoo plugins`: list, disable and enable, check, find and install."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import completion
from zoo.cli.output import json_option, print_json, print_table, say
from zoo.cli.verbs import Verbs

if TYPE_CHECKING:
    from zoo.catalog.lookup import ModelEntry
    from zoo.catalog.plugins import Plugin
    from zoo.catalog.registry import KnownPlugin
    from zoo.testing.check import Outcome


VERBS = {
    "list": ("Show the plugins and their troubles.", "zoo.cli.plugins:list_plugins"),
    "disable": ("Stop loading a plugin.", "zoo.cli.plugins:disable"),
    "enable": ("Load a disabled plugin again.", "zoo.cli.plugins:enable"),
    "new": ("Write a new plugin that trains as it stands.", "zoo.cli.plugin_new:new"),
    "check": ("Check a plugin or a model.", "zoo.cli.plugins:check"),
    "search": ("Search the reviewed catalogue.", "zoo.cli.plugins:search"),
    "install": ("Install a plugin of the catalogue.", "zoo.cli.plugins:install"),
}
registry_option = click.option(
    "--registry",
    metavar="PATH|URL",
    help="A second registry, of a class or a company; ZOO_REGISTRY names one for all verbs.",
)


@click.group("plugins", cls=Verbs, verbs=VERBS, invoke_without_command=True)
@json_option
@click.pass_context
def verb(context: click.Context, as_json: bool) -> None:
    """List, write, check, find or install plugins."""
    if context.invoked_subcommand is None:
        context.invoke(list_plugins, as_json=as_json)


@click.command("list")
@json_option
def list_plugins(as_json: bool) -> None:
    """Show every plugin that is installed: version, models, import time in ms, and its trouble.

    A plugin is imported at the start of most commands. --no-plugins starts without any;
    ZOO_PLUGINS=NAME,NAME loads only those, and none where it is empty.
    """
    from zoo.catalog.plugins import installed_plugins

    found = installed_plugins()
    if as_json:
        print_json([_plugin_row(plugin) for plugin in found])
    elif found:
        print_table(
            ["plugin", "version", "ms", "provides", "remarks"],
            [
                (
                    plugin.distribution,
                    plugin.version,
                    _milliseconds(plugin) or "",
                    ", ".join(_names(plugin)),
                    "; ".join(filter(None, [plugin.left_out, plugin.trouble, *plugin.notes])),
                )
                for plugin in found
            ],
        )
    else:
        say("no plugins; zoo plugins search lists known ones")


@click.command("disable")
@click.argument("plugin", metavar="DIST", shell_complete=completion.plugins)
def disable(plugin: str) -> None:
    """Stop loading the plugin DIST, in all your environments.

    It stays installed, and none of its code runs until `zoo plugins enable DIST`, but for
    `zoo plugins check DIST`.
    """
    from zoo.catalog.plugins import disable_plugin, distributions

    name = disable_plugin(plugin, distributions())
    say(f"{name} is disabled; zoo plugins enable {name}")


@click.command("enable")
@click.argument("plugin", metavar="DIST", shell_complete=completion.plugins)
def enable(plugin: str) -> None:
    """Load the plugin DIST again."""
    from zoo.catalog.plugins import distributions, enable_plugin

    say(f"{enable_plugin(plugin, distributions())} is enabled")


def _plugin_row(plugin: Plugin) -> dict[str, object]:
    return {
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.module,
        "models": [card.name for card in plugin.models],
        "datasets": [dataset.name for dataset in plugin.datasets],
        "import_ms": _milliseconds(plugin),
        "left_out": plugin.left_out or None,
        "trouble": plugin.trouble or None,
        "notes": plugin.notes,
    }


def _milliseconds(plugin: Plugin) -> float | None:
    """Return how long its import took, or None where it was not imported."""
    return round(plugin.seconds * 1000, 1) if plugin.seconds else None


def _names(plugin: Plugin) -> list[str]:
    """Return what users type for what a plugin provides."""
    models = [
        f"{plugin.distribution}:{card.name}" if card.name in plugin.shadowed else card.name
        for card in plugin.models
    ]
    return models + [dataset.name for dataset in plugin.datasets]


@click.command("check")
@click.argument("names", nargs=-1, metavar="[DIST|MODEL]...")
@json_option
def check(names: tuple[str, ...], as_json: bool) -> None:
    """Check that a plugin keeps what it promises; all but the zoo's own where none is named.

    Names are those of installed distributions or models. Each check passes, fails, is skipped, or
    fails as its author expects. A model's own data set is downloaded if it is not here yet.
    """
    from zoo.errors import PluginError

    distributions, entries = _choose(names)
    if not distributions and not entries:
        say("no plugin but the zoo's own is installed; name one to check it all the same")
    outcomes = []
    for outcome in _outcomes(distributions, entries):
        outcomes.append(outcome)
        if not as_json:
            _print_outcome(outcome)
    kinds: Counter[str] = Counter(outcome.kind for outcome in outcomes)
    ran = len(outcomes) - kinds["skipped"]
    if as_json:
        print_json({"ran": ran, **_counts(kinds), "checks": [asdict(each) for each in outcomes]})
    elif outcomes:
        counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in _counts(kinds).items())
        click.echo(f"ran {ran}, {counts}")
    if kinds["failed"]:
        first = next(each for each in outcomes if each.kind == "failed")
        raise PluginError(
            f"{kinds['failed']} of {ran} checks failed, first {first.check} of {first.subject}"
        )


def _choose(names: tuple[str, ...]) -> tuple[set[str], dict[str, ModelEntry]]:
    """Return the distributions and the models that are meant, each once.

    Where no name is given, that is everything but the zoo's own and what is disabled.
    """
    from zoo.catalog.lookup import plugins_and_models
    from zoo.catalog.plugins import installed_plugins
    from zoo.catalog.registry import normalised, reserved_names
    from zoo.errors import NotFoundError, did_you_mean

    plugins = installed_plugins()
    known = sorted({each.distribution for each in plugins})
    left = {*reserved_names().values(), *(each.distribution for each in plugins if each.left_out)}
    left = {normalised(each) for each in left}
    distributions: set[str] = set()
    entries: dict[str, ModelEntry] = {}
    for name in names or [each for each in known if normalised(each) not in left]:
        whole, models = plugins_and_models(name)
        if not whole:
            known += [card.name for each in plugins for card in each.models]
            near = did_you_mean(name, known)
            broken = [each.distribution for each in plugins if each.trouble]
            raise NotFoundError(
                f"no plugin and no model {name[:60]!r} is installed and loaded.{near}",
                cause=f"not loaded: {', '.join(broken)}" if broken else "",
                hint=f"zoo plugins check {broken[0]}" if broken else "zoo plugins list",
                code="plugin-not-found",
            )
        distributions |= set(whole)
        entries |= {each.full_name: each for each in models}
    return distributions, entries


def _outcomes(distributions: set[str], entries: dict[str, ModelEntry]) -> Iterator[Outcome]:
    from zoo.testing.conformance import check_distribution, check_model
    from zoo.testing.model_under_test import ModelUnderTest, Package

    for name in sorted(distributions):
        yield from check_distribution(Package.called(name))
    for entry in entries.values():
        yield from check_model(ModelUnderTest.of(entry))


def _print_outcome(outcome: Outcome) -> None:
    """Print a line, and the reason below where there is one."""
    click.echo(f"{outcome.kind:<17} {outcome.subject}  {outcome.check}")
    if outcome.message:
        click.echo(f"{'':<17} {outcome.message}")


def _counts(kinds: Counter[str]) -> dict[str, int]:
    return {
        "passed": kinds["passed"],
        "failed": kinds["failed"],
        "skipped": kinds["skipped"],
        "expected_failures": kinds["expected failure"],
    }


@click.command("search")
@click.argument("word", default="")
@registry_option
@json_option
def search(word: str, registry: str | None, as_json: bool) -> None:
    """Show the known plugins whose name, models or summary hold WORD; all, without one.

    The registry comes with the zoo and needs no network. A second one with a URL is fetched, and
    its copy is used where that fails.
    """
    from zoo.market.search import load_registries, matching

    plugins = load_registries(registry, say).plugins
    with _hints_that_name(registry):
        rows = [_known_row(plugin) for plugin in matching(plugins, word)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ["plugin", "tier", "installed", "release", "models", "summary"],
        [
            (row["distribution"], row["tier"], row["installed"] or "no", row["release"] or "none",
             ", ".join(row["models"]), row["summary"])
            for row in rows
        ],
    )  # fmt: skip


@click.command("install")
@click.argument("plugin", metavar="NAME[==VERSION]")
@click.option(
    "--unlisted", is_flag=True, help="Install what is in no registry; nobody has reviewed it."
)
@registry_option
@json_option
def install(plugin: str, unlisted: bool, registry: str | None, as_json: bool) -> None:
    """Install a plugin: a wheel with the sha256 that the registry lists, by pip or uv.

    What the plugin needs beside it comes from your own package index, as wheels only. Nothing
    that is installed already is changed, but for the plugin itself.
    """
    from zoo.market.install import refuse_non_plugins
    from zoo.market.search import find_listed, load_registries, parse_requirement

    name, version = parse_requirement(plugin)
    plugins = load_registries(registry, say).plugins
    listed = {plugin.distribution for plugin in plugins}
    with _hints_that_name(registry):
        known = find_listed(name, plugins, unlisted=unlisted)
        refuse_non_plugins(name)
        if known is None:
            _install_unlisted(name, version, listed)
        else:
            _install_listed(known, version, listed)
    _print_what_it_brings(name, as_json)


def _install_unlisted(name: str, version: str, listed: Collection[str]) -> None:
    from zoo.market.install import installer_command, run_installer

    requirement = f"{name}=={version}" if version else name
    command = installer_command(requirement)
    say(f"{requirement}: nobody has reviewed it, and a plugin is code that can do whatever you can")
    run_installer(command, requirement, name, say, listed)


def _install_listed(known: KnownPlugin, version: str, listed: Collection[str]) -> None:
    from zoo.cli.sources import download_display
    from zoo.market.install import installed_version, installer_command, run_installer
    from zoo.market.releases import Wheel, choose, newest, verified_wheel

    chosen = choose(known, version)
    if installed_version(known.distribution) == chosen.version:
        say(f"{known.distribution} {chosen.version} is installed already")
        return
    pinned = f"{known.distribution} @ {chosen.wheel}#sha256={chosen.sha256}"
    command = installer_command(pinned)
    latest = newest(known.releases)
    if latest and latest != chosen and not version:
        say(f"passed over: {latest.version}, which needs zoo-core {latest.requires_core}")
    say(f"{known.distribution} {chosen.version} ({known.tier}); licence: {known.licence}")
    with download_display() as report:
        path = verified_wheel(Wheel(known, chosen), report)
    target = f"{path.as_uri()}#sha256={chosen.sha256}"  # so that the installer checks it as well
    run_installer(command, target, known.distribution, say, listed)


def _print_what_it_brings(name: str, as_json: bool) -> None:
    from zoo.errors import PluginError
    from zoo.market.install import check_installed, uninstall_command

    row = check_installed(name)
    if row["trouble"]:
        raise PluginError(
            f"{name} {row['version']} is installed, but cannot be used: {row['trouble']}",
            hint=uninstall_command(name),
        )
    if as_json:
        print_json(row)
        return
    if row["left_out"]:
        click.echo(f"{name} {row['version']} is not loaded: {row['left_out']}")
        return
    brought = [_typed(name, model, row["notes"]) for model in row["models"]]
    click.echo(f"{name} {row['version']} brings {', '.join([*brought, *row['datasets']])}")
    for note in row["notes"]:
        say(note)


@contextmanager
def _hints_that_name(registry: str | None) -> Iterator[None]:
    """Let the next command, where an error suggests one, look into the same registry."""
    from zoo.errors import ZooError

    try:
        yield
    except ZooError as problem:
        for verb in ("zoo plugins search", "zoo plugins install"):
            if registry and problem.hint.startswith(verb):
                rest = problem.hint.removeprefix(verb)
                problem.hint = f"{verb} --registry {shlex.quote(registry)}{rest}"
                break
        raise


def _typed(distribution: str, model: str, notes: Sequence[str]) -> str:
    """Return what users type for a model: a note says so where its plain name means another."""
    whole = f"{distribution}:{model}"
    return whole if any(note.endswith(f"this one is {whole}") for note in notes) else model


def _known_row(plugin: KnownPlugin) -> dict[str, Any]:
    from zoo.market.install import installed_version
    from zoo.market.releases import fits, newest

    release = newest([each for each in plugin.releases if fits(each)])
    return {
        "distribution": plugin.distribution,
        "tier": plugin.tier,
        "installed": installed_version(plugin.distribution),
        "release": release.version if release else None,
        "models": list(plugin.models),
        "summary": plugin.summary,
        "licence": plugin.licence,
        "repository": plugin.repository or None,
        "listed_in": plugin.listed_in,
    }
