"""Data that are no pictures: text, sounds, tables, volumes, and what lies beside pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.data.pictures import fill
from tests.errors import raises
from zoo.atomic import SPECIAL
from zoo.data.batches import in_order
from zoo.data.location import locate_data
from zoo.data.store import Store, open_store
from zoo.data.survey import inspect
from zoo.errors import NotFoundError, UsageError
from zoo.modalities import modality_of
from zoo.modalities.audio import resample
from zoo.modalities.text import as_text
from zoo.ports import Port

CPU = torch.device("cpu")
RATE = 8000
IDX = "train-images-idx3-ubyte"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def opened(place: str, **asked: Any) -> Store:
    return open_store(locate_data(place), **asked)


def tone(path: Path, hertz: float, seconds: float = 0.5, rate: int = RATE, **how: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * rate)) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * times), rate, **how)


def loudest(samples: np.ndarray, rate: int) -> float:
    """Return the loudest frequency, in hertz."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


def test_one_text_file_is_windows_of_one_alphabet() -> None:
    text = "To be, or not to be.\r\n" * 40
    Path("play.txt").write_bytes(text.encode())
    store = opened("play.txt", length=16)
    port = store.spec.text
    assert port.shape == ("batch", 16)
    assert port.classes == tuple(sorted(set(text) - {"\r"}))
    rows = [*store.splits["train"]["text"], *store.splits["validation"]["text"]]
    assert store.splits["train"]["text"].dtype == np.uint8
    joined = sorted(as_text(row, port.classes) for row in rows)
    plain = text.replace("\r", "")
    end = len(plain) - round(0.1 * len(plain))
    parts = (plain[:end], plain[end:])
    assert joined == sorted(
        part[start : start + 16] for part in parts for start in range(0, len(part) - 15, 16)
    )
    (batch,) = in_order(store.splits["validation"], store.spec, 100, CPU)
    assert batch["text"].dtype == torch.int64


def test_texts_in_folders_are_splits_and_strange_letters_are_told() -> None:
    for split, content in {"train": "abcd" * 50, "test": "abcz" * 20}.items():
        Path("texts", split).mkdir(parents=True)
        Path("texts", split, "a.txt").write_text(content)
    store = opened("texts", length=8)
    assert set(store.splits) == {"train", "validation", "test"}
    assert any("20 held-out symbols" in note for note in store.notes)


def test_other_text_is_read_with_the_alphabet_of_the_training() -> None:
    Path("play.txt").write_text("abcd" * 50)
    Path("other.txt").write_text("dcb" * 50)
    trained = opened("play.txt", length=8).spec.text
    again = opened("other.txt", length=8, alphabet=trained.classes)
    assert again.spec.text.classes == trained.classes
    assert as_text(again.splits["train"]["text"][0], trained.classes) in "dcbdcbdcbdcb"


@pytest.mark.parametrize(
    ("content", "code", "name"),
    [
        (b"too short a text to be learnt from" * 2, "too-few-rows", "128"),
        (b"\xfd\xfe" * 500, "bad-data", "play.txt"),
    ],
)
def test_a_text_that_cannot_be_used_is_an_error(content: bytes, code: str, name: str) -> None:
    Path("play.txt").write_bytes(content)
    with raises(NotFoundError, code, name):
        opened("play.txt")


def test_sounds_of_classes_are_clips_of_one_rate_and_length() -> None:
    for number in range(12):
        tone(Path("tones/bass", f"{number}.wav"), 440)
        tone(Path("tones/alto", f"{number}.flac"), 880, seconds=0.25)
    tone(Path("tones/bass/other.wav"), 440, rate=16000)
    said: list[str] = []
    store = open_store(locate_data("tones"), report=said.append)
    port = store.spec.audio
    assert (port.rate, port.shape, store.spec.classes) == (
        RATE,
        ("batch", 1, 4000),
        ("alto", "bass"),
    )
    (batch,) = in_order(store.splits["train"], store.spec, 100, CPU)
    assert batch["audio"].shape == (24, 1, 4000)
    for sound, label in zip(batch["audio"], batch["label"], strict=True):
        length = 4000 if label else 2000
        assert loudest(sound[0, :length].numpy(), RATE) == pytest.approx(440 * (2 - label), abs=5)
        assert not sound[0, length:].any()
        assert 0.45 < sound.abs().max() < 0.55
    assert any("resampled to 8,000 Hz" in each for each in said)
    assert any("12 are filled up" in each for each in said)


def test_a_clip_of_another_length_rate_and_channels_is_cut() -> None:
    for number in range(3):
        tone(Path("tones", f"{number}.wav"), 440)
    store = opened("tones", length=1000, rate=4000, channels=2)
    assert store.spec.audio.shape == ("batch", 2, 1000)
    assert store.spec.audio.rate == 4000
    assert any("3 are cut" in note for note in store.notes)


