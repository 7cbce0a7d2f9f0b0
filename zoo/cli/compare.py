"""`zoo compare`."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.arguments import (
    SuggestingChoice,
    check_suffix,
    complete_runs,
    find_run_or_folder,
    json_option,
)
from zoo.cli.output import print_json, print_table
from zoo.cli.runs import damaged_lines
from zoo.errors import NotFoundError, UsageError, ZooError
from zoo.messages import say
from zoo.training.run import RUNS, Run, all_runs, find_run

if TYPE_CHECKING:
    from zoo.training.comparison import RunFigures

PICTURE = Path("comparison.png")
MOST_NAMED = 20  # runs in an error


@click.command("compare")
@click.argument("runs", nargs=-1, metavar="RUN...", shell_complete=complete_runs)
@click.option("--by", type=SuggestingChoice(["step", "images"]), default="step",
              help="What the curves are drawn over, step or images [step].")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path),
              help="Where the picture goes, x.png [comparison.png; with --csv or --json, none is "
              "drawn].")  # fmt: skip
@click.option("--csv", "as_csv", is_flag=True, help="Print the table as CSV on stdout.")
@json_option
def verb(runs: tuple[str, ...], by: str, output: Path | None, as_csv: bool, as_json: bool) -> None:
    """Compare runs: their figures in a table, their curves in one picture.

    RUN is the id of a run, @last, the folder of a run, or a pattern such as 'dcgan-*'.

    Of each metric, the table has the value of the best checkpoint and that of the last validation;
    * marks the best run of those with the same goal and the same data. Settings are shown where
    they are not alike in all runs.
    """
    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other", code="conflicting-options")
    if output is not None:
        check_suffix(output, ".png")
    found = _find_runs(runs)
    from zoo.training.comparison import as_records, as_table, differing, read_figures

    figures = [
        read_figures(run, damaged_lines(run, "metrics.jsonl"), by_images=by == "images")
        for run in found
    ]
    for each in figures:
        if not each.panels:
            say(f"run {each.run.name} has no metrics yet")
    if as_json:
        written = _draw(figures, output, by)
        print_json({
            "runs": as_records(figures), "differing": differing(figures), "picture": written,
        })  # fmt: skip
    elif as_csv:
        _print_csv(*as_table(figures))
        _draw(figures, output, by)
    else:
        _print_tables(figures)
        if written := _draw_if_possible(figures, output, by):
            click.echo(f"\n{written}")


def _find_runs(words: Sequence[str]) -> list[Run]:
    """Return the runs that are named, each once.

    Raises:
        UsageError: none is named.
        NotFoundError: one that is named is not there, or no run matches a pattern.
    """
    if not words:
        find_run("@last")  # which says where there is none
        known = [run.name for run in all_runs()]
        more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
        raise UsageError(
            "which runs?",
            cause=f"there are {', '.join(known[-MOST_NAMED:])}{more}",
            hint=f"zoo compare {' '.join(known[-2:])}, or zoo compare '*'",
            code="missing-argument",
        )
    found: list[Run] = []
    for word in words:
        is_pattern = not {*"*?["}.isdisjoint(word) and not Path(word).exists()
        found += _matching(word) if is_pattern else [find_run_or_folder(word)]
    return list({run.path.resolve(): run for run in found}.values())


def _matching(pattern: str) -> list[Run]:
    """Return the runs whose ids match a pattern, but for damaged ones, which are told."""
    found = []
    for run in all_runs():
        if fnmatchcase(run.name, pattern.removeprefix(f"{RUNS}/")):
            try:
                run.info()
                found.append(run)
            except NotFoundError as problem:
                say(f"{problem.message}; it is left out")
    if not found:
        raise NotFoundError(
            f"no run of {RUNS.resolve()} matches {pattern[:60]!r}",
            hint="zoo runs",
            code="run-not-found",
        )
    return found


def _draw(figures: Sequence[RunFigures], output: Path | None, by: str) -> str | None:
    """Draw the picture where it is asked for; return its name, or None where none is drawn.

    Raises:
        PluginError: matplotlib is not installed.
        UsageError: there are too many runs.
    """
    if output is None or not any(each.panels for each in figures):
        return None
    from zoo.catalog.lookup import missing_package
    from zoo.training.comparison import draw

    output.parent.mkdir(parents=True, exist_ok=True)
    try:
        draw(figures, output, by)
    except ModuleNotFoundError as problem:
        raise missing_package(str(problem.name)) from None
    return click.format_filename(output)


def _draw_if_possible(figures: Sequence[RunFigures], output: Path | None, by: str) -> str | None:
    """Do what `_draw` does; where nobody asked for a picture, only say why there is none."""
    try:
        return _draw(figures, output or PICTURE, by)
    except ZooError as problem:
        if output is not None:
            raise
        say(f"no picture: {problem.message}; {problem.hint}")
        return None


def _print_tables(figures: Sequence[RunFigures]) -> None:
    """Print what the runs are, and below it what they reached."""
    from zoo.training.comparison import as_records, metrics_of, show

    records = as_records(figures)
    print_table(
        ["run", "model", "data", "status", "steps", "minutes", "settings that differ"],
        [
            (row["run"], row["model"], row["data"], row["status"], row["steps"],
             "" if row["minutes"] is None else f"{row['minutes']:.1f}",
             ", ".join(f"{name} {show(value)}" for name, value in row["settings"].items()))
            for row in records
        ],
    )  # fmt: skip
    metrics = metrics_of(figures)
    if not metrics:
        return
    heads = [head for name in metrics for head in (_head(name, figures), f"{name} last")]
    rows = [[cell for name in metrics for cell in _cells(row, name)] for row in records]
    shown = [place for place in range(len(heads)) if any(row[place] for row in rows)]
    click.echo()
    print_table(
        ["run", *(heads[place] for place in shown)],
        [
            [record["run"], *(row[place] for place in shown)]
            for record, row in zip(records, rows, strict=True)
        ],
    )
    if any(row["is_best"] for row in records):
        click.echo("\n* the best of the runs with the same goal and the same data")


def _head(metric: str, figures: Sequence[RunFigures]) -> str:
    """Return what stands above the values of a metric at the best checkpoints."""
    directions = {each.direction for each in figures if each.goal == metric} - {None}
    return f"{metric} {' or '.join(map(str, directions))}" if directions else f"{metric} at best"


def _cells(row: Mapping[str, Any], metric: str) -> tuple[str, str]:
    """Return a metric at the best checkpoint of a run, marked, and at the last validation."""
    best, last = (row["best"] or {}).get("metrics", {}), row["last"]
    is_marked = row["is_best"] and row["goal"]["metric"] == metric
    mark = " *" if is_marked else ""
    return (
        f"{best[metric]:.4g}{mark}" if metric in best else "",
        f"{last[metric]:.4g}" if metric in last else "",
    )


def _print_csv(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    click.echo(text.getvalue().encode(encoding, "replace").decode(encoding), nl=False)
