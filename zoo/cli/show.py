"""`zoo list`, and `zoo show` of a model; `show_file` has that of a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from zoo.catalog.lookup import (
    ModelEntry,
    find_dataset,
    find_model_or_weights,
    installed_models,
    load_class,
    published_weights,
    weights_here,
)
from zoo.catalog.plugins import installed_plugins
from zoo.cli.arguments import complete_models, json_option
from zoo.cli.output import print_json, print_table
from zoo.errors import UsageError, did_you_mean
from zoo.messages import say
from zoo.records import to_plain

if TYPE_CHECKING:
    from zoo.catalog.card import Card
    from zoo.catalog.dataset import Weights
    from zoo.model.contract import Model
    from zoo.options import Option
    from zoo.ports import DataSpec, Port, Signature


NEXT_LINE = "\n           "


@click.command("list")
@click.option("--task", metavar="TASK", help="Only models for one task.")
@json_option
def list_models(task: str | None, as_json: bool) -> None:
    """Show the models that are installed."""
    tasks = sorted({entry.card.task for entry in installed_models()})
    if task is not None and task not in tasks:
        raise UsageError(
            f"unknown task {task[:40]!r}.{did_you_mean(task, tasks)}",
            hint=f"one of: {', '.join(tasks)}",
            code="bad-value",
        )
    found = [entry for entry in installed_models() if task in (None, entry.card.task)]
    if as_json:
        print_json([
            {**asdict(entry.card), "name": entry.name, "plugin": entry.plugin.distribution,
             "weights": "published" if _weights_here(entry) else None,
             "published": _weights_here(entry)}
            for entry in found
        ])  # fmt: skip
    elif found:
        print_table(
            ["model", "task", "data", "weights", "plugin", "summary"],
            [
                (entry.name, entry.card.task, entry.card.data,
                 _weights_in_words(entry), entry.plugin.distribution,
                 entry.card.summary)
                for entry in found
            ],
        )  # fmt: skip
    else:
        say(f"no models for {task}" if task else "no models; zoo plugins search lists known ones")
    for plugins, what in (
        ([each.distribution for each in installed_plugins() if each.trouble], "not loaded"),
        ([each.distribution for each in installed_plugins() if each.left_out], "left out"),
    ):
        if plugins:
            say(f"{what}: {', '.join(plugins)} (zoo plugins list says why)")


def _weights_here(entry: ModelEntry) -> list[str]:
    """Return the names of the published weights of a model that are in the package zoo-weights."""
    return [each.name for each in published_weights(entry) if weights_here(entry, each)]


def _weights_in_words(entry: ModelEntry) -> str:
    count = len(_weights_here(entry))
    return f"{count} published" if count > 1 else "published" * count


@click.command("show")
@click.argument("subject", metavar="MODEL|FILE", shell_complete=complete_models)
@json_option
def verb(subject: str, as_json: bool) -> None:
    """Show one model: paper, task, ports, every option with default, range and reason.

    MODEL is a model or published weights of one.

    FILE is an .onnx file, or the folder of an export: what it says of itself, and what is in it.
    Nothing of it is run.
    """
    from zoo.cli.show_file import is_place, show_place

    if is_place(subject):
        show_place(subject, as_json=as_json)
    else:
        _show_model(subject, as_json=as_json)


def _show_model(model: str, *, as_json: bool) -> None:
    entry, named = find_model_or_weights(model)
    model_class = load_class(entry)
    from zoo.options import options_of, show_value
    from zoo.training.config import Settings

    preset = asdict(model_class.training_defaults)
    size, signatures = _built(entry, model_class)
    options = [(option, option.default) for option in options_of(model_class.Config).values()]
    trainer = [
        (each, preset.get(each.name, each.default)) for each in options_of(Settings).values()
    ]
    published = [named] if named else published_weights(entry)
    if as_json:
        print_json({
            **to_plain(replace(entry.card, assets=())),
            "assets": {asset.network: asset.sha256 for asset in entry.card.assets},
            "plugin": entry.plugin.distribution,
            "version": entry.plugin.version,
            "graphs": to_plain(signatures),
            "options": [_as_json(*each) for each in options],
            "training": [_as_json(*each) for each in trainer],
            "weights": asdict(published[0]) if published else None,
            "published": [asdict(each) for each in published],
        })  # fmt: skip
        return
    _print_model(entry, published, size)
    print_table(
        ["graph", "takes", "gives"],
        [(name, _ports(each.inputs), _ports(each.outputs)) for name, each in signatures.items()],
    )
    if entry.card.presets:
        click.echo()
        print_table(
            ["preset", "zoo train … --preset NAME starts from"],
            [(name, "  ".join(f"{key}={show_value(value)}" for key, value in values.items()))
             for name, values in entry.card.presets.items()],
        )  # fmt: skip
    for heading, rows in (("option", options), ("training", trainer)):
        click.echo()
        print_table(
            [heading, "default", "allowed", "what it does"],
            [(option.name, show_value(default), option.allowed,
              option.reason + (f" [{option.unit}]" if option.unit else ""))
             for option, default in rows],
        )  # fmt: skip


def _assets(card: Card) -> str:
    """Return a line for each pretrained network that a model stands on."""
    return "".join(f"\nstands on  {each.network} ({each.licence})" for each in card.assets)


def _built(entry: ModelEntry, model_class: type[Model]) -> tuple[str, dict[str, Signature]]:
    """Return the size of a model on its default data, in words, and the ports of its graphs."""
    if not entry.card.data:
        return "known once it has data", {}
    from zoo.api.data import find_assets
    from zoo.model.weights import build

    spec = _spec(entry)
    model = build(model_class, model_class.Config(), spec, find_assets(entry))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    signatures = {name: graph.signature for name, graph in model.graphs().items()}
    return f"{parameters:,} parameters on {spec.name}", signatures


def _print_model(entry: ModelEntry, published: Sequence[Weights], size: str) -> None:
    card, plugin = entry.card, entry.plugin
    data = f"by default {card.data}" if card.data else "named by --data"
    weights = [_published_in_words(entry, each) for each in published] or ["none published"]
    click.echo(f"""\
{card.name}: {card.summary}

