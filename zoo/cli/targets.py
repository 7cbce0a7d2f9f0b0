"""TARGET: a run, ``@last``, a model's name or a path -> one weight file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.output import say
from zoo.errors import NotFoundError, UsageError, did_you_mean

if TYPE_CHECKING:
    from zoo.catalog.lookup import Offer
    from zoo.model.weights import Trained
    from zoo.training.run import Run


def load(path: Path) -> Trained:
    """Build the model of a weight file.

    Raises:
        PluginError: torch or the model's plugin is not installed.
        NotFoundError: the file is missing or damaged.
    """
    from zoo.catalog.lookup import needs_extra

    try:
        from zoo.model.weights import load_weights
    except ModuleNotFoundError as problem:
        raise needs_extra("train", str(problem.name)) from None
    return load_weights(path)


def trained_on(weights: Path) -> str:
    """Return the data that the run of a weight file was trained on.

    A weight file alone knows what its data was called, not where it is.

    Raises:
        UsageError: the file is not a run's.
    """
    from zoo.training.run import Run

    run = weights.parents[2] if len(weights.parents) > 2 else weights.parent
    if (run / "run.json").is_file():
        data = Run(run).info().get("data")
        if isinstance(data, str):
            return data
    raise UsageError(f"{weights} belongs to no run: on which data?", hint="--data NAME|PATH")


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
    from zoo.catalog.lookup import offers, published_weights
    from zoo.cli.downloading import fetch_aloud
    from zoo.training.run import Run
    from zoo.training.runs import all_runs, find_run

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
    matches = [offer for offer in offers() if offer.is_called(target)]
    if matches:
        for run in reversed(runs):
            if _is_finished_run_of(run, target, matches):
                return run.weights
        name = matches[0].card.name
        published = published_weights(name)
        if published is not None:
            return fetch_aloud(published) / published.file.name
        raise NotFoundError(
            f"{name} has no finished run here and no published weights", hint=f"zoo train {target}"
        )
    models = [offer.card.name for offer in offers()]
    near = did_you_mean(target, [*models, *(run.name for run in runs)])
    raise NotFoundError(
        f"{target[:60]!r} is no run, model or weight file.{near}", hint="zoo runs, or zoo list"
    )


def _is_finished_run_of(run: Run, target: str, matches: Sequence[Offer]) -> bool:
    """Whether a run is finished and of the model; of that distribution, where one is named."""
    try:
        info = run.info()
    except NotFoundError:  # damaged, as `zoo runs` says; it hides no other
        return False
    distributions = {offer.plugin.distribution for offer in matches}
    return (
        info["model"] == matches[0].card.name
        and info.get("status") == "finished"
        and (":" not in target or info.get("distribution") in distributions)
    )
