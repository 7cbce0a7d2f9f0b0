"""What several runs reached and what tells them apart: figures, settings and curves.

Imports no torch.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zoo.errors import NotFoundError
from zoo.options import show_value
from zoo.training.checkpoint import JobRecord
from zoo.training.config import DATA_OPTIONS, load_job
from zoo.training.curves import Panels, save_comparison, sort_into_panels
from zoo.training.run import MetricsRow, OnDamaged, Run, RunInfo

AS_USED = ("device", "devices", "precision")  # by run.json, where the settings may say auto


@dataclass
class RunFigures:
    """What a comparison tells of one run.

    `best` are the metrics of the best checkpoint, `last` those of the last validation. `options`
    are the model's, `training` everything else that was chosen; both are empty where nobody knows.
    """

    run: Run
    model: str
    data: str
    status: str
    steps: int
    minutes: float | None
    goal: str | None  # the metric that says which checkpoint is best
    direction: str | None  # "lowest" or "highest"
    best_step: int | None = None
    best: Mapping[str, float] = field(default_factory=dict)
    last: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    panels: Panels = field(default_factory=dict)


def read_figures(
    run: Run, on_damaged: OnDamaged | None = None, *, by_images: bool = False
) -> RunFigures:
    """Read what a comparison tells of a run, which may still be training.

    Lines of ``metrics.jsonl`` that cannot be read are left out, and `on_damaged` is told. The
    curves are over steps, or over the images that were shown.

    Raises:
        NotFoundError: run.json is damaged, or the images of a step are asked for and not known.
    """
    info = run.info()
    identity, best = info["identity"], info.get("best")
    figures = RunFigures(
        run,
        model=identity.model,
        data=info.get("data", ""),
        status=info.get("status", ""),
        steps=identity.step,
        minutes=_minutes(info),
        goal=info.get("goal"),
        direction=info.get("goal_direction"),
        best_step=best["step"] if best else None,
        best=best["metrics"] if best else {},
    )
    with suppress(NotFoundError):  # neither a checkpoint nor a configuration that can be read
        figures.options, figures.training = _settings(load_job(run)[0], info)
    images = figures.training.get("batch_size") if by_images else 1
    if not isinstance(images, int):
        raise NotFoundError(
            f"nobody knows how many images a step of run {run.name!r} took",
            cause="its checkpoints and its config.toml are missing or damaged",
            hint="--by step",
            code="damaged-run",
        )
    figures.panels = sort_into_panels(_noted(run.metrics(on_damaged), figures, images))
    return figures


def draw(runs: Sequence[RunFigures], path: Path, x_label: str) -> None:
    """Write the curves of runs as one picture, the metrics of their goals first.

    Raises:
        UsageError: there are too many runs.
    """
    named = list(zip(names(runs), (each.panels for each in runs), strict=True))
    save_comparison(named, path, first={each.goal for each in runs if each.goal}, x_label=x_label)


def names(runs: Sequence[RunFigures]) -> list[str]:
    """Return the runs' ids, and the paths of those whose ids are alike."""
    count = Counter(each.run.name for each in runs)
    return [each.run.name if count[each.run.name] == 1 else str(each.run.path) for each in runs]


def metrics_of(runs: Sequence[RunFigures]) -> list[str]:
    """Return the names of all metrics, those of the goals first."""
    goals = [each.goal for each in runs if each.goal in {*each.best, *each.last}]
    others = [name for each in runs for name in (*each.last, *each.best)]
    return list(dict.fromkeys([*filter(None, goals), *others]))


def are_best(runs: Sequence[RunFigures]) -> list[bool]:
    """Say of each run whether no other one on the same data has a better value of the same goal.

    Of a run that is alone with its goal and its data, that says nothing, and is False.
    """
    rivals: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    keys = [
        (each.goal, each.direction, each.data, *(str(each.training.get(k)) for k in DATA_OPTIONS))
        for each in runs
    ]
    for key, each in zip(keys, runs, strict=True):
        if each.goal and each.direction and each.goal in each.best:
            rivals[key].append(each.best[each.goal])
    choose = {"lowest": min, "highest": max}
    return [
        len(rivals[key]) > 1
        and each.best.get(each.goal or "") == choose[str(each.direction)](rivals[key])
        for key, each in zip(keys, runs, strict=True)
    ]


