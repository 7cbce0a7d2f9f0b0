"""`zoo doctor`: a run's alerts explained, or what this machine and this installation can do."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

import zoo
from zoo.catalog.dataset import cache_home
from zoo.catalog.lookup import extras
from zoo.catalog.plugins import installed_plugins
from zoo.catalog.registry import CORE, install_command
from zoo.cli.arguments import json_option
from zoo.cli.output import print_json, print_table
from zoo.cli.runs import damaged_lines
from zoo.errors import UsageError
from zoo.training.monitors import MONITORS, Alert, alert_history
from zoo.training.run import Run, find_run

MAX_WIDTH = 88  # characters of a line that is read
FOR_WORK = ("train", "tensorboard")  # extras that users need; the others are for developers
NUMBERS = {"32": "fp32", "bf16": "bf16"}  # by precision
ENDS = {
    "died": "Its process is gone without a message: it was killed, or the machine stopped.",
    "interrupted": "Somebody stopped it.",
    "failed": "It ended with an error:",
}


@click.command("doctor")
@click.argument("run", required=False)
@click.option("--speed", is_flag=True,
              help="Of RUN: also which share of this machine's speed it reached.")  # fmt: skip
@json_option
def verb(run: str | None, speed: bool, as_json: bool) -> None:
    """Explain how RUN (an id or @last) is doing; without RUN, what this installation can do.

    Without RUN, it measures for a second how fast this machine computes.
    """
    if run is not None:
        _show_run(run, speed, as_json)
    elif as_json:
        print_json(_installation())
    else:
        print_table(["what", "found", "to do"], _installation_rows(_installation()))


def _show_run(name: str, with_speed: bool, as_json: bool) -> None:
    run = find_run(name)
    info = run.info()
    speed = _speed_of(run) if with_speed else None
    alerts = alert_history(run.events(damaged_lines(run, "events.jsonl")))
    step = info["identity"].step
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
        print_json({
            "run": run.name,
            "status": info.get("status"),
            "step": step,
            "watched": unwatched is not None,
            "alerts": [_as_json(alert, end) for alert, end in alerts],
            "not_found": not_found,
            "too_early": too_early,
            "not_watched": unwatched or {},
            **({"speed": speed} if with_speed else {}),
        })  # fmt: skip
        return
    data = f" on {info['data']}" if info.get("data") else ""
    click.echo(
        f"{run.name}: {info['identity'].model}{data}, {info.get('status')}, {step:,} steps\n"
    )
    _print_progress(run.name, info, step)
    if with_speed:
        _print_speed(run.name, speed)
    if unwatched is None and not alerts:
        _print("Nothing is known of this run's health: no monitors ran.")
        return
    for alert, end in alerts:
        _print_alert(alert, end)
    alerted = len({alert.monitor for alert, _ in alerts})
    _print_other_monitors(alerted, not_found, too_early, unwatched or {}, step)


def _speed_of(run: Run) -> dict[str, Any] | None:
    """Return what a run computed and what this machine can; None where no speed is recorded."""
    from zoo.api.jobs import resume_job
    from zoo.training.speed import measure_machine, measure_run

    info = run.info()
    if info.get("status") == "running":
        raise UsageError(
            f"run {run.name!r} is being trained, which a measurement would slow down and falsify",
            hint=f"zoo doctor {run.name} --speed when it has ended",
            code="run-in-use",
        )
    job, _ = resume_job(run)
    machine = measure_machine(str(info.get("device")))
    found = measure_run(job, machine, info, run.metrics(damaged_lines(run, "metrics.jsonl")))
    return None if found is None else {**asdict(found), "machine": asdict(machine)}


def _print_speed(name: str, speed: Mapping[str, Any] | None) -> None:
    """Print what a run computed, and its share of what this machine computes."""
    if speed is None:
        _print(f"The metrics of {name} hold no speed: it was too short.\n")
        return
    machine = speed["machine"]
    told = (
        f"It computed {speed['gflops']:,.1f} GFLOP/s: {speed['images_per_second']:,.0f} "
        f"{speed['items']}/s, "
        f"{speed['gflop_per_image']:.3g} GFLOP each"
    )
    if speed["compiled"]:
        told += f", with {' and '.join(speed['compiled'])} compiled"
    if speed["share"] is None:
        _print(f"{told}. Its share of this machine is not known: {speed['why_no_share']}.\n")
        return
    most = machine["gflops"][speed["precision"]]
    _print(
        f"{told}. That is {speed['share']:.0%} of the {most:,.0f} GFLOP/s that a matrix product "
        f"reaches on {machine['device']} now, in precision {speed['precision']}.\n"
    )


def _print_other_monitors(
    alerts: int,
    not_found: Sequence[str],
    too_early: Mapping[str, str],
    unwatched: Mapping[str, str],
    step: int,
) -> None:
    """Print which monitors found nothing, have not checked the run yet, or cannot."""
    if too_early:
        waiting = ", ".join(f"{_title(each)} ({least})" for each, least in too_early.items())
        share = f"{len(too_early)} of {alerts + len(not_found) + len(too_early)}"
        _print(f"{share} checks have not been made yet, so nothing is known of these: {waiting}; "
               f"this run has {step:,} steps.")  # fmt: skip
    if not_found:
        _print(f"{', '.join(map(_title, not_found))}.", "", "Looked for and not found: ")
    if not too_early and not alerts:
        _print("No check found anything; look at samples/ all the same.")
    for reason in dict.fromkeys(unwatched.values()):
        titles = [_title(monitor) for monitor, why in unwatched.items() if why == reason]
        _print(f"{', '.join(titles)}: {reason}.", "", "Not looked for: ")


def _print_progress(name: str, info: Mapping[str, Any], step: int) -> None:
    """Print how an unfinished run ended and how to resume it, and how much of it was done."""
    status = info.get("status")
    if status not in {None, "running", "finished"}:
        _print(ENDS.get(status, f"It ended as {status}."))
        if status == "failed":
            for line in str(info.get("error") or "none is recorded").splitlines():
                _print(line, "  ")
        _print(f"zoo train --resume {name} continues from its last checkpoint.\n")
    steps, seconds = info.get("planned_steps"), info.get("planned_seconds")
    if isinstance(steps, int | float) and steps:
        _print(f"{step:,} of {steps:,.0f} planned steps were done ({step / steps:.0%}).\n")
    elif isinstance(seconds, int | float) and seconds:
        spent = info.get("seconds")
        share = f"{spent:,.0f}" if isinstance(spent, int | float) else "an unknown part"
        _print(f"{share} of {seconds:,.0f} planned seconds were spent, in {step:,} steps.\n")


def _print_alert(alert: Alert, end: int | None) -> None:
    """Print an alert with its numbers, its monitor's explanation and advice."""
    monitor = MONITORS.get(alert.monitor)
    numbers = ", ".join(
        f"{name} {value if isinstance(value, str) else format(value, '.4g')}"
        for name, value in alert.evidence.items()
    )
    _print(alert.message[:1].upper() + alert.message[1:] + ".")
    if end is not None:
        _print(f"It ended at step {end:,}.", "  ")
    if monitor is not None:
        _print(monitor.explanation, "  ", "What it is: ")
    _print(alert.advice + ".", "  ", "What to try: ")
    _print(numbers + ".", "  ", "Measured: ")
    if monitor is not None:
        limits = ", ".join(f"{name} {limit:g}" for name, limit in monitor.limits.items())
        _print("; ".join(filter(None, (limits, f"{monitor.reason}."))), "  ", "Limits: ")
    click.echo()


