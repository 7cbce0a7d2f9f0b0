"""Every graph leaves as ONNX, and does the same there as in the model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from zoo.model.inference import run_graph
from zoo.testing import alone as script
from zoo.testing.check import Check, Finding
from zoo.testing.inputs import inputs_of
from zoo.testing.places import place_of
from zoo.testing.subject import Subject

ROWS = 3  # a batch that neither the exporter nor the gate has seen
SECONDS = 300


def exports(model: Subject) -> None:
    """Every graph is exported to ONNX, and draws nothing at random there."""
    if not model.exported:
        raise Finding("the model has no graph", model.place("graphs"))


def agrees(model: Subject) -> None:
    """Each file passes the gate of `zoo export` at several batch sizes."""
    assert model.verified


def alone(model: Subject) -> None:
    """Each file runs where neither the plugin nor torch can be imported, with the same results."""
    with TemporaryDirectory() as folder:
        tolerances = {}
        for name, content in model.verified.items():
            graph = model.graphs[name]
            Path(folder, f"{name}.onnx").write_bytes(content)
            inputs = inputs_of(model, graph, count=ROWS, seed=0)
            np.savez(Path(folder, f"{name}.in.npz"), **inputs)  # type: ignore[arg-type] # of numpy's stub: its own keywords
            wanted = run_graph(model.trained, name, inputs)
            np.savez(Path(folder, f"{name}.out.npz"), **wanted)  # type: ignore[arg-type] # as above
            tolerances[name] = {port.name: port.tolerance for port in graph.outputs}
        top = model.card.model.partition(":")[0].partition(".")[0]
        task = {"folder": folder, "without": [top, "torch", "onnx"], "tolerances": tolerances}
        words = [sys.executable, "-P", str(script.__file__), json.dumps(task)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS,
                              env={**os.environ, "PYTHONPATH": python_path()})  # fmt: skip
        if done.returncode:
            said = (done.stdout.strip() or done.stderr.strip()).splitlines()
            name = said[-1].partition(":")[0] if said else ""
            graph_place = place_of(model.graphs[name].function) if name in model.graphs else ""
            raise Finding(" ".join(said[-1:])[:300], graph_place or model.place("graphs"))


def python_path() -> str:
    """Return the path on which a new process finds the modules that this one does."""
    return os.pathsep.join(str(Path(each or ".").absolute()) for each in sys.path)


CHECKS = [Check("export", each) for each in (exports, agrees, alone)]
