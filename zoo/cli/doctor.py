"""`zoo doctor`: a run's verdicts explained, or what this installation can do."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.output import json_option, print_json

if TYPE_CHECKING:
    from zoo.training.illnesses import Verdict

WIDEST = 88  # characters of a line that is read


@click.command("doctor")
@click.argument("run", required=False)
@json_option
def verb(run: str | None, as_json: bool) -> None:
    """Explain how RUN (an id or @last) is doing; without RUN, what this installation can do."""
    if run is None:
        from zoo.cli.installation import show_installation

        show_installation(as_json)
    else:
        _show_run(run, as_json)


def _show_run(name: str, as_json: bool) -> None:
    from zoo.cli.runs import damaged_lines
    from zoo.training.illnesses import ILLNESSES, histories
    from zoo.training.runs import find_run

    run = find_run(name)
    info = run.info()
    told = histories(run.events(damaged_lines(run, "events.jsonl")))
    step = int(info.get("step") or 0)
    not_watched = info.get("unwatched")
    named = {verdict.illness for verdict, _ in told} | set(not_watched or {})
    validations = sum(
        row["split"] == "validation" for row in run.metrics(damaged_lines(run, "metrics.jsonl"))
    )
    have = {"steps": step, "validations": validations - 1}  # the first has none to compare with
    too_early = {
        illness: f"{limit:,g} {name}"
        for illness, row in ILLNESSES.items()
        for name, limit in row.limits.items()
        if illness not in named and limit > have.get(name, limit)
    }
    not_found = [each for each in ILLNESSES if each not in named and each not in too_early]
    if as_json:
        print_json(
            {
                "run": run.name,
                "status": info.get("status"),
                "step": step,
                "watched": not_watched is not None,
                "verdicts": [_as_json(verdict, passed) for verdict, passed in told],
                "not_found": not_found,
                "too_early": too_early,
                "not_watched": not_watched or {},
            }
        )
        return
    data = f" on {info['data']}" if info.get("data") else ""
    click.echo(f"{run.name}: {info['model']}{data}, {info.get('status')}, {step:,} steps\n")
    _tell_end(run.name, info)
    _tell_share(info, step)
    if not_watched is None and not told:
        _say("Nothing is known of this run's health: nobody watched it.")
        return
    for verdict, passed in told:
        _explain(verdict, passed)
    if too_early:
        waiting = ", ".join(f"{_title(each)} ({least})" for each, least in too_early.items())
        made = len(not_found) + len({verdict.illness for verdict, _ in told})
        share = f"{len(too_early)} of {made + len(too_early)}"
        _say(f"{share} checks have not been made yet, so nothing is known of these: {waiting}; "
             f"this run has {step:,} steps.")  # fmt: skip
    if not_found:
        _say(f"{', '.join(map(_title, not_found))}.", "", "Looked for and not found: ")
    if not too_early and not told:
        _say("No check found anything; a look at samples/ is part of the answer all the same.")
    _tell_unwatched(not_watched or {})


def _tell_end(name: str, info: Mapping[str, Any]) -> None:
    """Say how a run ended that did not come to its end, and how to go on."""
    status = info.get("status")
    if status in {None, "running", "finished"}:
        return
    how = {
        "died": "Its process is gone without a word: it was killed, or the machine stopped.",
        "interrupted": "Somebody stopped it.",
        "failed": "It ended with an error:",
    }
    _say(how.get(status, f"It ended as {status}."))
    if status == "failed":
        for line in str(info.get("error") or "none is recorded").splitlines():
            _say(line, "  ")
    _say(f"zoo train --resume {name} goes on where its last checkpoint stands.\n")


def _explain(verdict: Verdict, passed: int | None) -> None:
    from zoo.training.illnesses import ILLNESSES

    row = ILLNESSES.get(verdict.illness)
    _say(_capital(verdict.message) + ".")
    if passed is not None:
        _say(f"It had passed at step {passed:,}.", "  ")
    if row is not None:
        _say(row.explanation, "  ", "What it is: ")
    _say(verdict.advice + ".", "  ", "What to try: ")
    numbers = ", ".join(f"{name} {_number(value)}" for name, value in verdict.evidence.items())
    _say(numbers + ".", "  ", "Measured: ")
    if row is not None:
        limits = ", ".join(f"{name} {limit:g}" for name, limit in row.limits.items())
        _say(f"{limits}; {row.reason}." if limits else f"{row.reason}.", "  ", "Limits: ")
    click.echo()


def _tell_share(info: Mapping[str, Any], step: int) -> None:
    """Say how much of the planned training was done."""
    steps, seconds = info.get("planned_steps"), info.get("planned_seconds")
    if isinstance(steps, int | float) and steps:
        _say(f"{step:,} of {steps:,.0f} planned steps were done ({step / steps:.0%}).\n")
    elif isinstance(seconds, int | float) and seconds:
        spent = info.get("seconds")
        told = f"{spent:,.0f}" if isinstance(spent, int | float) else "an unknown part"
        _say(f"{told} of {seconds:,.0f} planned seconds were spent, in {step:,} steps.\n")


def _tell_unwatched(not_watched: Mapping[str, str]) -> None:
    """Say what could not be looked for."""
    reasons: dict[str, list[str]] = {}
    for illness, why in not_watched.items():
        reasons.setdefault(why, []).append(_title(illness))
    for why, titles in reasons.items():
        _say(f"{', '.join(titles)}: {why}.", "", "Not looked for: ")


def _as_json(verdict: Verdict, passed: int | None) -> dict[str, Any]:
    from zoo.training.illnesses import ILLNESSES

    row = ILLNESSES.get(verdict.illness)
    told = {
        "limits": dict(row.limits), "reason": row.reason, "explanation": row.explanation,
    } if row else {}  # fmt: skip
    return {**verdict.to_json(), "recovered": passed, **told}


def _title(illness: str) -> str:
    from zoo.training.illnesses import ILLNESSES

    return ILLNESSES[illness].title if illness in ILLNESSES else illness


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _say(text: str, indent: str = "", lead: str = "") -> None:
    """Print a paragraph that is as wide as the terminal, but no wider than can be read."""
    width = min(WIDEST, shutil.get_terminal_size().columns)
    click.echo(textwrap.fill(lead + text, width, initial_indent=indent, subsequent_indent=indent))
