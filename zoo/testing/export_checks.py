"""A graph gives what it declares, leaves as ONNX, and does the same there as in the model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo import pictures
from zoo.draws import draw_example
from zoo.identity import check_signature
from zoo.loops import drive
from zoo.modalities import modality_of
from zoo.model.checks import line_of_graph, unlike_ports
from zoo.model.contract import Graph
from zoo.model.inference import as_tuple, default_rounds, run_graph
from zoo.model.previews import overview, previewed
from zoo.ports import Port
from zoo.runtime.reference import Example, write_reference
from zoo.testing import run_without_plugin
from zoo.testing.check import Check, Finding, PrerequisiteFailed, Skip, python_path
from zoo.testing.model_under_test import ModelUnderTest

Arrays = dict[str, "np.ndarray[Any, Any]"]
BATCHES = (1, 2, 5)
STRETCH = 10  # what noise and weights are multiplied by, to see whether a range holds for all
MOST_ROUNDS = 1000  # of a loop that are tried
ROWS = 3  # a batch that neither the exporter nor the gate has seen
RUN_SECONDS = 300


def inputs_of(model: ModelUnderTest, graph: Graph, *, count: int, seed: int) -> Arrays:
    """Return an array of `count` rows for each input of a graph, the same for the same seed."""
    generator = np.random.default_rng(seed)
    found = {}
    for port in graph.inputs:
        array = draw_example(port, count, model.spec.sizes, generator)
        found[port.name] = array if port.is_drawn else _real(model, port, array, generator)
    return found


def outputs_of(
    model: ModelUnderTest, name: str, graph: Graph, inputs: Mapping[str, Any]
) -> list[Tensor]:
    """Run a graph's function as it is, in evaluation mode, and return what it gives.

    `PrerequisiteFailed` if that is not what the ports say.
    """
    with torch.no_grad():
        outputs = graph.function(*(torch.from_numpy(inputs[port.name]) for port in graph.inputs))
    if wrong := unlike_ports(graph, inputs, outputs):
        raise PrerequisiteFailed("ports/outputs") from _finding(model, name, graph, f": {wrong}")
    return list(as_tuple(outputs))


def _real(model: ModelUnderTest, port: Port, like: Any, generator: np.random.Generator) -> Any:
    """Return rows of the data, of the port's kind and domain, where they have its shape."""
    spec = model.spec
    ports = [spec[name] for name in model.split if spec[name].kind == port.kind]
    if port.domain:
        ports = [spec[spec.side_of(port.domain)]]
    if not ports:
        return like
    own = next((each for each in ports if each.name == port.name), ports[0])
    rows = model.split[own.name]
    chosen = rows[generator.integers(0, len(rows), len(like))]
    numbers = modality_of(own).to_numbers(chosen, own)
    if (numbers.shape, numbers.dtype) != (like.shape, like.dtype):
        return like
    if port.range in {None, own.range} or own.range is None:
        return numbers
    (low, high), (least, greatest) = port.range, own.range
    share = (numbers - least) / max(greatest - least, 1e-12)
    return (low + share * (high - low)).astype(numbers.dtype)


def outputs(model: ModelUnderTest) -> None:
    """Each graph gives the declared number of finite tensors, in the declared shapes and dtypes."""
    for name, graph in model.graphs.items():
        for count in BATCHES:
            inputs = inputs_of(model, graph, count=count, seed=count)
            given = outputs_of(model, name, graph, inputs)
            for port, tensor in zip(graph.outputs, given, strict=True):
                if not torch.isfinite(tensor).all():
                    message = f", batch of {count}: {port.name!r} holds values that are not finite"
                    raise _finding(model, name, graph, message)


