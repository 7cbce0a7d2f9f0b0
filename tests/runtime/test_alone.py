"""An environment with zoo-core and nothing else runs exported files."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.runtime.graphs import decoder, encoder, negative, pixel_negative
from zoo.ports import DataSpec

PROJECT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs commands of a new environment into which zoo-core's wheel alone was installed."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path]
    subprocess.run([*build, PROJECT], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    commands = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")

    def run_command(name: str, *words: object) -> subprocess.CompletedProcess[str]:
        command = [commands / name, *map(str, words)]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    constraints = PROJECT / "constraints.txt"
    done = run_command("python", "-m", "pip", "install", "-q", "-c", constraints, wheel)
    assert done.returncode == 0, done.stderr[-3000:]
    return run_command


@pytest.mark.slow
def test_the_core_alone_runs_exported_files(run: Run) -> None:
    for absent in ("torch", "onnx", "zoo_autoencoders"):
        assert "ModuleNotFoundError" in run("python", "-c", f"import {absent}").stderr
    samples_pictures_and_numbers(run)
    the_list_is_empty_and_says_how_to_fill_it(run)
    without_onnxruntime_the_package_is_named(run)


def samples_pictures_and_numbers(run: Run) -> None:
    decoder(Path("decode.onnx"))
    sampled = run("zoo", "run", "decode.onnx", "-n", "16", "--seed", "0", "-o", "grid.png")
    assert (sampled.returncode, sampled.stdout, sampled.stderr) == (0, "grid.png\n", "")
    with Image.open("grid.png") as grid:
        assert grid.height >= 4 * 28

    negative(Path("reconstruct.onnx"), DataSpec.of_images("photos", 3, 32, 32))
    Path("folder").mkdir()
    for name in ("photo.png", "folder/a.jpg", "folder/b.webp"):
        Image.new("RGB", (64, 40), "navy").save(name)
    mapped = run("zoo", "run", "reconstruct.onnx", "photo.png", "folder/", "-o", "out/")
    assert mapped.stdout.splitlines() == ["out/photo.png", "out/a.png", "out/b.png"]
    assert mapped.returncode == 0
    assert "3 of 3 pictures of 40x64 lose 38% of their area" in mapped.stderr
    with Image.open("out/photo.png") as picture:
        assert picture.getpixel((16, 16)) == (255, 255, 127)

    pixel_negative(Path("pixels.onnx"), DataSpec.of_images("photos", 3, 32, 32), batch=4)
    mapped = run("zoo", "run", "pixels.onnx", "folder/*.*", "-o", "pixels/")
    assert mapped.stdout.splitlines() == ["pixels/a.png", "pixels/b.png"]
    (timed,) = json.loads(run("zoo", "bench", "pixels.onnx", "--repeat", "5", "--json").stdout)
    assert (timed["rows"], timed["provider"]) == (4, "cpu")

    encoder(Path("encode.onnx"))
    codes = json.loads(run("zoo", "run", "encode.onnx", "folder").stdout)
    assert codes["names"] == ["a", "b"]


def the_list_is_empty_and_says_how_to_fill_it(run: Run) -> None:
    listed = run("zoo", "list")
    assert listed.returncode == 0
    assert "zoo plugins search" in listed.stderr
    assert "zoo-autoencoders" in run("zoo", "plugins", "search").stdout
    assert json.loads(run("zoo", "list", "--json").stdout) == []


def without_onnxruntime_the_package_is_named(run: Run) -> None:
    assert run("python", "-m", "pip", "uninstall", "-q", "-y", "onnxruntime").returncode == 0
    refused = run("zoo", "run", "decode.onnx")
    assert (refused.returncode, refused.stdout) == (4, "")
    assert "pip install onnxruntime" in refused.stderr
