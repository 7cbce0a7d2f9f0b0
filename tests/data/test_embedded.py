"""The data sets inside the package: what they hold, how they were made, that the wheel has them."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.catalog.lookup import find_dataset
from zoo.data.download import fetch
from zoo.data.location import locate_data, natural
from zoo.data.store import open_store
from zoo.ports import DataSpec

PROJECT = Path(__file__).parents[2]
SCRIPTS = PROJECT / "tools"
NAMES = [
    f"{split}-{what}.gz"
    for split in ("train", "t10k")
    for what in ("images-idx3-ubyte", "labels-idx1-ubyte")
]


@pytest.fixture
def folder() -> Path:
    return fetch(find_dataset("fashion-mnist-small"))


@pytest.mark.parametrize(("split", "per_class"), [("train", 500), ("t10k", 100)])
def test_every_class_has_as_many_images(folder: Path, split: str, per_class: int) -> None:
    labels = gzip.decompress((folder / f"{split}-labels-idx1-ubyte.gz").read_bytes())
    images = gzip.decompress((folder / f"{split}-images-idx3-ubyte.gz").read_bytes())
    count = 10 * per_class
    assert labels[:8] == bytes([0, 0, 8, 1]) + count.to_bytes(4, "big")
    assert images[:8] == bytes([0, 0, 8, 3]) + count.to_bytes(4, "big")
    assert images[8:16] == (28).to_bytes(4, "big") * 2
    assert len(images) == 16 + count * 28 * 28
    assert np.bincount(np.frombuffer(labels, np.uint8, offset=8)).tolist() == [per_class] * 10


def test_it_is_small_and_says_whose_it_is(folder: Path) -> None:
    assert sum((folder / name).stat().st_size for name in NAMES) < 2_700_000
    assert "Zalando SE" in (folder / "LICENSE").read_text("utf-8")
    assert "Permission is hereby granted" in (folder / "LICENSE").read_text("utf-8")


def test_the_script_makes_it_anew_from_the_published_files(
    folder: Path, shared_data: Path, tmp_path: Path
) -> None:
    subprocess.run(
        [
            sys.executable,
            str(SCRIPTS / "make_fashion_mnist_small.py"),
            str(shared_data / "fashion-mnist"),
            str(tmp_path),
        ],
        check=True,
    )
    for name in NAMES:
        made, kept = (tmp_path / name).read_bytes(), (folder / name).read_bytes()
        # The .gz bytes are those of the zlib at hand, so what they hold is compared, and the
        # header, which must not tell the time.
        assert made[:10] == kept[:10] == b"\x1f\x8b\x08" + bytes(5) + b"\x02\xff"
        assert gzip.decompress(made) == gzip.decompress(kept)


@pytest.fixture
def emoji() -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(fetch(find_dataset("emoji")) / "emoji.zip") as archive:
        yield archive


def names_in(archive: zipfile.ZipFile, folder: str) -> set[str]:
    start = f"emoji/{folder}/"
    return {name.removeprefix(start) for name in archive.namelist() if name.startswith(start)}


def test_no_emoji_is_trained_on_in_both_styles_or_tested_on(emoji: zipfile.ZipFile) -> None:
    train_a, train_b, test = (names_in(emoji, each) for each in ("trainA", "trainB", "testA"))
    assert names_in(emoji, "testB") == test
    assert (len(train_a), len(train_b), len(test)) == (811, 810, 250)
    assert not train_a & train_b
    assert not (train_a | train_b) & test
    assert "1f600-grinning-face.png" in train_a | train_b | test
    for side in "AB":
        contents = [emoji.read(each) for each in emoji.namelist() if f"{side}/" in each]
        assert len(set(contents)) == len(contents)


def test_emoji_are_opaque_on_white_and_tell_no_time(emoji: zipfile.ZipFile) -> None:
    white = 0
    for info in emoji.infolist():
        with Image.open(io.BytesIO(emoji.read(info))) as picture:
            assert (picture.size, picture.mode) == ((32, 32), "P")
            assert "transparency" not in picture.info
            assert set(picture.info) == set()
            white += picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
    assert white > 0.6 * len(emoji.infolist())


def test_emoji_are_decoded_with_their_pairs_side_by_side(emoji: zipfile.ZipFile) -> None:
    store = open_store(locate_data("emoji"))
    assert replace(store.spec, licence="") == DataSpec.of_images(
        "emoji", 3, 32, 32, domains=("twemoji", "noto")
    )
    assert "CC BY 4.0" in store.spec.licence
    counts = {name: (len(arrays["a"]), len(arrays["b"])) for name, arrays in store.splits.items()}
    assert counts == {"train": (770, 770), "validation": (41, 40), "test": (250, 250)}
    assert store.pairs == ("test",)
    test = store.splits["test"]
    names = sorted(names_in(emoji, "testA"), key=natural)
    for row in range(0, 250, 10):
        for side in ("a", "b"):
            with emoji.open(f"emoji/test{side.upper()}/{names[row]}") as file:
                assert (test[side][row] == np.asarray(Image.open(file).convert("RGB"))).all()
    a, b = (test[side].astype(float) / 255 for side in "ab")
    apart = np.abs(a - b).mean()
    assert apart < 0.75 * np.abs(a - np.roll(b, 1, axis=0)).mean()  # partners are nearer
    assert apart > 0.1  # and yet there is something to learn


def test_emoji_of_both_styles_are_one_set_as_well(emoji: zipfile.ZipFile) -> None:
    assert fetch(find_dataset("emoji-mixed")) == fetch(find_dataset("emoji"))  # shipped once
    store = open_store(locate_data("emoji-mixed"))
    assert replace(store.spec, licence="") == DataSpec.of_images("emoji-mixed", 3, 32, 32)
    counts = {name: len(arrays["image"]) for name, arrays in store.splits.items()}
    assert counts == {"train": 1540, "validation": 81, "test": 500}


def test_emoji_are_small_and_say_whose_they_are() -> None:
    folder = fetch(find_dataset("emoji"))
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2_500_000
    twemoji = (folder / "LICENSE-TWEMOJI").read_text("utf-8")
    assert "Twitter, Inc and other contributors" in twemoji
    assert "Creative Commons Attribution 4.0 International Public License" in twemoji
    noto = (folder / "LICENSE-NOTO").read_text("utf-8")
    assert "Google LLC" in noto
    assert (PROJECT / "LICENSE").read_text("utf-8").split() == noto[
        noto.index("  Apache") :
    ].split()


def test_the_script_makes_emoji_from_packages_of_the_published_form(tmp_path: Path) -> None:
    rows = []
    for number in range(270):
        row = {"unified": f"{0x1F000 + number:X}-FE0F", "name": f"THING NO. {number}"}
        row |= {"category": "Objects", "has_img_twitter": number != 3, "has_img_google": True}
        rows.append(row | {"image": f"{number}.png"})
    rows[4]["category"] = "Component"
    for style, shift in (("twitter", 0), ("google", 100)):
        folder = tmp_path / style / "img" / style / "64"
        folder.mkdir(parents=True)
        for number in range(270):
            colour = (number % 250, number // 250, shift, 255)
            picture = Image.new("RGBA", (64, 64), (200, 0, 0, 0))  # red, but transparent
            picture.paste(colour, (32, 0, 64, 64))
            picture.save(folder / f"{number}.png")
        shutil.copy(folder / "7.png", folder / "8.png")
        (tmp_path / style / "emoji.json").write_text(json.dumps(rows))
    made = []
    for target in (tmp_path / "first", tmp_path / "second"):
        target.mkdir()
        places = map(str, (tmp_path / "twitter", tmp_path / "google", target))
        subprocess.run([sys.executable, str(SCRIPTS / "make_emoji.py"), *places], check=True)
        made.append((target / "emoji.zip").read_bytes())
    assert made[0] == made[1]
    with zipfile.ZipFile(io.BytesIO(made[0])) as archive:
        counts = [len(names_in(archive, each)) for each in ("trainA", "trainB", "testA", "testB")]
        assert counts == [9, 8, 250, 250]  # all but three
        every = {name.rpartition("/")[2] for name in archive.namelist()}
        assert {f"1f00{number}-thing-no-{number}.png" for number in (2, 5, 7)} <= every
        assert not {f"1f00{number}-thing-no-{number}.png" for number in (3, 4, 8)} & every
        name = sorted(names_in(archive, "testB"))[0]
        with archive.open(f"emoji/testB/{name}") as file:
            pixels = np.asarray(Image.open(file).convert("RGB")).astype(float)
    number = int(name.rpartition("-")[2].removesuffix(".png"))
    colour = np.array([number % 250, number // 250, 100])
    share_of_white = (pixels - colour) / (255 - colour)
    assert (np.abs(share_of_white[:, :14] - 1) < 0.02).all()
    assert (np.abs(share_of_white[:, 18:]) < 0.02).all()
    assert np.ptp(share_of_white, axis=2).max() < 0.03  # no red rim


@pytest.mark.slow
def test_the_wheel_holds_the_data_and_the_catalogue(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("zoo", "registry.toml", "pyproject.toml", "README.md", "LICENSE"):
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(PROJECT / name, source / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*build, str(tmp_path), str(source)], check=True, capture_output=True)
    installed = tmp_path / "installed"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    assert not list(installed.rglob("make_*.py"))
    licences = next(installed.glob("*.dist-info/licenses/zoo/data/embedded"))
    assert {str(path.relative_to(licences)) for path in licences.rglob("LICENSE*")} == {
        "emoji/LICENSE-NOTO",
        "emoji/LICENSE-TWEMOJI",
        "fashion-mnist-small/LICENSE",
    }
    program = (
        "from pathlib import Path; import zoo; from zoo.catalog.lookup import find_dataset\n"
        "from zoo.data.download import fetch; find_dataset('horse2zebra')\n"
        "print(fetch(find_dataset('fashion-mnist-small')))\n"
        "print(fetch(find_dataset('emoji')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    fashion, emoji = map(Path, done.stdout.split())
    assert fashion.is_relative_to(installed)
    assert {path.name for path in fashion.iterdir()} == {*NAMES, "LICENSE", "README.md"}
    assert {path.name for path in emoji.iterdir()} == {
        "emoji.zip", "LICENSE-NOTO", "LICENSE-TWEMOJI", "README.md"
    }  # fmt: skip
