"""`zoo runs`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from zoo.cli.arguments import check_suffix, complete_runs, find_run_or_folder, json_option
from zoo.cli.output import print_json, print_table
from zoo.errors import NotFoundError, UsageError
from zoo.messages import say
from zoo.records import to_plain
from zoo.training.run import MetricsRow, OnDamaged, Run, all_runs, find_run

TREND = "▁▂▃▄▅▆▇█"
WIDTH = 40  # characters of a trend at most
SHORTEST, LONGEST = 0.02, 60.0  # seconds of a frame


@click.group("runs", invoke_without_command=True)
@json_option
@click.pass_context
def verb(context: click.Context, as_json: bool) -> None:
    """List, show, animate or remove the runs of this folder."""
    if context.invoked_subcommand is None:
        context.invoke(list_runs, as_json=as_json)


@verb.command("list")
@json_option
def list_runs(as_json: bool) -> None:
    """List the runs, the oldest first."""
    rows: list[dict[str, Any]] = []
    for run in all_runs():
        try:
            rows.append(_facts(run))
        except NotFoundError as problem:
            say(problem.message)
            rows.append({"id": run.name, "model": "?", "status": "damaged",
                         "problem": problem.message})  # fmt: skip
    if as_json:
        print_json(to_plain(rows))
    elif rows:
        print_table(
            ["run", "model", "data", "status", "epoch", "step", "alerts", "metrics"],
            [
                (row.get("id"), row["model"], row.get("data", ""), row.get("status"),
                 row.get("epoch", ""), row.get("step", ""), ", ".join(row.get("alerts") or []),
                 _metrics(row))
                for row in rows
            ],
        )  # fmt: skip
    else:
        say("no runs here yet; zoo list, then zoo train MODEL")


@verb.command("show")
@click.argument("run", shell_complete=complete_runs)
@json_option
def show_run(run: str, as_json: bool) -> None:
    """Show what RUN (an id or @last) is, how it went, and what lies in its folder."""
    from zoo.training.monitors import alert_history

    found = find_run(run)
    info = _facts(found)
    alerts = alert_history(found.events(damaged_lines(found, "events.jsonl")))
    curves = _curves(found.metrics(damaged_lines(found, "metrics.jsonl")))
    files = sorted(path for path in found.path.rglob("*") if path.is_file())
    if as_json:
        print_json({
            **to_plain(info),
            "path": str(found.path),
            "alerts": [{**asdict(alert), "recovered": end} for alert, end in alerts],
            "curves": curves,
            "files": [str(path) for path in files],
        })  # fmt: skip
        return
    for key in ("id", "model", "distribution", "version", "data", "status", "created", "ended",
                "device", "devices", "precision", "epoch", "step", "seconds", "error"):  # fmt: skip
        if info.get(key) not in (None, ""):
            click.echo(f"{key:<13} " + str(info[key]).replace("\n", f"\n{'':<14}"))
    click.echo(f"{'metrics':<13} {_metrics(info)}")
    if info.get("best"):
        click.echo(f"{'best':<13} step {info['best']['step']}: {_metrics(info['best'])}")
    for alert, end in alerts:
        ended = "" if end is None else f" (ended at step {end})"
        click.echo(f"{'alert':<13} {alert.message}{ended}; zoo doctor {found.name}")
    if curves:
        click.echo()
        print_table(
            ["curve", "first", "last", "trend"],
            [
                ("{name} ({split})".format(**each), f"{each['first']:.4g}", f"{each['last']:.4g}",
                 each["trend"]) for each in curves
            ],
        )  # fmt: skip
        click.echo()
    for path in files:
        click.echo(path)


@verb.command("movie")
@click.argument("run", shell_complete=complete_runs)
@click.option("--graph", metavar="NAME",
              help="Whose previews [of the first graph that draws samples].")  # fmt: skip
@click.option("--seconds", type=float, default=0.5, show_default=True,
              help="Of each frame; the last one is held four times as long.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), help="x.webp [RUN.webp].")
@json_option
def movie(run: str, graph: str | None, seconds: float, output: Path | None, as_json: bool) -> None:
    """Show the training of RUN (an id, @last or a run folder) as an animation.

    Its frames are the previews on fixed inputs that a training draws now and then, each with its
    step above it.
    """
    if not SHORTEST <= seconds <= LONGEST:
        raise UsageError(
            f"--seconds {seconds:g} is not between {SHORTEST:g} and {LONGEST:g}",
            hint="--seconds 0.5",
            code="bad-value",
        )
    if output is not None:
        check_suffix(output, ".webp")
    found = find_run_or_folder(run)
    from zoo.training.movie import choose_graph, find_previews, save_movie

    previews = find_previews(found)
    chosen = choose_graph(found, previews, graph)
    path = output or Path(f"{found.name}.webp")
    path.parent.mkdir(parents=True, exist_ok=True)
    steps = save_movie(found, chosen, previews[chosen], path, seconds=seconds, log=say)
    others = f"; there are others of {', '.join(sorted({*previews} - {chosen}))}"
    say(f"{len(steps)} previews of {chosen}, step {steps[0]:,} to {steps[-1]:,}"
        + (others if len(previews) > 1 else ""))  # fmt: skip
    file = click.format_filename(path)
    if as_json:
        print_json({"file": file, "run": found.name, "graph": chosen, "steps": steps,
                    "seconds": seconds, "graphs": [*previews]})  # fmt: skip
    else:
        click.echo(file)


@verb.command("rm")
@click.argument("runs", nargs=-1, required=True, shell_complete=complete_runs)
@json_option
def remove_runs(runs: tuple[str, ...], as_json: bool) -> None:
    """Remove RUNS with all that they hold.

    Of a run that is a link to a folder elsewhere, the link is removed and the folder stays.
    """
    named = [find_run(name) for name in runs]
    found = list({run.name: run for run in named}.values())  # one may be named twice, as @last too
    for run in found:
        if kept := run.remove():
            say(f"{run.path} was a link; the run itself stays in {kept}")
        if not as_json:
            click.echo(run.path)
    if as_json:
        print_json({"removed": [run.name for run in found]})


def damaged_lines(run: Run, file: str) -> OnDamaged:
    """Return a function that prints the first line of a run's file that cannot be read."""
    damaged: list[int] = []

    def log(number: int, why: str) -> None:
        if not damaged:
            say(f"{run.path / file}, line {number} is damaged and left out: {why}; "
                "there may be others")  # fmt: skip
        damaged.append(number)

    return log


