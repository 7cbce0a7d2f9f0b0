"""What a shell may complete: models, runs and data sets by name."""

from __future__ import annotations

import click


def models(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the models whose names begin so."""
    from zoo.catalog.lookup import installed_models

    return _beginning(incomplete, [entry.name for entry in installed_models()])


def targets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the runs and models whose names begin so."""
    return runs(context, parameter, incomplete) + models(context, parameter, incomplete)


def runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the runs whose names begin so."""
    from zoo.training.run import all_runs

    return _beginning(incomplete, ["@last", *(run.name for run in all_runs())])


def datasets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the data sets of the catalogue whose names begin so."""
    from zoo.catalog import lookup

    return _beginning(incomplete, [dataset.name for dataset in lookup.datasets()])


def plugins(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the plugins whose names begin so."""
    from zoo.catalog.plugins import distributions

    return _beginning(incomplete, distributions())


def presets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the presets of the model on the line whose names begin so."""
    from zoo.catalog.lookup import installed_models

    model = str(context.params.get("model") or "")
    named = [
        preset
        for each in installed_models()
        if each.is_called(model)
        for preset in each.card.presets
    ]
    return _beginning(incomplete, named)


def _beginning(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
