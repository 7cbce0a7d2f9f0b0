"""Forms and smaller files by the command: what they are called, what is told, what is refused."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.nursery import nursery
from tests.process import error_of, zoo, zoo_json

STEM = "vae-fashion-mnist-small"
SUFFIXES = {
    "--half": ".half",
    "--half-arithmetic": ".half-arithmetic",
    "--int8": ".int8",
    "--optimise": ".optimised",
}


@pytest.fixture(autouse=True)
def _there(in_trained: Path) -> None:
    """All tests look at the run of the package."""


def test_a_file_of_pixels_runs_like_a_file_of_floats(tmp_path: Path) -> None:
    zoo("export", "first", "--onnx", "-o", str(tmp_path))
    zoo("export", "first", "--onnx", "--io", "uint8", "--batch", "4", "-o", str(tmp_path))
    for suffix in ("", ".uint8.batch4"):
        file = str(tmp_path / f"{STEM}.decode{suffix}.onnx")
        zoo("run", file, "-n", "6", "--seed", "5", "-o", str(tmp_path / f"{suffix}x.png"))
    grids = [
        np.asarray(Image.open(tmp_path / name), int) for name in ("x.png", ".uint8.batch4x.png")
    ]
    assert grids[0].shape == grids[1].shape
    assert np.abs(grids[0] - grids[1]).max() <= 1
    assert np.ptp(grids[0]) > 50
    assert "verified" in zoo("export", "--check", str(tmp_path)).stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size", "28x"], "not an image size"),
        (["--size", "0x0"], "not an image size"),
        (["--size", "64x64"], "28x28 and no other size"),
        (["--batch", "0"], "not a number from 1"),
        (["--batch", "some"], "not a number from 1"),
        (["--half", "--int8"], "exclude each other"),
        (["--io", "unit8"], "uint8"),
        (["--opset", "9"], "cannot be written in opset 9"),
        (["--opset", "999"], "opset 999 is not known"),
        (["--max-quality-loss", "3"], "for smaller files"),
        (["--data", "emoji"], "for smaller files"),
        (["--int8", "--max-quality-loss", "200"], "200"),
        (["--int8", "--data", "fashoin-mnist-small"], "Did you mean"),
        (["--int8", "--data", "emoji"], "emoji"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_written(
    words: list[str], says: str, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    done = zoo("export", "first", "--onnx", "-o", str(folder), *words,
               code=3 if "fashoin-mnist-small" in words else 2)  # fmt: skip
    assert says in done.stderr
    assert not folder.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "most", "operator"),
    [
        ("--half", 0.55, "Cast"),
        ("--half-arithmetic", 0.55, "Cast"),
        ("--int8", 0.4, "DequantizeLinear"),
        ("--optimise", 1.01, "Gemm"),
    ],
)
def test_a_smaller_file_is_measured_and_says_so(
    option: str, most: float, operator: str, tmp_path: Path
) -> None:
    told = zoo_json("export", "first", "--onnx", option, "-o", str(tmp_path))
    assert set(told["savings"]) == {"decode", "encode", "reconstruct", "sample"}
    for name, saving in told["savings"].items():
        assert saving["size"] <= most
        assert saving["speed"] > 0
        file = tmp_path / f"{STEM}.{name}{SUFFIXES[option]}.onnx"
        assert operator in {node.op_type for node in onnx.load(file).graph.node}
        for cost in saving["losses"].values():
            assert 0 < cost["loss"] < 5
    if option != "--optimise":
        elbo = next(each for each in told["metrics"] if each["name"] == "elbo")
        assert elbo["graphs"] == ["encode"]
        assert elbo["model"] == pytest.approx(elbo["files"], rel=0.05)
        assert elbo["model"] != elbo["files"], "the file was really in the model's place"
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        entries = {key.partition(".")[0]: each for key, each in manifest["files"].items()}
        quality = entries["encode"]["quality"]["elbo"]
        assert quality == {"float32": elbo["model"], "this": elbo["files"]}
        assert entries["decode"]["quality"] == {}
    assert "verified" in zoo("export", "--check", str(tmp_path)).stdout


def test_a_smaller_file_that_loses_too_much_is_refused_and_the_one_before_stays(
    tmp_path: Path,
) -> None:
    zoo("export", "plain", "--onnx", "--half", "-o", str(tmp_path))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = error_of("export", "plain", "--onnx", "--half", "--max-quality-loss", "0.0001",
                    "-o", str(tmp_path), code=1, error="quality-loss")  # fmt: skip
    assert "0.0001" in said
    assert "--max-quality-loss" in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_codes_that_nothing_draws_come_from_the_encoder(tmp_path: Path) -> None:
    """`ae.decode` takes codes: real ones, which its own `encode` gives, calibrate it."""
    told = zoo_json("export", "plain", "--onnx", "--int8", "-o", str(tmp_path))
    assert told["savings"]["decode"]["size"] < 0.4
    assert told["savings"]["decode"]["losses"]["image"]["loss"] < 5


@pytest.mark.slow
def test_eight_bits_of_a_batch_that_is_larger_than_what_calibrates_it(tmp_path: Path) -> None:
    zoo("export", "first", "--onnx", "--int8", "--batch", "200", "-o", str(tmp_path))
    assert "verified" in zoo("export", "--check", str(tmp_path)).stdout


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_signal_leaves_the_export_before_and_nothing_else(
    number: signal.Signals, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    zoo("export", "plain", "--onnx", "--half", "-o", str(folder))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    out, err = tmp_path.parent / f"{number}.out", tmp_path.parent / f"{number}.err"
    pid = nursery().start(["export", "plain", "--onnx", "-o", str(folder)], out, err)
    while len(list(tmp_path.iterdir())) == 1:  # until it has begun to write beside
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(pid, number)
    assert nursery().wait(pid) == 130, err.read_text()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert list(tmp_path.iterdir()) == [folder]
