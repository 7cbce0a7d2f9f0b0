"""The data set inside zoo-gans: what it holds, and the script that made it."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from zoo.catalog.lookup import find_dataset
from zoo.data.download import fetch
from zoo.data.location import locate_data
from zoo.data.store import open_store

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def archive() -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(fetch(find_dataset("spoken-two")) / "spoken-two.zip") as opened:
        yield opened


def test_every_speaker_is_in_both_splits_and_no_recording_is(archive: zipfile.ZipFile) -> None:
    names = [Path(name) for name in archive.namelist()]
    speakers = Counter((path.parent.name, path.stem.partition("-")[0]) for path in names)
    assert set(speakers.values()) == {45, 5}
    assert Counter(split for split, _ in speakers) == {"train": 6, "test": 6}
    assert len({path.name for path in names}) == len(names) == 300
    assert len({archive.read(name) for name in archive.namelist()}) == 300


def test_recordings_are_short_and_loud_and_tell_no_time(archive: zipfile.ZipFile) -> None:
    for info in archive.infolist():
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        samples, rate = soundfile.read(io.BytesIO(archive.read(info)), always_2d=True)
        assert (rate, samples.shape[1]) == (8000, 1)
        assert len(samples) <= 4096
        assert np.abs(samples).max() == pytest.approx(0.9, abs=1e-4)


def test_the_data_are_clips_that_wavegan_takes_without_options() -> None:
    store = open_store(locate_data("spoken-two"))
    port = store.spec.audio
    assert (port.shape, port.rate) == (("batch", 1, 4096), 8000)
    assert len(store.splits["test"]["audio"]) == 30
    assert store.spec.licence.startswith("CC BY-SA 4.0")


def test_the_script_takes_the_beginning_of_a_recording_and_scales_it(tmp_path: Path) -> None:
    times = np.arange(5000) / 8000
    quiet = (300 * np.sin(2 * np.pi * 200 * times)).astype(np.int16)
    with zipfile.ZipFile(tmp_path / "digits.zip", "w") as digits:
        for name in ("2_ada_4", "2_ada_5", "3_ada_5"):
            file = io.BytesIO()
            soundfile.write(file, quiet, 8000, format="WAV")
            digits.writestr(f"recordings/{name}.wav", file.getvalue())
    script = PROJECT / "tools" / "make_spoken_two.py"
    words = [sys.executable, str(script), str(tmp_path / "digits.zip"), str(tmp_path)]
    subprocess.run(words, check=True)
    with zipfile.ZipFile(tmp_path / "spoken-two.zip") as made:
        assert made.namelist() == ["spoken-two/test/ada-04.flac", "spoken-two/train/ada-05.flac"]
        samples, _ = soundfile.read(io.BytesIO(made.read(made.namelist()[0])))
    assert len(samples) == 4096
    np.testing.assert_allclose(samples, 0.9 * quiet[:4096] / 300, atol=0.02)
