"""TARGET: a run, ``@last``, a model's name or a path -> one weight file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.output import say
from zoo.errors import NotFoundError, UsageError, did_you_mean

if TYPE_CHECKING:
    from zoo.catalog.lookup import ModelEntry
    from zoo.model.weights import Trained
    from zoo.training.run import Run


def load(path: Path) -> Trained:
    """Build the model of a weight file; say so where another version of its plugin wrote it.

    Raises:
        PluginError: torch or the model's plugin is not installed.
        NotFoundError: the file is missing or damaged.
    """
    from zoo.model.weights import installed_model_of, load_weights, other_version

    trained = load_weights(path)
    difference = other_version(trained.header, installed_model_of(trained.header, path))
    if difference:
        say(f"note on {path.name}: {difference}")
    return trained


def tell_version(path: Path, distribution: str, version: str) -> None:
    """Say so where an export is of another version of its plugin than the installed one, if any.

    The plugin is not imported: an export does not need it.
    """
    from importlib import metadata

    try:
        now = metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):  # ValueError: no name of a distribution
        return
    if now != version:
        say(
            f"note on {path.name}: it was written by {distribution} {version}; "
            f"{distribution} {now} is installed"
        )


def trained_on(weights: Path) -> str:
    """Return the data that the run of a weight file was trained on.

    A weight file alone knows what its data was called, not where it is.

    Raises:
        UsageError: the file is not a run's.
        NotFoundError: the data is gone, or the run is damaged.
    """
    from zoo.training.config import find_data
    from zoo.training.run import Run

    run = weights.parents[2] if len(weights.parents) > 2 else weights.parent
    if (run / "run.json").is_file():
        data = Run(run).info().get("data")
        if data is not None:
            return find_data(Run(run), data)
        raise NotFoundError(
            f"run {run.name!r} is damaged: run.json does not say its data",
            hint="the same command with --data NAME|PATH",
        )
    raise UsageError(
        f"{weights} belongs to no run: on which data?", hint="--data NAME|PATH", code="which-data"
    )


def name_of(target: str, trained: Trained) -> str:
    """Return what an export is called: as the run that was named, else as the model."""
    run = trained.path.parents[2] if len(trained.path.parents) > 2 else trained.path.parent
    named = target == "@last" or Path(target).name == run.name
    return run.name if named and (run / "run.json").is_file() else trained.header.model


def find_weights(target: str) -> Path:
    """Return the weight file that the user means, and say on stderr which it is.

    A path is taken as a path; ``@last`` as the latest run; a name as a run of that name, else as
    a model's latest finished run, else its published weights.

    Raises:
        NotFoundError: nothing matches, or the run has no checkpoint.
    """
    path = _find(target)
    say(f"using {path}")
    return path


def _find(target: str) -> Path:
    from zoo.catalog.lookup import find_model, installed_models, published_weights
    from zoo.cli.sources import fetch_with_progress
    from zoo.training.run import Run, all_runs, find_run

    given = Path(target)
    if given.suffix == ".safetensors":
        return given
    if given.is_dir() and (given / "run.json").is_file():
        return Run(given).weights
    if target == "@last":
        return find_run(target).weights
    runs = all_runs()
    for run in runs:
        if run.name == target:
            return run.weights
    try:
        entry = find_model(target)
    except NotFoundError as problem:
        near = did_you_mean(
            target, [*(each.name for each in installed_models()), *(run.name for run in runs)]
        )
        raise NotFoundError(
            f"{target[:60]!r} is no run, model or weight file.{near}",
            cause=problem.cause,
            hint=f"zoo runs, or {problem.hint}",
            code="target-not-found",
        ) from None
    for run in reversed(runs):
        if _status(run, entry) == "finished":
            return run.weights
    published = published_weights(entry)
    if published is not None:
        return fetch_with_progress(published) / published.file.name
    unfinished = next((run for run in reversed(runs) if _status(run, entry)), None)
    if unfinished is not None:
        step = unfinished.fact("step")
        raise NotFoundError(
            f"{entry.name} has no finished run here; run {unfinished.name} is "
            f"{_status(unfinished, entry)}" + (f" at step {step}" if step else ""),
            hint=f"zoo train --resume {unfinished.name} goes on; its name in place of "
            f"{target} takes it as it is",
            code="no-finished-run",
        )
    raise NotFoundError(
        f"{entry.name} has no finished run here and no published weights",
        hint=f"zoo train {target}",
        code="no-finished-run",
    )


def _status(run: Run, entry: ModelEntry) -> str:
    """Return how a run of the model of that distribution stands; nothing for other runs."""
    try:
        info = run.info()
    except NotFoundError:  # damaged, as `zoo runs` says; it hides no other
        return ""
    of_model = info["model"] == entry.card.name
    is_ours = of_model and info.get("distribution") == entry.plugin.distribution
    return str(info.get("status")) if is_ours else ""
