"""Going on with a run: its own configuration, and what may be different now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.catalog.lookup import datasets
from zoo.data.source import find_source
from zoo.errors import NotFoundError, UsageError, ZooError
from zoo.options import options_of, show_value, unknown_option
from zoo.records import typed
from zoo.training.checkpoint import JobRecord, own_job
from zoo.training.run import Run
from zoo.training.settings import BUDGETS, Configuration, Settings, read_config, resolve

# What leaves the steps that were taken as they are.
MAY_CHANGE = {*BUDGETS, "devices", "checkpoint_every", "keep", "fail_on"}


def what_it_was(run: Run) -> tuple[JobRecord, Configuration]:
    """Return what a run was trained with, and what its ``config.toml`` says now.

    The newest checkpoint decides, where there is one: the file lies open to be edited, or lost.

    Raises:
        NotFoundError: there is no checkpoint, and the file is missing or damaged.
    """
    path = run.path / "config.toml"
    own = own_job(run)
    if own is None:
        try:
            return typed({"training": {}, "options": {}, **read_config(path)}, JobRecord), {}
        except (ZooError, ValueError) as problem:
            raise NotFoundError(
                f"run {run.name!r} has no checkpoint and does not say what it is: "
                f"{getattr(problem, 'message', f'{path}: {problem}')}",
                hint="zoo train MODEL begins a new run",
            ) from None
    try:
        return own, read_config(path)
    except ZooError:
        return own, {}


def is_other_data(wanted: str, own: str) -> bool:
    """Whether a name or a path means other data than a run's; nothing is downloaded to know."""
    if wanted == own:
        return False
    return is_in_catalogue(wanted) or find_source(wanted).reference != own


def find_data(run: Run, data: str) -> str:
    """Return where the data that a run was trained on lies now.

    A folder that was moved together with its runs is found again. Whether it holds the same
    pictures is not looked at here.

    Args:
        run: the run.
        data: name in the catalogue, or absolute path, as the run was trained with.

    Raises:
        NotFoundError: there is nothing at any place where it may lie.
    """
    if is_in_catalogue(data):
        return data
    places = run.data_places(data)
    for place in places:
        if Path(place).exists() or Path(place.rpartition(":")[0] or place).exists():
            return place
    raise NotFoundError(
        f"the data of run {run.name!r} is gone: {' and '.join(places)}",
        hint="--data PLACE, where the same pictures lie now",
    )


def is_in_catalogue(data: str) -> bool:
    """Whether a name or a path is the name of a data set of the catalogue."""
    return any(row.name in {data, data.rpartition(":")[0]} for row in datasets())


def resolve_again(
    run: Run, own: Mapping[str, Any], model_config: type, layers: Sequence[Mapping[str, Any]]
) -> tuple[Any, Settings, dict[str, Any]]:
    """Return the configuration and the settings of a run that goes on, and what changes.

    Args:
        run: the run.
        own: what it was trained with.
        model_config: the model's `Config`.
        layers: what is asked for now, the later ones stronger.

    Raises:
        UsageError: something is asked for that contradicts the run.
    """
    before = {**own.get("options", {}), **own.get("training", {})}
    config, settings = resolve(model_config, {}, [before])
    options = {**options_of(model_config), **options_of(Settings)}
    asked = {key: value for layer in layers for key, value in layer.items()}
    wanted: dict[str, Any] = {}
    for key, value in asked.items():
        if key not in options:
            raise unknown_option(key, options)
        wanted[key] = options[key].parse(value)
        now = getattr(settings if hasattr(settings, key) else config, key)
        if wanted[key] != now and key not in MAY_CHANGE:
            raise contradiction(run, key, show_value(wanted[key]), show_value(now))
    config, new = resolve(model_config, {}, [before, wanted])
    new_values = {key: getattr(new, key) for key in options_of(Settings)}
    changes = {key: each for key, each in new_values.items() if each != getattr(settings, key)}
    return config, new, changes


def contradiction(run: Run, what: str, asked: str, own: str) -> UsageError:
    """Return the error for a wish that a run which goes on cannot fulfil."""
    return UsageError(
        f"{what} = {asked[:60]} contradicts run {run.name!r}, which has {what} = {own[:60]}",
        hint=f"zoo train --resume {run.name} without it, or a new run without --resume",
    )
