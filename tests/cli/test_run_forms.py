"""`zoo run` on files of other forms: pixels in and out, batches of one size, many pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper
from PIL import Image

from tests.cli.running import Zoo, photo, pixels
from tests.runtime.graphs import decoder, describe, negative, pixel_negative, save
from zoo.ports import Port

Write = Callable[..., Path]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Zoo:
    return Zoo(capfd)


def noise(path: Path, size: tuple[int, int] = (48, 32), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(path)
    return path


@pytest.mark.parametrize("write", [negative, pixel_negative])
def test_pixels_go_in_and_come_out_in_their_places(command: Zoo, write: Write) -> None:
    write(Path("reconstruct.onnx"))
    noise(Path("a.png"))
    done = command.run("reconstruct.onnx", "a.png", "-o", "out")
    assert (done.code, done.lines) == (0, ["out/a.png"])
    assert (pixels("out/a.png") == 255 - pixels("a.png")).all()


def test_pixels_of_every_size_go_through_one_file(command: Zoo) -> None:
    pixel_negative(Path("reconstruct.onnx"), any_size=True)
    for name, size in (("a", (40, 30)), ("b", (7, 60)), ("c", (7, 60))):
        noise(Path(f"in/{name}.png"), size)
    done = command.run("reconstruct.onnx", "in", "-o", "out")
    assert done.lines == ["out/a.png", "out/b.png", "out/c.png"]
    for name in "abc":
        assert (pixels(f"out/{name}.png") == 255 - pixels(f"in/{name}.png")).all()


def test_arrays_of_pixels_go_in_and_come_out(command: Zoo) -> None:
    pixel_negative(Path("reconstruct.onnx"))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 48, 3))
    np.save("images.npy", images)
    command.run("reconstruct.onnx", "images.npy", "-o", "out.npz")
    with np.load("out.npz") as stored:
        assert stored["negative"].dtype == np.uint8
        assert (stored["negative"] == 255 - images).all()


WRONG = {
    "too bright": (np.full((1, 32, 48, 3), 256), "[0, 255]"),
    "negative": (np.full((1, 32, 48, 3), -1), "[0, 255]"),
    "fractions": (np.zeros((1, 32, 48, 3), np.float32), "float32 (1, 32, 48, 3)"),
    "channels first": (np.zeros((1, 3, 32, 48), np.uint8), "(batch, 32, 48, 3)"),
}


@pytest.mark.parametrize(("images", "name"), WRONG.values(), ids=WRONG)
def test_arrays_that_are_no_pixels_are_refused(
    command: Zoo, images: NDArray[Any], name: str
) -> None:
    pixel_negative(Path("reconstruct.onnx"))
    np.save("images.npy", images)
    words = ("reconstruct.onnx", "images.npy", "-o", "out.npz")
    said = command.refused(*words, code=2, error="bad-input")
    assert "images.npy" in said
    assert name in said
    assert not Path("out.npz").exists()


def test_pixels_are_not_taken_for_values_of_a_model(command: Zoo) -> None:
    negative(Path("reconstruct.onnx"))
    np.save("images.npy", np.full((1, 3, 32, 48), 200, np.uint8))
    words = ("reconstruct.onnx", "images.npy", "-o", "out.npz")
    assert "[-1, 1]" in command.refused(*words, code=2, error="bad-input")


# Files that fix the number of rows


@pytest.mark.parametrize("count", [1, 4, 6, 8])
@pytest.mark.parametrize("write", [negative, pixel_negative])
def test_any_number_of_pictures_goes_through_batches_of_four(
    command: Zoo, write: Write, count: int
) -> None:
    write(Path("reconstruct.onnx"), batch=4)
    for index in range(count):
        photo(Path(f"in/{index}.png"), index * 20)
    done = command.run("reconstruct.onnx", "in", "-o", "out")
    assert done.lines == [f"out/{index}.png" for index in range(count)]
    shades = [int(pixels(path)[0, 0, 0]) for path in done.lines]
    assert shades == [255 - index * 20 for index in range(count)]


def test_what_fills_a_batch_up_is_like_the_rest_of_it(command: Zoo) -> None:
    values = Port("values", "values", (4, 2))
    described = describe("log", [values], [replace(values, name="logs")])
    save(Path("log.onnx"), described, [helper.make_node("Log", ["values"], ["logs"])])
    np.save("values.npy", np.full((5, 2), np.e))
    command.run("log.onnx", "values.npy", "-o", "logs.npz")  # the logarithm of nought is no number
    with np.load("logs.npz") as stored:
        np.testing.assert_allclose(stored["logs"], np.ones((5, 2)), rtol=1e-6)


def test_how_it_is_computed_changes_nothing(command: Zoo) -> None:
    decoder(Path("decode.onnx"))
    settings = ("", "--batch-size 5", "--batch-size 1", "--threads 2 --spin", "--memory-pattern",
                "--no-memory-pattern --provider cpu")  # fmt: skip
    for number, words in enumerate(settings):
        done = command.run("decode.onnx", "-n", 12, "-o", f"{number}.npz", *words.split())
        assert (done.code, done.err) == (0, "")
    arrays = [np.load(f"{number}.npz")["image"] for number in range(len(settings))]
    for array in arrays[1:]:
        np.testing.assert_allclose(array, arrays[0], atol=1e-6)


def test_help_says_when_memory_is_laid_out_once(command: Zoo) -> None:
    told = " ".join(command.run("--help").out.split())
    assert "where FILE fixes all sizes but the batch" in told


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems measure memory otherwise")
@pytest.mark.parametrize("any_size", [False, True])
def test_ten_thousand_pictures_take_the_memory_of_five_hundred(any_size: bool) -> None:
    program = (
        "import resource, sys, zoo.cli\n"
        "try:\n    zoo.cli.main(['run', *sys.argv[1:]])\n"
        "except SystemExit as left:\n"
        "    assert left.code == 0\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
    )
    negative(Path("reconstruct.onnx"), any_size=any_size)
    peaks = []
    for count in (500, 10_000):
        folder = Path(f"in-{count}")
        sources = [noise(Path(f"{seed}.png"), (48, 32 + seed), seed) for seed in range(8)]
        folder.mkdir()
        for index in range(count):
            os.link(sources[index % len(sources)], folder / f"a-picture-of-the-set-{index:05}.png")
        line = [sys.executable, "-c", program, "reconstruct.onnx", folder, "-o", "out"]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        assert len(done.stdout.splitlines()) == count
        peaks.append(int(done.stderr.splitlines()[-1]))
    few, many = peaks
    assert many - few < 30 * 1024  # kilobytes: names and places, not pictures
