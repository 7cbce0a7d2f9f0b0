"""`zoo plugins`: list, disable and enable, write, check, find and install."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.catalog.lookup import ModelEntry, plugins_and_models
from zoo.catalog.plugins import (
    Plugin,
    disable_plugin,
    distributions,
    enable_plugin,
    installed_plugins,
)
from zoo.catalog.registry import KnownPlugin, normalised, reserved_names
from zoo.cli.arguments import SuggestingChoice, data_option, json_option
from zoo.cli.command import Verbs
from zoo.cli.output import print_json, print_table
from zoo.data.progress import download_display
from zoo.errors import NotFoundError, PluginError, ZooError, did_you_mean
from zoo.messages import say
from zoo.scaffold import KINDS

if TYPE_CHECKING:
    from zoo.testing.check import Outcome


VERBS = {
    "list": ("Show the plugins and their troubles.", "zoo.cli.plugins:list_plugins"),
    "disable": ("Stop loading a plugin.", "zoo.cli.plugins:disable"),
    "enable": ("Load a disabled plugin again.", "zoo.cli.plugins:enable"),
    "new": ("Write a new plugin that trains as it stands.", "zoo.cli.plugins:new"),
    "check": ("Check a plugin or a model.", "zoo.cli.plugins:check"),
    "search": ("Search the reviewed catalogue.", "zoo.cli.plugins:search"),
    "install": ("Install a plugin of the catalogue.", "zoo.cli.plugins:install"),
}


def _complete(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    """Return the plugins whose names begin so."""
    return [name for name in distributions() if name.startswith(word)]


plugin_argument = click.argument("plugin", metavar="DIST", shell_complete=_complete)
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
    found = installed_plugins()
    if as_json:
        print_json([_plugin_row(plugin) for plugin in found])
    elif found:
        print_table(
            ["plugin", "version", "ms", "provides", "remarks"],
            [
                (plugin.distribution, plugin.version, _milliseconds(plugin) or "",
                 ", ".join([*(ModelEntry(card, plugin).name for card in plugin.models),
                            *(dataset.name for dataset in plugin.datasets)]),
                 "; ".join(filter(None, [plugin.left_out, plugin.trouble, *plugin.notes])))
                for plugin in found
            ],
        )  # fmt: skip
    else:
        say("no plugins; zoo plugins search lists known ones")


@click.command("disable")
@plugin_argument
def disable(plugin: str) -> None:
    """Stop loading the plugin DIST, in all your environments.

    It stays installed, and none of its code runs until `zoo plugins enable DIST`, but for
    `zoo plugins check DIST`.
    """
    name = disable_plugin(plugin, distributions())
    say(f"{name} is disabled; zoo plugins enable {name}")


@click.command("enable")
@plugin_argument
def enable(plugin: str) -> None:
    """Load the plugin DIST again."""
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


@click.command("new")
@click.argument("name")
@click.option("--kind", type=SuggestingChoice(list(KINDS)), default="autoencoder",
              show_default=True, help="The model to start from; bare has one layer.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Folder to write [NAME].")  # fmt: skip
@json_option
def new(name: str, kind: str, output: Path | None, as_json: bool) -> None:
    """Write a plugin with one model, NAME, that trains as it stands.

    A whole distribution in a new folder: the model, its tests, and what publishing needs.
    """
    from zoo.scaffold.project import names_of, write_project

    names = names_of(name)
    folder = output or Path(name)
    files = write_project(names, kind, folder)
    where = shlex.quote(click.format_filename(folder))
    commands = [
        f"pip install -e {where}",
        f"zoo train {name}",
        f"grep -rn TODO {where}",
        f"zoo plugins check {name}",
    ]
    if as_json:
        print_json({
            "folder": str(folder),
            "model": names.model,
            "distribution": names.distribution,
            "kind": kind,
            "files": files,
            "next": commands,
        })  # fmt: skip
        return
    click.echo("\n".join(click.format_filename(folder / file) for file in files))
    say("next, and fill in what is marked TODO, such as the paper, before the check can pass:")
    say("\n".join(f"  {command}" for command in commands))


@click.command("check")
@click.argument("names", nargs=-1, metavar="[DIST|MODEL]...")
@data_option("Data to check the models on [each card's own].")
@json_option
def check(names: tuple[str, ...], data: str | None, as_json: bool) -> None:
    """Check that a plugin keeps what it promises; all but the zoo's own where none is named.

    Names are those of installed distributions or models. Each check passes, fails, is skipped, or
    fails as its author expects. A data set of the catalogue is downloaded if it is not here yet.
    """
    distributions, entries = _choose(names)
    if data is not None:
        from zoo.data.location import check_data_is_there

        check_data_is_there(data)
    if not distributions and not entries:
        say("no plugin but the zoo's own is installed; name one to check it all the same")
    outcomes = []
    for outcome in _outcomes(distributions, entries, data):
        outcomes.append(outcome)
        if not as_json:
            click.echo(f"{outcome.kind:<17} {outcome.subject}  {outcome.check}")
            if outcome.message:
                click.echo(f"{'':<17} {outcome.message}")
    failed = [outcome for outcome in outcomes if outcome.kind == "failed"]
    counted = Counter(outcome.kind for outcome in outcomes)
    ran = len(outcomes) - counted["skipped"]
    counts = {kind: counted[kind] for kind in ("passed", "failed", "skipped")}
    counts["expected_failures"] = counted["expected failure"]
    if as_json:
        print_json({"ran": ran, **counts, "checks": [asdict(each) for each in outcomes]})
    elif outcomes:
        words = (f"{kind.replace('_', ' ')} {count}" for kind, count in counts.items())
        click.echo(f"ran {ran}, {', '.join(words)}")
    if failed:
        first = failed[0]
        raise PluginError(
            f"{len(failed)} of {ran} checks failed, first {first.check} of {first.subject}",
            code="checks-failed",
        )


def _choose(names: tuple[str, ...]) -> tuple[set[str], dict[str, ModelEntry]]:
    """Return the distributions and the models that are meant, each once.

    Where no name is given, that is everything but the zoo's own and what is disabled.
    """
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


def _outcomes(
    distributions: set[str], entries: dict[str, ModelEntry], data: str | None
) -> Iterator[Outcome]:
    """Put distributions and models to their checks, the models on data that the user names."""
    from zoo.testing.conformance import check_distribution, check_model
    from zoo.testing.model_under_test import ModelUnderTest
    from zoo.testing.package_checks import Package

    for name in sorted(distributions):
        yield from check_distribution(Package.called(name))
    for entry in entries.values():
        yield from check_model(ModelUnderTest.of(entry, data))


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
    from zoo.market.install import installed_version, installer_command, run_installer
    from zoo.market.releases import choose, newest, verified_wheel

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
        path = verified_wheel(known, chosen, report)
    target = f"{path.as_uri()}#sha256={chosen.sha256}"  # so that the installer checks it as well
    run_installer(command, target, known.distribution, say, listed)


def _print_what_it_brings(name: str, as_json: bool) -> None:
    from zoo.market.install import check_installed, uninstall_command

    row = check_installed(name)
    if row["trouble"]:
        raise PluginError(
            f"{name} {row['version']} is installed, but cannot be used: {row['trouble']}",
            hint=uninstall_command(name),
            code="plugin-failed",
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
