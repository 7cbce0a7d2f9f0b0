"""Data is decoded once, whole or not at all, and what training gets of it is as promised."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.loopback import loopback
from tests.data.pictures import fill, idx, photo, save, write_mnist
from tests.errors import raises
from zoo import pictures
from zoo.atomic import SPECIAL
from zoo.data.location import locate_data
from zoo.data.store import Store, open_store
from zoo.data.survey import inspect
from zoo.errors import NotFoundError, ZooError
from zoo.ports import DataSpec

PREPARE = """
import sys
from zoo.data.location import locate_data
from zoo.data.store import open_store
from zoo.errors import ZooError
{before}
try:
    store = open_store(locate_data(sys.argv[1]), size=(64, 64), channels=3, report=print)
except ZooError as problem:
    print(problem)
    sys.exit(problem.exit_code)
print({{split: len(arrays["image"]) for split, arrays in store.splits.items()}})
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def prepared(
    place: Path | str, *, two_domains: bool = False, **options: object
) -> tuple[Store, list[str]]:
    said: list[str] = []
    source = replace(locate_data(str(place)), two_domains=two_domains)
    return open_store(source, report=said.append, **options), said


def store_home() -> Path:
    return Path(os.environ["ZOO_HOME"]) / "store"


def start(place: Path, before: str = "") -> subprocess.Popen[str]:
    code = PREPARE.format(before=before)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(place)], stdout=subprocess.PIPE, text=True, env=environment
    )


def every(store: Store) -> set[bytes]:
    return {row for name in ("train", "validation") for row in as_rows(store.splits[name]["image"])}


def as_rows(array: np.ndarray) -> list[bytes]:
    return [picture.tobytes() for picture in array]


def test_training_gets_every_picture_once_with_its_label(root):
    original = write_mnist(root, train=100, test=7)
    store, _ = prepared(root)
    train, validation, test = (store.splits[name] for name in ("train", "validation", "test"))
    assert [len(each["image"]) for each in (train, validation, test)] == [95, 5, 7]
    assert store.spec == DataSpec.of_images("root", 1, 28, 28, classes=tuple("0123456789"))
    labels = {picture.tobytes(): number % 10 for number, picture in enumerate(original)}
    found = as_rows(train["image"]) + as_rows(validation["image"])
    assert sorted(found) == sorted(labels)
    assert [labels[each] for each in found] == [*train["label"], *validation["label"]]
    assert test["label"].tolist() == list(range(7))
    assert train["image"].dtype == np.uint8
    assert train["label"].dtype == np.int64


def test_the_second_time_nothing_is_decoded(root):
    fill(root, 40)
    first, said = prepared(root)
    assert "decoding 40 pictures" in said[0]
    second, said = prepared(root)
    assert said == []
    assert second.spec == first.spec
    assert (second.splits["train"]["image"] == first.splits["train"]["image"]).all()


def test_one_picture_in_colour_among_many_grey_ones_makes_the_data_colour(root):
    fill(root, 300, mode="L")
    save(root / "251.png", photo(251))
    store, _ = prepared(root)
    assert store.spec.pictures.channels == 3
    assert np.asarray(photo(251)).tobytes() in every(store)


def test_sizes_that_a_look_at_few_pictures_misses_are_counted(root):
    paths = [save(root / f"{number:03d}.png", photo(number)) for number in range(320)]
    for number, path in enumerate(paths):
        if number % 5:  # every fifth is looked at
            save(path, photo(number, height=10, width=10))
    store, _ = prepared(root)
    assert (store.spec.pictures.height, store.spec.pictures.width) == (64, 64)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_in_a_folder_is_not_waited_for(root):
    fill(root, 3)
    os.mkfifo(root / "notes.txt")
    process = start(root)
    assert process.communicate(timeout=60)[0]
    assert process.returncode == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
