"""Two folders of pictures: pairs by file name stay pairs, and any two names are two domains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.pictures import fill, photo, save
from tests.errors import raises
from zoo.data.batches import Batches, in_order
from zoo.data.layouts import read
from zoo.data.location import Listing, locate_data
from zoo.data.store import Store, open_store
from zoo.errors import NotFoundError


def names(listing: Listing, split: str = "train") -> list[tuple[str, str]]:
    a, b = (listing.splits[split][side].items for side in "ab")
    return [(one.stem, other.stem) for one, other in zip(a, b, strict=True)]


def write_pair(first: str, second: str, number: int, name: str = "") -> None:
    """Write a grey picture, and its partner, which is a little brighter."""
    for path, value in ((first, number), (second, number + 100)):
        save(Path(path) / f"{name or number}.png", Image.new("L", (8, 8), value))


@pytest.mark.parametrize(
    ("first", "second", "domains"),
    [
        ("A", "B", ("a", "b")),
        ("input", "target", ("input", "target")),
        ("Inputs", "Targets", ("inputs", "targets")),
        ("train", "train_cleaned", ("input", "cleaned")),
        ("train/input", "train/target", ("input", "target")),
        ("input/train", "target/train", ("input", "target")),
        ("set/images", "set/masks", ("images", "masks")),
        ("train_images", "train_labels", ("images", "labels")),
        ("photos", "ground truth", ("photos", "groundtruth")),
    ],
)
def test_usual_names_are_pairs_and_that_is_told(tmp_path, first, second, domains):
    for name in ("10", "9", "b.c"):
        save(tmp_path / first / f"{name}.JPG", photo(0))
        save(tmp_path / second / f"{name}.png", photo(1))
    for wanted in (True, False):
        listing = read(tmp_path, two_domains=wanted)
        assert listing.layout == "paired-folders"
        assert listing.domains == domains
        assert names(listing) == [("9", "9"), ("10", "10"), ("b.c", "b.c")]
        assert listing.pairs == ("train",)
        assert any(":unpaired-folders" in note for note in listing.notes)
    assert read(tmp_path, "unpaired-folders").pairs == ()


def test_splits_and_folders_below_the_sides(tmp_path):
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        for side in ("input", "target"):
            fill(tmp_path / split / side / "deep", count)
            fill(tmp_path / split / side, 1)
    listing = read(tmp_path)
    assert {split: len(names(listing, split)) for split in listing.splits} == {
        "train": 5,
        "validation": 3,
        "test": 4,
    }
    assert set(listing.pairs) == set(listing.splits)


def test_masks_that_all_end_alike(tmp_path):
    for number in range(3):
        save(tmp_path / "train" / f"car_{number}.jpg", photo(number))
        save(tmp_path / "train_masks" / f"car_{number}_mask.gif", photo(number, mode="L"))
    listing = read(tmp_path)
    assert listing.layout == "paired-folders"
    assert names(listing) == [(f"car_{each}", f"car_{each}_mask") for each in range(3)]


def test_what_has_no_partner_is_left_out_and_told(tmp_path):
    fill(tmp_path / "train", 6)
    fill(tmp_path / "train_cleaned", 5, first=1)
    fill(tmp_path / "test", 2)
    save(tmp_path / "train" / "3.jpg", photo(3))  # which of the two is meant?
    listing = read(tmp_path)
    assert names(listing) == [(each, each) for each in ("1", "2", "4", "5")]
    assert "test" not in listing.splits
    (told,) = [note for note in listing.notes if "no partner" in note]
    assert told.startswith("6 pictures")
    assert all(name in told for name in ("test/0.png", "train/0.png", "train/3.jpg"))
    assert not any("not used" in note for note in listing.notes)


def test_names_of_which_few_agree_are_no_pairs(tmp_path):
    fill(tmp_path / "A", 6)
    fill(tmp_path / "B", 6, first=4)
    assert read(tmp_path).layout == "class-folders"
    assert read(tmp_path, two_domains=True).layout == "unpaired-folders"
    assert len(names(read(tmp_path, "paired-folders"))) == 2
    for path in (tmp_path / "B").iterdir():
        path.rename(path.with_stem(f"x{path.stem}"))
    with raises(NotFoundError, "bad-layout", tmp_path, "paired-folders"):
        read(tmp_path, "paired-folders")


def test_letters_and_grades_are_classes(tmp_path):
    for name in ("A", "B", "C"):
        fill(tmp_path / "letters" / name, 3)
    for name in ("low", "middle", "high"):
        fill(tmp_path / "grades" / name, 3)
    for place in ("letters", "grades"):
        assert read(tmp_path / place).layout == "class-folders"


def test_train_a_and_train_b_stay_unpaired_unless_it_is_said(tmp_path):
    for name in ("trainA", "trainB", "testA", "testB"):
        fill(tmp_path / name, 3)
    listing = read(tmp_path)
    assert (listing.layout, listing.pairs, listing.domains) == ("unpaired-folders", (), ("a", "b"))
    assert any(":paired-folders" in note for note in listing.notes)
    assert set(read(tmp_path, "paired-folders").pairs) == {"train", "test"}


def test_any_two_folders_are_two_domains(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        fill(tmp_path / "horses" / split, count)
        fill(tmp_path / "zebras" / split, count + 1, first=7)
    for listing in (read(tmp_path, two_domains=True), read(tmp_path, "unpaired-folders")):
        assert listing.domains == ("horses", "zebras")
        counts = [len(side.items) for side in listing.splits["test"].values()]
        assert counts == [2, 3]


def in_step(batch: dict[str, Any]) -> bool:
    a, b = (np.asarray(batch[side]).reshape(len(batch[side]), -1)[:, 0] for side in "ab")
    return bool(len(a)) and np.allclose(a + 100, b)


@pytest.mark.parametrize("layout", ["paired-folders", "paired-side-by-side"])
def test_pairs_are_in_step_in_every_split_and_batch(layout):
    def write(split: str, numbers: range) -> None:
        for number in numbers:
            if layout == "paired-folders":
                write_pair(f"data/input/{split}", f"data/target/{split}", number)
            else:
                both = Image.new("L", (16, 8), number)
                both.paste(number + 100, (8, 0, 16, 8))
                save(Path("data") / split / f"{number}.png", both)

    write("train", range(40))
    write("test", range(50, 60))
    damaged = ["data/train/3.png", "data/train/17.png"]
    if layout == "paired-folders":
        damaged = ["data/input/train/3.png", "data/target/train/17.png"]
    for path in damaged:
        Path(path).write_bytes(b"")
    store: Store = open_store(locate_data(f"data:{layout}"), on_bad_image="skip")
    assert set(store.pairs) == {"train", "validation", "test"}
    held = len(store.splits["validation"]["a"])
    assert (held, len(store.splits["train"]["a"])) == (2, 36)
    for arrays in store.splits.values():
        assert in_step({side: arrays[side].astype(int) for side in "ab"})
    batches = Batches(store.splits["train"], store.spec, 8, seed=1, device=torch.device("cpu"))
    seen = [batch for epoch in range(2) for batch in batches.epoch(epoch)]
    seen += in_order(store.splits["test"], store.spec, 4, torch.device("cpu"))
    for batch in seen:
        pixels = {side: (tensor + 1) * 127.5 for side, tensor in batch.items()}
        assert in_step(pixels)


def test_real_pairs(shared_data: Path):
    store = open_store(locate_data(str(shared_data / "dirty-documents.zip")))
    assert store.pairs == ("train", "validation")
    assert store.spec.domains == ("input", "cleaned")
    dirty, clean = (store.splits["train"][side].astype(float) for side in "ab")
    ours = np.abs(dirty - clean).mean()
    assert ours < 0.75 * np.abs(dirty - np.roll(clean, 1, axis=0)).mean()
