"""How fast exported files are in ONNX Runtime beside the same models in torch, eager.

Every graph of every installed model of the zoo, with weights as they are before training, at the
size of the model's own data. Both use the same number of threads and the same inputs, and take
turns, with a pause between, in which threads that still spin come to rest.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.measuring import (
    Contender,
    Row,
    calls_within,
    in_turns,
    note,
    parser,
    report,
    timed,
)
from zoo.catalog.lookup import ModelEntry, find_dataset, installed_models, load_class
from zoo.draws import draw_example
from zoo.exporting.exporter import export_graph
from zoo.exporting.metadata import describe_graph
from zoo.model.contract import Graph, Model
from zoo.model.weights import Trained, describe
from zoo.ports import DataSpec
from zoo.runtime.session import open_session

BATCHES = (1, 64)
TURNS, QUICK_TURNS = 7, 2
PAUSE = 0.02  # seconds
LONG = 0.3  # seconds of all turns: what is quicker runs several times in each
MOST_CALLS = 100
NO_FILE = "0" * 64  # hash of the file of weights, which these do not have


def build(entry: ModelEntry) -> Model:
    """Return a model of the size of its card's data, untrained."""
    data = find_dataset(entry.card.data)
    height, width = data.size or (64, 64)
    spec = DataSpec.of_images(data.name, data.channels, height, width, data.classes, data.domains)
    torch.manual_seed(0)
    model_class = load_class(entry)
    return model_class(model_class.Config(), spec).eval()


def rested(contender: Contender) -> Contender:
    """Return a contender that pauses before it begins."""

    def run() -> float:
        time.sleep(PAUSE)
        return contender()

    return run


def seconds_of(runs: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Return the median seconds of a run of each, in turns."""
    calls = {name: calls_within(timed(run), LONG / turns, MOST_CALLS) for name, run in runs.items()}

    def several(name: str) -> Contender:
        run = timed(runs[name])
        return rested(lambda: median(run() for _ in range(calls[name])))

    taken = in_turns({name: several(name) for name in runs}, turns)
    return {name: median(each) for name, each in taken.items()}


def compare(
    model: Model, graph: Graph, path: Path, *, threads: int, turns: int
) -> Iterator[dict[str, float]]:
    """Yield seconds in torch and in ONNX Runtime for each batch size."""
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

        yield seconds_of({"torch": eager, "ONNX": exported}, turns)


def graphs_of(entry: ModelEntry, *, threads: int, turns: int) -> Iterator[Row]:
    """Yield a row for each graph of a model."""
    note(f"inference: {entry.card.name}")
    model = build(entry)
    trained = Trained(model, describe(model, entry), Path())
    for name, graph in model.graphs().items():
        row: Row = {"model": entry.card.name, "graph": name}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "graph.onnx")
            about = describe_graph(trained, name, graph, weights_sha256=NO_FILE)
            export_graph(model, graph, about, path)
            found = compare(model, graph, path, threads=threads, turns=turns)
            for batch, seconds in zip(BATCHES, found, strict=True):
                row |= {f"{where}, {batch}": 1000 * each for where, each in seconds.items()}
                row[f"ratio, {batch}"] = seconds["torch"] / seconds["ONNX"]
        yield row


def measure(
    *, models: Sequence[str] = (), threads: int | None = None, quick: bool = False
) -> dict[str, Any]:
    """Return a row for each graph, and which are slower than in torch; milliseconds."""
    threads = threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    entries = [each for each in installed_models() if not models or each.card.name in models]
    turns = QUICK_TURNS if quick else TURNS
    rows = [row for entry in entries for row in graphs_of(entry, threads=threads, turns=turns)]
    slower = [
        f"{row['model']} {row['graph']} at batch {batch}"
        for row in rows
        for batch in BATCHES
        if row[f"ratio, {batch}"] < 1
    ]
    return {
        "graphs, ms": rows,
        "slower than torch": "; ".join(slower) or "none",
        "threads": threads,
    }


def main() -> None:
    """Measure, print and write the figures."""
    options = parser(__doc__)
    options.add_argument("--threads", type=int)
    options.add_argument("models", nargs="*", help="all, when none is named")
    asked = options.parse_args()
    figures = measure(models=asked.models, threads=asked.threads, quick=asked.quick)
    report("inference", figures, quick=asked.quick)


if __name__ == "__main__":
    main()
