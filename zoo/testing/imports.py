"""What importing a plugin may do: nothing that anybody notices. Watched in a cold process."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zoo.testing import probe as script
from zoo.testing.check import Check, Finding, Obstacle
from zoo.testing.export import python_path
from zoo.testing.package import Package, folder_of
from zoo.testing.places import line_with

SECONDS = 60  # for all of a distribution, torch included
MOST_COMPUTING = 0.1  # seconds for the modules that every command imports
MOST_WAITING = 0.5  # seconds likewise, on the clock

Event = dict[str, str]


def loads(package: Package) -> None:
    """Every entry point is imported without an error and provides models or data sets."""
    for event in _events(package, "error", stage="card"):
        raise Finding(event["what"], event["where"])
    for plugin in package.plugins:
        if plugin.trouble or plugin.left_out:
            raise Finding(plugin.trouble or f"it is not loaded: {plugin.left_out}")


def light(package: Package) -> None:
    """The module of the cards imports neither torch nor anything else that is slow."""
    _none(package, "heavy", "{} is imported with the cards; only the model's own file may do so")


def quick(package: Package) -> None:
    """The module of the cards is imported within half a second, a tenth of it computing."""
    if _events(package, "heavy"):
        raise Obstacle("import/light")
    tries = [_look(package)]
    if _is_slow(tries[0]):  # perhaps the machine was busy
        tries.append(_import_alone(_modules(package), (), python_path()))
    if all(map(_is_slow, tries)):
        computing, waiting = (min(each[key] for each in tries) for key in ("computing", "waiting"))
        raise Finding(
            f"importing the cards took {waiting:.2f} s, {computing:.2f} s of them computing",
            _first_line(package),
        )


def silent(package: Package) -> None:
    """Importing the cards and the models prints nothing."""
    _none(package, "output", "importing it prints {!r}")
    if _look(package)["printed"]:
        raise Finding(
            f"importing it prints {_look(package)['printed']!r}, though not through Python",
            _first_line(package),
        )


def offline(package: Package) -> None:
    """Importing the cards and the models does not reach for the network."""
    _none(package, "network", "importing it reaches for the network ({})")


def writes_nothing(package: Package) -> None:
    """Importing the cards and the models writes no file and starts no process."""
    _none(package, "file", "importing it writes {}")
    _none(package, "process", "importing it starts a process ({})")


def leaves_state(package: Package) -> None:
    """Importing a model leaves generators, warnings, streams, signals, threads as they were."""
    _none(package, "state", "importing it changes {}")


CHECKS = [
    Check("import", each)
    for each in (loads, light, quick, silent, offline, writes_nothing, leaves_state)
]


def _none(package: Package, kind: str, message: str) -> None:
    for event in _events(package, kind):
        raise Finding(message.format(event["what"]), event["where"] or _first_line(package))


def _events(package: Package, kind: str, stage: str = "") -> list[Event]:
    return [each for each in _look(package)["events"]
            if each["kind"] == kind and stage in {"", each["stage"]}]  # fmt: skip


def _first_line(package: Package) -> str:
    folder = package.folder
    if folder is None:
        return ""
    return line_with(folder if folder.is_file() else folder / "__init__.py")


def _look(package: Package) -> dict[str, Any]:
    models = {card.model.partition(":")[0] for each in package.plugins for card in each.models}
    return _import_once(_modules(package), tuple(sorted(models)), python_path())


def _modules(package: Package) -> tuple[str, ...]:
    return tuple(sorted({each.module.partition(":")[0] for each in package.plugins}))


def _is_slow(found: dict[str, Any]) -> bool:
    return bool(found["computing"] > MOST_COMPUTING or found["waiting"] > MOST_WAITING)


def _import_alone(modules: Sequence[str], models: Sequence[str], path: str) -> dict[str, Any]:
    """Import modules in a process that has imported nothing yet, away from the user's files."""
    found_at = {folder for each in (*modules, *models) if (folder := folder_of(each))}
    folders = sorted(f"{each}{os.sep}" if each.is_dir() else str(each) for each in found_at)
    with TemporaryDirectory() as home:
        result = Path(home, "result.json")
        task = {"modules": modules, "models": models, "folders": folders,
                "result": str(result)}  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": path, "HOME": home, "USERPROFILE": home}
        words = [sys.executable, "-P", str(script.__file__), json.dumps(task)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=home,
                                  timeout=SECONDS, env=environment,
                                  stdin=subprocess.DEVNULL)  # fmt: skip
            ended = f"importing it ended the process with code {done.returncode}"
            printed = (done.stdout + done.stderr).strip()[:200]
        except subprocess.TimeoutExpired:
            ended, printed = f"importing it did not end within {SECONDS} s", ""
            done = None
        found: dict[str, Any] = {"events": [], "computing": 0.0, "waiting": 0.0}
        if result.exists():
            found = json.loads(result.read_text())
    if done is None or "done" not in found:
        where = line_with(Path(folders[0]) / "__init__.py") if folders else ""
        event = {"stage": "card", "kind": "error", "what": ended, "where": where}
        found["events"].insert(0, event)
    return {**found, "printed": printed if "done" in found else ""}


_import_once = functools.cache(_import_alone)
