"""What a graph declares is what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from zoo.catalog.card import Card
from zoo.model.contract import Graph
from zoo.testing.check import Check, Finding, Obstacle, Skip
from zoo.testing.inputs import Arrays, inputs_of, outputs_of
from zoo.testing.places import place_of
from zoo.testing.subject import Subject

BATCHES = (1, 2, 5)
STRETCH = 10  # what noise and weights are multiplied by, to see whether a range holds for all


def outputs(model: Subject) -> None:
    """Each graph gives the declared number of finite tensors, in the declared shapes and dtypes."""
    for name, graph in model.graphs.items():
        for count in BATCHES:
            inputs = inputs_of(model, graph, count=count, seed=count)
            given = outputs_of(name, graph, inputs)
            wrong = _unlike_declared(graph, inputs, given)
            if wrong:
                said = f"graph {name!r}, batch of {count}: {wrong}"
                raise Finding(said, place_of(graph.function))


def ranges(model: Subject) -> None:
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
            _check_ranges(name, graph, inputs)


def repeatable(model: Subject) -> None:
    """The same inputs give the same outputs: a graph draws nothing at random by itself."""
    for name, graph in model.graphs.items():
        varying = _random_output(model, name, graph)
        if varying:
            raise Finding(
                f"graph {name!r} gives another {varying!r} each time; noise comes in through a "
                "port that has a prior",
                place_of(graph.function),
            )


def rows(model: Subject) -> None:
    """What a graph makes of a row does not depend on the other rows of the batch."""
    for name, graph in model.graphs.items():
        if _random_output(model, name, graph):
            raise Obstacle("ports/repeatable")
        inputs = inputs_of(model, graph, count=max(BATCHES), seed=0)
        together = outputs_of(name, graph, inputs)
        last = {key: array[-1:] for key, array in inputs.items()}
        alone = outputs_of(name, graph, last)
        for port, one, other in zip(graph.outputs, together, alone, strict=True):
            gap = (one[-1:].double() - other.double()).abs().max().item()
            if not gap <= 10 * port.tolerance:
                raise Finding(
                    f"graph {name!r}: {port.name!r} of a row differs by {gap:.3g} when other rows "
                    "stand beside it",
                    place_of(graph.function),
                )


def draws(model: Subject) -> None:
    """A graph that needs nothing but draws gives other results for other draws of each input."""
    _every_input_counts(model, lambda graph: not graph.signature.missing, "only draws")


def given(model: Subject) -> None:
    """A graph from pictures to pictures, or signals to signals, gives others for others."""
    _every_input_counts(model, _maps, "something to the same kind of thing")


def _generates(card: Card) -> bool:
    return card.task == "generation"


def _translates(card: Card) -> bool:
    return card.task in {"reconstruction", "translation"}


CHECKS = [
    *(Check("ports", each) for each in (outputs, ranges, repeatable, rows)),
    Check("ports", draws, demanded=_generates),
    Check("ports", given, demanded=_translates),
]


def _unlike_declared(graph: Graph, inputs: Arrays, given: list[Tensor]) -> str:
    """Return in words what is not as the ports say, or nothing."""
    sizes: dict[str, int] = {}
    for port in graph.inputs:
        sizes |= {
            word: size
            for word, size in zip(port.shape, inputs[port.name].shape, strict=True)
            if isinstance(word, str)
        }
    for port, tensor in zip(graph.outputs, given, strict=True):
        declared = [sizes.get(size, size) if isinstance(size, str) else size for size in port.shape]
        fits = len(declared) == tensor.ndim and all(
            isinstance(size, str) or size == found
            for size, found in zip(declared, tensor.shape, strict=True)
        )
        if not fits:
            return f"{port.name!r} has shape {tuple(tensor.shape)}, declared {tuple(declared)}"
        if str(tensor.dtype) != f"torch.{port.dtype}":
            return f"{port.name!r} is {tensor.dtype}, declared {port.dtype}"
        if not torch.isfinite(tensor).all():
            return f"{port.name!r} holds values that are not finite"
    return ""


def _random_output(model: Subject, name: str, graph: Graph) -> str:
    """Return the first output that is not the same twice, or nothing."""
    inputs = inputs_of(model, graph, count=2, seed=0)
    first, second = (outputs_of(name, graph, inputs) for _ in range(2))
    for port, one, other in zip(graph.outputs, first, second, strict=True):
        if not torch.equal(one, other):
            return port.name
    return ""


def _check_ranges(name: str, graph: Graph, inputs: Arrays) -> None:
    for port, tensor in zip(graph.outputs, outputs_of(name, graph, inputs), strict=True):
        if port.range is None:
            if port.kind == "image":
                raise Finding(
                    f"graph {name!r}: the image {port.name!r} declares no range",
                    place_of(graph.function),
                )
            continue
        low, high = port.range
        finite = tensor[torch.isfinite(tensor)].double()  # large weights may overflow
        if finite.numel() and not low - 1e-5 <= finite.min() <= finite.max() <= high + 1e-5:
            raise Finding(
                f"graph {name!r}: {port.name!r} reaches from {finite.min():.3g} to "
                f"{finite.max():.3g}, declared [{low:g}, {high:g}]",
                place_of(graph.function),
            )


def _maps(graph: Graph) -> bool:
    given = {port.kind for port in graph.signature.missing}
    return any(port.kind in given for port in graph.outputs)


def _every_input_counts(model: Subject, fits: Callable[[Graph], bool], what: str) -> None:
    """Change the inputs of the graphs that fit one after the other, and look for a change."""
    chosen = {name: graph for name, graph in model.graphs.items() if fits(graph)}
    if not chosen:
        raise Skip(f"no graph takes {what}")
    for name, graph in chosen.items():
        first = inputs_of(model, graph, count=8, seed=0)
        before = outputs_of(name, graph, first)
        for port, changed in _changes(model, graph, first):
            after = outputs_of(name, graph, changed)
            if all(torch.equal(one, other) for one, other in zip(before, after, strict=True)):
                raise Finding(
                    f"graph {name!r} gives the same whatever comes in at {port!r}",
                    place_of(graph.function),
                )


def _changes(model: Subject, graph: Graph, first: Arrays) -> Iterator[tuple[str, Arrays]]:
    """Yield the inputs with one port after the other changed."""
    second = inputs_of(model, graph, count=8, seed=1)
    for port in graph.inputs:
        yield port.name, {**first, port.name: second[port.name]}
