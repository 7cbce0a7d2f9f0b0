"""The gate: an exported file must do what the model does, or it does not leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.errors import NotFoundError, UsageError, ZooError
from zoo.export.recheck import check_onnx, too_far
from zoo.model.contract import Graph, Model
from zoo.model.inference import run_in_torch
from zoo.ports import DataSpec, Port
from zoo.runtime.engine import NewerFormatError
from zoo.runtime.examples import example, shape_of
from zoo.runtime.reference import Example, Gap, measure
from zoo.runtime.session import Arrays, Session, open_session

BATCHES = (1, 2, 5)
SEEDS = (0, 1, 2)
LARGE = 3 * 128 * 128  # numbers in an image beyond which one seed has to do; the gate takes seconds
FAR = 5.0  # standard deviations: what a normal prior hardly ever draws
ROUNDING = 2.0**-24  # relative error of one operation in single precision
ENLARGED = (
    10.0  # times what one nudge of that size moves: as far as two programs may be apart there
)
HALF_A_LEVEL = 0.5  # of grey: what rounding to pixels hides

RANDOM, LOWEST, HIGHEST, ENDS = "random inputs", "all lowest", "all highest", "ends of the ranges"
FLAT = {LOWEST, HIGHEST}


class Trial(NamedTuple):
    """One comparison.

    Args:
        kind: what goes in.
        batch: how many rows of it.
        seed: that they are drawn from.
        sizes: of pictures, where a port leaves them open.
        is_kept: whether it becomes a reference to check the file by later.
    """

    kind: str
    batch: int
    seed: int
    sizes: Mapping[str, int]
    is_kept: bool


class Verified(NamedTuple):
    """What the gate found.

    Args:
        gaps: between the model and the file, by output, over all trials.
        trials: how many there were.
        noise: inputs, in words, on which the model's own output is rounding errors, enlarged, so
            that the file need only be as near as these; they are not among the trials.
        examples: some inputs, with what the model makes of them, to check the file by later.
    """

    gaps: dict[str, Gap]
    trials: int
    noise: list[str]
    examples: list[Example]


def verify(model: Model, graph: Graph, path: Path) -> Verified:
    """Compare an exported graph on ONNX Runtime with the model over batches, seeds and sizes.

    Args:
        model: what was exported.
        graph: of the model, in the form that it was exported in.
        path: its file.

    Raises:
        UsageError: its opset is newer than the installed ONNX Runtime.
        ZooError: the file is not valid ONNX, has other ports than declared, fails on an image size
            that the ports leave open, or differs by more than a port's tolerance.
    """
    check_onnx(path)
    try:
        session = open_session(path)
    except NewerFormatError as problem:
        raise UsageError(
            f"{path.name} cannot be verified here: {problem.found}",
            hint=f"{problem.export}, or leave --opset out; or pip install --upgrade onnxruntime",
        ) from problem
    except NotFoundError as problem:
        raise ZooError(
            f"{path.name} does not verify: {problem.cause or problem.message}",
            cause="it fixes a size that its port leaves open, or gives another shape or dtype",
        ) from problem
    name = session.description.graph
    pairs: dict[str, list[tuple[Any, Any]]] = {port.name: [] for port in graph.outputs}
    kept: list[Example] = []
    noise: list[str] = []
    for trial in trials(model.data, graph):
        errors = _rounding_errors(model, graph, name, trial) if trial.kind in FLAT else {}
        inputs = draw_extreme(graph, trial)
        wanted, found = _run_both(model, graph, session, inputs, trial)
        for port in graph.outputs:
            gap = measure(port, [(wanted[port.name], found[port.name])])
            excess = too_far(session.description, port, gap)
            if excess and not gap.greatest <= ENLARGED * errors.get(port.name, 0.0):
                raise ZooError(
                    f"graph {name!r} does not verify: {excess}, at {_in_words(trial)}",
                    cause="the graph depends on the batch or on training mode, or is unstable",
                    hint="no file was written; the port's tolerance is the model's to declare",
                )
        if errors:
            noise.append(trial.kind)
            continue
        for port in graph.outputs:
            pairs[port.name].append((wanted[port.name], found[port.name]))
        if trial.is_kept:
            kept.append(Example(inputs, wanted))
    gaps = {port.name: measure(port, pairs[port.name]) for port in graph.outputs}
    return Verified(gaps, len(pairs[graph.outputs[0].name]), noise, kept)


def _rounding_errors(model: Model, formed: Graph, name: str, trial: Trial) -> dict[str, float]:
    """Return how far rounding errors of the inputs move outputs, where a port does not tolerate it.

    So it is where layers normalise maps that are flat, as a picture of one colour makes them: they
    divide rounding errors by next to nothing. No two programs agree there.

    Args:
        model: what is exported.
        formed: the graph in its form, whose numbers the result is in.
        name: of the graph; as the model declares it, its pictures are no whole pixels.
        trial: what goes in.

    Returns:
        The greatest absolute differences by output; nothing where all are tolerated.
    """
    graph = model.graphs()[name]
    inputs = draw_extreme(graph, trial)
    generator = np.random.default_rng(1)
    nudged = {
        key: array * (1 + ROUNDING * generator.standard_normal(array.shape, np.float32))
        if array.dtype == np.float32
        else array
        for key, array in inputs.items()
    }
    once, again = run_in_torch(model, graph, inputs), run_in_torch(model, graph, nudged)
    found = {}
    for own, port in zip(graph.outputs, formed.outputs, strict=True):
        moved = measure(own, [(once[own.name], again[own.name])]).greatest
        if own.range and port.range:
            moved *= (port.range[1] - port.range[0]) / (own.range[1] - own.range[0])
        least = HALF_A_LEVEL if port.dtype == "uint8" else port.tolerance
        if moved > least:
            found[port.name] = moved
    return found


def draw_extreme(graph: Graph, trial: Trial) -> Arrays:
    """Return the inputs of a trial, by port name."""
    generator = np.random.default_rng(trial.seed)
    return {port.name: _values(port, trial, generator) for port in graph.inputs}


def _values(port: Port, trial: Trial, generator: np.random.Generator) -> np.ndarray[Any, Any]:
    if trial.kind == RANDOM:
        return example(port, trial.batch, trial.sizes, generator)
    low, high = port.range or (-FAR, FAR)
    shape = shape_of(port, trial.batch, trial.sizes)
    if trial.kind == ENDS:
        return generator.choice(np.array([low, high]), shape).astype(port.dtype)
    return np.full(shape, low if trial.kind == LOWEST else high, port.dtype)


def trials(data: DataSpec, graph: Graph) -> Iterator[Trial]:
    """Yield all batch sizes and extremes at the data's image size and, where it may vary, others.

    Other sizes are larger, smaller, odd and not square, one image each.
    """
    height, width = data.height, data.width
    for port in graph.inputs:
        if port.kind == "image":  # the form may have fixed another size
            height, width = (
                ours if isinstance(ours, int) else theirs
                for ours, theirs in zip(port.image_size, (height, width), strict=True)
            )
    own = {"height": height, "width": width}
    fixed = graph.inputs[0].shape[0]
    for batch in [fixed] if isinstance(fixed, int) else BATCHES:
        for seed in SEEDS if data.channels * height * width <= LARGE else SEEDS[:1]:
            yield Trial(RANDOM, batch, seed, own, is_kept=seed == 0 and batch in {2, fixed})
    for kind in (LOWEST, HIGHEST, ENDS):
        yield Trial(kind, 1, 0, own, is_kept=True)
    if not {"height", "width"} & {size for port in graph.inputs for size in port.shape}:
        return
    others = [(height + 3, width + 5), (2 * height - 1, width), (height - height // 4, width - 1)]
    for number, (high, wide) in enumerate(others):
        sizes = {"height": high, "width": max(1, wide)}
        yield Trial(RANDOM, 1, 0, sizes, is_kept=number == 0)


def _run_both(
    model: Model, graph: Graph, session: Session, inputs: Arrays, trial: Trial
) -> tuple[Arrays, Arrays]:
    """Return the outputs of the model and of the file, of equal shapes.

    Raises:
        ZooError: one of them fails, or they give different shapes.
    """
    name = session.description.graph
    try:
        wanted, found = run_in_torch(model, graph, inputs), session.run(inputs)
    except Exception as problem:  # a network raises anything on a size that it was not made for
        message = problem.message if isinstance(problem, ZooError) else str(problem)
        said = message.replace(str(session.path), "the file").strip() or type(problem).__name__
        raise _unfit(model.data, name, trial, " ".join(said.split())[:300]) from problem
    for output, array in wanted.items():
        if found[output].shape != array.shape:
            shapes = f"{output} of shape {array.shape}, the file one of {found[output].shape}"
            raise _unfit(model.data, name, trial, f"the model gives {shapes}")
    return wanted, found


def _unfit(data: DataSpec, name: str, trial: Trial, cause: str) -> ZooError:
    learnt = trial.sizes == {"height": data.height, "width": data.width}
    hint = "let the model pad and crop, or declare ports of the one size that it takes"
    return ZooError(
        f"graph {name!r} does not verify: it fails at {_in_words(trial)}",
        cause=cause,
        hint="" if learnt else hint,
    )


def _in_words(trial: Trial) -> str:
    size = f"batch {trial.batch}, {trial.sizes['height']} × {trial.sizes['width']} pixels"
    return size if trial.kind == RANDOM else f"{size}, {trial.kind}"