def test_stereo_stays_stereo_and_a_damaged_sound_is_left_out(tmp_path: Path) -> None:
    both = np.stack([np.full(400, 0.5), np.full(400, -0.25)], axis=1)
    Path("tones").mkdir()
    for number in range(150):
        soundfile.write(f"tones/{number}.wav", both, RATE)
    Path("tones/broken.wav").write_bytes(b"RIFF")
    store = opened("tones", on_bad_image="auto")
    assert (store.bad, store.total) == (1, 151)
    (batch,) = in_order(store.splits["validation"], store.spec, 100, CPU)
    assert batch["audio"][0, :, 10].tolist() == pytest.approx([0.5, -0.25], abs=1e-4)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_called_like_a_sound_a_text_or_an_array_is_not_waited_for() -> None:
    for number in range(3):
        tone(Path(f"sounds/{number}.wav"), 100 + number, seconds=0.02)
    Path("texts").mkdir()
    Path("texts/play.txt").write_text("To be, or not to be. " * 40)
    names = {"sounds": "pipe.wav", "texts": "pipe.txt", "arrays": "pipe.npz", "digits": IDX}
    for place, name in names.items():
        Path(place).mkdir(exist_ok=True)
        os.mkfifo(Path(place, name))
        words = [sys.executable, "-m", "zoo", "data", "check", place, "--json"]
        done = subprocess.run(words, capture_output=True, check=False, timeout=60)
        told = json.loads(done.stdout)
        if place == "sounds":
            (bad,) = told["bad"]
            assert (Path(bad["path"]).name, bad["reason"]) == (name, SPECIAL)
            assert opened(place, on_bad_image="skip").bad == 1
        else:
            error = told["error"]
            assert (done.returncode, error["code"], error["cause"]) == (3, "bad-data", SPECIAL)
            assert name in error["message"]


