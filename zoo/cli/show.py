"""`zoo show` of a model; `show_file` has that of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.completion import models
from zoo.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from zoo.catalog.dataset import Weights
    from zoo.catalog.lookup import ModelEntry
    from zoo.options import Option
    from zoo.ports import DataSpec, Port, Signature


@click.command("show")
@click.argument("subject", metavar="MODEL|FILE", shell_complete=models)
@json_option
def verb(subject: str, as_json: bool) -> None:
    """Show one model: paper, task, ports, every option with default, range and reason.

    FILE is an .onnx file, or the folder of an export: what it says of itself, and what is in it.
    Nothing of it is run.
    """
    from zoo.cli.show_file import is_place, show_place

    if is_place(subject):
        show_place(subject, as_json=as_json)
    else:
        _show_model(subject, as_json=as_json)


def _show_model(model: str, *, as_json: bool) -> None:
    from zoo.catalog.lookup import find_model, load_class, published_weights
    from zoo.options import options_of

    entry = find_model(model)
    model_class = load_class(entry)
    preset = asdict(model_class.training_preset)
    spec = _spec(entry.card.data)
    built = model_class(model_class.Config(), spec)
    signatures = {name: graph.signature for name, graph in built.graphs().items()}
    options = options_of(model_class.Config).values()
    trainer = _trainer_options(preset)
    weights = published_weights(entry)
    if as_json:
        print_json(
            {
                **asdict(entry.card),
                "plugin": entry.plugin.distribution,
                "version": entry.plugin.version,
                "graphs": {name: each.to_json() for name, each in signatures.items()},
                "options": [_as_json(option, option.default) for option in options],
                "training": [_as_json(option, value) for option, value in trainer],
                "weights": asdict(weights) if weights else None,
            }
        )
        return
    parameters = sum(parameter.numel() for parameter in built.parameters())
    _print_model(entry, weights, f"{parameters:,} parameters on {spec.name}")
    print_table(["graph", "takes", "gives"], _graph_rows(signatures))
    click.echo()
    if entry.card.presets:
        print_table(
            ["preset", "zoo train … --preset NAME starts from"],
            [(name, _preset(values)) for name, values in entry.card.presets.items()],
        )
        click.echo()
    _print_options("option", [(option, option.default) for option in options])
    click.echo()
    _print_options("training", trainer)


def _print_options(heading: str, options: list[tuple[Option, Any]]) -> None:
    print_table(
        [heading, "default", "allowed", "what it does"],
        [_option_row(option, default) for option, default in options],
    )


def _print_model(entry: ModelEntry, weights: Weights | None, size: str) -> None:
    card = entry.card
    click.echo(f"{card.name}: {card.summary}\n")
    click.echo(f"task       {card.task}; learns from {card.needs}, by default {card.data}")
    click.echo(f"plugin     {entry.plugin.distribution} {entry.plugin.version} ({card.model})")
    click.echo(f"paper      {card.paper.authors} {card.paper.year}, {card.paper.title}")
    click.echo(f"           {card.paper.url}")
    click.echo(f"size       {size}")
    published = f"{weights.summary} ({weights.licence})" if weights else "none published"
    click.echo(f"weights    {published}\n")


def _spec(name: str) -> DataSpec:
    """Return the specification of a model's default data, as the catalogue gives it."""
    from zoo.catalog.lookup import find_dataset
    from zoo.ports import DataSpec

    data = find_dataset(name)
    height, width = data.size or (64, 64)
    return DataSpec(name, data.channels, height, width, data.classes, data.domains, data.licence)


def _trainer_options(preset: Mapping[str, Any]) -> list[tuple[Option, Any]]:
    """Return the trainer's options with the defaults that the model presets."""
    from zoo.options import options_of
    from zoo.training.config import Settings

    return [
        (option, preset.get(option.name, option.default))
        for option in options_of(Settings).values()
    ]


def _graph_rows(signatures: Mapping[str, Signature]) -> list[tuple[str, str, str]]:
    return [
        (name, _ports(signature.inputs), _ports(signature.outputs))
        for name, signature in signatures.items()
    ]


def _ports(ports: tuple[Port, ...]) -> str:
    from zoo.ports import describe_port

    return "; ".join(describe_port(port) for port in ports)


def _option_row(option: Option, default: Any) -> tuple[str, str, str, str]:
    from zoo.options import show_value

    unit = f" [{option.unit}]" if option.unit else ""
    return option.name, show_value(default), option.allowed, option.reason + unit


def _preset(values: Mapping[str, object]) -> str:
    from zoo.options import show_value

    return "  ".join(f"{key}={show_value(value)}" for key, value in values.items())


def _as_json(option: Option, default: Any) -> dict[str, Any]:
    return {
        "name": option.name,
        "default": list(default) if isinstance(default, tuple) else default,
        "allowed": option.allowed,
        "unit": option.unit,
        "reason": option.reason,
    }
