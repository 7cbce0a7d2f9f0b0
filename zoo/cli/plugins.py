"""`zoo plugins`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.cli import completion
from zoo.cli.output import json_option, print_json, print_table, say
from zoo.cli.verbs import Verbs

if TYPE_CHECKING:
    from zoo.catalog.plugins import Plugin


VERBS = {
    "list": ("Show the plugins and what ails them.", "zoo.cli.plugins:list_plugins"),
    "disable": ("Load a plugin no longer.", "zoo.cli.plugins:disable"),
    "enable": ("Load a disabled plugin again.", "zoo.cli.plugins:enable"),
    "new": ("Write a new plugin that trains as it stands.", "zoo.cli.plugin_new:new"),
    "check": ("Check a plugin or a model.", "zoo.cli.plugin_check:check"),
    "search": ("Search the reviewed catalogue.", "zoo.cli.plugin_market:search"),
    "install": ("Install a plugin of the catalogue.", "zoo.cli.plugin_market:install"),
}


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
    from zoo.catalog.plugins import installed

    found = installed()
    if as_json:
        print_json([_facts(plugin) for plugin in found])
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
    """Load the plugin DIST no longer, in none of your environments.

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


def _facts(plugin: Plugin) -> dict[str, object]:
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
