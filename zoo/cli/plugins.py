"""`zoo plugins`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.cli.output import json_option, print_json, print_table, say

if TYPE_CHECKING:
    from zoo.catalog.plugins import Plugin


@click.group("plugins", invoke_without_command=True)
@json_option
@click.pass_context
def verb(context: click.Context, as_json: bool) -> None:
    """List the plugins and what ails them."""
    if context.invoked_subcommand is None:
        context.invoke(list_plugins, as_json=as_json)


@verb.command("list")
@json_option
def list_plugins(as_json: bool) -> None:
    """Show every plugin that is installed, with its models or its trouble."""
    from zoo.catalog.plugins import installed

    found = installed()
    if as_json:
        print_json(
            [
                {
                    "distribution": plugin.distribution,
                    "version": plugin.version,
                    "module": plugin.module,
                    "models": [card.name for card in plugin.models],
                    "datasets": [dataset.name for dataset in plugin.datasets],
                    "trouble": plugin.trouble or None,
                }
                for plugin in found
            ]
        )
    elif found:
        print_table(
            ["plugin", "version", "provides", "trouble"],
            [
                (
                    plugin.distribution,
                    plugin.version,
                    ", ".join(_names(plugin)),
                    plugin.trouble,
                )
                for plugin in found
            ],
        )
    else:
        say("no plugins; install some: pip install zoo-autoencoders")


def _names(plugin: Plugin) -> list[str]:
    return [card.name for card in plugin.models] + [data.name for data in plugin.datasets]
