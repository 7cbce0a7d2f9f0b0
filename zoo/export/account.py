"""What a file will say of itself: the facts of its weights, its ports, and how its layers work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
import onnx
import onnxruntime
import torch
from torch import nn

import zoo
from zoo.errors import PluginError, ZooError
from zoo.export.onnx import examples
from zoo.model.contract import Graph, Model
from zoo.model.inference import evaluating
from zoo.model.weights import Trained
from zoo.runtime.description import Description

RUNNING = "the running statistics of the training"
OWN = "the statistics of each image"
OF_THE_BATCH = "the statistics of the batch"
# By kind of layer: what it normalises by in evaluation, where it has no running statistics.
NORMALISING: Mapping[type[nn.Module], str] = {
    nn.modules.batchnorm._BatchNorm: OF_THE_BATCH,
    nn.modules.instancenorm._InstanceNorm: OWN,
    nn.GroupNorm: OWN,
    nn.LayerNorm: "the statistics of each row",
    nn.RMSNorm: "the statistics of each row",
}


def describe_graph(
    trained: Trained, name: str, graph: Graph, *, weights_sha256: str
) -> Description:
    """Return what the file of a graph says of itself before anything was measured.

    Args:
        trained: the model and what its weight file says.
        name: of the graph.
        graph: in the form that it leaves in.
        weights_sha256: of the weight file.

    Raises:
        PluginError: a name in the graph's ports cannot be written into a file.
        ZooError: the graph fails on inputs such as its ports promise.
    """
    header = trained.header
    normalisation, dropout = _policies(trained.model, name, graph)
    try:
        return Description(
            model=header.model,
            graph=name,
            distribution=header.distribution,
            version=header.version,
            data=header.data,
            signature=graph.signature,
            config=header.config,
            step=header.step,
            metrics=header.metrics,
            normalisation=normalisation,
            dropout=dropout,
            weights_sha256=weights_sha256,
            written_by=versions(),
        )
    except ValueError as problem:
        raise PluginError(f"graph {name!r} of {header.model} declares an {problem}") from None


def versions() -> dict[str, str]:
    """Return the versions of the packages that write and verify an export."""
    return {
        "zoo-core": zoo.__version__,
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": numpy.__version__,
    }


def _policies(model: Model, name: str, graph: Graph) -> tuple[tuple[str, ...], str]:
    """Return how layers that the graph goes through normalise, and what dropout does there."""
    layers: dict[nn.Module, None] = {}

    def note(layer: nn.Module, *_: Any) -> None:
        layers[layer] = None

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        with evaluating(model):
            graph.function(*map(torch.from_numpy, examples(model, graph).values()))
    except Exception as problem:  # a network raises anything
        said = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise ZooError(
            f"graph {name!r} of {type(model).__name__} fails on inputs such as its ports promise",
            cause=said,
            hint="the same command with --debug shows where",
        ) from problem
    finally:
        handle.remove()
    words = dict.fromkeys(filter(None, map(_normalises_by, layers)))
    dropout = any(isinstance(layer, nn.modules.dropout._DropoutNd) for layer in layers)
    return tuple(words), "off" if dropout else "none"


def _normalises_by(layer: nn.Module) -> str:
    for kind, what in NORMALISING.items():
        if isinstance(layer, kind):
            by = RUNNING if getattr(layer, "track_running_stats", False) else what
            return f"{type(layer).__name__}: {by}"
    return ""
