"""How fast exported files are in ONNX Runtime beside the same models in torch, eager.

Every graph of every installed model of the zoo, with weights as they are before training, at the
size of the model's own data. Both use the same number of threads and the same inputs. Turns
alternate, with a pause between, so that a machine whose speed drifts and threads that still spin
treat both alike; a figure is the median of all runs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from zoo.catalog.lookup import ModelEntry, find_dataset, installed_models, load_class
from zoo.draws import draw_example
from zoo.export.exporter import export_graph
from zoo.export.metadata import describe_graph
from zoo.model.contract import Graph, Model
from zoo.model.weights import Trained, describe
from zoo.ports import DataSpec
from zoo.runtime.session import open_session

BATCHES = (1, 64)
TURNS = 7
PAUSE = 0.02  # seconds
LONG = 0.3  # seconds of one turn: what is quicker runs several times


def build(entry: ModelEntry) -> Model:
    """Return a model of the size of its card's data, untrained."""
    data = find_dataset(entry.card.data)
    height, width = data.size or (64, 64)
    spec = DataSpec.of_images(data.name, data.channels, height, width, data.classes, data.domains)
    torch.manual_seed(0)
    model_class = load_class(entry)
    return model_class(model_class.Config(), spec).eval()


def seconds_of(runs: list[Callable[[], object]]) -> list[float]:
    """Return the median seconds of a run of each, in turns."""
    taken: list[list[float]] = [[] for _ in runs]
    counts = []
    for run in runs:
        run()
        started = time.perf_counter()
        run()
        counts.append(max(1, min(100, int(LONG / TURNS / (time.perf_counter() - started)))))
    for _ in range(TURNS):
        for run, count, seconds in zip(runs, counts, taken, strict=True):
            time.sleep(PAUSE)
            for _ in range(count):
                started = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - started)
    return [statistics.median(each) for each in taken]


def compare(model: Model, graph: Graph, path: Path, threads: int) -> Iterator[tuple[float, float]]:
    """Yield milliseconds in torch and in ONNX Runtime for each batch size."""
    session = open_session(path, threads=threads, spin=True)
    sizes = {"height": model.data.pictures.height, "width": model.data.pictures.width}
    for batch in BATCHES:
        draws = np.random.default_rng(0)
        inputs = {port.name: draw_example(port, batch, sizes, draws) for port in graph.inputs}
        tensors = [torch.from_numpy(array) for array in inputs.values()]

        def eager(given: list[torch.Tensor] = tensors) -> object:
            with torch.inference_mode():
                return graph.function(*given)

        def exported(given: dict[str, np.ndarray] = inputs) -> object:
            return session.engine.run(None, given)

        in_torch, in_runtime = seconds_of([eager, exported])
        yield 1000 * in_torch, 1000 * in_runtime


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("models", nargs="*", help="all, when none is named")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print(f"{asked.threads} threads; milliseconds, median of {TURNS} turns or more")
    print("| model | graph | torch, 1 | ONNX, 1 | ratio | torch, 64 | ONNX, 64 | ratio |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    slower = []
    for entry in installed_models():
        if asked.models and entry.card.name not in asked.models:
            continue
        model = build(entry)
        trained = Trained(model, describe(model, entry), Path())
        for name, graph in model.graphs().items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "graph.onnx")
                about = describe_graph(trained, name, graph, weights_sha256="")
                export_graph(model, graph, about, path)
                cells = []
                for batch, (eager, exported) in zip(
                    BATCHES, compare(model, graph, path, asked.threads), strict=True
                ):
                    cells += [f"{eager:.2f}", f"{exported:.2f}", f"{eager / exported:.2f}"]
                    if exported > eager:
                        slower.append(f"{entry.card.name} {name} at batch {batch}")
            print(f"| {entry.card.name} | {name} | {' | '.join(cells)} |", flush=True)
    print("slower than torch:", "; ".join(slower) or "none")


if __name__ == "__main__":
    main()