def ranges(model: ModelUnderTest) -> None:
    """Outputs stay in their declared ranges whatever the noise and the weights; images have one."""
    assert model.trained
    stretched = model.load_trained()
    with torch.no_grad():
        for parameter in stretched.parameters():
            parameter.mul_(STRETCH)
    for each in (model.trained, stretched):
        for name, graph in each.graphs().items():
            inputs = inputs_of(model, graph, count=max(BATCHES), seed=0)
            for port in graph.inputs:
                if port.prior == "normal":
                    inputs[port.name] = STRETCH * inputs[port.name]
            _check_ranges(model, name, graph, inputs)


def repeatable(model: ModelUnderTest) -> None:
    """The same inputs give the same outputs: a graph draws nothing at random by itself."""
    for name, graph in model.graphs.items():
        varying = _random_output(model, name, graph)
        if varying:
            how = "each time; noise comes in through a port that has a prior"
            raise _finding(model, name, graph, f" gives another {varying!r} {how}")


def rows(model: ModelUnderTest) -> None:
    """What a graph makes of a row does not depend on the other rows of the batch."""
    for name, graph in model.graphs.items():
        if _random_output(model, name, graph):
            raise PrerequisiteFailed("ports/repeatable")
        inputs = inputs_of(model, graph, count=max(BATCHES), seed=0)
        together = outputs_of(model, name, graph, inputs)
        last = {key: array[-1:] for key, array in inputs.items()}
        alone = outputs_of(model, name, graph, last)
        for port, one, other in zip(graph.outputs, together, alone, strict=True):
            gap = (one[-1:].double() - other.double()).abs().max().item()
            if not gap <= 10 * port.tolerance:
                how = f"differs by {gap:.3g} when other rows stand beside it"
                raise _finding(model, name, graph, f": {port.name!r} of a row {how}")


def draws(model: ModelUnderTest) -> None:
    """A graph that needs nothing but draws gives other results for other draws of each input."""
    _every_input_counts(model, lambda graph: not graph.signature.required, "only draws")


def given(model: ModelUnderTest) -> None:
    """A graph from pictures to pictures, or signals to signals, gives others for others."""

    def maps(graph: Graph) -> bool:
        kinds = {port.kind for port in graph.signature.required}
        return any(port.kind in kinds for port in graph.outputs)

    _every_input_counts(model, maps, "something to the same kind of thing")


def loops(model: ModelUnderTest) -> None:
    """A graph that is one step of a loop stays finite for as many rounds as a sample takes."""
    steps = {name: graph for name, graph in model.graphs.items() if graph.signature.is_step}
    if not steps:
        raise Skip("no graph is one step of a loop")
    for name, graph in steps.items():
        try:
            check_signature(graph.signature)
        except ValueError as problem:
            raise Finding(f"graph {name!r}: {problem}", model.place("graphs")) from problem
        rounds = min(default_rounds(graph), MOST_ROUNDS)
        first = inputs_of(model, graph, count=2, seed=0)
        generator = np.random.default_rng(0)
        for port in graph.inputs:
            if port.is_drawn:  # as a sample begins
                whole = replace(port, shape=first[port.name].shape)
                first[port.name] = whole.draw(2, generator)
        step = partial(run_graph, model.trained, name)
        for each in drive(step, graph.signature, first, rounds=rounds):
            for key, array in each.outputs.items():
                if not np.isfinite(array).all():
                    message = f": {key!r} is not finite after {each.number} of {rounds} rounds"
                    raise _finding(model, name, graph, message)


def previews(model: ModelUnderTest) -> None:
    """A picture can be drawn of what each graph makes, as `zoo train` does for its previews."""
    trained = model.trained
    names = previewed(trained)
    if not names:
        raise Skip("previews show no graph of this model")
    for name in names:
        if _random_output(model, name, model.graphs[name]):
            raise PrerequisiteFailed("ports/repeatable")
        try:
            with TemporaryDirectory() as folder:
                pictures.write_png(
                    Path(folder, "page.png"), overview(trained, name, model.split, rounds=2)
                )
        except Exception as problem:
            message = f": no preview can be drawn: {problem}"[:300]
            raise _finding(model, name, model.graphs[name], message) from problem


