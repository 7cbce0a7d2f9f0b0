"""`zoo list`."""

from __future__ import annotations

from dataclasses import asdict

import click

from zoo.cli.output import json_option, print_json, print_table, say


@click.command("list")
@click.option("--task", metavar="TASK", help="Only models for one task.")
@json_option
def verb(task: str | None, as_json: bool) -> None:
    """Show the models that are installed."""
    from typing import get_args

    from zoo.catalog.card import Task
    from zoo.catalog.lookup import installed_models
    from zoo.catalog.plugins import installed_plugins
    from zoo.errors import UsageError, did_you_mean

    tasks = get_args(Task)
    if task is not None and task not in tasks:
        raise UsageError(
            f"unknown task {task[:40]!r}.{did_you_mean(task, tasks)}",
            hint=f"one of: {', '.join(tasks)}",
        )
    found = [entry for entry in installed_models() if task in (None, entry.card.task)]
    if as_json:
        print_json(
            [
                {**asdict(entry.card), "name": entry.name, "plugin": entry.plugin.distribution}
                for entry in found
            ]
        )
    elif found:
        print_table(
            ["model", "task", "data", "plugin", "summary"],
            [
                (entry.name, entry.card.task, entry.card.data, entry.plugin.distribution,
                 entry.card.summary)
                for entry in found
            ],
        )  # fmt: skip
    else:
        say(f"no models for {task}" if task else "no models; zoo plugins search lists known ones")
    for plugins, what in (
        ([each.distribution for each in installed_plugins() if each.trouble], "not loaded"),
        ([each.distribution for each in installed_plugins() if each.left_out], "left out"),
    ):
        if plugins:
            say(f"{what}: {', '.join(plugins)} (zoo plugins list says why)")
