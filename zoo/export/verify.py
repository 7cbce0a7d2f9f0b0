"""The gate: an exported file must do what the model does, or it does not leave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from zoo.errors import NotFoundError, ZooError
from zoo.export.onnx import example
from zoo.model.contract import Graph, Model
from zoo.model.inference import run_graph
from zoo.ports import DataSpec
from zoo.runtime.session import Arrays, Session, open_session

BATCHES = (1, 2, 5)
SEEDS = (0, 1, 2)
LARGE = 3 * 128 * 128  # numbers in an image beyond which one seed has to do; the gate takes seconds


class Trial(NamedTuple):
    """One comparison: how many images, drawn from which seed, of which size."""

    batch: int
    seed: int
    sizes: Mapping[str, int]


def verify(model: Model, name: str, path: Path) -> dict[str, float]:
    """Compare an exported graph on ONNX Runtime with the model over batches, seeds and sizes.

    Args:
        model: what was exported.
        name: of the graph.
        path: its file.

    Returns:
        The greatest absolute difference of each output.

    Raises:
        ZooError: the file is not valid ONNX, has other ports than declared, fails on an image size
            that the ports leave open, or differs by more than a port's tolerance.
    """
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        raise ZooError(f"graph {name!r} is not valid ONNX: {problem}") from problem
    graph = model.graphs()[name]
    try:
        session = open_session(path)
    except NotFoundError as problem:
        raise ZooError(
            f"graph {name!r} does not verify: {problem.cause or problem.message}",
            cause="it fixes a size that its port leaves open, or gives another shape or dtype",
        ) from problem
    greatest = {port.name: 0.0 for port in graph.outputs}
    for trial in _trials(model.data, graph):
        generator = np.random.default_rng(trial.seed)
        inputs = {
            port.name: example(port, trial.batch, trial.sizes, generator) for port in graph.inputs
        }
        wanted, found = _run_both(model, name, session, inputs, trial)
        for port in graph.outputs:
            gap = np.abs(found[port.name].astype(np.float64) - wanted[port.name]).max()
            if not gap <= port.tolerance:  # not-a-number fails as well
                raise ZooError(
                    f"graph {name!r} does not verify: output {port.name!r} differs by {gap:.3g}"
                    f" at {_in_words(trial)}, more than {port.tolerance:g}",
                    cause="the graph depends on the batch or on training mode, or is unstable",
                    hint="no file was written; the port's tolerance is the model's to declare",
                )
            greatest[port.name] = max(greatest[port.name], float(gap))
    return greatest


def _trials(data: DataSpec, graph: Graph) -> Iterator[Trial]:
    """Yield every batch size at the data's image size and, where that may vary, other sizes.

    Others are larger, smaller, odd and not square, one image each.
    """
    height, width = data.height, data.width
    for batch in BATCHES:
        for seed in SEEDS if data.pixels <= LARGE else SEEDS[:1]:
            yield Trial(batch, seed, {"height": height, "width": width})
    if not {"height", "width"} & {size for port in graph.inputs for size in port.shape}:
        return
    others = [(height + 3, width + 5), (2 * height - 1, width), (height - height // 4, width - 1)]
    for high, wide in others:
        yield Trial(1, 0, {"height": high, "width": max(1, wide)})


def _run_both(
    model: Model, name: str, session: Session, inputs: Arrays, trial: Trial
) -> tuple[Arrays, Arrays]:
    """Return the outputs of the model and of the file, of equal shapes.

    Raises:
        ZooError: one of them fails, or they give different shapes.
    """
    try:
        wanted, found = run_graph(model, name, inputs), session.run(inputs)
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
    return f"batch {trial.batch}, {trial.sizes['height']} × {trial.sizes['width']} pixels"