@pytest.mark.parametrize("count", [40, 280])  # of many pictures, only a few are looked at before
def test_what_is_no_plain_file_and_is_called_like_a_picture_cannot_be_read(
    root, count, monkeypatch
):
    fill(root, count)
    monkeypatch.chdir(root)  # the path of a socket must be short
    os.mkfifo(root / "pipe.png")
    (root / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket.png")
    process = start(root)
    try:
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 3
    assert f"3 of {count + 3} pictures" in said
    store, _ = prepared(root, on_bad_image="skip")
    assert store.bad == 3
    bad = inspect(locate_data(str(root))).bad
    assert {Path(each["path"]).name for each in bad} == {"pipe.png", "device.png", "socket.png"}
    assert {each["reason"] for each in bad} == {SPECIAL}


def test_asking_for_what_there_is_in_more_words_decodes_nothing(root):
    fill(root, 20)
    prepared(root, size=(8, 8))
    assert not any("decoding" in line for line in prepared(root, size=(8, 8), channels=3)[1])
    assert any("decoding" in line for line in prepared(root, size=(8, 8), channels=1)[1])


def test_arrays_are_mapped_and_cannot_be_written_to(root):
    fill(root, 4)
    image = prepared(root)[0].splits["train"]["image"]
    base: object = image
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    assert type(base).__name__ == "mmap"
    with pytest.raises(ValueError, match="read-only"):
        image[0] = 0


def test_changed_files_and_other_settings_are_decoded_anew(root):
    fill(root, 5)
    before, _ = prepared(root)
    save(root / "2.png", photo(99))
    after, said = prepared(root)
    assert "decoding" in said[0]
    assert len(every(before) & every(after)) == 4
    small, _ = prepared(root, size=(6, 8))
    assert small.splits["train"]["image"].shape[1:] == (6, 8, 3)
    grey, _ = prepared(root, channels=1)
    assert grey.splits["train"]["image"].shape[1:] == (12, 12, 1)
    assert (small.spec.pictures.height, small.spec.pictures.width, grey.spec.pictures.channels) == (
        6,
        8,
        1,
    )


def pictures_in_a_folder(place: Path, shade: int) -> Path:
    for number in range(8):
        save(place / f"{number}.bmp", Image.new("RGB", (8, 8), (shade, number, 0)))
    return place


def idx_files(place: Path, shade: int) -> Path:
    place.mkdir()
    (place / "train-images-idx3-ubyte").write_bytes(idx(np.full((8, 8, 8), shade, np.uint8)))
    return place


def npz_file(place: Path, shade: int) -> Path:
    place.parent.mkdir(exist_ok=True)
    np.savez(place.with_suffix(".npz"), images=np.full((8, 8, 8), shade, np.uint8))
    return place.with_suffix(".npz")


def archive(place: Path, shade: int) -> Path:
    pictures_in_a_folder(place, shade)
    for path in place.iterdir():
        os.utime(path, (10**9, 10**9))
    return Path(shutil.make_archive(str(place), "tar", place))


def set_times(place: Path) -> None:
    for path in (place, *place.rglob("*")):
        os.utime(path, (10**9, 10**9))


def shades(store: Store) -> set[int]:
    return {row[0] for row in every(store)}


KINDS = pytest.mark.parametrize("make", [pictures_in_a_folder, idx_files, npz_file, archive])


@KINDS
def test_equal_names_sizes_and_times_are_not_equal_pictures(tmp_path, make):
    stores = []
    for folder, shade in (("dark", 10), ("light", 200)):
        (tmp_path / folder).mkdir()
        place = make(tmp_path / folder / "set", shade)
        set_times(place)
        stores.append(prepared(place)[0])
    assert [shades(store) for store in stores] == [{10}, {200}]
    assert stores[0].digest != stores[1].digest


@KINDS
def test_what_is_replaced_in_place_is_decoded_anew(tmp_path, make):
    place = make(tmp_path / "set", 10)
    other = make(tmp_path / "other", 200)
    set_times(place)
    time.sleep(2.1)  # until what has not changed since is known without being read
    assert shades(prepared(place)[0]) == {10}
    known = (Path(os.environ["ZOO_HOME"]) / "fingerprints.json").read_bytes()
    assert prepared(place)[1] == []
    assert (Path(os.environ["ZOO_HOME"]) / "fingerprints.json").read_bytes() == known
    for path in [place] if place.is_file() else list(place.iterdir()):
        replacement = other if place.is_file() else other / path.name
        assert path.stat().st_size == replacement.stat().st_size
        with path.open("r+b") as file:  # the same file, as far as the system knows
            file.write(replacement.read_bytes())
    set_times(place)
    assert shades(prepared(place)[0]) == {200}


def test_a_copy_of_a_data_set_is_not_decoded_again(root, tmp_path):
    fill(root, 5)
    prepared(root)
    shutil.copytree(root, tmp_path / "copy")
    (Path(os.environ["ZOO_HOME"]) / "fingerprints.json").write_text("[1, {")
    assert prepared(tmp_path / "copy")[1] == []


def test_one_changed_picture_in_many_changes_the_digest(root):
    images = np.zeros((2000, 4, 4), np.uint8)
    digests = set()
    for row in (0, 1, 777, 1999):
        images[row] += 1
        np.savez(root / "data.npz", images=images)
        digests.add(prepared(root)[0].digest)
    assert len(digests) == 4


def test_a_moved_data_set_keeps_what_was_decoded_and_gets_its_new_name(root, tmp_path):
    fill(root, 5)
    prepared(root)
    root.rename(tmp_path / "photos")
    store, said = prepared(tmp_path / "photos")
    assert said == []
    assert store.spec.name == "photos"


@pytest.mark.parametrize(("count", "held_out"), [(2, 1), (19, 1), (30, 2), (41_000, 2000)])
def test_a_twentieth_is_held_out_whatever_the_seed(root, count, held_out):
    np.savez(
        root / "data.npz", images=np.arange(count, dtype="<u4").view(np.uint8).reshape(-1, 2, 2)
    )
    store, _ = prepared(root)
    assert len(store.splits["validation"]["image"]) == held_out
    assert len(store.splits["train"]["image"]) == count - held_out
    numbers = store.splits["validation"]["image"].reshape(-1).view("<u4")
    if count > 1000:
        assert 0.4 * count < numbers.mean() < 0.6 * count
    shutil.rmtree(store_home())
    again = prepared(root)[0].splits["validation"]["image"].reshape(-1).view("<u4")
    assert (again == numbers).all()


def labelled(root: Path, labels: list[int]) -> np.ndarray:
    """Write pictures that tell their number, with labels; return them."""
    images = np.arange(len(labels), dtype="<u4").view(np.uint8).reshape(-1, 2, 2)
    np.savez(root / "data.npz", images=images, labels=np.array(labels))
    return images


@pytest.mark.parametrize("seed", range(4))
def test_every_class_keeps_a_training_picture(root, seed):
    random = np.random.default_rng(seed)
    sizes = [1] * 12 + [2, 2, 3, 200]
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes)).tolist()
    labelled(root, labels)
    store, said = prepared(root)
    train, validation = store.splits["train"], store.splits["validation"]
    assert set(train["label"].tolist()) == set(range(len(sizes)))
    assert len(validation["label"]) == round(0.05 * len(labels))
    for split in (train, validation):  # each picture has its label still
        numbers = split["image"].reshape(-1).view("<u4")
        assert [labels[number] for number in numbers] == split["label"].tolist()
    assert len(every(store)) == len(labels)
    few = [line for line in said if "15 of 16 classes have fewer than 10 training pictures" in line]
    assert len(few) == 1


