"""`zoo runs`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from zoo.cli.output import json_option, print_json, print_table, say


@click.group("runs", invoke_without_command=True)
@json_option
@click.pass_context
def verb(context: click.Context, as_json: bool) -> None:
    """List, show or remove the runs of this folder."""
    if context.invoked_subcommand is None:
        context.invoke(list_runs, as_json=as_json)


@verb.command("list")
@json_option
def list_runs(as_json: bool) -> None:
    """List the runs, the oldest first."""
    from zoo.errors import NotFoundError
    from zoo.training.run import all_runs

    rows = []
    for run in all_runs():
        try:
            rows.append(run.info())
        except NotFoundError:
            rows.append({"id": run.name, "model": "?", "status": "damaged"})
    if as_json:
        print_json(rows)
    elif rows:
        print_table(
            ["run", "model", "data", "status", "epoch", "step", "metrics"],
            [
                (row.get("id"), row["model"], row.get("data", ""), row.get("status"),
                 row.get("epoch", ""), row.get("step", ""), _metrics(row))
                for row in rows
            ],
        )  # fmt: skip
    else:
        say("no runs here yet; zoo list, then zoo train MODEL")


@verb.command("show")
@click.argument("run")
@json_option
def show_run(run: str, as_json: bool) -> None:
    """Show what RUN (an id or @last) is, and what lies in its folder."""
    from zoo.training.run import find_run

    found = find_run(run)
    info = found.info()
    files = sorted(path for path in found.path.rglob("*") if path.is_file())
    if as_json:
        print_json({**info, "path": str(found.path), "files": [str(path) for path in files]})
        return
    for key in ("id", "model", "distribution", "version", "data", "status", "created", "ended",
                "device", "devices", "precision", "epoch", "step", "seconds", "error"):  # fmt: skip
        if info.get(key) not in (None, ""):
            click.echo(f"{key:<13} {info[key]}")
    click.echo(f"{'metrics':<13} {_metrics(info)}")
    if info.get("best"):
        click.echo(f"{'best':<13} step {info['best']['step']}: {_metrics(info['best'])}")
    for path in files:
        click.echo(path)


@verb.command("rm")
@click.argument("runs", nargs=-1, required=True)
@json_option
def remove_runs(runs: tuple[str, ...], as_json: bool) -> None:
    """Remove RUNS with all that they hold."""
    from zoo.training.run import find_run

    found = [find_run(name) for name in dict.fromkeys(runs)]
    for run in found:
        run.remove()
        if not as_json:
            click.echo(run.path)
    if as_json:
        print_json({"removed": [run.name for run in found]})


def _metrics(row: Mapping[str, Any]) -> str:
    metrics = row.get("metrics") or {}
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
