"""Whether a model keeps the contract; what breaks it is told with the author's file and line."""

from __future__ import annotations

import inspect
import re
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import PluginError, did_you_mean
from zoo.identity import check_signature
from zoo.model.contract import Batch, Graph, Model, Monitor, Update
from zoo.model.inference import Arrays, as_tuple, device_of, evaluating, example_inputs
from zoo.ports import shapes_agree

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # colours of a terminal
LONGEST_REASON = 240  # characters of what torch says
BREAKS_CONTRACT = "breaks-contract"  # code of the errors of this file


def contract_error(
    model: Model, why: str, *, where: str = "", cause: str = "", hint: str = ""
) -> PluginError:
    """Return the error for a model that breaks the contract.

    `where` is the file and line to look at; the model's module, when not given.
    """
    place = where or type(model).__module__
    return PluginError(
        f"{type(model).__name__} ({place}) breaks the contract: {why}",
        cause=cause,
        hint=hint or "see the docstrings of zoo.Model and zoo.Player, or docs/plugin-api.md",
        code=BREAKS_CONTRACT,
    )


def monitors_of(model_class: type[Model]) -> Sequence[Monitor]:
    """Return a model's own monitors.

    Raises:
        PluginError: `monitors` is no class method, or returns something else.
    """
    try:
        found = list(model_class.monitors())
        if all(isinstance(each, Monitor) for each in found):
            return found
        why = "monitors() returns something else than zoo.Monitor"
    except TypeError as problem:
        why = f"monitors() must be a class method without arguments ({problem})"
    raise PluginError(
        f"{model_class.__name__} ({source_line(model_class.monitors)}) breaks the contract: {why}",
        hint="@classmethod, and a list of zoo.Monitor(name, title, check, advice)",
        code=BREAKS_CONTRACT,
    )


def check_itself(model: Model, monitor: Monitor, batch: Batch) -> str:
    """Return what a model's own monitor says of a batch; empty where all is well.

    Raises:
        PluginError: the check returns something else than a text or None.
    """
    said = monitor.check(model, batch)
    if said is None or isinstance(said, str):
        return said or ""
    raise contract_error(
        model,
        f"the check of monitor {monitor.name!r} returned {type(said).__name__}, not text or None",
        where=source_line(monitor.check),
    )


def source_line(thing: Any) -> str:
    """Return file and line of a function, a method, a class or an object's class."""
    while isinstance(thing, partial):
        thing = thing.func
    if isinstance(thing, nn.Module):
        thing = type(thing)
    thing = inspect.unwrap(thing) if callable(thing) else type(thing)
    try:
        line = inspect.getsourcelines(thing)[1]
        return f"{inspect.getsourcefile(thing)}, line {line}"
    except (OSError, TypeError):  # built in, or its source is not there
        return ""


def line_of_graph(model: Model, graph: Graph) -> str:
    """Return file and line of a graph's function, or of `graphs` where it is torch's own network.

    ``nn.Sequential`` has its source in torch, where the author has nothing to look for.
    """
    function = graph.function
    is_foreign = isinstance(function, nn.Module) and type(function).__module__.startswith("torch.")
    return source_line(model.graphs if is_foreign else function)


def _line_of_return(function: Any) -> str:
    """Return file and line of the last ``return`` in a function, or of the function."""
    place = source_line(function)
    if place:
        lines, first = inspect.getsourcelines(function)
        returns = [n for n, line in enumerate(lines, first) if line.split()[:1] == ["return"]]
        place = f"{place.rpartition(' ')[0]} {max(returns, default=first)}"
    return place


def line_of_generator(updates: Any) -> str:
    """Return file and line at which a generator has yielded, through ``yield from``."""
    frame = getattr(updates, "gi_frame", None)
    while getattr(updates, "gi_yieldfrom", None) is not None and frame is not None:
        updates = updates.gi_yieldfrom
        frame = getattr(updates, "gi_frame", frame)
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}" if frame is not None else ""


