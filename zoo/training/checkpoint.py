"""Checkpoints of a run: a folder each, which takes its name when it is whole."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from zoo.model.contract import Model
from zoo.model.weights import Header, save_weights
from zoo.training.run import Run


def save_checkpoint(run: Run, model: Model, header: Header, *, is_best: bool) -> Path:
    """Write the weights of this step and let ``last``, perhaps ``best``, name them.

    Checkpoints that neither names are removed afterwards, so that at no moment there is none.

    Args:
        run: whose checkpoint it is.
        model: with the weights of this step.
        header: what the weight file shall say, the step among it.
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
            building.chmod(0o777 & ~_umask_of(run.path))
            building.rename(folder / name)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    if is_best:
        run.point("best", name)
    run.point("last", name)
    _prune(folder)
    return folder / name / "model.safetensors"


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