def _random_output(model: ModelUnderTest, name: str, graph: Graph) -> str:
    """Return the first output that is not the same twice, or nothing."""
    inputs = inputs_of(model, graph, count=2, seed=0)
    first, second = (outputs_of(model, name, graph, inputs) for _ in range(2))
    for port, one, other in zip(graph.outputs, first, second, strict=True):
        if not torch.equal(one, other):
            return port.name
    return ""


def _check_ranges(model: ModelUnderTest, name: str, graph: Graph, inputs: Arrays) -> None:
    for port, tensor in zip(graph.outputs, outputs_of(model, name, graph, inputs), strict=True):
        if port.range is None:
            if port.is_picture:
                raise _finding(model, name, graph, f": the image {port.name!r} declares no range")
            continue
        low, high = port.range
        finite = tensor[torch.isfinite(tensor)].double()  # large weights may overflow
        if finite.numel() and not low - 1e-5 <= finite.min() <= finite.max() <= high + 1e-5:
            found = f"reaches from {finite.min():.3g} to {finite.max():.3g}"
            message = f": {port.name!r} {found}, declared [{low:g}, {high:g}]"
            raise _finding(model, name, graph, message)


def _every_input_counts(model: ModelUnderTest, fits: Callable[[Graph], bool], what: str) -> None:
    """Change the inputs of the graphs that fit one after the other, and look for a change."""
    chosen = {name: graph for name, graph in model.graphs.items() if fits(graph)}
    if not chosen:
        raise Skip(f"no graph takes {what}")
    for name, graph in chosen.items():
        first, second = (inputs_of(model, graph, count=8, seed=seed) for seed in (0, 1))
        before = outputs_of(model, name, graph, first)
        for port, array in second.items():
            after = outputs_of(model, name, graph, {**first, port: array})
            if all(map(torch.equal, before, after)):
                raise _finding(model, name, graph, f" gives the same whatever comes in at {port!r}")


def _finding(model: ModelUnderTest, name: str, graph: Graph, message: str) -> Finding:
    return Finding(f"graph {name!r}{message}", line_of_graph(model.trained, graph))


def exports(model: ModelUnderTest) -> None:
    """Every graph is exported to ONNX, and draws nothing at random there."""
    if not model.exported:
        raise Finding("the model has no graph", model.place("graphs"))


def agrees(model: ModelUnderTest) -> None:
    """Each file passes the gate of `zoo export` at several batch sizes."""
    assert model.verified


def alone(model: ModelUnderTest) -> None:
    """Each file runs where neither the plugin nor torch can be imported, with the same results."""
    with TemporaryDirectory() as folder:
        for name, content in model.verified.items():
            Path(folder, f"{name}.onnx").write_bytes(content)
            inputs = inputs_of(model, model.graphs[name], count=ROWS, seed=0)
            wanted = Example(inputs, run_graph(model.trained, name, inputs))
            write_reference(Path(folder, f"{name}.npz"), [wanted])
        top = model.card.model.partition(":")[0].partition(".")[0]
        words = [sys.executable, "-P", str(run_without_plugin.__file__), folder,
                 top, "torch", "onnx"]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=False,
                              timeout=RUN_SECONDS,
                              env={**os.environ, "PYTHONPATH": python_path()})  # fmt: skip
        if done.returncode:
            lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
            name = lines[-1].partition(":")[0] if lines else ""
            graph = model.graphs.get(name)
            where = line_of_graph(model.trained, graph) if graph else model.place("graphs")
            raise Finding(" ".join(lines[-1:])[:300], where)


EXPORT_CHECKS = [
    *(Check("ports", each) for each in (outputs, ranges, repeatable, rows)),
    Check("ports", draws, tasks={"generation"}),
    Check("ports", given, tasks={"reconstruction", "translation"}),
    Check("ports", loops, tasks=()),
    Check("ports", previews, tasks=()),
    *(Check("export", each) for each in (exports, agrees, alone)),
]
