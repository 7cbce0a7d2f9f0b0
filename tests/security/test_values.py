"""Configuration files and ``--set`` with values of wrong types and ranges."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security.inside import nothing_left, refused

IN_FILES = {
    "text for a number": "[training]\nsteps = 'many'",
    "a number for text": "[options]\nlikelihood = 3",
    "a table for a number": "[training]\nsteps = {}",
    "a list for a number": "[options]\nlr = [1]",
    "lists in a list": "[options]\nhidden = [[4], 4]",
    "true for a number": "[training]\nsteps = true",
    "a date": "[training]\nsteps = 2026-01-01",
    "nan": "[options]\nlr = nan",
    "infinite": "[options]\nbeta = inf",
    "10^400": "[training]\nsteps = 1" + "0" * 400,
    "10^400 as text": "[options]\nbeta = '1e400'",
    "10^5000": "[training]\nsteps = 1" + "0" * 5000,
    "below the range": "[training]\nsteps = -1",
    "above the range": "[options]\nlatent_size = 4097",
    "a list without an end": f"[options]\nhidden = [{'1, ' * 2000}]",
    "an unknown key": "[training]\nsteeps = 1",
    "a model that is none": "model = []",
    "another model": "model = 'ae'",
    "a size of tables": "size = [{}, 8]",
    "a size of three": "size = [8, 8, 8]",
    "keys within keys": "a" + ".a" * 7000 + " = 1",
    "no text": "\udcff",
}
ON_THE_LINE = (
    "lr=nan", "lr=-inf", "lr=1e400", "lr=", "lr=x", "beta=1e999", "steps=1.5", "steps=1e3",
    "steps=" + "9" * 400, "steps=" + "9" * 5000, "seed=-1", "seed=2147483648", "hidden=0",
    "hidden=" + ",".join(["1"] * 1001), "likelihood=\x1b[31m", "deterministic=2", "=1", "lr",
    "x" * 5000 + "=1", "é🦓=1",
)  # fmt: skip


@pytest.mark.parametrize("text", IN_FILES.values(), ids=IN_FILES)
def test_a_file_with_wrong_values_is_refused(text: str) -> None:
    Path("mine.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with nothing_left(Path()):
        said = refused("train", "vae", "--config", "mine.toml", code=2)
    assert len(said) < 1500


def test_data_whose_name_holds_nul_is_not_there() -> None:
    Path("mine.toml").write_text('data = "a\\u0000b"')
    with nothing_left(Path()):
        refused("train", "vae", "--config", "mine.toml", code=3)


@pytest.mark.parametrize("word", ON_THE_LINE, ids=lambda word: repr(word[:20]))
def test_a_wrong_assignment_is_refused(word: str) -> None:
    with nothing_left(Path()):
        said = refused("train", "vae", "--set", word, code=2)
    assert len(said) < 1500