def differing(runs: Sequence[RunFigures]) -> list[str]:
    """Return the settings that are not alike in all runs, the options of models first.

    An option is compared between the runs of the models that have it.
    """
    known = [each for each in runs if each.training]
    found = []
    for name in dict.fromkeys(name for each in known for name in each.options):
        models = {each.model for each in known if name in each.options}
        values = {show(each.options.get(name)) for each in known if each.model in models}
        found += [name] if len(values) > 1 else []
    for name in dict.fromkeys(name for each in known for name in each.training):
        values = {show(each.training.get(name)) for each in known}
        found += [name] if len(values) > 1 else []
    return found


def settings(runs: Sequence[RunFigures]) -> list[dict[str, Any]]:
    """Return of each run the settings that are not alike in all of them; None where one is none.

    What a run's model does not have is left out, and all of a run whose settings nobody knows.
    """
    found = differing(runs)
    having = {
        name: {each.model for each in runs if name in each.options} or {each.model for each in runs}
        for name in found
    }
    return [
        {
            name: each.options.get(name, each.training.get(name))
            for name in found
            if each.training and each.model in having[name]
        }
        for each in runs
    ]


def show(value: object) -> str:
    """Return a setting as it stands behind ``--set key=``."""
    return show_value(tuple(value) if isinstance(value, list) else value)


def as_records(runs: Sequence[RunFigures]) -> list[dict[str, Any]]:
    """Return what is told of each run as plain JSON values."""
    return [
        {
            "run": name,
            "path": str(each.run.path),
            "model": each.model,
            "data": each.data,
            "status": each.status,
            "steps": each.steps,
            "minutes": each.minutes,
            "goal": {"metric": each.goal, "direction": each.direction} if each.goal else None,
            "is_best": is_best,
            "best": {"step": each.best_step, "metrics": dict(each.best)} if each.best else None,
            "last": dict(each.last),
            "settings": own,
        }
        for name, each, is_best, own in zip(
            names(runs), runs, are_best(runs), settings(runs), strict=True
        )
    ]


def as_table(runs: Sequence[RunFigures]) -> tuple[list[str], list[list[object]]]:
    """Return the columns and the rows of a table with one value a cell; what is missing is ""."""
    metrics, found = metrics_of(runs), differing(runs)
    columns = ["run", "model", "data", "status", "steps", "minutes", "goal", "is best", "best step"]
    columns += [f"{name} {which}" for name in metrics for which in ("best", "last")] + found
    rows = []
    for record, each in zip(as_records(runs), runs, strict=True):
        own = {name: show(value) for name, value in record["settings"].items()}
        row = [record[key] for key in columns[:6]]
        row += [each.goal, "yes" if record["is_best"] else "", each.best_step]
        row += [value for name in metrics for value in (each.best.get(name), each.last.get(name))]
        rows.append(["" if cell is None else cell for cell in [*row, *map(own.get, found)]])
    return columns, rows


def _noted(rows: Iterable[MetricsRow], figures: RunFigures, images: int) -> Iterator[MetricsRow]:
    """Yield rows by the images that they took, after noting in `figures` what they say."""
    for row in rows:
        figures.steps = max(figures.steps, row["step"])
        if row["split"] == "validation":
            figures.last = row["values"]
            if _is_better(figures, row["values"]):
                figures.best, figures.best_step = row["values"], row["step"]
        yield {**row, "step": row["step"] * images}


def _is_better(figures: RunFigures, metrics: Mapping[str, float]) -> bool:
    if figures.goal is None or figures.goal not in metrics:
        return False
    if figures.goal not in figures.best:
        return True
    new, old = metrics[figures.goal], figures.best[figures.goal]
    return new < old if figures.direction == "lowest" else new > old


def _settings(job: JobRecord, info: RunInfo) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of the model, and everything else that was chosen for a run."""
    own: dict[str, Any] = {**job}
    known: dict[str, Any] = {**info}
    chosen = {name: own[name] for name in DATA_OPTIONS if name in own}
    chosen |= {f"field {name}": port for name, port in own.get("fields", {}).items()}
    used = {name: known[name] for name in AS_USED if name in known}
    return own["options"], {**chosen, **own["training"], **used}


def _minutes(info: RunInfo) -> float | None:
    """Return how long a run has trained; of one that never ended, how long ago it began."""
    seconds = info.get("seconds")
    if seconds is None and info.get("status") == "running":
        with suppress(ValueError, TypeError, OverflowError):
            began = datetime.fromisoformat(info.get("created", ""))
            seconds = (datetime.now(UTC) - began).total_seconds()
    return None if seconds is None else round(seconds / 60, 2)