def test_large_classes_are_held_out_as_ever(root):
    images = labelled(root, [number % 10 for number in range(1000)])
    store, said = prepared(root)
    order = np.random.RandomState(0).permutation(1000)
    assert (store.splits["validation"]["image"][..., 0] == images[order[:50]]).all()
    assert (store.splits["train"]["image"][..., 0] == images[order[50:]]).all()
    assert not any("classes" in line for line in said)


def test_where_each_class_has_one_picture_it_is_told_which_is_not_trained_on(root):
    labelled(root, list(range(20)))
    store, said = prepared(root)
    (held,) = store.splits["validation"]["label"].tolist()
    assert f": {held} 0, " in said[-1]
    assert any("20 of 20 classes" in note for note in inspect(locate_data(str(root))).notes)


def test_a_validation_split_of_its_own_is_kept(root):
    fill(root / "train", 40)
    fill(root / "val", 3, first=100)
    fill(root / "test", 2, first=200)
    store, _ = prepared(root)
    counts = {split: len(arrays["image"]) for split, arrays in store.splits.items()}
    assert list(counts.items()) == [("train", 40), ("validation", 3), ("test", 2)]
    assert (store.splits["validation"]["image"][1] == np.asarray(photo(101))).all()


def test_unpaired_sides_may_differ_in_number(root):
    for name, count in (("trainA", 30), ("trainB", 41), ("testA", 2), ("testB", 3)):
        fill(root / name, count)
    store, _ = prepared(root)
    counts = {name: (len(arrays["a"]), len(arrays["b"])) for name, arrays in store.splits.items()}
    assert counts == {"train": (28, 39), "validation": (2, 2), "test": (2, 3)}
    assert store.spec.domains == ("a", "b")
    assert store.pairs == ()


