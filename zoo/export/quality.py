"""What a smaller file costs: how far its outputs are off, what the model's metrics become.

The metrics are the model's own, computed by whoever computes them of a trained model: here the
exported files only take the places of the model's functions (`replayed`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from zoo import pictures
from zoo.model.contract import Graph
from zoo.model.weights import Trained
from zoo.ports import Port
from zoo.runtime.reference import Gap, measure
from zoo.runtime.session import Session

Rows = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Cost(Gap):
    """How far one output of a smaller file is off, over all numbers that were compared.

    Its `loss`, a root of the mean squared difference, is in percent of the output's range.
    """

    @property
    def psnr(self) -> float | None:
        """The loss as a peak signal-to-noise ratio in dB; None where there is no loss."""
        return -20 * log10(self.loss / 100) if self.loss else None

    def to_json(self) -> dict[str, Any]:
        """Return all figures as plain JSON values."""
        return {**asdict(self), "psnr": self.psnr}


def costs(whole: Session, smaller: Session, rows: Iterable[Rows]) -> dict[str, Cost]:
    """Run two files of one graph on the same batches and compare each output.

    Args:
        whole: the float file.
        smaller: what was made of it.
        rows: batches of inputs by port name.
    """
    pairs = [(whole.run(batch), smaller.run(batch)) for batch in rows]
    found = {}
    for port in whole.description.signature.outputs:
        gap = measure(port, ((wanted[port.name], got[port.name]) for wanted, got in pairs))
        found[port.name] = Cost(**asdict(gap))
    return found


def costs_in_half(whole: Session, smaller: Path, batch: Rows) -> dict[str, Cost]:
    """Run a file of float16 arithmetic so that every operator really rounds to 16 bits.

    ONNX Runtime computes such operators in 32 bits on a CPU; ONNX's own evaluator does as a GPU.

    Args:
        whole: the float file.
        smaller: what was made of it.
        batch: inputs by port name.

    Returns:
        How far each output is off; nothing where the evaluator cannot run the file.
    """
    ports = whole.description.signature.outputs
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = ReferenceEvaluator(str(smaller))
            got = evaluator.run([port.name for port in ports], dict(batch))
    except Exception:  # it lacks some operators, and fails on others in its own ways
        return {}
    wanted = whole.run(batch)
    return {
        port.name: Cost(**asdict(measure(port, [(wanted[port.name], each)])))
        for port, each in zip(ports, got, strict=True)
    }


class Replay:
    """An exported file in the place of a function of the model.

    It takes tensors and returns tensors, in the ranges of the model's ports whatever the file's.

    Args:
        session: the file.
        graph: of the model, which the file was exported from.
        original: what is called with anything that the file does not take, such as more inputs.
    """

    def __init__(self, session: Session, graph: Graph, original: Callable[..., Any]) -> None:
        self.session = session
        self.graph = graph
        self.original = original
        self.calls = 0

    def __call__(self, *tensors: Any, **others: Any) -> Any:
        """Run the file on one tensor an input port."""
        signature = self.session.description.signature
        if others or not _fit(signature.inputs, tensors):
            return self.original(*tensors, **others)
        self.calls += 1
        given = zip(tensors, self.graph.inputs, signature.inputs, strict=True)
        outputs = self.session.run(
            {port.name: _to_file(each, own, port) for each, own, port in given}
        )
        returned = tuple(
            _to_model(outputs[port.name], own, port).to(tensors[0].device)
            for own, port in zip(self.graph.outputs, signature.outputs, strict=True)
        )
        return returned if len(returned) > 1 else returned[0]


@dataclass(frozen=True)
class Replayed(Trained):
    """A trained model whose graphs are exported files.

    Args:
        replays: the files in their places, by name of the graph.
    """

    replays: Mapping[str, Replay]

    @property
    def called(self) -> tuple[str, ...]:
        """The graphs whose files have really been run, in the order of the model."""
        return tuple(name for name, replay in self.replays.items() if replay.calls)


def replayed(trained: Trained, sessions: Mapping[str, Session]) -> Replayed:
    """Return a copy of a model that runs exported files where it would run its own functions.

    The copy's graphs run the files. So does the model itself, such as in its validation step,
    wherever it calls a graph's function: a method of its own or one of its networks. What it
    computes in other ways (logits, say, where a graph gives an image) stays its own.

    Args:
        trained: the model, which stays as it is.
        sessions: files by name of the graph that they were exported from.
    """
    model = copy.deepcopy(trained.model)
    graphs = dict(model.graphs())
    replays = {}
    for name in graphs.keys() & sessions.keys():
        owner, attribute = _place(graphs[name].function)
        original = getattr(owner, attribute) if owner else graphs[name].function
        replays[name] = Replay(sessions[name], graphs[name], original)
        if owner and not isinstance(original, Replay):  # two graphs may have one function
            setattr(owner, attribute, replays[name])
        graphs[name] = replace(graphs[name], function=replays[name])
    vars(model)["graphs"] = lambda: graphs
    in_order = {name: replays[name] for name in graphs if name in replays}
    return Replayed(model, trained.header, trained.path, in_order)


def _place(function: Callable[..., Any]) -> tuple[nn.Module | None, str]:
    """Return where a model calls a graph's function: a module and its attribute, or None."""
    if isinstance(function, nn.Module):
        return function, "forward"
    owner = getattr(function, "__self__", None)
    return (owner, function.__name__) if isinstance(owner, nn.Module) else (None, "")


def _fit(ports: Iterable[Port], tensors: tuple[Any, ...]) -> bool:
    """Whether these are tensors, one an input port, each of its port's rank and sizes."""
    ports = tuple(ports)
    return len(ports) == len(tensors) and all(
        isinstance(tensor, Tensor)
        and tensor.ndim == len(port.shape)
        and all(
            isinstance(size, str) or size == found
            for size, found in zip(_sizes(port), tensor.shape[1:], strict=True)
        )
        for port, tensor in zip(ports, tensors, strict=True)
    )


def _sizes(port: Port) -> tuple[int | str, ...]:
    """Return the sizes behind the batch as the model has them: of an image, channels first."""
    return (port.channels, *port.image_size) if port.kind == "image" else port.shape[1:]


def _to_file(tensor: Tensor, own: Port, port: Port) -> NDArray[Any]:
    """Return a model's tensor as the file takes it."""
    array: NDArray[Any] = tensor.detach().to("cpu", getattr(torch, own.dtype)).numpy()
    if port.dtype == own.dtype:
        return array
    return pictures.to_pixels(array, *_range(own))


def _to_model(array: NDArray[Any], own: Port, port: Port) -> Tensor:
    """Return what a file gave as the model would have."""
    if port.dtype != own.dtype:
        array = pictures.to_values(array, *_range(own))
    return torch.from_numpy(array)


def _range(port: Port) -> tuple[float, float]:
    assert port.range is not None  # only images with a range become pixels
    return port.range
