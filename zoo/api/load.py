"""What TARGET means to a program: a model with its weights, or exported files without torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from zoo.api.loaded_model import Array, LoadedModel, Run
from zoo.api.targets import load_target
from zoo.errors import NotFoundError
from zoo.messages import Log, say, silent
from zoo.training.run import RUNS

if TYPE_CHECKING:
    from zoo.model.weights import Trained
    from zoo.training.train import TrainResult

ROWS_AT_ONCE = 64  # of an exported graph

Target: TypeAlias = "str | os.PathLike[str] | TrainResult | LoadedModel"


def load(target: Target, *, log: Log | None = say) -> LoadedModel:
    """Load a trained model, or exported files, which need neither torch nor the plugin.

    Args:
        target: the name of a run, ``@last``, the name of a model (its latest finished run, else
            its published weights), a path of a run or of a ``.safetensors`` file, what
            `zoo.train` returned, or the path of an exported ``.onnx`` file or folder.
        log: takes messages, such as which weights these are; on stderr, when not given; None for
            silence.

    Raises:
        NotFoundError: nothing matches, or the file is missing or damaged.
        PluginError: torch or the model's plugin is not installed.
    """
    if isinstance(target, LoadedModel):
        return target
    word = target_word(target)
    if is_exported(Path(word)):
        return load_exported(Path(word), log or silent)
    return loaded(load_target(word, None, log or silent))


def loaded(trained: Trained) -> LoadedModel:
    """Return a model that was built already."""
    from zoo.model.inference import run_graph

    graphs = {name: graph.signature for name, graph in trained.model.graphs().items()}
    run = partial(run_graph, trained.model)
    return LoadedModel(trained.identity, trained.path, graphs, run, trained)


def target_word(target: str | os.PathLike[str] | TrainResult) -> str:
    """Return TARGET as the command takes it: a name or a path."""
    if isinstance(target, str | os.PathLike):
        return os.fspath(target)
    return target.path


def trained_target(target: Target, data: str | None, log: Log) -> Trained:
    """Return the model that a target means, after a look whether there is what `data` names."""
    if isinstance(target, LoadedModel):
        return target.trained
    word = target_word(target)
    try:
        return load_target(word, data, log)
    except NotFoundError as problem:
        if problem.code != "target-not-found" or not is_exported(Path(word)):
            raise
    return load_exported(Path(word), silent).trained  # says that there is none


def is_exported(path: Path) -> bool:
    """Whether it is an exported file, or a folder of them; the name of a run means the run."""
    if path.suffix == ".onnx":
        return True
    if len(path.parts) == 1 and (RUNS / path / "run.json").is_file():
        return False
    return path.is_dir() and not (path / "run.json").is_file() and any(path.glob("*.onnx"))


def load_exported(path: Path, log: Log = say) -> LoadedModel:
    """Return exported files, and tell which; each graph is opened when it is first run.

    Raises:
        UsageError: a folder holds files of several models, or of several weights of one.
        NotFoundError: there is no such file, it is damaged, or a manifest beside it lists another.
    """
    from zoo.runtime.bundles import plain_graphs

    found = plain_graphs(path)
    signatures = {each.description.graph: each.description.signature for each in found}
    files = {each.description.graph: each.path for each in found}
    log(f"using {', '.join(map(str, files.values()))}")
    return LoadedModel(found[0].description.identity, path, signatures, _runner(files))


def _runner(files: Mapping[str, Path]) -> Run:
    """Return a function that runs exported graphs by their names."""
    from zoo.runtime.engine import bounded_memory
    from zoo.runtime.session import Session, open_session

    sessions: dict[str, Session] = {}

    def run(graph: str, inputs: dict[str, Array]) -> Mapping[str, Array]:
        with bounded_memory():  # a file of a stranger may ask for any amount
            if graph not in sessions:
                sessions[graph] = open_session(files[graph])
            session = sessions[graph]
            step = session.rows or ROWS_AT_ONCE
            parts = [
                session.run({name: each[start : start + step] for name, each in inputs.items()})
                for start in range(0, len(next(iter(inputs.values()))), step)
            ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return run