def line_in_package(problem: BaseException, model: Model) -> str:
    """Return the innermost line of the model's package that an exception came through.

    Where it did not come through any, that of the exception behind it.
    """
    package = type(model).__module__.partition(".")[0]
    seen: BaseException | None = problem
    while seen is not None:
        for frame, line in reversed(list(traceback.walk_tb(seen.__traceback__))):
            if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
                return f"{frame.f_code.co_filename}, line {line}"
        seen = seen.__cause__ or seen.__context__
    return ""


def root_reason(problem: BaseException) -> str:
    """Return what an exception, or the one that caused it, says first: one line, no colours."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    lines = ANSI.sub("", str(problem)).splitlines()
    first = next((line.strip() for line in lines if line.strip()), "")
    return f"{type(problem).__name__}: {first}"[:LONGEST_REASON]


def why_not_exported(reason: str) -> tuple[str, str]:
    """Return the likely cause of what torch's exporter says, and what to do."""
    if "data-dependent" in reason:
        return (
            "it decides by numbers in a tensor, which no graph can: torch.where, and no if",
            "a buffer of the model is read in graphs(), and goes into the function by partial",
        )
    if "functorch" in reason or "fake tensor in the exported program" in reason:
        return (
            "it takes a gradient, as torch.func.grad does, which the exporter cannot follow",
            "the gradient written out in the function, or zoo sample, which needs no export",
        )
    return (
        "it uses an operation that ONNX lacks, or fixes a size that the port leaves open",
        "the same command with --debug shows all that torch says",
    )


def checked_updates(model: Model, updates: object, players: Collection[str]) -> Iterator[Update]:
    """Yield what a training step yields, each checked to be an update of one of the players.

    `updates` is what `Model.training_step` returned.

    Raises:
        PluginError: it is no generator, or yields what is no update, or an update for no player or
            with terms that are no scalar tensors with a gradient.
    """
    while isinstance(updates, Iterator):
        try:
            update = next(updates)
        except StopIteration as end:
            if end.value is None:
                return
            updates = end.value  # returned behind a yield, and lost
            break
        wrong, hint = _fault_of_update(model, update, players)
        if wrong:
            raise contract_error(model, wrong, where=line_of_generator(updates), hint=hint)
        yield update
    raise contract_error(
        model,
        f"training_step returns {_kind(updates)}, it must yield every update",
        where=_line_of_return(type(model).training_step),
        cause="after each yield, the optimiser of the player that it names takes a step",
        hint=f"{_example_of_yield(players)} in place of return",
    )


def _fault_of_update(model: Model, update: object, players: Collection[str]) -> tuple[str, str]:
    """Return what is wrong with what was yielded, and what to write instead; or nothing."""
    if not isinstance(update, Update):
        why = f"training_step yields {_kind(update)}, not a zoo.Update"
        return why, _example_of_yield(players)
    name = update.player
    if name not in players:
        near = did_you_mean(str(name), players)
        known = f"players() has {', '.join(map(repr, players))}"
        return f"an update is for {name!r}, which is no player.{near}", known
    whose = f"of the update of {name!r}"
    if not update.terms:
        return f"the update of {name!r} has no terms", _example_of_yield([name])
    terms: Mapping[str, object] = update.terms  # an author may give anything
    for key, term in terms.items():
        if not isinstance(term, Tensor):
            why = f"the term {key!r} {whose} is {_kind(term)}, not a tensor"
            return why, f"{key}=a scalar tensor, without .item() or float()"
        if term.ndim:
            why = f"the term {key!r} {whose} has shape {tuple(term.shape)}, not ()"
            return why, f"{key}={key}.mean(), or .sum(): a term is a scalar"
    if not any(term.requires_grad for term in update.terms.values()) and _is_trained(model, name):
        why = f"no term {whose} has a gradient: {', '.join(update.terms)}"
        return why, "leave out .detach(), .item() or torch.no_grad() where the terms are made"
    return "", ""


