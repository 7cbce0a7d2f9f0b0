"""`zoo doctor`: a run's alerts explained, or what this installation can do."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.output import json_option, print_json

if TYPE_CHECKING:
    from zoo.training.monitors import Alert

MAX_WIDTH = 88  # characters of a line that is read


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
    from zoo.training.monitors import MONITORS, alert_history
    from zoo.training.run import find_run

    run = find_run(name)
    info = run.info()
    alerts = alert_history(run.events(damaged_lines(run, "events.jsonl")))
    step = int(info.get("step") or 0)
    unwatched = info.get("unwatched")
    named = {alert.monitor for alert, _ in alerts} | set(unwatched or {})
    validations = sum(
        row["split"] == "validation" for row in run.metrics(damaged_lines(run, "metrics.jsonl"))
    )
    have = {"steps": step, "validations": validations - 1}  # the first has none to compare with
    too_early = {
        monitor: f"{limit:,g} {unit}"
        for monitor, row in MONITORS.items()
        for unit, limit in row.limits.items()
        if monitor not in named and limit > have.get(unit, limit)
    }
    not_found = [each for each in MONITORS if each not in named and each not in too_early]
    if as_json:
        print_json(
            {
                "run": run.name,
                "status": info.get("status"),
                "step": step,
                "watched": unwatched is not None,
                "alerts": [_as_json(alert, end) for alert, end in alerts],
                "not_found": not_found,
                "too_early": too_early,
                "not_watched": unwatched or {},
            }
        )
        return
    data = f" on {info['data']}" if info.get("data") else ""
    click.echo(f"{run.name}: {info['model']}{data}, {info.get('status')}, {step:,} steps\n")
    _print_end(run.name, info)
    _print_share(info, step)
    if unwatched is None and not alerts:
        _print("Nothing is known of this run's health: no monitors ran.")
        return
    for alert, end in alerts:
        _print_alert(alert, end)
    _print_other_monitors(len({alert.monitor for alert, _ in alerts}), not_found, too_early, step)
    _print_unwatched(unwatched or {})


def _print_other_monitors(
    alerts: int, not_found: Sequence[str], too_early: Mapping[str, str], step: int
) -> None:
    """Print which monitors found nothing, and which have not checked the run yet."""
    if too_early:
        waiting = ", ".join(f"{_title(each)} ({least})" for each, least in too_early.items())
        share = f"{len(too_early)} of {alerts + len(not_found) + len(too_early)}"
        _print(f"{share} checks have not been made yet, so nothing is known of these: {waiting}; "
               f"this run has {step:,} steps.")  # fmt: skip
    if not_found:
        _print(f"{', '.join(map(_title, not_found))}.", "", "Looked for and not found: ")
    if not too_early and not alerts:
        _print("No check found anything; look at samples/ all the same.")


def _print_end(name: str, info: Mapping[str, Any]) -> None:
    """Print how an unfinished run ended, and how to resume it."""
    status = info.get("status")
    if status in {None, "running", "finished"}:
        return
    how = {
        "died": "Its process is gone without a message: it was killed, or the machine stopped.",
        "interrupted": "Somebody stopped it.",
        "failed": "It ended with an error:",
    }
    _print(how.get(status, f"It ended as {status}."))
    if status == "failed":
        for line in str(info.get("error") or "none is recorded").splitlines():
            _print(line, "  ")
    _print(f"zoo train --resume {name} continues from its last checkpoint.\n")


def _print_alert(alert: Alert, end: int | None) -> None:
    """Print an alert with its numbers, its monitor's explanation and advice."""
    from zoo.training.monitors import MONITORS

    monitor = MONITORS.get(alert.monitor)
    _print(alert.message[:1].upper() + alert.message[1:] + ".")
    if end is not None:
        _print(f"It ended at step {end:,}.", "  ")
    if monitor is not None:
        _print(monitor.explanation, "  ", "What it is: ")
    _print(alert.advice + ".", "  ", "What to try: ")
    numbers = ", ".join(f"{name} {_number(value)}" for name, value in alert.evidence.items())
    _print(numbers + ".", "  ", "Measured: ")
    if monitor is not None:
        limits = ", ".join(f"{name} {limit:g}" for name, limit in monitor.limits.items())
        reason = f"{limits}; {monitor.reason}." if limits else f"{monitor.reason}."
        _print(reason, "  ", "Limits: ")
    click.echo()


def _print_share(info: Mapping[str, Any], step: int) -> None:
    """Print how much of the planned training was done."""
    steps, seconds = info.get("planned_steps"), info.get("planned_seconds")
    if isinstance(steps, int | float) and steps:
        _print(f"{step:,} of {steps:,.0f} planned steps were done ({step / steps:.0%}).\n")
    elif isinstance(seconds, int | float) and seconds:
        spent = info.get("seconds")
        share = f"{spent:,.0f}" if isinstance(spent, int | float) else "an unknown part"
        _print(f"{share} of {seconds:,.0f} planned seconds were spent, in {step:,} steps.\n")


def _print_unwatched(unwatched: Mapping[str, str]) -> None:
    """Print which monitors cannot check the model, by reason."""
    monitors: dict[str, list[str]] = {}
    for monitor, reason in unwatched.items():
        monitors.setdefault(reason, []).append(_title(monitor))
    for reason, titles in monitors.items():
        _print(f"{', '.join(titles)}: {reason}.", "", "Not looked for: ")


def _as_json(alert: Alert, end: int | None) -> dict[str, Any]:
    """Return an alert with what its monitor says."""
    from zoo.training.monitors import MONITORS

    found = {**asdict(alert), "recovered": end}
    monitor = MONITORS.get(alert.monitor)
    if monitor is not None:
        found |= {"limits": dict(monitor.limits), "reason": monitor.reason,
                  "explanation": monitor.explanation}  # fmt: skip
    return found


def _title(name: str) -> str:
    """Return the title of a monitor, or the name of one that this zoo does not know."""
    from zoo.training.monitors import MONITORS

    return MONITORS[name].title if name in MONITORS else name


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _print(text: str, indent: str = "", lead: str = "") -> None:
    """Print a paragraph that is as wide as the terminal, but no wider than can be read."""
    width = min(MAX_WIDTH, shutil.get_terminal_size().columns)
    click.echo(textwrap.fill(lead + text, width, initial_indent=indent, subsequent_indent=indent))
