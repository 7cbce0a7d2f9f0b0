"""The gate: an exported file must do what the model does, or it does not leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from zoo.errors import NotFoundError, ZooError
from zoo.export.onnx import example
from zoo.model.contract import Model
from zoo.model.inference import run_graph
from zoo.runtime.session import open_session

BATCHES = (1, 2, 5)
SEEDS = (0, 1, 2)


def verify(model: Model, name: str, path: Path) -> dict[str, float]:
    """Compare an exported graph on ONNX Runtime with the model over batch sizes and seeds.

    Args:
        model: what was exported.
        name: of the graph.
        path: its file.

    Returns:
        The greatest absolute difference of each output.

    Raises:
        ZooError: the file is not valid ONNX, has other ports than declared, or differs by more
            than a port's tolerance.
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
    for batch in BATCHES:
        for seed in SEEDS:
            generator = np.random.default_rng(seed)
            inputs = {port.name: example(port, batch, model, generator) for port in graph.inputs}
            wanted, found = run_graph(model, name, inputs), session.run(inputs)
            for port in graph.outputs:
                gap = np.abs(found[port.name].astype(np.float64) - wanted[port.name]).max()
                if not gap <= port.tolerance:  # not-a-number fails as well
                    raise ZooError(
                        f"graph {name!r} does not verify: output {port.name!r} differs by {gap:.3g}"
                        f" at batch {batch}, more than {port.tolerance:g}",
                        cause="the graph depends on the batch or on training mode, or is unstable",
                        hint="no file was written; the port's tolerance is the model's to declare",
                    )
                greatest[port.name] = max(greatest[port.name], float(gap))
    return greatest