@pytest.mark.parametrize(
    ("name", "domains"),
    [
        ("horse2zebra", ("horse", "zebra")),
        ("Monet2Photo", ("Monet", "Photo")),
        ("summer2winter_yosemite", ("summer", "winter")),
        ("iphone2dslr-flower 3", ("iphone", "dslr")),
        ("été2hiver", ("été", "hiver")),
        ("day2day", ("a", "b")),
        ("2photos", ("a", "b")),
        ("horses", ("a", "b")),
        ("a2b2c", ("a", "b")),
        ("part1_horse2zebra", ("a", "b")),
    ],
)
def test_a_name_may_tell_the_domains(root, tmp_path, name, domains):
    fill(root / "trainA", 2)
    fill(root / "trainB", 2)
    archive = shutil.make_archive(str(tmp_path / name), "zip", root)
    assert prepared(archive)[0].spec.domains == domains
    root.rename(tmp_path / name)
    assert prepared(tmp_path / name)[0].spec.domains == domains


def test_a_folder_that_is_renamed_gets_the_domains_of_its_new_name(root, tmp_path):
    fill(root / "trainA", 2)
    fill(root / "trainB", 2)
    assert prepared(root)[0].spec.domains == ("a", "b")
    root.rename(tmp_path / "horse2zebra")
    assert prepared(tmp_path / "horse2zebra")[0].spec.domains == ("horse", "zebra")


def test_only_two_domains_are_told_by_a_name(tmp_path):
    fill(tmp_path / "horse2zebra", 3, height=10, width=20)
    assert prepared(tmp_path / "horse2zebra")[0].spec.domains == ()
    double, _ = prepared(f"{tmp_path / 'horse2zebra'}:paired-side-by-side")
    assert double.spec.domains == ("a", "b")