def _facts(run: Run) -> dict[str, Any]:
    """Return what run.json says, with the parts of the identity beside the rest."""
    info = dict(run.info())
    return {**to_plain(info.pop("identity")), **info}


def _metrics(row: Mapping[str, Any]) -> str:
    metrics = row.get("metrics") or {}
    return "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())


def _curves(rows: Iterable[MetricsRow]) -> list[dict[str, Any]]:
    """Return each term with its number of points, first and last value and trend, training first.

    However many rows there are, only some hundred means of each curve are kept.
    """
    from zoo.training.curves import Series

    found: dict[tuple[str, str], Series] = {}
    for row in rows:
        for name, value in row["values"].items():
            found.setdefault((row["split"], name), Series()).add(row["step"], value)
    return [
        {"name": name, "split": split, "points": each.count, "first": each.first,
         "last": each.last, "trend": _trend([value for _, value in each.points()])}
        for (split, name), each in sorted(found.items(), key=lambda item: item[0][0])
    ]  # fmt: skip


def _trend(values: Sequence[float]) -> str:
    """Return numbers as a row of blocks; neighbours are averaged where there are many."""
    columns = min(WIDTH, len(values))
    edges = [place * len(values) // columns for place in range(columns + 1)]
    means = [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]
    low, span = min(means), max(means) - min(means)
    highest = len(TREND) - 1
    return "".join(TREND[round((mean - low) / span * highest) if span else 0] for mean in means)
