"""`zoo runs movie`: the previews of a run, one after the other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.process import error_of, zoo, zoo_json

STEPS = [0, 20, 100, 12345678]


@pytest.fixture
def samples(in_trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of previews of a copy of run ``first``, with one more at each of `STEPS`."""
    shutil.copytree(in_trained / "runs" / "first", tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "first" / "samples"
    previews = sorted(folder.glob("step-*-decode.png"))
    last = previews[-1].read_bytes()
    for path in previews[1:]:
        path.unlink()
    for number, step in enumerate(STEPS[1:]):
        (folder / f"step-{step:07d}-decode.png").write_bytes(last)
        shade = Image.new("L", (40, 30), 60 * number)
        shade.save(folder / f"step-{step:07d}-other.png")
    return folder


def frames(path: Path | str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the milliseconds and the pixels of each frame."""
    with Image.open(path) as movie:
        for number in range(movie.n_frames):
            movie.seek(number)
            movie.load()
            yield movie.info["duration"], np.asarray(movie.convert("RGB")).astype(int)


def test_the_frames_are_the_previews_in_the_order_of_steps(samples: Path) -> None:
    told = zoo_json("runs", "movie", "first")
    assert (told["file"], told["graph"], told["steps"]) == ("first.webp", "decode", STEPS)
    shown = [*frames("first.webp")]
    assert [duration for duration, _ in shown] == [500, 500, 500, 2000]
    for step, (_, frame) in zip(STEPS, shown, strict=True):
        with Image.open(samples / f"step-{step:07d}-decode.png") as picture:
            preview = np.asarray(picture.convert("RGB")).astype(int)
        height, width, _ = preview.shape
        assert frame.shape[1] == width
        below = frame[-height:]
        assert np.abs(below - preview).mean() < 8, "lossy, and the same picture"
    captions = [frame[:-height] for _, frame in shown]
    assert all(caption.min() < 100 < caption.max() for caption in captions), "black on white"
    for one, other in pairwise(captions):
        assert np.abs(one - other).max() > 100, "another number"


def test_a_graph_is_chosen(samples: Path) -> None:
    told = zoo_json("runs", "movie", "@last", "--graph", "other", "-o", "new/x.webp")
    assert (told["file"], told["steps"]) == ("new/x.webp", STEPS[1:])
    assert {"decode", "other"} <= set(told["graphs"])
    assert len([*frames("new/x.webp")]) == 3
    said = error_of("runs", "movie", "first", "--graph", "othre", code=2, error="which-graph")
    assert "'other'" in said


def test_the_folder_of_a_run_will_do(samples: Path) -> None:
    Path("runs").rename("moved")
    done = zoo("runs", "movie", "moved/first", "--seconds", "0.1")
    assert done.stdout == "first.webp\n"
    assert [duration for duration, _ in frames("first.webp")] == [100, 100, 100, 400]


def test_smaller_previews_are_shown_on_white(samples: Path) -> None:
    Image.new("RGB", (300, 200), "black").save(samples / "step-0000050-other.png")
    zoo("runs", "movie", "first", "--graph", "other")
    shown = [frame for _, frame in frames("first.webp")]
    assert len({frame.shape for frame in shown}) == 1
    height, width, _ = shown[0].shape
    assert width == 300
    assert 200 < height < 250
    assert (shown[0][-100:] > 240).all(), "below the smaller one"
    assert shown[1][-100:].mean() < 15


def test_a_damaged_preview_is_left_out_and_told(samples: Path) -> None:
    damaged = samples / f"step-{STEPS[1]:07d}-decode.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    done = zoo("runs", "movie", "first")
    assert damaged.name in done.stderr
    assert len([*frames("first.webp")]) == 3


def test_a_run_whose_facts_are_damaged_has_its_pictures(samples: Path) -> None:
    (samples.parent / "run.json").write_text("{")
    assert zoo_json("runs", "movie", "first", "--graph", "other")["steps"] == STEPS[1:]


@pytest.mark.parametrize("left", [0, 1])
def test_too_few_previews_are_told(samples: Path, left: int) -> None:
    for path in sorted(samples.glob("*.png"))[left:]:
        path.unlink()
    error_of("runs", "movie", "first", code=3, error="no-pictures")
    assert not Path("first.webp").exists()


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["--seconds", "nan"], 2, "bad-value"),
        (["--seconds", "0"], 2, "bad-value"),
        (["-o", "x.gif"], 2, "bad-output"),
        (["-o", "runs"], 2, "bad-output"),
        (["--graph", "../x"], 2, "which-graph"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_written_is_refused(
    samples: Path, words: list[str], code: int, error: str
) -> None:
    error_of("runs", "movie", "first", *words, code=code, error=error)


def test_no_such_run(samples: Path) -> None:
    assert "'first'" in error_of("runs", "movie", "frist", code=3, error="run-not-found")


@pytest.mark.slow
def test_large_previews_are_thinned_out(samples: Path) -> None:
    for step in range(200, 220):
        Image.new("L", (2600, 2600), step).save(samples / f"step-{step:07d}-large.png")
    done = zoo("runs", "movie", "first", "--graph", "large")
    shown = [*frames("first.webp")]
    assert 2 <= len(shown) < 12
    assert "memory" in done.stderr