def _is_trained(model: Model, player: str) -> bool:
    """Whether a player has parameters that are not frozen."""
    modules = model.players()[player].modules
    return any(each.requires_grad for module in modules for each in module.parameters())


def _example_of_yield(players: Collection[str]) -> str:
    return f'yield zoo.Update("{next(iter(players), "PLAYER")}", loss=loss)'


def check_graphs(model: Model) -> None:
    """Check every graph of a model as `check_graph` does."""
    for name, graph in model.graphs().items():
        check_graph(model, name, graph)


def check_graph(model: Model, name: str, graph: Graph) -> None:
    """Run a graph once, on two rows drawn from its ports, and compare what it gives with them.

    The model and the random numbers are left as they were.

    Raises:
        PluginError: the graph fails, or gives another number of outputs, another shape or another
            dtype than its ports say; or its ports do not fit one another, as those of a loop must.
    """
    try:
        check_signature(graph.signature)
    except ValueError as problem:
        raise contract_error(
            model,
            f"graph {name!r}: {problem}",
            where=source_line(model.graphs),
            hint="correct the ports of the graph",
        ) from None
    inputs = example_inputs(model, graph)
    device = device_of(model)
    try:
        with evaluating(model):
            outputs = graph.function(
                *(torch.from_numpy(inputs[port.name]).to(device) for port in graph.inputs)
            )
    except Exception as problem:  # a network raises anything on what it was not made for
        if "memory" in str(problem).lower():
            raise
        given = ", ".join(f"{key} {array.shape}" for key, array in inputs.items())
        raise contract_error(
            model,
            f"graph {name!r} fails on what its ports take: {root_reason(problem)}",
            where=line_in_package(problem, model) or line_of_graph(model, graph),
            cause=f"it was given {given}",
            hint="correct the ports of the graph, or its function",
        ) from problem
    if wrong := unlike_ports(graph, inputs, outputs):
        raise contract_error(
            model,
            f"graph {name!r}: {wrong}",
            where=line_of_graph(model, graph),
            hint="correct the ports of the graph, or what its function returns",
        )


def unlike_ports(graph: Graph, inputs: Arrays, outputs: object) -> str:
    """Return in words how a graph's outputs for some inputs differ from its ports, or nothing.

    Compared are their number, that each is a tensor, its shape and its dtype.
    """
    given: tuple[object, ...] = as_tuple(outputs)  # type: ignore[arg-type] # whatever it is
    declared = ", ".join(port.name for port in graph.outputs)
    if len(given) != len(graph.outputs):
        kinds = ", ".join(type(each).__name__ for each in given)
        return f"expected {len(graph.outputs)} outputs ({declared}), got {len(given)} ({kinds})"
    sizes: dict[int | str, int] = {}  # by the word for what varies
    for port in graph.inputs:
        sizes |= zip(port.shape, inputs[port.name].shape, strict=True)
    for port, tensor in zip(graph.outputs, given, strict=True):
        if not isinstance(tensor, Tensor):
            return f"expected a tensor for {port.name!r}, got {_kind(tensor)}"
        wanted = tuple(sizes.get(size, size) for size in port.shape)
        if not shapes_agree(wanted, tensor.shape):
            shape = str(wanted).replace("'", "")
            return f"expected shape {shape} of {port.name!r}, got {tuple(tensor.shape)}"
        if str(tensor.dtype) != f"torch.{port.dtype}":
            got = str(tensor.dtype).removeprefix("torch.")
            return f"expected {port.dtype} of {port.name!r}, got {got}"
    return ""


def _kind(thing: object) -> str:
    """Return what a thing is: ``a float``, ``an Update``, ``None``."""
    name = type(thing).__name__
    return "None" if thing is None else f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
