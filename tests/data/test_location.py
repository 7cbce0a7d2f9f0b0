"""What may stand after --data, and what is said when it leads nowhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.pictures import fill, write_mnist
from tests.errors import raises
from zoo.data.location import locate_data
from zoo.data.store import open_store
from zoo.errors import NotFoundError, UsageError, ZooError

SMALL = "fashion-mnist-small"


def test_a_name_of_the_catalogue():
    location = locate_data(SMALL)
    assert location.name == SMALL
    assert location.dataset is not None
    assert location.layout == location.dataset.layout
    store = open_store(location)
    assert store.spec.name == SMALL
    assert store.spec.classes[9] == "ankle boot"
    assert (
        store.spec.pictures.channels,
        store.spec.pictures.height,
        store.spec.pictures.width,
    ) == (1, 28, 28)


def test_the_catalogue_comes_before_a_folder_of_the_same_name():
    fill(Path(SMALL), 3)
    assert locate_data(SMALL).dataset is not None
    assert locate_data(f"./{SMALL}").dataset is None
    assert locate_data(f"./{SMALL}").name == SMALL


def test_folders_archives_and_npz_files(tmp_path):
    fill(Path("photos"), 3)
    shutil.make_archive("photos", "gztar", "photos")
    Path("arrays.npz").write_bytes(b"")
    for text, name in [
        ("photos", "photos"),
        ("./photos/", "photos"),
        (str(Path("photos").absolute()), "photos"),
        ("photos.tar.gz", "photos"),
        ("arrays.npz", "arrays"),
    ]:
        location = locate_data(text)
        assert location.name == name
        assert location.layout is None
        assert location.dataset is None
    os.chdir("photos")
    assert locate_data(".").name == "photos"


def test_a_layout_may_be_named(tmp_path):
    fill(Path("photos/2020"), 3)
    fill(Path("photos/2021"), 3)
    assert open_store(locate_data("photos")).spec.classes == ("2020", "2021")
    assert open_store(locate_data("photos:folder")).spec.classes == ()


def test_colons_may_belong_to_the_path():
    fill(Path("a:b"), 3)
    assert locate_data("a:b").name == "a:b"
    assert locate_data("a:b:folder").layout == "folder"
    fill(Path("odd:folder"), 3)
    assert locate_data("odd:folder").layout is None


def test_a_misspelt_layout_is_told():
    fill(Path("photos"), 3)
    for place in ("photos", SMALL):
        with raises(UsageError, "bad-value", "'class-folders'"):
            locate_data(f"{place}:class-folder")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("fashion-mnist-smal", "'fashion-mnist-small'"),
        ("photos", "'photos'"),
        ("./photos", "./photos"),
        ("photos/", "photos"),
        ("photos.zip", "photos.zip"),
        ("nowhere/photos:folder", "nowhere/photos"),
        (r"C:\photos", r"C:\photos"),
        ("zoo-gans:emoji", "zoo-gans:emoji"),
        (":folder", ":folder"),
    ],
)
def test_what_leads_nowhere(text, name):
    with raises(NotFoundError, "data-not-found", name) as caught:
        locate_data(text)
    assert caught.value.hint
    assert len(str(caught.value).splitlines()) <= 6


def test_a_folder_that_only_holds_an_archive_leads_to_the_archive():
    fill(Path("photos"), 3)
    shutil.make_archive("downloads/photos", "zip", "photos")
    with raises(NotFoundError, "bad-layout", "1 .zip") as caught:
        open_store(locate_data("downloads"))
    place = caught.value.hint.split(": ")[1]
    assert open_store(locate_data(place)).spec.name == "photos"


def test_nothing_at_all():
    with raises(UsageError, "bad-value"):
        locate_data("")


@pytest.mark.parametrize("name", ["photo.png", "set.rar", "notes"])
def test_a_file_that_is_no_data_set(name):
    Path(name).write_bytes(b"x")
    with raises(UsageError, "bad-value", name, ".zip"):
        locate_data(name)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30) | st.text("ab:./\\~-\0", max_size=12))
def test_any_text_is_a_source_or_our_error(text):
    try:
        assert locate_data(text).path.exists()
    except ZooError as problem:
        assert problem.exit_code in {2, 3}


def test_a_row_of_the_catalogue_decides_on_size_names_and_layout(tmp_path, monkeypatch):
    fill(tmp_path / "photos" / "x", 30, height=40, width=50)
    fill(tmp_path / "photos" / "y", 30, height=40, width=50, first=30)
    folder = Path(os.environ["ZOO_HOME"]) / "downloads" / "two-things"
    folder.mkdir(parents=True)
    content = Path(
        shutil.make_archive(str(folder / "things"), "zip", tmp_path, "photos")
    ).read_bytes()
    (tmp_path / "registry.toml").write_text(
        f"""
        schema = 1
        [dataset.two-things]
        summary = "two things"
        layout = "class-folders"
        licence = "ours"
        size = [20, 25]
        classes = ["first", "second"]
        mirrors = ["http://127.0.0.1:9/"]
        files = [{{ name = "things.zip", bytes = {len(content)},
                    sha256 = "{hashlib.sha256(content).hexdigest()}" }}]
        """.replace("\n                    ", " ")
    )
    monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "registry.toml"))
    store = open_store(locate_data("two-things"))
    assert (
        store.spec.pictures.height,
        store.spec.pictures.width,
        store.spec.pictures.channels,
    ) == (20, 25, 3)
    assert store.spec.classes == ("first", "second")
    os.utime(folder / "things.zip", (1, 1))  # hashes decide, not times
    said: list[str] = []
    open_store(locate_data("two-things"), report=said.append)
    assert said == []
    assert open_store(locate_data("two-things"), size=(10, 10)).spec.pictures.height == 10


def test_more_classes_than_the_catalogue_names(tmp_path, monkeypatch):
    folder = Path(os.environ["ZOO_HOME"]) / "downloads" / "digits"
    write_mnist(folder)
    (tmp_path / "registry.toml").write_text(
        """
        schema = 1
        [dataset.digits]
        summary = "digits"
        layout = "idx"
        licence = "ours"
        channels = 1
        classes = ["0", "1"]
        mirrors = ["http://127.0.0.1:9/"]
        files = [{ name = "train-images-idx3-ubyte.gz" }]
        """
    )
    monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "registry.toml"))
    with raises(NotFoundError, "bad-labels", "10 classes", 2):
        open_store(locate_data("digits"))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"data/inner.zip": b"PK"}, ["nested.zip", "data/inner.zip"]),
        ({"a/readme.txt": b"x"}, ["nested.zip", "1 .txt"]),
        ({"train-images-idx3-ubyte": b"xx"}, ["nested.zip/train-images-idx3-ubyte"]),
        ({"set/a.npz": b"xx"}, ["nested.zip/set/a.npz"]),
    ],
)
def test_errors_about_what_lies_in_an_archive_name_the_archive(members, words):
    with zipfile.ZipFile("nested.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(NotFoundError) as caught:
        open_store(locate_data("nested.zip"))
    for word in words:
        assert word in str(caught.value)
    assert ".unfinished" not in str(caught.value)
