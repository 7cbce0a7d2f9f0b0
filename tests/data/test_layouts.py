"""Every named layout is recognised and listed; what is damaged or unknown is named."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.pictures import fill, idx, photo, save, write_mnist
from tests.errors import raises
from zoo.catalog.dataset import LAYOUTS
from zoo.data.layouts import read
from zoo.data.location import Listing
from zoo.errors import NotFoundError


def names(listing: Listing, split: str, side: str = "image") -> list[str]:
    return [Path(path).name for path in listing.splits[split][side].items]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


def test_folder_of_pictures_in_natural_order(root):
    for name in ("b/10.png", "b/9.JPG", "a2.png", "a10.webp"):
        save(root / name, photo(0))
    listing = read(root)
    assert listing.layout == "folder"
    assert names(listing, "train") == ["a2.png", "a10.webp", "9.JPG", "10.png"]
    assert listing.splits["train"]["image"].labels is None


def test_folder_with_splits(root):
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        fill(root / split, count)
    listing = read(root)
    assert listing.layout == "folder"
    assert {split: len(names(listing, split)) for split in listing.splits} == {
        "train": 4,
        "validation": 2,
        "test": 3,
    }


def test_class_folders(root):
    for name, count in (("class 10", 2), ("class 2", 3), ("class 1", 1)):
        fill(root / name, count)
    listing = read(root)
    assert listing.layout == "class-folders"
    assert listing.classes == ("class 1", "class 2", "class 10")
    assert listing.splits["train"]["image"].labels.tolist() == [0, 1, 1, 1, 2, 2]


def test_class_folders_with_splits_share_their_numbers(root):
    fill(root / "train" / "dog", 2)
    fill(root / "train" / "cat", 1)
    fill(root / "test" / "dog", 1)
    listing = read(root)
    assert listing.layout == "class-folders"
    assert listing.classes == ("cat", "dog")
    assert listing.splits["train"]["image"].labels.tolist() == [0, 1, 1]
    assert listing.splits["test"]["image"].labels.tolist() == [1]


def test_unpaired_folders(root):
    for name, count in (("trainA", 3), ("trainB", 4), ("testA", 1), ("testB", 2)):
        fill(root / "horse2zebra" / name, count)
    listing = read(root)
    assert listing.layout == "unpaired-folders"
    counts = {
        (split, side): len(names(listing, split, side))
        for split, sides in listing.splits.items()
        for side in sides
    }
    assert counts == {("train", "a"): 3, ("train", "b"): 4, ("test", "a"): 1, ("test", "b"): 2}


def test_two_domains_are_one_folder_when_said(root):
    for name, count in (("trainA", 3), ("trainB", 4), ("testA", 1), ("testB", 2)):
        fill(root / "horse2zebra" / name, count)
    listing = read(root, "folder")
    assert {split: len(names(listing, split)) for split in listing.splits} == {
        "train": 7,
        "test": 3,
    }
    (root / "horse2zebra" / "trainB").rename(root / "horse2zebra" / "zebras")
    assert len(names(read(root, "folder"), "train")) == 10  # no two domains: all of it


@pytest.mark.parametrize("width", [19, 20, 21])
def test_halves_are_pairs_for_a_model_of_two_domains_only_and_it_is_told(root, width):
    fill(root / "train", 3, height=10, width=width)
    fill(root / "val", 1, height=10, width=width)
    listing = read(root, two_domains=True)
    assert listing.layout == "paired-side-by-side"
    assert {side: each.half for side, each in listing.splits["train"].items()} == {
        "a": "left",
        "b": "right",
    }
    assert names(listing, "train", "a") == names(listing, "train", "b")
    assert ":folder" in listing.notes[0]
    whole = read(root)
    assert whole.layout == "folder"
    assert ":paired-side-by-side" in whole.notes[0]


def test_halves_of_any_width_are_pairs_when_said(root):
    fill(root, 3, height=10, width=33)
    assert set(read(root, "paired-side-by-side").splits["train"]) == {"a", "b"}


def test_two_class_folders_are_two_domains_where_these_are_wanted(root):
    for split in ("train", "test"):
        fill(root / split / "horses", 3)
        fill(root / split / "zebras", 2)
    assert read(root).layout == "class-folders"
    listing = read(root, two_domains=True)
    assert listing.domains == ("horses", "zebras")
    assert {side: len(names(listing, "test", side)) for side in "ab"} == {"a": 3, "b": 2}
    fill(root / "train" / "donkeys", 2)
    assert read(root, two_domains=True).layout == "class-folders", "three are no two domains"


@pytest.mark.parametrize(
    ("folders", "classes", "splits"),
    [
        ({"bus": 2, "car": 2, "train": 2}, {"bus", "car", "train"}, {"train": 6}),
        ({"resting": 2, "training": 3}, {"resting", "training"}, {"train": 5}),
        ({"train": 4, "test": 2, "extra": 1}, set(), {"train": 4, "test": 2}),
        ({"train/cat": 1, "train/dog": 1, "examples": 1}, {"cat", "dog"}, {"train": 2}),
        ({"training_set/cat": 2, "training_set/dog": 2, "test_set/cat": 1}, {"cat", "dog"},
         {"train": 4, "test": 1}),
        ({"Train-Images": 3, "dev": 1, "eval": 2}, set(), {"train": 3, "validation": 1, "test": 2}),
        ({"train/cat": 2, "train/dog": 2, "test": 3}, {"cat", "dog"}, {"train": 4, "test": 3}),
    ],
)  # fmt: skip
def test_folders_are_splits_or_classes_and_what_is_left_out_is_told(root, folders, classes, splits):
    for name, count in folders.items():
        fill(root / name, count)
    listing = read(root)
    assert set(listing.classes) == classes
    found = {split: len(names(listing, split)) for split in listing.splits}
    assert found == splits
    left_out = sum(folders.values()) - sum(splits.values())
    assert any(f"{left_out} pictures are not used" in each for each in listing.notes) == (
        left_out > 0
    )


def test_a_test_split_without_classes_has_no_labels_and_that_is_told(root):
    fill(root / "train" / "cat", 2)
    fill(root / "train" / "dog", 2)
    fill(root / "test", 3)
    listing = read(root)
    assert listing.splits["test"]["image"].labels is None
    assert "3 pictures of the test split have no classes" in listing.notes[0]


def test_labels_of_a_dataset_json(root):
    fill(root / "00000", 3)
    fill(root / "00001", 2)
    rows = [[f"{path.parent.name}/{path.name}", int(path.parent.name) + 4 * (path.stem == "0")]
            for path in sorted(root.rglob("*.png"))]  # fmt: skip
    (root / "dataset.json").write_text(json.dumps({"labels": rows[:-1]}))
    listing = read(root)
    assert listing.layout == "dataset-json"
    assert listing.splits["train"]["image"].labels.tolist() == [label for _, label in rows[:-1]]
    assert listing.classes == tuple("012345")
    assert any("1 pictures are not used" in note for note in listing.notes)
    (root / "dataset.json").write_text(json.dumps({"labels": None}))
    assert read(root).layout == "class-folders"
    for damaged in ("{", '{"labels": [["a", -1]]}', '{"labels": [["a", true]]}', '{"labels": 3}'):
        (root / "dataset.json").write_text(damaged)
        with raises(NotFoundError, "bad-labels", "dataset.json"):
            read(root)


def test_kinds_that_are_not_read_are_told_by_kind(root):
    fill(root, 2)
    for name in ("labels.csv", "a.mp4", "b.pdf", "notes.txt", "x.npy"):
        (root / name).write_text("x")
    told = " ".join(read(root).notes)
    for word in (".csv", ".mp4", "videos", ".pdf", ".npy"):
        assert word in told
    assert ".txt" not in told


def test_an_archive_of_many_pictures_beside_two_illustrations(root):
    fill(root, 2)
    np.savez(root / "data.npz", images=np.zeros((5, 4, 4), np.uint8))
    listing = read(root)
    assert listing.layout == "npz"
    assert "2 pictures are not used" in listing.notes[0]
    np.savez(root / "data.npz", thumbnail=np.zeros((1, 4, 4), np.uint8))
    listing = read(root)
    assert listing.layout == "folder"
    assert ".npz" in listing.notes[0]


def test_arrays_without_names(root):
    np.savez(root / "data.npz", np.zeros((3, 4, 4), np.uint8), np.array([0, 1, 1]))
    side = read(root).splits["train"]["image"]
    assert (len(side.items), side.labels.tolist()) == (3, [0, 1, 1])


def test_npz_files_of_images_and_of_labels_as_kmnist_has_them(root):
    for split, count in (("train", 4), ("test", 2)):
        np.savez(root / f"kmnist-{split}-imgs.npz", np.zeros((count, 28, 28), np.uint8))
        np.savez(root / f"kmnist-{split}-labels.npz", np.arange(count) % 2)
    listing = read(root)
    assert listing.layout == "npz"
    assert listing.splits["train"]["image"].labels.tolist() == [0, 1, 0, 1]
    assert len(listing.splits["test"]["image"].items) == 2
    assert listing.notes == ()


@pytest.mark.parametrize("packed", [True, False])
def test_idx(root, packed):
    pictures = write_mnist(root, packed=packed)
    (root / "LICENSE").write_text("text")
    listing = read(root)
    assert listing.layout == "idx"
    side = listing.splits["train"]["image"]
    assert (side.items == pictures[..., None]).all()
    assert side.labels.tolist() == [*range(10), *range(10)]
    assert len(listing.splits["test"]["image"].items) == 5
    assert listing.classes == tuple("0123456789")


def test_idx_packed_and_plain_side_by_side_are_one_set(root):
    write_mnist(root / "raw")
    write_mnist(root / "raw", packed=False)
    assert len(read(root).splits["train"]["image"].items) == 20


def test_two_sets_of_idx_files_in_one_folder(root):
    for prefix in ("emnist-letters-", "emnist-digits-"):
        (root / f"{prefix}train-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 4, 4), np.uint8)))
    with raises(NotFoundError, "bad-layout", "emnist-letters", "emnist-digits"):
        read(root)


def test_cifar_batches(root):
    rows = np.random.default_rng(0).integers(0, 256, (6, 3073), np.uint8)
    rows[:, 0] = [3, 1, 0, 9, 9, 2]
    base = root / "cifar-10-batches-bin"
    base.mkdir()
    for name, part in (
        ("data_batch_1", rows[:2]),
        ("data_batch_2", rows[2:4]),
        ("test_batch", rows[4:]),
    ):
        (base / f"{name}.bin").write_bytes(part.tobytes())
    (base / "batches.meta.txt").write_text("airplane\n")
    listing = read(root)
    assert listing.layout == "cifar-batches"
    train = listing.splits["train"]["image"]
    assert train.labels.tolist() == [3, 1, 0, 9]
    assert train.items[2, 5, 7].tolist() == rows[2, 1:].reshape(3, 32, 32)[:, 5, 7].tolist()
    assert listing.splits["test"]["image"].labels.tolist() == [9, 2]


COLOUR = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), np.uint8)


@pytest.mark.parametrize(
    "given_arrays",
    [
        {"images": COLOUR, "labels": np.arange(4)},
        {"x_train": COLOUR, "y_train": np.arange(4, dtype=np.uint8), "x_test": COLOUR[:1]},
        {"train_images": COLOUR, "train_labels": np.arange(4)[:, None], "val_images": COLOUR[:2]},
        {"images": COLOUR.transpose(0, 3, 1, 2), "labels": np.arange(4, dtype=np.int32)},
        {"images": np.asfortranarray(COLOUR), "labels": np.arange(4)},
    ],
)
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_npz(root, write, given_arrays):
    write(root / "data.npz", **given_arrays)
    for place in (root, root / "data.npz"):
        listing = read(place)
        assert listing.layout == "npz"
        side = listing.splits["train"]["image"]
        assert (side.items == COLOUR).all()
        assert side.labels.tolist() == [0, 1, 2, 3]
    assert ("test" in listing.splits) == ("x_test" in given_arrays)
    assert ("validation" in listing.splits) == ("val_images" in given_arrays)


def test_grey_npz_without_labels(root):
    np.savez(root / "data.npz", images=COLOUR[..., 0])
    side = read(root).splits["train"]["image"]
    assert side.items.shape == (4, 6, 5, 1)
    assert side.labels is None


def test_what_operating_systems_leave_behind_is_passed_over(root):
    fill(root / "photos", 2)
    save(root / "__MACOSX" / "photos" / "1.png", photo(1))
    save(root / "photos" / "._1.png", photo(1))
    save(root / ".thumbnails" / "1.png", photo(1))
    (root / "photos" / "Thumbs.db").write_bytes(b"x")
    (root / "readme.txt").write_text("hello")
    listing = read(root)
    assert listing.layout == "folder"
    assert names(listing, "train") == ["0.png", "1.png"]


def test_links_in_a_circle(root):
    fill(root / "photos", 2)
    (root / "photos" / "back").symlink_to(root)
    assert len(names(read(root), "train")) == 2


def test_a_linked_folder_is_followed(root, tmp_path):
    fill(tmp_path / "elsewhere", 3)
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert len(names(read(root), "train")) == 3


def test_nothing_known_says_what_is_there(root):
    for name in ("a.csv", "b.csv", "notes.txt", "deep/c.parquet"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")
    with raises(NotFoundError, "bad-layout", root, "2 .csv", *LAYOUTS):
        read(root)


def test_an_empty_folder(root):
    with raises(NotFoundError, "bad-layout", root):
        read(root)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_wrong_layout_says_what_it_expects(root, layout):
    (root / "notes.txt").write_text("x")
    with raises(NotFoundError, "bad-layout", root, layout, "1 .txt"):
        read(root, layout)


def test_unpaired_needs_both_sides(root):
    fill(root / "trainA", 3)
    with raises(NotFoundError, "bad-layout", "trainA", "trainB"):
        read(root, "unpaired-folders")


HOSTILE = {
    "no idx": b"<html>",
    "wrong type": struct.pack(">BBBBIII", 0, 0, 0x0D, 3, 1, 1, 1) + bytes(4),
    "cut header": b"\0\0\x08\x03\0\0",
    "huge": struct.pack(">BBBBIII", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
    "cut": idx(np.zeros((9, 4, 4), np.uint8))[:-1],
    "too long": idx(np.zeros((9, 4, 4), np.uint8)) + b"\0",
    "flat": idx(np.zeros((9, 0, 4), np.uint8)),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_idx_files_are_refused(root, content, packed):
    name = "train-images-idx3-ubyte" + (".gz" if packed else "")
    (root / name).write_bytes(gzip.compress(content) if packed else content)
    with raises(NotFoundError, "bad-data", name):
        read(root)


def test_forged_headers_take_no_memory(root):
    huge = struct.pack(">BBBBIII", 0, 0, 8, 3, 2**20, 32, 32)
    (root / "idx").mkdir()
    (root / "idx" / "train-images-idx3-ubyte").write_bytes(huge)
    (root / "npz").mkdir()
    npz(
        root / "npz" / "data.npz",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824,), }",
    )
    tracemalloc.start()
    for name in ("idx", "npz"):
        with raises(NotFoundError, "bad-data", root / name):
            read(root / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_labels_that_do_not_fit_the_pictures(root):
    write_mnist(root, packed=False)
    (root / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(19, np.uint8)))
    with raises(NotFoundError, "bad-data", "train-labels-idx1-ubyte", 19, 20):
        read(root)


def npz(path: Path, header: bytes, body: bytes = b"") -> None:
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + body
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", content)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (4611686018427387904, 4, 4), }", b""),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (1073741824, 28, 28), }", bytes(99)),
        (b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 2, 2), }", bytes(64)),
        (b"{'descr': '<c8', 'fortran_order': False, 'shape': (2, 2, 2), }", bytes(64)),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (8, 1000, 1000), }", bytes(8_000_000)),
        (b"__import__('os').system('touch evil')", b""),
        (b"", b""),
    ],
    ids=["beyond addresses", "beyond the file", "pickle", "complex", "bomb", "code", "empty"],
)
def test_hostile_npz_files_are_refused(root, header, body, monkeypatch):
    monkeypatch.setattr("zoo.data.arrays.MAX_DEFLATE", 100)  # the bomb is a harmless one
    npz(root / "data.npz", header, body)
    with raises(NotFoundError, "bad-data", root / "data.npz"):
        read(root)
    assert not Path("evil").exists()


def test_npz_of_any_names_gives_the_only_pictures_and_tells_the_rest(root):
    np.savez(root / "data.npz", pics=COLOUR, ages=np.arange(4), text=np.array(["a"] * 4))
    listing = read(root)
    assert (listing.splits["train"]["image"].items == COLOUR).all()
    assert "pics are read; not ages, text" in listing.notes[0]
    np.savez(root / "data.npz", pics=COLOUR, masks=COLOUR[..., 0])
    with raises(NotFoundError, "bad-data", "masks", "pics", "x_train"):
        read(root)
    np.savez(root / "data.npz", words=np.array(["a"] * 4))
    with raises(NotFoundError, "bad-data", "words"):
        read(root)


@pytest.mark.parametrize("names", [("data", "target"), ("X", "y"), ("imgs", "labels")])
def test_npz_names_that_are_usual_elsewhere(root, names):
    np.savez(root / "data.npz", **dict(zip(names, (COLOUR, np.arange(4)), strict=True)), more=[1])
    listing = read(root)
    assert listing.splits["train"]["image"].labels.tolist() == [0, 1, 2, 3]
    assert "not more" in listing.notes[0]


@pytest.mark.parametrize("shape", [(4,), (4, 5), (4, 5, 5, 2), (4, 5, 5, 3, 1)])
def test_arrays_that_are_no_pictures(root, shape):
    np.savez(root / "data.npz", images=np.zeros(shape, np.uint8))
    with raises(NotFoundError, "bad-data", root / "data.npz", shape):
        read(root)


@pytest.mark.parametrize(
    "labels", [np.array([0, 1, 2, -1]), np.full(4, 2**40), np.zeros((2, 2), int)]
)
def test_labels_that_are_none(root, labels):
    np.savez(root / "data.npz", images=COLOUR, labels=labels)
    with raises(NotFoundError, "bad-data", root / "data.npz", "labels"):
        read(root)


def test_a_cut_cifar_batch(root):
    (root / "data_batch_1.bin").write_bytes(bytes(3073 * 2 - 1))
    with raises(NotFoundError, "bad-data", root / "data_batch_1.bin", 3073):
        read(root)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(["data.npz", "train-images-idx3-ubyte", "data_batch_1.bin"]),
    place=st.integers(0, 300),
    noise=st.binary(max_size=60),
)
def test_arbitrary_bytes_are_read_or_refused(root, name, place, noise):
    for old in root.iterdir():
        old.unlink()
    if name == "data.npz":
        file = io.BytesIO()
        np.savez(file, images=COLOUR)
        content = bytearray(file.getvalue())
    else:
        content = bytearray(idx(COLOUR[..., 0]) if "idx" in name else bytes(3073))
    content[place : place + len(noise)] = noise
    (root / name).write_bytes(content)
    try:
        listing = read(root)
    except NotFoundError:
        return
    assert listing.splits["train"]["image"].items.dtype == np.uint8


def test_the_real_files(shared_data: Path):
    listing = read(shared_data / "fashion-mnist")
    assert listing.layout == "idx"
    assert listing.splits["train"]["image"].items.shape == (60000, 28, 28, 1)
    assert np.bincount(listing.splits["test"]["image"].labels).tolist() == [1000] * 10