def _as_json(alert: Alert, end: int | None) -> dict[str, Any]:
    """Return an alert with what its monitor says."""
    found = {**asdict(alert), "recovered": end}
    monitor = MONITORS.get(alert.monitor)
    if monitor is not None:
        found |= {"limits": dict(monitor.limits), "reason": monitor.reason,
                  "explanation": monitor.explanation}  # fmt: skip
    return found


def _title(name: str) -> str:
    """Return the title of a monitor, or the name of one that this zoo does not know."""
    return MONITORS[name].title if name in MONITORS else name


def _print(text: str, indent: str = "", lead: str = "") -> None:
    """Print a paragraph that is as wide as the terminal, but no wider than can be read."""
    width = min(MAX_WIDTH, shutil.get_terminal_size().columns)
    click.echo(textwrap.fill(lead + text, width, initial_indent=indent, subsequent_indent=indent))


def _installation() -> dict[str, Any]:
    """Return what this machine and this installation can do, found out without failing."""
    from zoo.market.install import installed_version

    try:
        cache = _folder_facts(cache_home())
    except UsageError as problem:
        cache = {"path": None, "trouble": problem.message}
    return {
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": {"platform": platform.platform(), "processors": os.cpu_count()},
        "zoo": {"version": zoo.__version__},
        "torch": _library_facts("torch", "devices", _torch_devices),
        "speed": _machine_speed(),
        "onnxruntime": _library_facts(
            "onnxruntime", "providers", lambda runtime: list(runtime.get_available_providers())
        ),
        "extras": {
            extra: [name for name in extras().get(extra, []) if installed_version(name) is None]
            for extra in FOR_WORK
        },
        "plugins": [
            {
                "distribution": plugin.distribution,
                "version": plugin.version,
                "models": [card.name for card in plugin.models],
                "trouble": plugin.trouble or None,
            }
            for plugin in installed_plugins()
        ],
        "cache": cache,
        "runs": _folder_facts(Path.cwd()),
    }


