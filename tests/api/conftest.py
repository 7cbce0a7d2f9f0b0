"""Runs of small models, trained through `zoo.train` and shared by the tests that only read them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

import zoo

WIDE = {"hidden": (32,), "latent_size": 2}


@pytest.fixture(scope="package")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which a vae, a conditional GAN and a character model have been trained."""
    place = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(place):
        patch.setenv("ZOO_HOME", str(place / "home"))
        zoo.train("vae", steps=60, name="codes", log=None, **WIDE)
        zoo.train("cgan", steps=2, features=4, name="classes", log=None)
        zoo.train("char-lstm", steps=2, hidden=8, name="letters", log=None)
        zoo.export("codes", log=None)
    return place


@pytest.fixture
def trained(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of `place`, as working directory."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("ZOO_HOME", str(place / "home"))
    return place
