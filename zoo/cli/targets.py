"""TARGET: a run, ``@last``, a model's name or a path -> one weight file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli.output import say
from zoo.errors import NotFoundError, did_you_mean

if TYPE_CHECKING:
    from zoo.model.weights import Trained


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
    name = target.rpartition(":")[2]
    models = [offer.card.name for offer in offers()]
    if name in models:
        for run in reversed(runs):
            info = run.info()
            if info["model"] == name and info["status"] == "finished":
                return run.weights
        published = published_weights(name)
        if published is not None:
            return fetch_aloud(published) / published.file.name
        raise NotFoundError(
            f"{name} has no finished run here and no published weights", hint=f"zoo train {target}"
        )
    near = did_you_mean(target, [*models, *(run.name for run in runs)])
    raise NotFoundError(
        f"{target[:60]!r} is no run, model or weight file.{near}", hint="zoo runs, or zoo list"
    )
