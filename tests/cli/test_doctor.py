"""`zoo doctor`, and what `zoo runs` tells of a run's health."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_imports import imported_by
from tests.process import error_of, zoo, zoo_json
from zoo.training.monitors import MONITORS, diverged
from zoo.training.run import Run

COLLAPSE = MONITORS["collapse"].alert(
    1200,
    "samples of generate: 256 of them differ 31% as much as real images",
    {"level": 0.2, "spread": 0.31, "nearest": 0.13, "images": 256.0},
)
UNWATCHED = {"overfitting": "the model names no metric of held-out images as its goal"}


@pytest.fixture
def alerted(in_trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run ``first`` as it would stand had it two alerts, of which one ended."""
    shutil.copytree(in_trained / "runs" / "first", tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    run = Run(tmp_path / "runs" / "first")
    (run.path / "events.jsonl").unlink()
    run.append("events.jsonl", {"event": "alert", **asdict(COLLAPSE)})
    run.append("events.jsonl", {"event": "alert", **asdict(diverged("critic/real", "nan", 7))})
    run.append("events.jsonl", {"event": "recovered", "monitor": "collapse", "step": 1300})
    run.write_info(alerts=["diverged"], unwatched=UNWATCHED, step=400)
    return run


def words(text: str) -> str:
    """The text without its line breaks."""
    return " ".join(text.split())


def test_alerts_are_explained_with_their_numbers(alerted: Run) -> None:
    told = words(zoo("doctor", alerted.name).stdout)
    for alert in (COLLAPSE, diverged("critic/real", "nan", 7)):
        row = MONITORS[alert.monitor]
        assert alert.message[1:] in told
        assert words(row.explanation) in told
        assert row.reason in told
        assert f"What to try: {row.advice}" in told
    assert "spread 0.31" in told
    assert f"level {MONITORS['collapse'].limits['level']:g}" in told
    assert "It ended at step 1,300." in told


def test_what_was_not_found_is_told_apart_from_what_was_not_looked_for(alerted: Run) -> None:
    told = words(zoo("doctor", alerted.name).stdout)
    assert f"Not looked for: overfitting: {UNWATCHED['overfitting']}." in told
    assert "posterior collapse (500 steps)" in told  # too early at step 400
    found = zoo_json("doctor", alerted.name)
    named = [each["monitor"] for each in found["alerts"]]
    assert named == ["collapse", "diverged"]
    assert [each["recovered"] for each in found["alerts"]] == [1300, None]
    groups = [named, found["not_found"], found["too_early"], found["not_watched"]]
    assert sorted(each for group in groups for each in group) == sorted(MONITORS)


def test_a_healthy_run_is_called_so(alerted: Run) -> None:
    (alerted.path / "events.jsonl").unlink()
    identity = replace(alerted.identity, step=5000)
    alerted.write_info(alerts=[], identity=identity, planned_steps=5000)
    told = words(zoo("doctor", "@last").stdout)
    assert "5,000 of 5,000 planned steps were done (100%)." in told
    assert "Looked for and not found: training diverged, mode collapse" in told
    assert "Too early" not in told
    alerted.write_info(identity=replace(identity, step=60), unwatched={})
    assert "overfitting (3 validations); this run has 60 steps" in words(
        zoo("doctor", "@last").stdout
    )


def test_a_run_that_nobody_watched_is_not_called_healthy(alerted: Run) -> None:
    (alerted.path / "events.jsonl").unlink()
    info = json.loads((alerted.path / "run.json").read_text())
    (alerted.path / "run.json").write_text(json.dumps({**info, "unwatched": None}))
    assert "Nothing is known" in zoo("doctor", alerted.name).stdout
    assert zoo_json("doctor", alerted.name)["watched"] is False


def test_an_unknown_run_is_an_error(in_trained: Path) -> None:
    assert "'first'" in error_of("doctor", "firts", code=3, error="run-not-found")


def test_explaining_a_run_needs_no_torch(alerted: Run) -> None:
    assert imported_by("doctor", alerted.name) == []
    assert imported_by("runs", "show", alerted.name) == []


def test_the_speed_of_a_run_is_a_share_of_what_the_machine_computes(alerted: Run) -> None:
    speed = zoo_json("doctor", alerted.name, "--speed")["speed"]
    machine = speed["machine"]
    reached = speed["gflop_per_image"] * speed["images_per_second"]
    assert speed["gflops"] == pytest.approx(reached)
    assert speed["share"] == pytest.approx(reached / machine["gflops"][speed["precision"]])
    assert speed["precision"] == alerted.fact("precision")
    assert "matrix product" in words(zoo("doctor", alerted.name, "--speed").stdout)
    assert "speed" not in zoo_json("doctor", alerted.name)


@pytest.mark.parametrize(
    ("facts", "name"),
    [({"device": "mps"}, "mps"), ({"devices": 2}, "2 devices"), ({"precision": "16"}, "16")],
)
def test_a_run_that_cannot_be_compared_has_no_share(
    alerted: Run, facts: dict[str, Any], name: str
) -> None:
    alerted.write_info(**facts)
    speed = zoo_json("doctor", alerted.name, "--speed")["speed"]
    assert speed["share"] is None
    assert name in speed["why_no_share"]
    assert speed["gflops"] > 0


def test_a_run_without_rows_has_no_speed(alerted: Run) -> None:
    (alerted.path / "metrics.jsonl").write_text("")
    assert zoo_json("doctor", alerted.name, "--speed")["speed"] is None
    assert "hold no speed" in zoo("doctor", alerted.name, "--speed").stdout


def test_a_run_that_is_trained_is_not_measured(alerted: Run) -> None:
    with alerted.held():
        alerted.start(created=alerted.fact("created"))
        assert alerted.name in error_of(
            "doctor", alerted.name, "--speed", code=2, error="run-in-use"
        )


def test_runs_show_alerts_and_curves(alerted: Run) -> None:
    told = zoo("runs", "show", alerted.name).stdout
    assert f"{COLLAPSE.message} (ended at step 1300); zoo doctor first" in told
    assert "autoencoder/reconstruction (train)" in told
    assert "▁" in told
    assert "curves.png" in told
    found = zoo_json("runs", "show", alerted.name)
    assert [each["monitor"] for each in found["alerts"]] == ["collapse", "diverged"]
    (curve,) = [each for each in found["curves"] if each["name"] == "autoencoder/reconstruction"]
    assert curve["first"] > curve["last"] > 0
    assert curve["points"] == len(curve["trend"])


def test_runs_list_the_alerts_that_are_active(alerted: Run) -> None:
    told = zoo("runs").stdout
    assert "alerts" in told
    assert "diverged" in told
    assert "collapse" not in told


def test_a_terminal_without_blocks_gets_letters(alerted: Run) -> None:
    told = zoo("runs", "show", alerted.name, PYTHONIOENCODING="ascii").stdout
    assert [char for char in told if not char.isascii()] == []
    assert "?" not in told


def test_the_installation_is_told() -> None:
    found = zoo_json("doctor")
    assert found["torch"]["version"]
    assert "CPUExecutionProvider" in found["onnxruntime"]["providers"]
    assert set(found["speed"]["gflops"]) == {"32", "bf16"}
    assert min(found["speed"]["gflops"].values()) > 0
    assert found["speed"]["copied_gb_per_second"] > 0
    assert found["speed"]["precision"] in {"32", "bf16"}
    assert found["speed"]["threads"] >= 1
    assert "zoo-gans" in [each["distribution"] for each in found["plugins"]]
    assert found["cache"]["free_bytes"] > 0
    told = zoo("doctor").stdout
    assert all(word in told for word in ("python", "torch", "plugin zoo-gans", "GiB free"))
    assert all(word in told for word in ("GFLOP/s in fp32", "in bf16", "GB/s", "auto is"))


@pytest.mark.parametrize(
    ("raises", "says"),
    [
        ("ModuleNotFoundError('no torch', name='torch')", "pip install '.[train]'"),
        ("OSError('libtorch.so: too old')", "broken: libtorch.so: too old"),
    ],
)
def test_a_machine_without_a_working_torch_is_told_what_to_do(
    tmp_path: Path, raises: str, says: str
) -> None:
    (tmp_path / "torch.py").write_text(f"raise {raises}\n")
    places = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    assert says in zoo("doctor", PYTHONPATH=places).stdout
    assert zoo_json("doctor", PYTHONPATH=places)["speed"] is None


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = zoo_json("doctor", ZOO_HOME=str(tmp_path / "file" / "zoo"))
    assert "Not a directory" in found["cache"]["trouble"]
