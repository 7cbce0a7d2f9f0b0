"""The description of an exported graph: its weights, ports, versions, and how its layers work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
import onnx
import onnxruntime
import torch
from torch import nn

import zoo
from zoo.identity import Description
from zoo.model.checks import check_graph, contract_error, source_line
from zoo.model.contract import Graph, Model
from zoo.model.weights import Trained

RUNNING_STATISTICS = "the running statistics of the training"
IMAGE_STATISTICS = "the statistics of each image"
BATCH_STATISTICS = "the statistics of the batch"
# By kind of layer: what it normalises by in evaluation, where it has no running statistics.
NORMALISATION: Mapping[type[nn.Module], str] = {
    nn.modules.batchnorm._BatchNorm: BATCH_STATISTICS,
    nn.modules.instancenorm._InstanceNorm: IMAGE_STATISTICS,
    nn.GroupNorm: IMAGE_STATISTICS,
    nn.LayerNorm: "the statistics of each row",
    nn.RMSNorm: "the statistics of each row",
}


def describe_graph(
    trained: Trained, name: str, graph: Graph, *, weights_sha256: str
) -> Description:
    """Return the description that goes into the metadata of the file of a graph.

    Args:
        trained: the model and the identity of its weight file.
        name: of the graph.
        graph: as the variant has it.
        weights_sha256: of the weight file.

    Raises:
        PluginError: a name in the graph's ports cannot be written into a file.
        ZooError: the graph fails on inputs such as its ports promise.
    """
    identity = trained.identity
    normalisation, dropout = _describe_layers(trained.model, name, graph)
    try:
        return Description(
            identity=identity,
            graph=name,
            signature=graph.signature,
            precision="float32",
            normalisation=normalisation,
            dropout=dropout,
            weights_sha256=weights_sha256,
            written_by=versions(),
        )
    except ValueError as problem:
        raise contract_error(
            trained.model, f"graph {name!r}: {problem}", where=source_line(trained.model.graphs)
        ) from None


def versions() -> dict[str, str]:
    """Return the versions of the packages that write and verify an export."""
    return {
        "zoo-core": zoo.__version__,
        "torch": torch.__version__,
        "onnx": onnx.__version__,
        "onnxruntime": onnxruntime.__version__,
        "numpy": numpy.__version__,
    }


def _describe_layers(model: Model, name: str, graph: Graph) -> tuple[tuple[str, ...], str]:
    """Return how layers that the graph goes through normalise, and what dropout does there."""
    layers: dict[nn.Module, None] = {}

    def note(layer: nn.Module, *_: Any) -> None:
        layers[layer] = None

    handle = nn.modules.module.register_module_forward_hook(note)
    try:
        check_graph(model, name, graph)
    finally:
        handle.remove()
    words = dict.fromkeys(filter(None, map(_describe_normalisation, layers)))
    dropout = any(isinstance(layer, nn.modules.dropout._DropoutNd) for layer in layers)
    return tuple(words), "off" if dropout else "none"


def _describe_normalisation(layer: nn.Module) -> str:
    for kind, what in NORMALISATION.items():
        if isinstance(layer, kind):
            by = RUNNING_STATISTICS if getattr(layer, "track_running_stats", False) else what
            return f"{type(layer).__name__}: {by}"
    return ""