def _machine_speed() -> dict[str, Any] | None:
    """Return how fast this machine computes, or None where torch does not work."""
    try:
        importlib.import_module("torch")
    except Exception:  # which the row of torch tells
        return None
    from zoo.training.speed import measure_machine

    return asdict(measure_machine())


def _speed_rows(speed: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows of what `_machine_speed` measured."""
    rates = ", ".join(
        f"{rate:,.0f} GFLOP/s in {NUMBERS[name]}" for name, rate in speed["gflops"].items()
    )
    copied = f"{speed['copied_gb_per_second']:,.1f} GB/s"
    return [
        ("matrix product", f"{rates} on {speed['device']}, {speed['threads']} threads", ""),
        ("memory", f"{copied} read and written by a copy", ""),
        ("precision", f"auto is {speed['precision']}: {speed['reason']}", ""),
    ]


def _installation_rows(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what `_installation` has found as rows of a table: what, found, to do."""
    python, system, torch, runtime = (
        found[name] for name in ("python", "system", "torch", "onnxruntime")
    )
    train = install_command(CORE, extra="train")
    rows = [
        ("python", f"{python['version']}, {python['executable']}", ""),
        ("system", f"{system['platform']}, {system['processors']} processors", ""),
        ("zoo", found["zoo"]["version"], ""),
        ("torch", *_library(torch, "devices", f"{train}, to train, sample and export")),
        *(_speed_rows(found["speed"]) if found["speed"] else []),
        ("onnxruntime", *_library(runtime, "providers", "pip install onnxruntime")),
    ]
    for extra, missing in found["extras"].items():
        told = f"missing: {', '.join(missing)}" if missing else "complete"
        rows.append((f"extra {extra}", told, install_command(CORE, extra=extra) * bool(missing)))
    for plugin in found["plugins"]:
        name, models = f"plugin {plugin['distribution']}", ", ".join(plugin["models"])
        rows.append((name, f"{plugin['version']}: {models}", plugin["trouble"] or ""))
    if not found["plugins"]:
        rows.append(("plugins", "none", install_command("zoo-autoencoders")))
    for name, folder, remedy in (
        ("cache", found["cache"], "ZOO_HOME names another folder"),
        ("working folder", found["runs"], "runs/ needs a folder to write in"),
    ):
        if folder["trouble"]:
            rows.append((name, folder["trouble"], remedy))
        else:
            free = f"{folder['free_bytes'] / 2**30:,.1f} GiB free"
            rows.append((name, f"{folder['path']}, {free}", ""))
    return rows


def _library(found: Mapping[str, Any], parts: str, remedy: str) -> tuple[str, str]:
    if found["trouble"]:
        return found["trouble"], remedy
    return f"{found['version']}: {', '.join(found[parts])}", ""


def _library_facts(name: str, parts: str, list_parts: Callable[[Any], list[str]]) -> dict[str, Any]:
    """Return the version and the parts of a library, or why it cannot be imported."""
    try:
        library = importlib.import_module(name)
    except Exception as problem:  # a broken library is reported, not raised
        missing = isinstance(problem, ModuleNotFoundError) and problem.name == name
        broken = f"broken: {' '.join(str(problem).split())[:200]}"
        return {"version": None, "trouble": "not installed" if missing else broken}
    return {"version": library.__version__, parts: list_parts(library), "trouble": None}


def _torch_devices(torch: Any) -> list[str]:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = [f"cuda:{number} {torch.cuda.get_device_name(number)}" for number in range(count)]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return [*devices, f"cpu ({torch.get_num_threads()} threads)"]


def _folder_facts(folder: Path) -> dict[str, Any]:
    """Return whether a folder, or the nearest one above it, can be written, and its free room."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    trouble, free = None, None
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
        free = shutil.disk_usage(nearest).free
    except OSError as problem:
        trouble = f"{nearest}: {problem.strerror or problem}"
    return {"path": str(folder), "exists": folder.exists(), "free_bytes": free, "trouble": trouble}
