"""Small trainings of every installed model, and what must be equal when one was broken off."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark import ParameterSet

from zoo.catalog.lookup import find_model, installed_models, load_class
from zoo.options import options_of

CARDS = [f"{each.plugin.distribution}:{each.card.name}" for each in installed_models()]

# What makes a model small, where it has such an option.
SMALL = {"hidden": "16", "hidden_units": "16", "features": "4", "blocks": "1", "pool_size": "6",
         "discriminator_features": "4", "samples": "1", "sampling_steps": "2",
         "multiples": "1,1"}  # fmt: skip


def cards(*quick: str) -> list[ParameterSet]:
    """All models as values of a parameter: those that are named, and as slow tests the others."""
    assert set(quick) <= set(CARDS)
    return [pytest.param(each, id=each, marks=[] if each in quick else [pytest.mark.slow])
            for each in CARDS]  # fmt: skip


def small_training(card: str, name: str, *, steps: int) -> list[str]:
    """The words of a training that takes a second: the whole objective, with small networks."""
    options = options_of(load_class(find_model(card)).Config)
    small = [f"--set={key}={value}" for key, value in SMALL.items() if key in options]
    usual = ["--batch-size", "8", "--ema", "0.9", "--seed", "5"]
    return ["train", card, "--name", name, "--steps", str(steps), *usual, *small]


def record_of(run: str) -> dict[str, Any]:
    """All that a run leaves behind, but for times and speeds: bytes and numbers by name."""
    folder = Path("runs", run)
    last = folder / "checkpoints" / (folder / "checkpoints" / "last").read_text().strip()
    state = json.loads((last / "state.json").read_text())
    found: dict[str, Any] = {
        "step": state["step"],
        "players": state["players"],
        "cursor": {**state["cursor"], "seconds": 0},
        "best": (folder / "checkpoints" / "best").exists()
        and (folder / "checkpoints" / "best").read_text(),
        "events": (folder / "events.jsonl").read_text(),
        "watcher": state["reporter"]["watcher"],
        "metrics": re.sub(
            r'"images_per_second": [0-9.]+', "", (folder / "metrics.jsonl").read_text()
        ),
    }
    for path in (*last.glob("*.safetensors"), *(folder / "samples").glob("*.png")):
        found[path.name] = path.read_bytes()
    return found


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Require that two records are equal to the bit, and name what is not."""
    assert one.keys() == other.keys()
    unequal = [name for name, value in one.items() if other[name] != value]
    assert not unequal
