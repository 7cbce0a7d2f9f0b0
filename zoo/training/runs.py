"""The runs of the working directory: listed, and found by name. Imports no torch."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from zoo.errors import NotFoundError, did_you_mean
from zoo.training.run import RUNS, Run, number_of


def all_runs() -> list[Run]:
    """Return the runs of the working directory, the oldest first; other folders are passed over."""
    if not RUNS.is_dir():
        return []
    folders = [path for path in RUNS.iterdir() if (path / "run.json").is_file()]
    return [Run(path) for path in sorted(folders, key=_age)]


def find_run(name: str) -> Run:
    """Return the run called `name`, or the latest for ``@last``.

    Raises:
        NotFoundError: there is none.
    """
    runs = all_runs()
    if name == "@last":
        if not runs:
            raise NotFoundError(
                f"no runs in {RUNS.resolve()}", hint="zoo list, then zoo train MODEL"
            )
        return runs[-1]
    for run in runs:
        if run.name == name:
            return run
    near = did_you_mean(name, [run.name for run in runs])
    raise NotFoundError(f"run {name[:60]!r} not found.{near}", hint="zoo runs")


def _age(path: Path) -> tuple[float, int, str]:
    """Order runs by when they began; numbers decide between those of one moment."""
    try:
        created = json.loads((path / "run.json").read_text(encoding="utf-8")).get("created", "")
        began = datetime.fromisoformat(created).timestamp()
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        began = 0.0
    return began, number_of(path.name, path.name.rpartition("-")[0]), path.name
