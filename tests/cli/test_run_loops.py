"""`zoo run` of a graph that is one step of a loop: rounds, values, strips, animations, Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.running import Zoo, photo, pixels
from tests.runtime.graphs import decoder, fading, spelling
from zoo.animations import strip
from zoo.grids import grid
from zoo.runtime.session import open_session


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Zoo:
    return Zoo(capfd)


def arrays(path: str) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return dict(stored)


def test_a_step_is_run_for_its_rounds_or_as_many_as_are_asked_for(command: Zoo) -> None:
    fading(Path("fade.onnx"))
    facts = json.loads(command.run("fade.onnx", "-n", 3, "-o", "own.npz", "--json").out)
    assert (facts["rounds"], facts["stopped"], facts["count"]) == (5, False, 3)
    assert arrays("own.npz")["counted"].tolist() == [5, 5, 5]
    command.run("fade.onnx", "-n", 3, "--rounds", 9, "-o", "more.npz")
    assert arrays("more.npz")["counted"].tolist() == [9, 9, 9]
    fading(Path("free.onnx"), rounds=None)
    refused = command.run("free.onnx", "-o", "x.npz")
    assert refused.code == 2
    assert "--rounds N" in refused.err
    decoder(Path("decode.onnx"))
    assert command.run("decode.onnx", "--rounds", 2).code == 2


def test_rounds_depend_on_the_seed_and_not_on_the_batches(command: Zoo) -> None:
    fading(Path("fade.onnx"))
    for name, *words in (("whole",), ("parts", "--batch-size", 2), ("other", "--seed", 1)):
        command.run("fade.onnx", "-n", 5, "-o", f"{name}.npz", *words)
    whole, parts, other = (arrays(f"{name}.npz") for name in ("whole", "parts", "other"))
    for name in ("faded", "seen"):
        np.testing.assert_array_equal(whole[name], parts[name])
        assert not np.array_equal(whole[name], other[name])


def test_a_value_is_set_by_the_name_of_the_port(command: Zoo) -> None:
    fading(Path("fade.onnx"))
    command.run("fade.onnx", "-n", 2, "--set", "share=1", "--set", "count=10", "-o", "dark.npz")
    assert set(np.unique(arrays("dark.npz")["faded"])) == {-1.0}
    assert arrays("dark.npz")["counted"].tolist() == [15, 15]
    refused = command.run("fade.onnx", "--set", "shair=1")
    assert refused.code == 2
    assert "share" in refused.err
    np.savez("share.npz", share=np.ones((1, 1, 1, 1), np.float32))
    assert command.run("fade.onnx", "share.npz", "--set", "share=1").code == 2


def test_a_photo_begins_the_loop_and_keeps_its_place(command: Zoo) -> None:
    fading(Path("fade.onnx"))
    photo(Path("photo.png"), 200, (28, 28))
    command.run("fade.onnx", "photo.png", "--rounds", 1, "-o", "out/")
    before, after = pixels("photo.png").astype(int).max(axis=2), pixels("out/photo.png")
    assert np.abs(after.astype(int) - pixels("out/photo.png")[0, 0]).max() <= 1
    assert 60 <= after.mean() <= 100 < before.mean()


def frames_by_hand(rounds: int, count: int = 4) -> list[np.ndarray]:
    """The pictures of every round, by ONNX Runtime and arithmetic alone."""
    image = np.random.default_rng(0).uniform(-1, 1, (count, 1, 28, 28)).astype(np.float32)
    found = []
    for _ in range(rounds):
        image = (image + 1) * np.float32(0.5) - 1
        found.append(np.rint((image + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1))
    return found


def test_every_nth_round_stands_side_by_side_or_one_after_the_other(command: Zoo) -> None:
    fading(Path("fade.onnx"))
    wanted = frames_by_hand(5)
    command.run("fade.onnx", "-n", 4, "--every", 2, "-o", "strip.png")
    page = strip([wanted[1], wanted[3], wanted[4]])[:, :, 0]
    assert np.abs(pixels("strip.png").astype(int) - page).max() <= 1
    command.run("fade.onnx", "-n", 4, "-o", "last.png")
    assert np.abs(pixels("last.png").astype(int) - grid(wanted[4])[:, :, 0]).max() <= 1
    command.run("fade.onnx", "-n", 4, "-o", "all.webp")
    with Image.open("all.webp") as animation:
        assert (animation.format, animation.n_frames) == ("WEBP", 5)
        assert animation.info["loop"] == 0
        for number, each in enumerate(wanted):
            animation.seek(number)
            shown = np.asarray(animation.convert("L")).astype(float)
            assert np.abs(shown - grid(each)[:, :, 0]).mean() < 6
    command.run("fade.onnx", "-n", 4, "--rounds", 200, "-o", "long.webp")
    with Image.open("long.webp") as animation:
        assert animation.n_frames <= 60


@pytest.mark.parametrize("words", [("-o", "x.webp"), ("--every", 2, "-o", "x.png")])
def test_a_graph_that_is_run_once_has_no_rounds_to_show(command: Zoo, words: tuple) -> None:
    decoder(Path("decode.onnx"))
    refused = command.run("decode.onnx", *words)
    assert refused.code == 2
    assert "loop" in refused.err


@pytest.mark.parametrize("output", ["x.npz", "out/"])
def test_rounds_are_shown_in_pictures_only(command: Zoo, output: str) -> None:
    fading(Path("fade.onnx"))
    assert command.run("fade.onnx", "--every", 2, "-o", output).code == 2


def test_symbols_are_joined_behind_the_text_that_begins_them(command: Zoo) -> None:
    spelling(Path("spell.onnx"))
    words = ("spell.onnx", "-n", 1, "--rounds", 4, "--set")
    assert command.run(*words, "symbol=ca").out == "cabca\n"  # c a, then b c a
    command.run(*words, "symbol=ca", "-o", "x.npz")
    assert arrays("x.npz")["following"].tolist() == [[2, 0, 1, 2, 0]]
    assert "'x'" in command.run(*words, "symbol=x").err


@pytest.mark.parametrize(
    ("output", "every"), [("x.png", ()), ("x.png", ("--every", "1000")), ("x.webp", ()), ("o/", ())]
)
def test_ctrl_c_writes_what_there_is(output: str, every: tuple[str, ...]) -> None:
    fading(Path("fade.onnx"))
    words = ["fade.onnx", "-n", "4", "--rounds", "1000000", "-o", output, *every, "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", "run", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    maps = Path(f"/proc/{process.pid}/maps")
    while maps.exists() and "onnxruntime" not in maps.read_text():
        time.sleep(0.1)
    time.sleep(2)  # by then it is in the loop
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    facts = json.loads(out)
    assert facts["stopped"]
    assert 0 < facts["rounds"] < 1_000_000
    assert facts["outputs"]
    assert all(Path(each).is_file() for each in facts["outputs"])
    assert "stopped" in err


def test_the_description_says_the_rounds() -> None:
    session = open_session(fading(Path("fade.onnx")))
    assert session.description.signature.rounds == 5