task       {card.task}; learns from {" and ".join(card.needs)}, {data}
plugin     {plugin.distribution} {plugin.version} ({card.model})
paper      {card.paper.authors} {card.paper.year}, {card.paper.title}
           {card.paper.url}
size       {size}
weights    {NEXT_LINE.join(weights)}{_assets(card)}
""")


def _published_in_words(entry: ModelEntry, weights: Weights) -> str:
    """Return a line on published weights, with their name where it is not the model's."""
    name = "" if weights.name == entry.name else f" as {weights.name}"
    if not (weights.file.urls or weights_here(entry, weights)):
        return f"published{name} in the package zoo-weights, which is not installed"
    return f"published{name}: {weights.summary} ({weights.licence})"


def _spec(entry: ModelEntry) -> DataSpec:
    """Return the specification of a model's default data.

    That is what the catalogue says of pictures; other data is fetched and read.
    """
    from zoo.ports import NAMED, PICTORIAL, DataSpec

    name = entry.card.data
    if not {*entry.card.needs.values()} <= PICTORIAL | NAMED:
        from zoo.api.data import fetch_source
        from zoo.data.store import open_store, with_names

        return with_names(open_store(fetch_source(name)), entry.card.needs, {}).spec
    data = find_dataset(name)
    height, width = data.size or (64, 64)
    spec = DataSpec.of_images(
        name, data.channels, height, width, data.classes, data.domains, data.licence
    )
    is_paired = data.layout.startswith("paired-") or "train" in data.pairs
    return spec.with_images(order=0) if is_paired else spec


def _ports(ports: Iterable[Port]) -> str:
    from zoo.ports import describe_port

    return "; ".join(describe_port(port) for port in ports)


def _as_json(option: Option, default: Any) -> dict[str, Any]:
    return {
        "name": option.name,
        "default": default,
        "allowed": option.allowed,
        "unit": option.unit,
        "reason": option.reason,
    }
