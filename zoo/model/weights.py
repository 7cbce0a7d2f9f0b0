"""Weight files that describe themselves: safetensors whose header says what model they belong to.

Nothing else is needed to build the model again: `load_weights` takes a path and returns it.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from zoo.atomic import replacing
from zoo.catalog.lookup import Offer, find_model, load_class
from zoo.errors import NotFoundError, PluginError, ZooError
from zoo.model.contract import Model
from zoo.options import configure, to_plain
from zoo.ports import DataSpec, Signature

SCHEMA = 1
MAX_HEADER_BYTES = 8 * 2**20  # a model of 10,000 tensors needs about one MiB
MAX_TENSORS = 20_000


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
        if not isinstance(value, dict):
            raise ValueError("the header is not an object")
        kinds = {"model": str, "distribution": str, "version": str, "config": dict,
                 "graphs": dict, "step": int, "metrics": dict}  # fmt: skip
        for key, kind in kinds.items():
            if not isinstance(value.get(key), kind):
                raise ValueError(f"{key!r} is missing or of the wrong type")
        if value.get("schema") != SCHEMA:
            raise ValueError(f"schema {SCHEMA} was expected; a newer zoo-core may read the file")
        if value["step"] < 0 or not all(map(_is_finite, value["metrics"].values())):
            raise ValueError("'step' or 'metrics' hold what no training gives")
        return cls(
            **{key: value[key] for key in kinds if key != "graphs"},
            data=DataSpec.from_json(value.get("data")),
            graphs={name: Signature.from_json(each) for name, each in value["graphs"].items()},
        )


@dataclass(frozen=True)
class Trained:
    """A model with its trained weights, in evaluation mode, and what its file says."""

    model: Model
    header: Header
    path: Path


def describe(
    model: Model, offer: Offer, *, step: int = 0, metrics: Mapping[str, float] | None = None
) -> Header:
    """Return the header for the weights that `model` has now."""
    return Header(
        model=offer.card.name,
        distribution=offer.plugin.distribution,
        version=offer.plugin.version,
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
    plain = {key: _plain(tensor) for key, tensor in tensors.items()}
    with replacing(path) as temporary:
        safetensors.torch.save_file(plain, temporary, metadata)


def load_weights(path: Path) -> Trained:
    """Build the model that a weight file describes and give it those weights.

    Raises:
        NotFoundError: the file is missing, damaged, not the zoo's, or does not fit the model.
        PluginError: no installed plugin provides the model.
    """
    header = read_header(path)
    offer = offer_of(header, path)
    model_class = load_class(offer)
    try:
        model: Model = model_class(configure(model_class.Config, header.config), header.data)
    except ZooError as problem:
        raise NotFoundError(
            f"{path}: its configuration does not fit {header.model!r}: {problem.message}",
            cause=_version_note(header, offer),
        ) from problem
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as problem:
        raise _damaged(path, str(problem)) from None
    _check_fit(path, tensors, model.state_dict(), _version_note(header, offer))
    model.load_state_dict(tensors)
    return Trained(model.eval(), header, path)


def read_header(path: Path) -> Header:
    """Read what a weight file says of itself, without reading its tensors.

    Raises:
        NotFoundError: the file is missing, damaged or not the zoo's.
    """
    try:
        with path.open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= min(MAX_HEADER_BYTES, path.stat().st_size):
                raise _damaged(path, "not a safetensors file, or cut short")
            content = json.loads(file.read(length))
        metadata = content.get("__metadata__") or {}
        if len(content) > MAX_TENSORS:
            raise _damaged(path, f"more than {MAX_TENSORS:,} tensors")
        if "zoo" not in metadata:
            raise NotFoundError(
                f"{path} does not say which model it belongs to",
                cause="the file was not written by zoo",
            )
        return Header.from_json(json.loads(metadata["zoo"]))
    except FileNotFoundError:
        raise NotFoundError(f"{path} not found") from None
    except IsADirectoryError:
        raise NotFoundError(f"{path} is a folder, not a weight file") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as problem:
        raise _damaged(path, str(problem)) from None


def offer_of(header: Header, path: Path) -> Offer:
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
            hint=f"pip install {header.distribution}",
        ) from None


def _check_fit(
    path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], note: str
) -> None:
    """Require exactly the model's keys, shapes and dtypes, and finite numbers."""
    odd = sorted(found.keys() ^ wanted.keys())
    if odd:
        what = "lacks" if odd[0] in wanted else "has an unknown"
        raise NotFoundError(f"{path} {what} tensor {odd[0][:80]!r}", cause=note)
    for key, tensor in found.items():
        if tensor.shape != wanted[key].shape or tensor.dtype != wanted[key].dtype:
            raise NotFoundError(
                f"{path}: tensor {key!r} is {tuple(tensor.shape)} {tensor.dtype}, the model wants "
                f"{tuple(wanted[key].shape)} {wanted[key].dtype}",
                cause=note,
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise _damaged(path, f"tensor {key!r} holds values that are not finite")


def _version_note(header: Header, offer: Offer) -> str:
    now = f"{offer.plugin.distribution} {offer.plugin.version}"
    then = f"{header.distribution} {header.version}"
    return f"it was written by {then}; {now} is installed" if now != then else "the file is damaged"


def _damaged(path: Path, why: str) -> NotFoundError:
    return NotFoundError(f"{path} is damaged: {' '.join(why.split())[:200]}")


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
