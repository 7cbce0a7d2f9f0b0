"""The runs of the working directory: listed, and found by name. Imports no torch."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from zoo.errors import NotFoundError, did_you_mean
from zoo.records import read_json
from zoo.training.run import NAME, RUNS, Run, RunInfo, number_of

FILES = ("run.json", "config.toml")  # by which a folder is known for a run


def all_runs() -> list[Run]:
    """Return the runs of the working directory, the oldest first; other folders are passed over."""
    if not RUNS.is_dir():
        return []
    folders = [path for path in RUNS.iterdir() if any((path / file).is_file() for file in FILES)]
    return [Run(path) for path in sorted(folders, key=_age)]


def find_run(name: str) -> Run:
    """Return the run called `name`, or ``runs/name``, or the latest for ``@last``.

    Raises:
        NotFoundError: there is none.
    """
    runs = all_runs()
    name = name.removeprefix(f"{RUNS}/").rstrip("/")
    if name == "@last":
        if not runs:
            raise NotFoundError(
                f"no runs in {RUNS.resolve()}", hint="zoo list, then zoo train MODEL"
            )
        return runs[-1]
    for run in runs:
        if run.name == name:
            return run
    path = RUNS / name
    if NAME.fullmatch(name) and path.is_dir() and not list(path.glob("[!l]*")):
        return Run(path)  # whose process was killed before it could say what it was
    near = did_you_mean(name, [run.name for run in runs])
    raise NotFoundError(
        f"run {name[:60]!r} not found in {RUNS.resolve()}.{near}",
        hint="zoo runs",
        code="run-not-found",
    )


def _age(path: Path) -> tuple[float, int, str]:
    """Order runs by when they began; numbers decide between those of one moment."""
    try:
        created = read_json(path / "run.json", RunInfo).get("created", "")
        began = datetime.fromisoformat(created).timestamp()
    except (OSError, ValueError, OverflowError):  # a damaged run hides no other
        began = 0.0
    return began, number_of(path.name, path.name.rpartition("-")[0]), path.name
