"""What TARGET means: a run, the last one, a model or a file; and the model with its weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.api.data import find_assets
from zoo.errors import NotFoundError, did_you_mean
from zoo.messages import Log, say

if TYPE_CHECKING:
    from zoo.catalog.dataset import Weights
    from zoo.catalog.lookup import ModelEntry
    from zoo.model.weights import Trained
    from zoo.training.run import Run


NOT_INSTALLED = "published weights are in the package zoo-weights, which is not installed"


def load_target(target: str, data: str | None = None, log: Log = say) -> Trained:
    """Build the model that TARGET means, after a look whether there is what --data names.

    Tells which weights these are, and whether another version of the plugin wrote them.

    Raises:
        PluginError: torch or the model's plugin is not installed.
        NotFoundError: nothing matches, or the file is missing or damaged.
    """
    from zoo.data.location import check_data_is_there

    path = find_weights(target, log)
    log(f"using {path}")
    if data is not None:
        check_data_is_there(data)
    with extras_named():
        from zoo.model.weights import installed_model_of, load_weights, other_version

    trained = load_weights(path, partial(find_assets, log=log))
    difference = other_version(trained.identity, installed_model_of(trained.identity, path))
    if difference:
        log(f"note on {path.name}: {difference}")
    return trained


def find_weights(target: str, log: Log = say) -> Path:
    """Return the weight file of a path, of ``@last``, else of a run, of a model, or published one.

    Raises:
        NotFoundError: nothing of that name has weights.
    """
    from zoo.catalog.lookup import find_model_or_weights, installed_models
    from zoo.catalog.registry import read_registry
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
        entry, weights = find_model_or_weights(target)
    except NotFoundError as problem:
        names = [each.name for each in installed_models()]
        names += [row.name for row in read_registry().weights] + [run.name for run in runs]
        raise NotFoundError(
            f"{target[:60]!r} is no run, model or weight file.{did_you_mean(target, names)}",
            cause=problem.cause,
            hint=f"zoo runs, or {problem.hint}",
            code="target-not-found",
        ) from None
    if weights is not None:
        about = f"published weights of {entry.name}: {weights.summary}"
        path = _published_file(entry, weights, log, about)
        if path is None:
            raise NotFoundError(
                f"the published weights {target!r} of {entry.name} are not here",
                cause=NOT_INSTALLED,
                hint=f"install zoo-weights, or zoo train {entry.name}",
                code="no-finished-run",
            )
        return path
    return _weights_of_model(entry, runs, target, log)


def _weights_of_model(entry: ModelEntry, runs: Sequence[Run], target: str, log: Log) -> Path:
    """Return the weights of a model's latest finished run, else its published weights."""
    from zoo.catalog.lookup import published_weights

    of_model = (entry.card.name, entry.plugin.distribution)
    unfinished = None
    for run in reversed(runs):
        identity = run.identity
        if identity is None or (identity.model, identity.distribution) != of_model:
            continue  # another model's, or damaged, as `zoo runs` says
        if run.fact("status") == "finished":
            return run.weights
        unfinished = unfinished or run
    published = published_weights(entry)
    for weights in published[:1]:
        about = f"its published weights are taken: {weights.summary}"
        path = _published_file(
            entry, weights, log, f"no finished run of {entry.name} here; {about}"
        )
        if path is not None:
            return path
    if unfinished is None:
        raise NotFoundError(
            f"{entry.name} has no finished run here and no published weights",
            cause=NOT_INSTALLED if published else "",
            hint=f"zoo train {target}" + (", or install zoo-weights" if published else ""),
            code="no-finished-run",
        )
    step = unfinished.identity.step if unfinished.identity else 0
    raise NotFoundError(
        f"{entry.name} has no finished run here; run {unfinished.name} is "
        f"{unfinished.fact('status')}" + (f" at step {step}" if step else ""),
        hint=f"zoo train --resume {unfinished.name} goes on; its name in place of {target} "
        "takes it as it is",
        code="no-finished-run",
    )


def _published_file(entry: ModelEntry, weights: Weights, log: Log, about: str) -> Path | None:
    """Return the file of published weights, downloaded where needed; None where it is nowhere.

    `log` is called with `about` if there is one.
    """
    from zoo.catalog.lookup import weights_here
    from zoo.data.progress import fetch_with_progress

    here = weights_here(entry, weights)
    if here is None and not weights.file.urls:
        return None
    log(about)
    return here or fetch_with_progress(weights.download, log) / weights.file.name


@contextmanager
def extras_named() -> Iterator[None]:
    """Raise a `PluginError` with the command that installs it where a package is missing."""
    try:
        yield
    except ModuleNotFoundError as problem:
        from zoo.catalog.lookup import extra_with, missing_package

        if not extra_with(problem.name):
            raise
        raise missing_package(str(problem.name)) from None
