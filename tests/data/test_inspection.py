"""`inspect` tells what training would read, and what it would not."""

from __future__ import annotations

import json
import os
from pathlib import Path

from PIL import Image

from tests.data.pictures import fill, photo, save, write_mnist
from zoo.data.location import locate_data
from zoo.data.store import open_store
from zoo.data.survey import inspect


def test_a_folder_with_all_sorts_of_things():
    root = Path("photos")
    fill(root / "train" / "cat", 30)
    fill(root / "train" / "dog", 10, height=20, width=16)
    fill(root / "test" / "dog", 4)
    save(root / "train" / "cat" / "grey.png", photo(0, mode="L"))
    save(root / "train" / "cat" / "clear.png", photo(0, mode="RGBA"))
    (root / "train" / "cat" / "5.png").write_bytes(b"not a picture")
    (root / "train" / "dog" / "notes.txt").write_text("hello")
    found = inspect(locate_data("photos"))
    assert found.layout == "class-folders"
    assert found.splits == {"train": {"image": 41}, "test": {"image": 4}}
    assert found.validation == {"image": 2}
    assert found.counts["sizes"] == {"12x12": 35, "20x16": 10}
    assert found.counts["modes"] == {"RGB": 43, "L": 1, "RGBA": 1}
    assert found.classes == {"cat": 32, "dog": 10}
    assert found.bad == [
        {"path": "photos/train/cat/5.png", "reason": "not a picture of a known format"}
    ]
    assert found.unused == 1
    assert found.spec.image.image_shape == (3, 64, 64)
    assert any("64x64" in note for note in found.notes)
    again = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert again["splits"] == found.splits
    assert again["spec"]["ports"][1]["classes"] == ["cat", "dog"]


def test_names_of_any_bytes_can_be_printed():
    root = Path(os.fsdecode(b"\xff"))
    fill(root / os.fsdecode(b"class \xfe"), 2)
    fill(root / "class\nb", 2)
    (root / "class\nb" / os.fsdecode(b"\xfd.png")).write_bytes(b"")
    found = inspect(locate_data(str(root)))
    said: list[str] = []
    store = open_store(locate_data(str(root)), on_bad_image="skip", report=said.append)
    for text in (json.dumps(found.to_json(), ensure_ascii=False), *said, *store.spec.classes):
        assert text.encode("utf-8")
    assert store.spec.classes == ("class_b", "class \ufffd")


def test_it_says_what_training_then_gets():
    write_mnist(Path("digits"), train=100, test=7)
    fill(Path("pairs") / "train", 30, height=10, width=20)
    Image.new("RGB", (1, 5)).save("pairs/train/narrow.png")
    for place in ("digits", "pairs:paired-side-by-side"):
        found = inspect(locate_data(place))
        store = open_store(locate_data(place), on_bad_image="skip")
        counts = {
            split: {name: len(array) for name, array in arrays.items() if name != "label"}
            for split, arrays in store.splits.items()
        }
        assert found.spec == store.spec
        assert found.validation == counts.pop("validation")
        for name, held in found.validation.items():
            counts["train"][name] += held
        assert found.splits == counts
        assert len(found.bad) == store.bad
