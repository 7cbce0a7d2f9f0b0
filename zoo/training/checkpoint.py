"""Checkpoints of a run: a folder each, which takes its name when it is whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from zoo.model.contract import Model
from zoo.model.weights import Header, save_tensors, save_weights
from zoo.training.run import Run


def save_checkpoint(
    run: Run, model: Model, header: Header, *, trained: Mapping[str, Tensor], is_best: bool
) -> Path:
    """Write the state of this step and let ``last``, perhaps ``best``, name it.

    ``model.safetensors`` is for use; ``training.safetensors`` holds what only training needs, where
    there is any: what the model remembers (`memory_of`) and the weights behind an average.

    Checkpoints that neither names are removed afterwards, so that at no moment there is none.

    Args:
        run: whose checkpoint it is.
        model: with the weights to use, which may be averages.
        header: what the weight file shall say, the step among it.
        trained: the weights as the optimisers left them, where the model holds their averages.
        is_best: whether no earlier checkpoint was better.

    Returns:
        Path of the weight file.
    """
    folder = run.path / "checkpoints"
    folder.mkdir(exist_ok=True)
    name = f"step-{header.step:07d}"
    if not (folder / name).exists():
        building = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=folder))
        try:
            save_weights(building / "model.safetensors", model, header)
            _save_training_state(building / "training.safetensors", model, trained)
            building.chmod(0o777 & ~_umask_of(run.path))
            building.rename(folder / name)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    if is_best:
        run.point("best", name)
    run.point("last", name)
    _prune(folder)
    return folder / name / "model.safetensors"


def memory_of(model: Model) -> dict[str, Tensor]:
    """Return the buffers that training needs and weight files leave out, such as image pools."""
    weights = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    return {name: each for name, each in model.named_buffers() if id(each) not in weights}


def _save_training_state(path: Path, model: Model, trained: Mapping[str, Tensor]) -> None:
    state = {f"memory.{name}": tensor for name, tensor in memory_of(model).items()}
    state |= {f"trained.{name}": tensor for name, tensor in trained.items()}
    if state:
        save_tensors(path, state)


def _prune(folder: Path) -> None:
    named = {
        (folder / pointer).read_text(encoding="utf-8").strip()
        for pointer in ("best", "last")
        if (folder / pointer).exists()
    }
    for path in folder.glob("step-*"):
        if path.name not in named:
            shutil.rmtree(path)


def _umask_of(folder: Path) -> int:
    """Return the permissions that folders made here lack."""
    return 0o777 & ~folder.stat().st_mode
