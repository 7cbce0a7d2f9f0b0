"""`zoo plugins search` and `zoo plugins install`."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.output import json_option, print_json, print_table, say

if TYPE_CHECKING:
    from zoo.catalog.registry import KnownPlugin

registry_option = click.option(
    "--registry",
    metavar="PATH|URL",
    help="A second registry, of a class or a company; ZOO_REGISTRY names one for all verbs.",
)


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
        rows = [_facts(plugin) for plugin in matching(plugins, word)]
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
    _tell_what_it_brings(name, as_json)


def _install_unlisted(name: str, version: str, listed: Collection[str]) -> None:
    from zoo.market.install import installer_command, run_installer

    requirement = f"{name}=={version}" if version else name
    command = installer_command(requirement)
    say(f"{requirement}: nobody has reviewed it, and a plugin is code that can do whatever you can")
    run_installer(command, requirement, name, say, listed)


def _install_listed(known: KnownPlugin, version: str, listed: Collection[str]) -> None:
    from zoo.cli.downloading import download_display
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


def _tell_what_it_brings(name: str, as_json: bool) -> None:
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


def _facts(plugin: KnownPlugin) -> dict[str, Any]:
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
