"""Labels in a table beside the pictures are read whatever the table is like, or it is told."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.pictures import fill, photo, save
from tests.errors import raises
from tests.process import error_of, zoo, zoo_json
from zoo.data import tables
from zoo.data.layouts import read
from zoo.data.location import Listing, locate_data
from zoo.data.store import open_store
from zoo.errors import NotFoundError
from zoo.modalities.text import as_text


def labelled(listing: Listing, split: str = "train") -> dict[str, str]:
    """Return the class of each picture, by its name."""
    side = listing.splits[split]["image"]
    assert side.labels is not None
    named = zip(side.items, side.labels, strict=True)
    return {path.name: listing.classes[label] for path, label in named}


def told(listing: Listing) -> str:
    return "\n".join(listing.notes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill(tmp_path / "root", 4)
    return tmp_path / "root"


WANTED = {"0.png": "cat", "1.png": "dog", "2.png": "cat", "3.png": "dog"}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metadata.csv", "file_name,label\n0.png,cat\n1.png,dog\n2.png,cat\n3.png,dog\n"),
        ("metadata.csv", "label;file_name\r\ncat;0.png\r\ndog;1.png\r\ncat;./2.png\r\ndog;3.png"),
        ("metadata.csv", 'file_name,animal\n0.png,cat\n1.png,dog\n\n2.png,cat\n"3.png","dog"\n'),
        ("Metadata.TSV", "file_name\tlabel\n0.png\tcat\n1.png\tdog\n2.png\tcat\n3.png\tdog\n"),
        ("labels.csv", "image,label\n0.png, cat\n1.png, dog\n2.png, cat\n3.png, dog\n"),
        ("anything.csv", "filename,class\n0.PNG,cat\n1.PNG,dog\n2.JPG,cat\n3.png,dog\n"),
        ("train.csv", "Id,Label\n0,cat\n1,dog\n2,cat\n3,dog\n"),
        ("train.csv", "path,size,kind\nx/0.png,1,cat\n1.png,2,dog\n2.png,3,cat\n3.png,4,dog\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_many_kinds(root, file, content, encoding):
    (root / file).write_bytes(content.replace("x/", "").encode(encoding))
    listing = read(root)
    assert listing.layout == "metadata"
    assert labelled(listing) == WANTED
    assert "1 files" not in told(listing), "the table is used"


def test_metadata_as_json_lines(root):
    rows = [
        {"file_name": name, "label": each, "box": [1], "text": "é"} for name, each in WANTED.items()
    ]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    listing = read(root)
    assert labelled(listing) == WANTED
    assert list(listing.ports) == ["text"]
    assert "column box is not used" in told(listing)


def test_splits_and_folders_as_hugging_face_has_them(tmp_path):
    for split in ("train", "test"):
        fill(tmp_path / split / "deep", 2)
        (tmp_path / split / "metadata.csv").write_text(
            f"file_name,label\ndeep/0.png,{split}\ndeep\\1.png,other\n"
        )
    listing = read(tmp_path)
    assert labelled(listing) == {"0.png": "train", "1.png": "other"}
    assert labelled(listing, "test") == {"0.png": "test", "1.png": "other"}
    for split in ("train", "test"):
        (tmp_path / split / "metadata.csv").unlink()
    rows = "".join(f"{split}/deep/{each}.png,{split}{each}\n"
                   for split in ("train", "test") for each in range(2))  # fmt: skip
    (tmp_path / "metadata.csv").write_text(f"file_name,label\n{rows}")
    listing = read(tmp_path)
    assert labelled(listing, "test") == {"0.png": "test0", "1.png": "test1"}


def test_a_competition_with_a_table_for_training_only(tmp_path):
    fill(tmp_path / "train", 4)
    fill(tmp_path / "test", 3)
    (tmp_path / "train.csv").write_text("id,breed\n0,a\n1,b\n2,a\n3,b\n")
    (tmp_path / "sample_submission.csv").write_text("id,breed\n0,a\n1,a\n2,a\n")
    listing = read(tmp_path)
    assert labelled(listing) == {"0.png": "a", "1.png": "b", "2.png": "a", "3.png": "b"}
    assert listing.splits["test"]["image"].labels is None
    assert "the pictures of the test split have no labels" in told(listing)


def test_a_table_above_the_folder_of_the_pictures(tmp_path):
    fill(tmp_path / "all" / "images", 4)
    (tmp_path / "all" / "labels.csv").write_text("name,target\n0,7\n1,10\n2,7\n3,9.0\n")
    listing = read(tmp_path)
    assert listing.classes == ("7", "9", "10")
    assert labelled(listing) == {"0.png": "7", "1.png": "10", "2.png": "7", "3.png": "9"}


def test_what_does_not_go_together_is_told(root):
    (root / "metadata.csv").write_text(
        "file_name,label\n0.png,cat\n0.png,cat\n1.png,dog\n1.png,cat\n9.png,dog\n2.png,\n"
    )
    listing = read(root)
    assert labelled(listing) == {"0.png": "cat"}
    for words in ("1 rows name no picture", "9.png", "1 pictures have more than one label",
                  "2 pictures have no label and are left out: 2.png, 3.png"):  # fmt: skip
        assert words in told(listing)
    assert "not used" not in told(listing)


def test_labels_of_no_picture_are_an_error_that_says_why(root):
    (root / "metadata.csv").write_text("file_name,label\n7.png,cat\n8.png,dog\n")
    with raises(NotFoundError, "bad-labels", root / "metadata.csv", "7.png", "8.png"):
        read(root)


def test_captions_alone_give_pictures_without_labels(root):
    (root / "metadata.csv").write_text('file_name,text\n0.png,a cat\n1.png,"a dog, wet"\n')
    listing = read(root)
    assert listing.classes == ()
    assert len(listing.splits["train"]["image"].items) == 2
    caption = listing.ports["text"]
    rows = listing.splits["train"]["image"].beside["text"]
    assert [as_text(row, caption.classes) for row in rows] == ["a cat", "a dog, wet"]
    (root / "metadata.csv").write_text("file_name,label\n0.png,0.5\n1.png,0.25\n")
    assert read(root).splits["train"]["image"].labels is None


def test_class_folders_win_over_a_table_unless_it_is_said(root):
    fill(root / "x", 1, first=7)
    for name in ("0.png", "1.png", "2.png", "3.png"):
        (root / name).rename(root / "x" / name)
    fill(root / "y", 2, first=10)
    (root / "labels.csv").write_text("image,label\n0.png,cat\n1.png,dog\n10.png,dog\n")
    listing = read(root)
    assert listing.layout == "class-folders"
    assert ":metadata" in told(listing)
    assert labelled(read(root, "metadata")) == {"0.png": "cat", "1.png": "dog", "10.png": "dog"}


def test_a_table_of_something_else_is_told_and_not_used(root):
    (root / "prices.csv").write_text("id,label\n2001,up\n2002,down\n")
    (root / "empty.csv").write_text("")
    (root / "metadata.csv").write_text("place,label\nhere,cat\n")
    (root / "splits.csv").write_text("image,split\n0,train\n1,train\n2,test\n3,test\n")
    (root / "torn.csv").write_text('image,label\n"0.png,cat\n1.png,dog\n')
    listing = read(root)
    assert listing.layout == "folder"
    assert "5 files (.csv)" in told(listing)


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "/etc/secret.png", "a/../../secret.png", "..\\secret.png", "C:\\x.png"],
)
@pytest.mark.parametrize("file", ["metadata.csv", "labels.csv", "metadata.jsonl"])
def test_paths_that_leave_the_folder_are_refused(root, name, file):
    save(root.parent / "secret.png", photo(0))
    rows = [{"file_name": each, "label": "a"} for each in ("0.png", "1.png", name)]
    lines = [json.dumps(row) for row in rows]
    if file.endswith("csv"):
        lines = ["file_name,label", *(f"{row['file_name']},a" for row in rows)]
    (root / file).write_text("\n".join(lines))
    with raises(NotFoundError, "bad-labels", file):
        read(root)
    said = error_of("data", "check", str(root), code=3)
    assert "secret" in said or "C:" in said
    assert len(read(root, "folder").splits["train"]["image"].items) == 4


@pytest.mark.parametrize(
    ("file", "content", "place"),
    [
        ("metadata.csv", b"file_name,label\n0.png,cat,dog,owl\n", "line 2"),
        ("metadata.csv", b'file_name,label\n"0.png,cat\n', "unexpected end"),
        ("metadata.csv", b"file_name,label,label\n0.png,cat,dog\n", "label"),
        ("metadata.csv", b"\xff\xfef\0i", "metadata.csv"),
        ("metadata.csv", b"file_name,label\n0.png," + b"x" * 200_000, "metadata.csv"),
        ("metadata.jsonl", b'{"file_name": "0.png"}\n{"file', "line 2"),
        ("metadata.jsonl", b"[1]\n", "line 1"),
        ("metadata.jsonl", b"[" * 100_000, "line 1"),
    ],
)
def test_damaged_metadata_is_refused_with_its_place(root, file, content, place):
    (root / file).write_bytes(content)
    with raises(NotFoundError, "bad-data", root / file, place) as caught:
        read(root)
    assert ":folder" in caught.value.hint
    assert len(read(root, "folder").splits["train"]["image"].items) == 4


def test_a_huge_table_is_refused(root, monkeypatch):
    monkeypatch.setattr(tables, "MAX_BYTES", 1000)
    (root / "metadata.csv").write_text("file_name,label\n" + "0.png,cat\n" * 200)
    with raises(NotFoundError, "bad-data", root / "metadata.csv"):
        read(root)


def test_a_pipe_and_a_broken_link_are_no_tables(root):
    os.mkfifo(root / "labels.csv")
    (root / "other.csv").symlink_to("nowhere")
    assert read(root).layout == "folder"
    os.mkfifo(root / "metadata.csv")
    with raises(NotFoundError, "bad-data", root / "metadata.csv"):
        read(root)


def test_labels_that_could_steer_the_terminal_become_harmless(root):
    (root / "metadata.csv").write_text(
        'file_name,label,"\x1b[2J"\n0.png,"a\x1b[31m\nb",x\n1.png,c,x\n"\x1b[0m",c,x\n'
    )
    done = zoo("data", "check", str(root))
    assert "a_[31m_b: 1" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


def test_another_encoding_is_told(root):
    (root / "metadata.csv").write_bytes(
        "file_name,label\n0.png,Käse\n1.png,Brot\n".encode("cp1252")
    )
    listing = read(root)
    assert listing.classes == ("Brot", "Käse")
    assert "not UTF-8" in told(listing)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from(["metadata.csv", "labels.csv", "metadata.jsonl"]),
       place=st.integers(0, 60), noise=st.binary(max_size=40))  # fmt: skip
def test_arbitrary_bytes_are_read_or_refused(root, name, place, noise):
    for old in [*root.glob("*.csv"), *root.glob("*.jsonl")]:
        old.unlink()
    rows = [{"file_name": each, "label": label} for each, label in WANTED.items()]
    text = "\n".join(map(json.dumps, rows))
    if name.endswith("csv"):
        text = "file_name,label\n" + "".join(f"{each},{label}\n" for each, label in WANTED.items())
    content = bytearray(text.encode())
    content[place : place + len(noise)] = noise
    (root / name).write_bytes(content)
    try:
        listing = read(root)
    except NotFoundError:
        return
    json.dumps(listing.notes).encode()
    side = listing.splits["train"]["image"]
    assert set(side.items) <= set(root.glob("*.png"))


def test_labels_reach_the_training_with_their_pictures(root):
    for number in range(40):
        save(root / f"{number}.png", photo(0, mode="L").point([5 * number] * 256))
    rows = "".join(f"{number}.png,{number % 4}\n" for number in reversed(range(40)))
    (root / "metadata.csv").write_text(f"file_name,label\n{rows}")
    store = open_store(locate_data(str(root)))
    for arrays in store.splits.values():
        values = arrays["image"][:, 0, 0, 0] // 5
        assert (values % 4 == arrays["label"]).all()
    assert sum(len(arrays["label"]) for arrays in store.splits.values()) == 40
    (root / "metadata.csv").write_text("file_name,label\n" + rows.replace(",3", ",other"))
    assert "other" in open_store(locate_data(str(root))).spec.classes


def test_the_check_counts_classes(root):
    (root / "metadata.csv").write_text(
        "file_name,label,text\n0.png,cat,a\n1.png,dog,b\n2.png,cat,c"
    )
    found = zoo_json("data", "check", str(root))
    assert found["layout"] == "metadata"
    assert found["classes"] == {"cat": 2, "dog": 1}
    assert found["unused"] == 1
    assert any("text" in note for note in found["notes"])
    assert np.array_equal(found["spec"]["ports"][1]["classes"], ["cat", "dog"])
