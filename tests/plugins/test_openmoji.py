"""The data set inside zoo-translation: what it holds, and the script that made it."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.process import zoo
from zoo.catalog.lookup import find_dataset
from zoo.data.download import fetch
from zoo.data.location import locate_data, natural
from zoo.data.store import open_store
from zoo.ports import DataSpec

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def archive() -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(fetch(find_dataset("openmoji")) / "openmoji.zip") as opened:
        yield opened


def names_in(archive: zipfile.ZipFile, folder: str) -> set[str]:
    start = f"openmoji/{folder}/"
    return {name.removeprefix(start) for name in archive.namelist() if name.startswith(start)}


def read(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        return np.asarray(Image.open(file).convert("RGB"))


def test_every_drawing_has_a_partner_and_none_is_in_both_splits(archive: zipfile.ZipFile) -> None:
    train, test = (names_in(archive, f"{split}/input") for split in ("train", "test"))
    assert (len(train), len(test)) == (1632, 224)
    assert names_in(archive, "train/target") == train
    assert names_in(archive, "test/target") == test
    assert not train & test
    assert "1f600-grinning-face.png" in train | test
    lines = [archive.read(each) for each in archive.namelist() if "/input/" in each]
    assert len(set(lines)) == len(lines)


def test_relatives_of_a_test_drawing_are_not_learnt_from(archive: zipfile.ZipFile) -> None:
    train, test = (names_in(archive, f"{split}/input") for split in ("train", "test"))
    both = [
        name
        for name in train | test
        if name.endswith(("-man-scientist.png", "-woman-scientist.png"))
    ]
    assert len(both) == 2
    assert set(both) <= train or set(both) <= test


def test_drawings_are_opaque_on_white_and_tell_no_time(archive: zipfile.ZipFile) -> None:
    for info in archive.infolist():
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        with Image.open(io.BytesIO(archive.read(info))) as picture:
            assert (picture.size, picture.mode, picture.info) == ((64, 64), "P", {})
            assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_the_data_are_pairs_lines_first(archive: zipfile.ZipFile) -> None:
    store = open_store(locate_data("openmoji"))
    spec = DataSpec.of_images("openmoji", 3, 64, 64, domains=("line", "colour"))
    assert replace(store.spec, licence="") == spec.with_images(order=0)
    assert "CC BY-SA 4.0" in store.spec.licence
    assert set(store.pairs) == {"train", "validation", "test"}
    names = sorted(names_in(archive, "test/input"), key=natural)
    for row in range(0, 224, 10):
        for side, folder in (("a", "input"), ("b", "target")):
            picture = read(archive, f"openmoji/test/{folder}/{names[row]}")
            assert (store.splits["test"][side][row] == picture).all()
    for split in store.splits.values():
        a, b = (split[side].astype(np.int16) for side in "ab")
        assert np.ptp(a, axis=3).max() == 0, "lines have no colours"
        apart = np.abs(a - b).mean(axis=(1, 2, 3)) / 255
        assert apart.min() > 0.005, "every pair differs"
        assert apart.mean() < 0.75 * np.abs(a - np.roll(b, 1, axis=0)).mean() / 255


def test_it_is_small_and_says_whose_it_is() -> None:
    folder = fetch(find_dataset("openmoji"))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 3_200_000
    assert (folder / "LICENSE").read_text("utf-8").startswith("Attribution-ShareAlike 4.0")
    assert "OpenMoji contributors" in (folder / "README.md").read_text("utf-8")
    assert "CC BY-SA 4.0" in zoo("data", "list").stdout


SQUARE = '<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">{}</svg>'
PLACE = '<rect x="{}" y="12" width="24" height="24" stroke="#000000" stroke-width="2" fill="{}"/>'


def test_the_script_makes_it_from_a_package_of_the_published_form(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="draws SVG; needed for this script only")
    rows = [
        ("1F468-200D-1F373", "man cook", "", 4),
        ("1F469-200D-1F373", "woman cook", "", 8),
        ("1F600-1F3FB", "with a skin tone", "1", 12),
        ("1F601", "of the same lines", "", 4),
        ("1F602", "without colours", "", 16),
    ] + [(f"1F7{number}", f"thing no. {number}", "", 20 + number) for number in range(10, 30)]
    for style in ("black", "color"):
        (tmp_path / style / "svg").mkdir(parents=True)
        for code, name, _, place in rows:
            fill = "#EA5A47" if style == "color" and name != "without colours" else "none"
            drawing = SQUARE.format(PLACE.format(place, fill))
            (tmp_path / style / "svg" / f"{code}.svg").write_text(drawing)
    (tmp_path / "data").mkdir()
    with (tmp_path / "data" / "openmoji.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["hexcode", "annotation", "skintone"])
        table.writerows(row[:3] for row in rows)
    made = []
    for target in (tmp_path / "first", tmp_path / "second"):
        target.mkdir()
        words = [str(PROJECT / "tools" / "make_openmoji.py"), str(tmp_path), str(target)]
        subprocess.run([sys.executable, *words], check=True)
        made.append((target / "openmoji.zip").read_bytes())
    assert made[0] == made[1]
    with zipfile.ZipFile(io.BytesIO(made[0])) as archive:
        train, test = (names_in(archive, f"{split}/input") for split in ("train", "test"))
        assert len(train | test) == 22
        assert 3 <= len(test) <= 4  # an eighth of 21 families
        cooks = {"1f468-200d-1f373-man-cook.png", "1f469-200d-1f373-woman-cook.png"}
        assert cooks <= train or cooks <= test
        place = "train" if "1f720-thing-no-20.png" in train else "test"
        line, colour = (
            read(archive, f"openmoji/{place}/{side}/1f720-thing-no-20.png")
            for side in ("input", "target")
        )
    inside = np.s_[16:26, 40:52]
    assert (line[inside] == 255).all()
    assert (np.abs(colour[inside].astype(int) - [0xEA, 0x5A, 0x47]) <= 2).all()
    assert (line[0] == 255).all()
    assert (colour[0] == 255).all()