def test_resampling_keeps_tone_and_loudness() -> None:
    times = np.arange(8000) / 8000
    samples = np.sin(2 * np.pi * 500 * times)[:, None].astype(np.float32)
    for rate in (11025, 4000, 44100):
        found = resample(samples, 8000, rate)[:, 0]
        assert len(found) == rate
        assert loudest(found, rate) == pytest.approx(500, abs=2)
        wanted = np.sin(2 * np.pi * 500 * np.arange(rate) / rate)
        middle = slice(rate // 10, -rate // 10)
        assert np.abs(found[middle] - wanted[middle]).max() < 0.02


def test_a_sound_is_written_as_it_was_read(tmp_path: Path) -> None:
    tone(Path("tones/a.wav"), 440)
    tone(Path("tones/b.wav"), 660)
    store = opened("tones")
    port, row = store.spec.audio, store.splits["train"]["audio"][0]
    audio = modality_of(port)
    numbers = audio.to_numbers(row[None], port)
    assert numbers.shape == (1, 1, 4000)
    assert np.array_equal(audio.from_numbers(numbers, port)[0], row)
    (tmp_path / "x.wav").write_bytes(audio.encode(row[None], port))
    with wave.open(str(tmp_path / "x.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (RATE, 1, 4000)
    page = audio.page(row[None], port)
    assert page is not None
    assert page.ndim == 3
    assert page.std() > 30


def test_a_table_gives_numbers_and_classes() -> None:
    lines = [f"{number},{number / 2},{'ab'[number % 2]},x{number}" for number in range(40)]
    Path("flowers.csv").write_text("\n".join(["id,width,species,note", *lines]))
    store = opened("flowers.csv")
    assert store.spec.values.shape == ("batch", 1)
    assert store.spec.classes == ("a", "b")
    assert any("note" in note for note in store.notes)
    train = store.splits["train"]
    assert [int(2 * value) % 2 for value in train["values"][:, 0]] == train["label"].tolist()


def test_ratings_are_a_row_for_each_user() -> None:
    rows = ["userId,movieId,rating,timestamp", "1,10,4.5,0", "1,30,2,0", "7,10,3,0", "9,20,5,0"]
    Path("ratings.csv").write_text("\n".join(rows))
    store = opened("ratings.csv")
    assert store.spec.ratings.classes == ("10", "20", "30")
    arrays = [store.splits[split]["ratings"] for split in ("train", "validation")]
    assert sorted(np.concatenate(arrays).tolist()) == [[0, 5, 0], [3, 0, 0], [4.5, 0, 2]]


def test_what_is_rated_may_be_called_in_any_way() -> None:
    Path("ratings.csv").write_text("userId,Id,rating,timestamp\n1,10,4.5,0\n7,30,2,0\n7,10,3,9\n")
    assert opened("ratings.csv").spec.ratings.classes == ("10", "30")


def test_columns_that_are_not_used_are_told() -> None:
    lines = [f"{number},{number / 2}" for number in range(40)]
    Path("numbers.csv").write_text("\n".join(["id,width", *lines]))
    assert any("id" in note for note in opened("numbers.csv").notes)


def test_a_table_without_numbers_is_an_error() -> None:
    Path("words.csv").write_text("name,town\na,b\nc,d\n")
    with raises(NotFoundError, "bad-data", "words.csv"):
        opened("words.csv")


def test_numbers_and_captions_lie_beside_pictures() -> None:
    fill(Path("photos"), 10)
    lines = [f"{number}.png,a picture of {number},{number}" for number in range(10)]
    Path("photos/metadata.csv").write_text("\n".join(["file_name,caption,age", *lines]))
    store = opened("photos")
    assert {port.name for port in store.spec.ports} == {"image", "caption", "age"}
    train = store.splits["train"]
    captions = [as_text(row, store.spec.caption.classes) for row in train["caption"]]
    assert captions == [f"a picture of {age:.0f}" for age in train["age"]]
    (batch,) = in_order(store.splits["validation"], store.spec, 100, CPU)
    assert batch["caption"].dtype == torch.int64
    assert batch["age"].dtype == torch.float32


def test_what_a_kind_does_not_have_is_not_asked_of_it() -> None:
    fill(Path("photos"), 4)
    for _ in range(2):  # decoded or not
        with raises(UsageError, "does-not-apply", "length"):
            opened("photos", length=100)
        opened("photos")
    Path("play.txt").write_text("abcd" * 200)
    with raises(UsageError, "does-not-apply", "size"):
        opened("play.txt", size=(8, 8))


def test_an_inspection_says_what_there_is() -> None:
    tone(Path("tones/a.wav"), 440)
    tone(Path("tones/b.wav"), 660)
    Path("tones/broken.wav").write_bytes(b"RIFF")
    found = inspect(locate_data("tones"))
    assert found.splits == {"train": {"audio": 2}}
    assert found.counts["seconds"] == {"0.5": 2}
    assert [Path(each["path"]).name for each in found.bad] == ["broken.wav"]


def test_arrays_that_are_no_pictures_are_volumes_or_numbers() -> None:
    random = np.random.default_rng(0)
    cells = random.random((20, 8, 6, 5)) > 0.5
    np.savez("objects.npz", shapes=cells.astype(np.uint8), label=np.arange(20) % 2)
    store = opened("objects.npz")
    assert store.spec.shapes.shape == ("batch", 1, 8, 6, 5)
    assert store.spec.shapes.kind == "volume"
    assert store.spec.classes == ("0", "1")
    (batch,) = in_order(store.splits["train"], store.spec, 100, CPU)
    assert set(batch["shapes"].unique().tolist()) == {-1, 1}
    wanted = {(row.tobytes(), number % 2) for number, row in enumerate(cells)}
    found = zip(batch["shapes"][:, 0].numpy() > 0, batch["label"].tolist(), strict=True)
    assert {(row.tobytes(), label) for row, label in found} <= wanted
    volume = modality_of(store.spec.shapes)
    page = volume.page(store.splits["train"]["shapes"][:4], store.spec.shapes)
    assert page is not None

    np.savez("numbers.npz", train_features=random.random((30, 4)), test_features=np.ones((5, 4)))
    store = opened("numbers.npz")
    assert store.spec.features.shape == ("batch", 4)
    assert (store.splits["test"]["features"] == 1).all()


@pytest.mark.parametrize(
    ("span", "layout", "dtype"),
    [((-1, 1), "NCHW", "float32"), ((0, 1), "NHWC", "float32"), ((0, 255), "NHWC", "uint8")],
)
def test_pixels_go_into_a_port_of_any_range_and_layout_and_back(
    span: tuple[float, float], layout: Any, dtype: Any
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    shape = ("batch", 4, 5, 3) if layout == "NHWC" else ("batch", 3, 4, 5)
    port = Port("image", "image", shape, dtype, span, layout=layout)
    numbers = modality_of(port).to_numbers(pixels, port)
    assert numbers.shape[1:] == shape[1:]
    assert numbers.dtype == dtype
    assert span[0] <= numbers.min() < numbers.max() <= span[1]
    wanted = span[0] + pixels / 255 * (span[1] - span[0])
    wanted = wanted if layout == "NHWC" else wanted.transpose(0, 3, 1, 2)
    assert np.allclose(numbers, wanted, atol=1e-6)
    assert np.array_equal(modality_of(port).from_numbers(numbers, port), pixels)
