"""Names with slashes, dots, control characters, 5,000 letters, emoji: for runs, models, data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.inside import command, nothing_left

NAMES = {
    "empty": "",
    "slash": "a/b",
    "way up": "../x",
    "way up from runs": "../../x",
    "absolute": "/nowhere/x",
    "backslash": "..\\x",
    "dot": ".",
    "dots": "..",
    "hidden": ".x",
    "newline": "x\ny",
    "escape": "\x1b[31mx",
    "bell": "\x07",
    "right to left": "\u202ex",
    "5,000 letters": "x" * 5000,
    "5,000 parts": "x/" * 2500,
    "emoji": "🦓",
    "accents": "é" * 200,
    "no text": "\udcff",
}
# What is named, and what a name that means nothing ends in: wrong words, or nothing of that name.
PLACES = {
    "name of a run": (("train", "vae", "--steps", "1", "--name"), {2}),
    "run to show": (("runs", "show"), {3}),
    "run to remove": (("runs", "rm"), {3}),
    "run to sample": (("sample",), {2, 3}),
    "run to export": (("export", "--onnx"), {2, 3}),
    "run to measure": (("eval",), {2, 3}),
    "file to run": (("run",), {2, 3}),
    "model to train": (("train",), {2, 3}),
    "model to show": (("show",), {3}),
    "data to train on": (("train", "vae", "--steps", "1", "--data"), {2, 3}),
    "data to get": (("data", "get"), {3}),
    "data to check": (("data", "check"), {2, 3}),
    "preset": (("train", "vae", "--preset"), {2}),
    "configuration": (("train", "vae", "--config"), {2, 3}),
    "verb": ((), {2}),
}


@pytest.mark.parametrize(("words", "codes"), PLACES.values(), ids=PLACES)
def test_a_name_that_cannot_be_one_is_told(words: tuple[str, ...], codes: set[int]) -> None:
    Path("runs").mkdir()
    for name in NAMES.values():
        with nothing_left(Path.cwd().parent / "work"):
            done = command(*words, name)
        assert done.code in codes, (name[:20], done.err)
        assert "\x1b" not in done.err
        assert len(done.err) < 2500, "a name is not told in full"
    assert not Path("/nowhere").exists()
