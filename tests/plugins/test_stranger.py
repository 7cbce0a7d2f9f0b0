"""A stranger's plugin that uses the API in unusual ways passes the kit, installed as a wheel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.installing import install_stranger
from tests.process import zoo, zoo_json


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which the plugin is found, built and installed from a wheel."""
    return install_stranger(tmp_path_factory.mktemp("stranger"))


def test_it_passes_every_check(site: dict[str, str]) -> None:
    found = json.loads(zoo("plugins", "check", "zoo-stranger", "--json", **site).stdout)
    assert not [each for each in found["checks"] if each["kind"] == "failed"]
    assert found["passed"] >= 30


def test_it_is_trained_exported_and_run_like_any_other(site: dict[str, str]) -> None:
    words = ["--set", "layers=conv,linear", "--set", "critic_dropout=0.1"]
    outcome = zoo_json("train", "three-players", "--steps", "12", *words, **site)
    rows = Path(outcome["path"], "metrics.jsonl").read_text()
    assert "prior/moments" in rows
    zoo("export", "three-players", "--onnx", **site)
    zoo("sample", "three-players", "-n", "4", **site)
    zoo(
        "run",
        "exports/three-players/three-players-crosses.generate.onnx",
        "-n",
        "4",
        "-o",
        "grid.png",
    )
    with_data = zoo_json("eval", "three-players", **site)
    assert "error" in with_data["metrics"]
