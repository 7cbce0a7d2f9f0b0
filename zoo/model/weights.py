"""Weight files that describe themselves: safetensors whose header says what model they belong to.

Nothing else is needed to build the model again: `load_weights` takes a path and returns it.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from zoo.atomic import write_bytes
from zoo.catalog.lookup import ModelEntry, find_model, load_class
from zoo.catalog.registry import install_command
from zoo.errors import NotFoundError, PluginError, UsageError, ZooError
from zoo.identity import METADATA_KEY, Identity, WeightHeader, from_text, to_text
from zoo.manifest import check_listed
from zoo.model.checks import contract_error, source_line
from zoo.model.contract import Model
from zoo.model.tensors import Shape, damaged, look
from zoo.options import configure, plain_options, show_value
from zoo.ports import DataSpec

HALVES = {torch.float16, torch.bfloat16}  # that weights of 32 bits may be stored in
NO_ASSETS: Mapping[str, Path] = MappingProxyType({})
FindAssets = Callable[[ModelEntry], Mapping[str, Path]]


def no_assets(entry: ModelEntry) -> Mapping[str, Path]:
    """Return no files, for models without assets."""
    del entry
    return NO_ASSETS


@dataclass(frozen=True)
class Trained:
    """A model with its trained weights, in evaluation mode, and the identity in its file.

    The parameters of networks that the file leaves out are NaN, so that nothing computes with them
    unseen.
    """

    model: Model
    identity: Identity
    path: Path
    left_out: tuple[str, ...] = ()


def describe(
    model: Model, entry: ModelEntry, *, step: int = 0, metrics: Mapping[str, float] | None = None
) -> Identity:
    """Return the identity of a model with the weights that it has now.

    Raises:
        PluginError: a graph or a port of the model is called what nobody could run.
    """
    try:
        return Identity(
            model=entry.card.name,
            distribution=entry.plugin.distribution,
            version=entry.plugin.version,
            config=plain_options(model.config),
            data=model.data,
            assets={asset.network: asset.sha256 for asset in entry.card.assets},
            graphs={name: graph.signature for name, graph in model.graphs().items()},
            step=step,
            metrics=metrics or {},
        )
    except ValueError as problem:
        raise contract_error(model, str(problem), where=source_line(model.graphs)) from None


def save_weights(path: Path, model: Model, identity: Identity) -> None:
    """Write the weights in one piece; an older file stays until the new one is whole."""
    # not by safetensors' own function, whose error on a full disk is none of the system's
    write_bytes(path, weights_as_bytes(model, identity))


def weights_as_bytes(model: Model, identity: Identity) -> bytes:
    """Return the content of the file that `save_weights` writes."""
    # One entry: safetensors writes several in an order that changes from process to process.
    metadata = {METADATA_KEY: to_text(WeightHeader(identity=identity))}
    return tensors_as_bytes(own_tensors(model), metadata)


def own_tensors(model: Model) -> dict[str, Tensor]:
    """Return the tensors of a model that its weight files hold: all but those of its assets."""
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.partition(".")[0] not in model.assets
    }


def build(
    model_class: type[Model], config: Any, data: DataSpec, assets: Mapping[str, Path] = NO_ASSETS
) -> Model:
    """Build a model, which finds the files of its assets before its ``__init__`` runs."""
    model: Model = model_class.__new__(model_class)
    model.__dict__["assets"] = assets
    model.__init__(config, data)  # type: ignore[misc]  # a new one, whose __init__ did not run
    for network in assets:
        getattr(model, network).requires_grad_(False)
    return model


def tensors_as_bytes(
    tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> bytes:
    """Return tensors as the bytes of a safetensors file, whatever their device and layout."""
    contiguous = torch.contiguous_format
    plain = {
        key: each.detach().to("cpu", copy=True, memory_format=contiguous)
        for key, each in tensors.items()
    }
    return safetensors.torch.save(plain, metadata)


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


def load_weights(path: Path, find_assets: FindAssets = no_assets) -> Trained:
    """Build the model that a weight file describes and give it those weights.

    `find_assets` returns the files of the pretrained networks that the model stands on.

    Raises:
        NotFoundError: the file is missing, damaged, not the zoo's, not the one that a manifest
            beside it lists, or does not fit the model.
        PluginError: no installed plugin provides the model.
    """
    check_listed(path)
    header = read_header(path)
    identity = header.identity
    entry = installed_model_of(identity, path)
    model_class = load_class(entry)
    note = other_version(identity, entry) or "the file is damaged"
    own = {asset.network: asset.sha256 for asset in entry.card.assets}
    if dict(identity.assets) != own:
        odd = min(name for name in {*own, *identity.assets}
                  if own.get(name) != identity.assets.get(name))  # fmt: skip
        raise NotFoundError(
            f"{path} stands on another {odd!r} than {entry.name} has now",
            cause=f"sha256 {identity.assets.get(odd, 'none')[:12]}… in the file, "
            f"{own.get(odd, 'none')[:12]}… in the plugin",
            code="weights-do-not-fit",
        )
    assets = find_assets(entry)
    try:
        config = configure(model_class.Config, identity.config)
        expected = _shapes_of(model_class, config, identity.data, assets)
    except ZooError as problem:
        raise NotFoundError(
            f"{path}: its configuration does not fit {identity.model!r}: {problem.message}",
            cause=note,
            code="weights-do-not-fit",
        ) from problem
    expected = {key: shape for key, shape in expected.items()
                if key.partition(".")[0] not in header.left_out}  # fmt: skip
    _check_shapes(path, look(path).shapes, expected, note)
    model = build(model_class, config, identity.data, assets)
    tensors, _ = read_tensors(path)
    _check_values(path, tensors, own_tensors(model), note)
    model.load_state_dict(tensors, strict=False)  # the shapes are those of all that is in the file
    for name, parameter in model.named_parameters():
        if name.partition(".")[0] in header.left_out:
            nn.init.constant_(parameter, math.nan)
    return Trained(model.eval(), identity, path, header.left_out)


@torch.no_grad()
def init_from(model: Model, entry: ModelEntry, path: Path) -> list[str]:
    """Copy the tensors of a weight file that a model has as well, of the same name and shape.

    The file may be of another model, or of no model of the zoo's.

    Returns:
        In a few lines, how many were taken, and which tensors keep the values that they have.

    Raises:
        NotFoundError: the file is missing or damaged, or not the one that a manifest beside it
            lists.
        UsageError: nothing fits.
    """
    check_listed(path)
    found, metadata = read_tensors(path)
    path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path  # as shown
    wanted = own_tensors(model)
    taken = [
        name
        for name, each in wanted.items()
        if name in found
        and found[name].shape == each.shape
        and found[name].is_floating_point() == each.is_floating_point()
    ]
    origin = _origin(model, entry, read_identity(path) if METADATA_KEY in metadata else None)
    if not any(wanted[name].is_floating_point() for name in taken):
        raise UsageError(
            f"nothing in {path} fits {entry.name}: no tensor of the same name and shape",
            cause=origin or "the file is not of the zoo's, and names its tensors otherwise",
            hint=f"zoo train {entry.name} without --init-from, or weights of {entry.name}",
            code="weights-do-not-fit",
        )
    for name in taken:
        if not torch.isfinite(found[name]).all():
            raise damaged(path, f"tensor {name!r} holds values that are not finite")
        wanted[name].copy_(found[name])
    lines = [f"starting from {len(taken)} of {len(wanted)} tensors, of {path}"]
    for what, names in (
        ("of another shape there, started anew", (wanted.keys() & found.keys()) - set(taken)),
        ("not there, started anew", wanted.keys() - found.keys()),
        ("only there, not used", found.keys() - wanted.keys()),
    ):
        lines += [f"  {what}: {_first_names(names)}"] if names else []
    return [*lines, f"  {origin}"] if origin and len(taken) < len(wanted) else lines


def _origin(model: Model, entry: ModelEntry, identity: Identity | None) -> str:
    """Return of which other model, or with which other options, a file is; empty if of neither."""
    if identity is None:
        return ""
    if identity.model != entry.card.name:
        return f"it holds weights of {identity.model!r}"
    own = plain_options(model.config)
    others = [
        f"{key}={show_value(tuple(value) if isinstance(value, list) else value)}"
        for key, value in identity.config.items()
        if own.get(key) != value
    ]
    return f"it was trained with --set {' --set '.join(others)}"[:200] if others else ""


def _first_names(names: Iterable[str], most: int = 6) -> str:
    """Return some names in a line, and how many there are beside these."""
    first, rest = sorted(names)[:most], sorted(names)[most:]
    return ", ".join(name[:60] for name in first) + (f" and {len(rest)} more" if rest else "")


def read_identity(path: Path) -> Identity:
    """Read what a weight file says of the model, without reading its tensors.

    Raises:
        NotFoundError: the file is missing, damaged or not the zoo's.
    """
    return read_header(path).identity


def read_header(path: Path) -> WeightHeader:
    """Read all that a weight file says of itself, without reading its tensors.

    Raises:
        NotFoundError: as `read_identity` does.
    """
    metadata = look(path).metadata
    if METADATA_KEY not in metadata:
        raise NotFoundError(
            f"{path} does not say which model it belongs to",
            cause="the file was not written by zoo",
            code="damaged-weights",
        )
    try:
        return from_text(metadata[METADATA_KEY], WeightHeader)
    except ValueError as problem:
        raise damaged(path, str(problem)) from None


def installed_model_of(identity: Identity, path: Path) -> ModelEntry:
    """Return the installed model of a weight file: by its own distribution, else by its name.

    Raises:
        PluginError: no installed plugin provides it.
    """
    try:
        return find_model(f"{identity.distribution}:{identity.model}")
    except NotFoundError:
        pass  # the plugin may have moved to another distribution since
    try:
        return find_model(identity.model)
    except NotFoundError:
        raise PluginError(
            f"{path} needs model {identity.model!r}, which no installed plugin provides",
            hint=install_command(identity.distribution),
            code="missing-plugin",
        ) from None


def other_version(identity: Identity, entry: ModelEntry) -> str:
    """Return that another plugin, or another version of it, wrote a file; empty where none did."""
    now = f"{entry.plugin.distribution} {entry.plugin.version}"
    then = f"{identity.distribution} {identity.version}"
    return f"it was written by {then}; {now} is installed" if now != then else ""


def _shapes_of(
    model_class: type[Model], config: Any, data: DataSpec, assets: Mapping[str, Path]
) -> Mapping[str, Shape]:
    """Return the shapes of a model's weights, if possible without taking memory for them.

    A file of a stranger may ask for a model that is larger than the machine.
    """
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an asset that is loaded has no effect there
            model = build(model_class, config, data, assets)
    except (NotImplementedError, RuntimeError):  # it computes with its weights as it is built
        model = build(model_class, config, data, assets)
    return {key: tuple(each.shape) for key, each in own_tensors(model).items()}


def _check_shapes(
    path: Path, found: Mapping[str, Shape], wanted: Mapping[str, Shape], note: str
) -> None:
    """Require exactly the model's keys and shapes."""
    odd = sorted(found.keys() ^ wanted.keys())
    if odd:
        what = "lacks" if odd[0] in wanted else "has an unknown"
        raise NotFoundError(
            f"{path} {what} tensor {odd[0][:80]!r}", cause=note, code="weights-do-not-fit"
        )
    for key, shape in found.items():
        if shape != wanted[key]:
            raise NotFoundError(
                f"{path}: tensor {key!r} is {shape}, the model wants {wanted[key]}",
                cause=note,
                code="weights-do-not-fit",
            )


def _check_values(
    path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], note: str
) -> None:
    """Require the model's dtypes, or 16 bits in place of 32, and finite numbers."""
    for key, tensor in found.items():
        is_half = tensor.dtype in HALVES and wanted[key].dtype == torch.float32
        if tensor.dtype != wanted[key].dtype and not is_half:
            raise NotFoundError(
                f"{path}: tensor {key!r} is {tensor.dtype}, the model wants {wanted[key].dtype}",
                cause=note,
                code="weights-do-not-fit",
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise damaged(path, f"tensor {key!r} holds values that are not finite")
