"""A folder with a run of the command, shared by the tests that only look at it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.process import zoo, zoo_json

WITHOUT = """
import sys
for name in ("torch", "onnx", "onnxscript", "lightning_fabric", "matplotlib", "tensorboard"):
    sys.modules[name] = None
"""


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which ``zoo train vae`` has run for a few steps, as run ``first``."""
    place = tmp_path_factory.mktemp("trained")
    before = Path.cwd()
    os.chdir(place)
    try:
        zoo_json("train", "vae", "--steps", "60", "--name", "first", ZOO_HOME=str(place / "home"))
        zoo("train", "ae", "--steps", "20", "--name", "plain", ZOO_HOME=str(place / "home"))
    finally:
        os.chdir(before)
    return place


@pytest.fixture
def in_trained(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `trained`, as working directory."""
    monkeypatch.chdir(trained)
    monkeypatch.setenv("ZOO_HOME", str(trained / "home"))
    return trained


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """An environment in which none of the packages of the extras can be imported."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    paths = filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")])
    return {"PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture
def without_weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose package of published weights is empty."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "zoo_weights").mkdir()
    (folder / "zoo_weights" / "__init__.py").touch()
    return {"PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