@pytest.fixture
def twins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A row of the catalogue whose splits hold pairs of one name, and the folder of its files."""
    folder = Path(os.environ["ZOO_HOME"]) / "downloads" / "twins"
    for number in range(40):
        for split in ("train", "test"):
            green, blue = Image.new("RGB", (6, 6), (number, 255, 0)), (number, 0, 255)
            save(folder / f"{split}A" / f"{number}.png", green)
            # other folders and suffixes: partners are found by name, not by place
            name = f"{number}.png" if number % 3 == 0 else f"more/{number}.bmp"
            save(folder / f"{split}B" / name, Image.new("RGB", (6, 6), blue))
    (folder / "list.txt").write_text("all of them")
    row = """
        schema = 1
        [dataset.twins]
        summary = "twins"
        layout = "unpaired-folders"
        licence = "ours"
        domains = ["green", "blue"]
        pairs = ["train", "test"]
        mirrors = ["http://127.0.0.1:9/"]
        files = [{ name = "list.txt" }]
    """
    (tmp_path / "registry.toml").write_text(row)
    monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "registry.toml"))
    return folder


def assert_twins(store: Store, counts: dict[str, int]) -> None:
    assert store.pairs == ("train", "validation", "test")
    for split, count in counts.items():
        a, b = store.splits[split]["a"], store.splits[split]["b"]
        assert len(a) == len(b) == count
        assert (a[..., 0] == b[..., 0]).all()
        assert (a[..., 1] == 255).all()
        assert (b[..., 2] == 255).all()
    assert len(np.unique(store.splits["test"]["a"][..., 0])) == counts["test"]


def test_pairs_of_one_name_stand_in_one_row(twins):
    assert_twins(prepared("twins")[0], {"train": 38, "validation": 2, "test": 40})


@pytest.mark.parametrize("first", ["A", "B", "AB"])
def test_a_bad_picture_takes_its_partner_with_it(twins, first):
    for side, number in zip(first, (3, 9), strict=False):
        for split in ("train", "test"):
            (twins / f"{split}{side}" / f"{number}.png").write_bytes(b"broken")
    lost = len(first)
    store, said = prepared("twins", on_bad_image="skip")
    assert_twins(store, {"train": 38 - lost, "validation": 2, "test": 40 - lost})
    assert (store.bad, store.total) == (2 * lost, 160)
    assert f"{2 * lost} of 160" in said[-1]


def test_a_picture_without_a_partner_is_told(twins):
    (twins / "testB" / "3.png").rename(twins / "testB" / "other.png")
    with raises(NotFoundError, "unpaired", "test split", 2, "3, other"):
        prepared("twins")
    with raises(NotFoundError, "unpaired", "test split", 2, "3, other"):
        inspect(locate_data("twins"))


def test_a_name_that_stands_twice_is_told(twins):
    save(twins / "testB" / "3.bmp", photo(0))
    with raises(NotFoundError, "unpaired", "test split", " b"):
        prepared("twins")


def test_pairs_stay_pairs_even_beside_bad_ones(root):
    for number in range(60):
        pair = Image.new("RGB", (20, 10), (number, 0, 0))
        pair.paste((number, 255, 0), (10, 0, 20, 10))
        save(root / "train" / f"{number}.png", pair)
    (root / "train" / "7.png").write_bytes(b"broken")
    save(root / "train" / "9.png", Image.new("RGB", (1, 10)))  # too narrow to have halves
    store, said = prepared(root, two_domains=True, on_bad_image="skip")
    assert store.spec.pictures.width == 10  # the narrow one does not change the size of all
    assert "2 of 60" in said[-1]
    assert store.pairs == ("train", "validation")
    for split, count in (("train", 55), ("validation", 3)):
        a, b = store.splits[split]["a"], store.splits[split]["b"]
        assert len(a) == len(b) == count
        assert (a[..., 0] == b[..., 0]).all()
        assert not a[..., 1].any()
        assert (b[..., 1] == 255).all()


def test_grey_sets_stay_grey_and_one_colour_picture_makes_three_channels(root):
    modes = ("1", "L", "LA", "P", "I;16")
    for number, mode in enumerate(modes * 2):
        grey = photo(number, mode="L")
        deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        save(root / f"{number}.png", deep if mode == "I;16" else grey.convert(mode))
    assert prepared(root)[0].spec.pictures.channels == 1
    save(root / "colour.png", photo(1))
    assert prepared(root)[0].spec.pictures.channels == 3


def test_every_kind_of_picture_is_decoded_alike(root):
    picture = photo(5, 40, 60)
    rotated = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = {
        "rgb.png": picture,
        "rgba.png": picture.convert("RGBA"),
        "cmyk.tif": picture.convert("CMYK"),
        "palette.png": picture.quantize(256),
        "large.bmp": picture.resize((600, 400), Image.Resampling.BICUBIC),
    }
    for name, each in kinds.items():
        save(root / name, each)
    rotated.save(root / "photo.png", exif=exif)
    store, _ = prepared(root, size=(20, 20))
    found = np.concatenate([store.splits["train"]["image"], store.splits["validation"]["image"]])
    expected = pictures.fit(picture, 20, 20, 3).astype(int)
    assert len(found) == 6
    assert np.abs(found - expected).mean(axis=(1, 2, 3)).max() < 4


@pytest.mark.parametrize(
    ("sizes", "expected", "word"),
    [
        ([(30, 20)] * 3, (30, 20), ""),
        ([(30, 20), (20, 30), (20, 20)], (64, 64), "pictures of 30x20 and other sizes"),
        ([(300, 300)] * 3, (64, 64), "pictures of 300x300"),
    ],
)
def test_sizes_when_nobody_says_one(root, sizes, expected, word):
    for number, (height, width) in enumerate(sizes):
        save(root / f"{number}.png", photo(number, height, width))
    for _ in range(2):  # the word is said again when nothing is decoded
        store, said = prepared(root)
        assert (store.spec.pictures.height, store.spec.pictures.width) == expected
        assert [line.startswith(word) for line in said if "--size" in line] == [True] * bool(word)


@pytest.mark.parametrize("how", ["cover", "contain", "stretch"])
def test_pictures_are_fitted_as_asked(root, how):
    fill(root / "train", 20, height=30, width=20)
    fill(root / "test", 1, first=50, height=10, width=40)
    store, said = prepared(root, size=(16, 24), fit=how)
    assert store.spec.pictures.fit == how
    expected = pictures.fit(photo(50, 10, 40), 16, 24, 3, how)
    assert (store.splits["test"]["image"][0] == expected).all()
    lost = [line for line in said if "lose" in line]
    assert len(lost) == (how == "cover")
    if lost:  # 30x20 keeps 4/9 of its area, 10x40 three eighths
        assert "21 of 21 pictures lose 56% of their area, at most 62% (of 10x40)" in lost[0]
        assert prepared(root, size=(16, 24))[1] == lost


def test_pictures_that_fit_lose_nothing(root):
    fill(root, 20, height=100, width=101)
    assert not any("lose" in line for line in prepared(root, size=(50, 50))[1])


def test_arrays_are_fitted_too(root):
    images = np.stack([np.asarray(photo(number, 10, 20)) for number in range(20)])
    np.savez(root / "data.npz", images=images)
    store, said = prepared(root, size=(10, 10))
    assert "20 of 20 pictures of 10x20 lose 50%" in said[-1]
    store, _ = prepared(root, size=(10, 10), fit="contain")
    expected = {
        pictures.fit(Image.fromarray(each), 10, 10, 3, "contain").tobytes() for each in images
    }
    assert every(store) == expected


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


def as_tiff(root: Path, name: str, array: np.ndarray) -> None:
    save(root / f"{name}.tif", Image.fromarray(array))


def spans(store: Store, split: str) -> set[tuple[int, int]]:
    return {(int(each.min()), int(each.max())) for each in store.splits[split]["image"]}


def test_pictures_of_more_than_8_bits_have_one_range(root):
    for number in range(20):
        low, high = ((1000, 1400), (1100, 1300))[number % 2]
        as_tiff(root, f"train/{number}", (low + RAMP * (high - low)).astype(np.float32))
    as_tiff(root, "test/0", (1100 + RAMP * 100).astype(np.float32))
    as_tiff(root, "test/1", (900 + RAMP * 700).astype(np.float32))
    store, said = prepared(root)
    assert store.spec.pictures.value_range == (1000, 1400)
    assert spans(store, "train") == {(0, 255), (64, 191)}
    assert spans(store, "test") == {(64, 128), (0, 255)}
    assert any("from 1,000 to 1,400" in line for line in said)
    assert any("1 test pictures have values beyond" in line for line in said)
    found = inspect(locate_data(str(root)))
    assert found.spec == store.spec
    assert all(note in said for note in found.notes)
    assert [line for line in prepared(root)[1] if "measured" in line] == []


@pytest.mark.parametrize(
    ("high", "dtype", "value_range"),
    [
        (1400, "uint16", (0, 1400)),
        (60_000, "uint16", (0, 65_535)),
        (200, "uint16", (0, 255)),
        (0.8, "float32", (0, 1)),
        (0.1, "float32", (0, float(np.float32(0.1)))),
        (3e9, "float32", (0, 3e9)),
    ],
)
def test_the_range_is_a_usual_one_where_that_is_used(root, high, dtype, value_range):
    for number in range(4):
        as_tiff(root, str(number), (RAMP * high).astype(dtype))
    store, said = prepared(root)
    assert store.spec.pictures.value_range == value_range
    told = any("become black to white" in line for line in said)
    assert told == (value_range[1] not in {1, 255, 65_535})
    ((low, most),) = spans(store, "train")
    assert low == 0
    assert most == round(255 * float(np.array(high, dtype)) / value_range[1])


def test_what_is_not_a_number_does_not_count(root):
    for number in range(4):
        values = (5 + RAMP * 10).astype(np.float32)
        values[0, :3] = np.nan, np.inf, -np.inf
        as_tiff(root, str(number), values)
    assert prepared(root)[0].spec.pictures.value_range == pytest.approx((5.47, 15), abs=0.02)


def test_bytes_among_deep_pictures_stay_as_they_are(root):
    for number in range(10):
        as_tiff(root, f"deep{number}", (RAMP * 1000).astype(np.uint16))
        save(root / f"{number}.png", Image.fromarray((RAMP * 100).astype(np.uint8)))
    assert spans(prepared(root)[0], "train") == {(0, 255), (0, 100)}


def test_a_range_that_is_given_is_used_and_bytes_have_none(root, tmp_path):
    for number in range(4):
        as_tiff(root, str(number), (RAMP * 700).astype(np.uint16))
    store, _ = prepared(root, value_range=(0.0, 1400.0))
    assert spans(store, "train") == {(0, 128)}
    assert store.spec.pictures.value_range == (0, 1400)
    fill(tmp_path / "bytes", 4)
    assert (
        prepared(tmp_path / "bytes", value_range=(0.0, 1400.0))[0].spec.pictures.value_range is None
    )
    assert prepared(tmp_path / "bytes")[0].spec.pictures.value_range is None


@pytest.mark.parametrize("dtype", ["uint16", "int64", "float32", "float64"])
def test_arrays_of_other_numbers_have_one_range_too(root, dtype):
    scale = np.linspace(0.5, 1, 20)[:, None, None]
    images = (RAMP[None] * scale * 3000).astype(dtype)
    np.savez(root / "data.npz", x_train=images, x_test=images[:2] * 3)
    store, said = prepared(root)
    assert store.spec.pictures.value_range == (0, 3000)
    assert max(spans(store, "train")) == (0, 255)
    assert min(spans(store, "train"))[1] < 140
    assert any("2 test pictures" in line for line in said)
    assert inspect(locate_data(str(root))).spec == store.spec


def spoil(root: Path, count: int) -> None:
    for number in range(count):
        path = root / f"{number}.png"
        path.write_bytes(path.read_bytes()[:-30])


def test_few_bad_pictures_are_left_out_with_a_count(root):
    fill(root, 200)
    spoil(root, 2)
    for _ in range(2):
        store, said = prepared(root)
        assert sum(len(arrays["image"]) for arrays in store.splits.values()) == 198
        assert "2 of 200 pictures of root cannot be read and are left out" in said[-1]
        assert str(root / "0.png") in said[-1]
    with raises(NotFoundError, "bad-picture", "2 of 200"):
        prepared(root, on_bad_image="fail")


def test_many_bad_pictures_are_an_error_unless_one_says_skip(root):
    fill(root, 200)
    spoil(root, 3)
    with raises(
        NotFoundError, "bad-picture", "3 of 200", root / "0.png", "--on-bad-image skip"
    ) as caught:
        prepared(root)
    assert len(str(caught.value).splitlines()) <= 6
    store, said = prepared(root, on_bad_image="skip")
    assert store.bad == 3
    assert not any("decoding" in line for line in said)  # the choice needs no new decoding


def test_bad_pictures_of_an_archive_are_called_as_in_the_archive(root, tmp_path):
    fill(root / "set", 20)
    spoil(root / "set", 1)
    shutil.make_archive(str(tmp_path / "photos"), "zip", root)
    with raises(NotFoundError, "bad-picture", "set/0.png") as caught:
        prepared(tmp_path / "photos.zip")
    assert "unfinished" not in str(caught.value)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_pictures(root, count):
    fill(root, count)
    (root / "broken.png").write_bytes(b"")
    with raises(NotFoundError, "too-few-rows", root.name):
        prepared(root, on_bad_image="skip")
    assert [path for path in store_home().iterdir() if "-" not in path.name] == []


def test_a_side_with_too_few_pictures_is_named(root):
    fill(root / "trainA", 5)
    fill(root / "trainB", 1)
    with raises(NotFoundError, "too-few-rows", root.name, "side b"):
        prepared(root)


@pytest.mark.parametrize("kind", ["zip", "gztar", "tar"])
def test_archives_are_read_like_folders(root, tmp_path, kind):
    fill(root / "photos" / "cat", 3)
    fill(root / "photos" / "dog", 3, first=3)
    archive = shutil.make_archive(str(tmp_path / "pets"), kind, root)
    store, _ = prepared(archive)
    assert store.spec.name == "pets"
    assert store.spec.classes == ("cat", "dog")
    folder, _ = prepared(root)
    assert (store.splits["train"]["image"] == folder.splits["train"]["image"]).all()
    assert all(not path.name.startswith(".") for path in store_home().iterdir())


def test_memory_stays_bounded(root):
    save(root / "0.png", photo(0, 200, 200))
    for number in range(1, 500):
        os.link(root / "0.png", root / f"{number}.png")
    tracemalloc.start()
    store, _ = prepared(root)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert store.spec.pictures.height == 200
    assert peak < 30e6 < 60e6 == sum(each["image"].nbytes for each in store.splits.values())


def test_a_damaged_store_is_decoded_anew(root):
    fill(root, 8)
    first, _ = prepared(root)
    expected = first.splits["train"]["image"].copy()
    (folder,) = store_home().iterdir()
    for name, content in (
        ("train-image", b"short"),
        ("store.json", b"{}"),
        ("store.json", b"\xff"),
    ):
        del first
        (folder / name).unlink()
        (folder / name).write_bytes(content)
        first, said = prepared(root)
        assert "decoding" in said[0]
        assert (first.splits["train"]["image"] == expected).all()
        assert list(store_home().iterdir()) == [folder]


def large(root: Path) -> None:
    save(root / "0.png", photo(0, 400, 400))
    for number in range(1, 250):
        os.link(root / "0.png", root / f"{number}.png")


def test_two_processes_at_once(root):
    large(root)
    processes = [start(root), start(root)]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert said[0].splitlines()[-1] == said[1].splitlines()[-1]
    assert len(list(store_home().iterdir())) == 1
    assert start(root).communicate(timeout=60)[0].splitlines()[0].startswith("{")


def test_a_killed_process_leaves_nothing_under_a_final_name(root, tmp_path):
    large(root)
    process = start(root)
    deadline = time.monotonic() + 30
    while not list(store_home().glob(".unfinished-*/train-image")) and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    left = list(store_home().iterdir())
    assert len(left) == 1
    assert left[0].name.startswith(".unfinished-")
    fill(tmp_path / "other", 3)
    prepared(tmp_path / "other")
    assert left[0].exists()  # it might be at work still
    for path in (left[0], *left[0].iterdir()):
        os.utime(path, (0, 0))
    fill(tmp_path / "other", 4)
    prepared(tmp_path / "other")
    assert not left[0].exists()


def test_a_full_disk_is_told_and_leaves_nothing(root):
    large(root)
    # the limit on the size of a file stands for the end of the disk
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    process = start(root, limit)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1
    assert "cannot be written" in said
    assert "ZOO_HOME" in said
    assert list(store_home().iterdir()) == []


def test_a_cache_that_cannot_be_written_to(root, monkeypatch, tmp_path):
    fill(root, 3)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file" / "cache"))
    with raises(ZooError, "cache-unusable", tmp_path / "file" / "cache") as caught:
        prepared(root)
    assert caught.value.exit_code == 1


def test_horses_and_zebras_are_downloaded_and_decoded_by_name(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    content = (shared_data / "horse2zebra.zip").read_bytes()
    row = f"""
        schema = 1
        [dataset.horses]
        summary = "Horses and zebras"
        layout = "unpaired-folders"
        licence = "none given"
        size = [32, 32]
        domains = ["horse", "zebra"]
        mirrors = ["%s"]
        files = [{{ name = "horse2zebra.zip", bytes = {len(content)}, sha256 = "%s" }}]
    """
    with loopback() as server:
        server.put("/sets/horse2zebra.zip", content)
        row = row % (server.url("/sets/"), hashlib.sha256(content).hexdigest())
        (tmp_path / "registry.toml").write_text(row)
        monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "registry.toml"))
        store, said = prepared("horses")
        assert server.sent() == len(content)
    counts = {name: (len(arrays["a"]), len(arrays["b"])) for name, arrays in store.splits.items()}
    assert counts == {"train": (1014, 1267), "validation": (53, 67), "test": (120, 140)}
    spec = DataSpec.of_images("horses", 3, 32, 32, domains=("horse", "zebra"), licence="none given")
    assert store.spec == spec
    assert (store.total, store.bad, store.pairs) == (2661, 0, ())
    assert all(line.startswith(("decoding ", "decoded ")) for line in said)
    zebras = np.concatenate([store.splits["train"]["b"], store.splits["validation"]["b"]])
    grey = (zebras[..., 0] == zebras[..., 1]) & (zebras[..., 1] == zebras[..., 2])
    assert grey.all(axis=(1, 2)).sum() >= 7


def test_fashion(shared_data: Path):
    store, _ = prepared(shared_data / "fashion-mnist")
    assert {name: len(arrays["image"]) for name, arrays in store.splits.items()} == {
        "train": 58_000,
        "validation": 2000,
        "test": 10_000,
    }
    began = time.perf_counter()
    _, said = prepared(shared_data / "fashion-mnist")
    assert said == []
    assert time.perf_counter() - began < 1
