"""Going on with a run: its own configuration, and what may be different now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.errors import UsageError
from zoo.options import options_of, show_value, unknown_option
from zoo.training.run import Run
from zoo.training.settings import BUDGETS, Settings, resolve

# What leaves the steps that were taken as they are.
MAY_CHANGE = {*BUDGETS, "devices", "checkpoint_every", "keep", "fail_on"}


def resolve_again(
    run: Run, file: Mapping[str, Any], model_config: type, layers: Sequence[Mapping[str, Any]]
) -> tuple[Any, Settings]:
    """Return the configuration and the settings of a run that goes on.

    Args:
        run: the run.
        file: what its ``config.toml`` says.
        model_config: the model's `Config`.
        layers: what is asked for now, the later ones stronger.

    Raises:
        UsageError: something is asked for that contradicts the run.
    """
    own = {**file.get("options", {}), **file.get("training", {})}
    config, settings = resolve(model_config, {}, [own])
    options = {**options_of(model_config), **options_of(Settings)}
    asked = {key: value for layer in layers for key, value in layer.items()}
    changes = {}
    for key, value in asked.items():
        if key not in options:
            raise unknown_option(key, options)
        wanted = options[key].parse(value)
        holder = settings if hasattr(settings, key) else config
        if wanted != (now := getattr(holder, key)):
            if key not in MAY_CHANGE:
                raise contradiction(run, key, show_value(wanted), show_value(now))
            changes[key] = wanted
    return resolve(model_config, {}, [own, changes])


def contradiction(run: Run, what: str, asked: str, own: str) -> UsageError:
    """Return the error for a wish that a run which goes on cannot fulfil."""
    return UsageError(
        f"{what} = {asked[:60]} contradicts run {run.name!r}, which has {what} = {own[:60]}",
        hint=f"zoo train --resume {run.name} without it, or a new run without --resume",
    )
