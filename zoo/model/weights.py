"""Weight files that describe themselves: safetensors whose header says what model they belong to.

Nothing else is needed to build the model again: `load_weights` takes a path and returns it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from zoo.atomic import write_bytes
from zoo.catalog.lookup import ModelEntry, find_model, load_class
from zoo.catalog.registry import install_command
from zoo.errors import NotFoundError, PluginError, ZooError
from zoo.manifest import check_listed
from zoo.model.contract import Model
from zoo.model.tensors import Shape, damaged, look
from zoo.options import configure, to_plain
from zoo.ports import DataSpec, Signature
from zoo.records import parse_json, typed

SCHEMA = 1


@dataclass(frozen=True)
class Header:
    """What a weight file says of itself.

    Args:
        model: name of the model in the catalogue.
        distribution: installed package that provided it.
        version: version of that package.
        config: the model's full configuration.
        data: what it was trained on.
        graphs: the ports of every graph that it exports.
        step: training steps so far.
        metrics: validation metrics at that step.
    """

    model: str
    distribution: str
    version: str
    config: Mapping[str, Any]
    data: DataSpec
    graphs: Mapping[str, Signature]
    step: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the header as plain JSON values."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "distribution": self.distribution,
            "version": self.version,
            "config": dict(self.config),
            "data": self.data.to_json(),
            "graphs": {name: graph.to_json() for name, graph in self.graphs.items()},
            "step": self.step,
            "metrics": dict(self.metrics),
        }

    @classmethod
    def from_json(cls, value: Any) -> Header:
        """Read what `to_json` wrote.

        Raises:
            ValueError: a part is missing or has the wrong type.
        """
        header = typed(value, cls)
        if value.get("schema") != SCHEMA:
            raise ValueError(f"schema {SCHEMA} was expected; a newer zoo-core may read the file")
        if header.step < 0:
            raise ValueError("'step' is below 0")
        return header


@dataclass(frozen=True)
class Trained:
    """A model with its trained weights, in evaluation mode, and what its file says."""

    model: Model
    header: Header
    path: Path


def describe(
    model: Model, entry: ModelEntry, *, step: int = 0, metrics: Mapping[str, float] | None = None
) -> Header:
    """Return the header for the weights that `model` has now."""
    return Header(
        model=entry.card.name,
        distribution=entry.plugin.distribution,
        version=entry.plugin.version,
        config=to_plain(model.config),
        data=model.data,
        graphs={name: graph.signature for name, graph in model.graphs().items()},
        step=step,
        metrics=metrics or {},
    )


def save_weights(path: Path, model: Model, header: Header) -> None:
    """Write the weights in one piece; an older file stays until the new one is whole."""
    # One entry: safetensors writes several in an order that changes from process to process.
    metadata = {"zoo": json.dumps(header.to_json(), allow_nan=False)}
    save_tensors(path, model.state_dict(), metadata)


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write tensors as safetensors in one piece, whatever their device and memory layout."""
    # not by safetensors' own function, whose error on a full disk is none of the system's
    write_bytes(path, safetensors.torch.save(in_plain_order(tensors), metadata))


def in_plain_order(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return copies of tensors on the CPU, laid out in memory as safetensors wants them."""
    contiguous = torch.contiguous_format
    return {
        key: each.detach().to("cpu", copy=True, memory_format=contiguous)
        for key, each in tensors.items()
    }


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file and its metadata, on the CPU.

    Raises:
        NotFoundError: the file is missing or damaged, or claims more than any model has.
    """
    metadata = look(path).metadata
    try:
        return safetensors.torch.load_file(path), dict(metadata)
    except (OSError, safetensors.SafetensorError) as problem:
        raise damaged(path, str(problem)) from None


def load_weights(path: Path) -> Trained:
    """Build the model that a weight file describes and give it those weights.

    Raises:
        NotFoundError: the file is missing, damaged, not the zoo's, not the one that a manifest
            beside it lists, or does not fit the model.
        PluginError: no installed plugin provides the model.
    """
    check_listed(path)
    header = read_header(path)
    entry = installed_model_of(header, path)
    model_class = load_class(entry)
    note = other_version(header, entry) or "the file is damaged"
    try:
        config = configure(model_class.Config, header.config)
        expected = _shapes_of(model_class, config, header.data)
    except ZooError as problem:
        raise NotFoundError(
            f"{path}: its configuration does not fit {header.model!r}: {problem.message}",
            cause=note,
        ) from problem
    _check_shapes(path, look(path).shapes, expected, note)
    model = model_class(config, header.data)
    tensors, _ = read_tensors(path)
    _check_values(path, tensors, model.state_dict(), note)
    model.load_state_dict(tensors)
    return Trained(model.eval(), header, path)


def read_header(path: Path) -> Header:
    """Read what a weight file says of itself, without reading its tensors.

    Raises:
        NotFoundError: the file is missing, damaged or not the zoo's.
    """
    metadata = look(path).metadata
    if "zoo" not in metadata:
        raise NotFoundError(
            f"{path} does not say which model it belongs to",
            cause="the file was not written by zoo",
        )
    try:
        return Header.from_json(parse_json(metadata["zoo"], dict[str, Any]))
    except ValueError as problem:
        raise damaged(path, str(problem)) from None


def installed_model_of(header: Header, path: Path) -> ModelEntry:
    """Return the installed model of a weight file: by its own distribution, else by its name.

    Raises:
        PluginError: no installed plugin provides it.
    """
    try:
        return find_model(f"{header.distribution}:{header.model}")
    except NotFoundError:
        pass  # the plugin may have moved to another distribution since
    try:
        return find_model(header.model)
    except NotFoundError:
        raise PluginError(
            f"{path} needs model {header.model!r}, which no installed plugin provides",
            hint=install_command(header.distribution),
        ) from None


def other_version(header: Header, entry: ModelEntry) -> str:
    """Return that another plugin, or another version of it, wrote a file; empty where none did."""
    now = f"{entry.plugin.distribution} {entry.plugin.version}"
    then = f"{header.distribution} {header.version}"
    return f"it was written by {then}; {now} is installed" if now != then else ""


def _shapes_of(model_class: type[Model], config: Any, data: DataSpec) -> Mapping[str, Shape]:
    """Return the shapes of a model's weights, if possible without taking memory for them.

    A file of a stranger may ask for a model that is larger than the machine.
    """
    try:
        with torch.device("meta"):
            model = model_class(config, data)
    except (NotImplementedError, RuntimeError):  # it computes with its weights as it is built
        model = model_class(config, data)
    return {key: tuple(each.shape) for key, each in model.state_dict().items()}


def _check_shapes(
    path: Path, found: Mapping[str, Shape], wanted: Mapping[str, Shape], note: str
) -> None:
    """Require exactly the model's keys and shapes."""
    odd = sorted(found.keys() ^ wanted.keys())
    if odd:
        what = "lacks" if odd[0] in wanted else "has an unknown"
        raise NotFoundError(f"{path} {what} tensor {odd[0][:80]!r}", cause=note)
    for key, shape in found.items():
        if shape != wanted[key]:
            raise NotFoundError(
                f"{path}: tensor {key!r} is {shape}, the model wants {wanted[key]}", cause=note
            )


def _check_values(
    path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], note: str
) -> None:
    """Require the model's dtypes, and finite numbers."""
    for key, tensor in found.items():
        if tensor.dtype != wanted[key].dtype:
            raise NotFoundError(
                f"{path}: tensor {key!r} is {tensor.dtype}, the model wants {wanted[key].dtype}",
                cause=note,
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise damaged(path, f"tensor {key!r} holds values that are not finite")
