"""The catalogue file: the one that ships is right, and wrong ones are told apart from the rest."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.catalog.registry_check import check_registry
from tests.errors import raises
from zoo.catalog.dataset import Dataset, RemoteFile
from zoo.catalog.lookup import find_dataset
from zoo.catalog.registry import install_command, read_registry
from zoo.errors import NotFoundError, UsageError

PROJECT = Path(__file__).parents[2]

ROW = """
schema = 1
[dataset.toy]
summary = "Toy"
layout = "folder"
licence = "CC0"
size = [8, 8]
channels = 3
classes = ["a", "b"]
mirrors = ["https://example.org/data/"]
files = [{ name = "toy.zip", bytes = 12, sha256 = "%s" }]
""" % ("0" * 64)  # fmt: skip


LISTED = """
schema = 1
[plugin.zoo-star]
summary = "Stars"
models = ["star"]
licence = "MIT"
tier = "community"

[[plugin.zoo-star.releases]]
version = "1.0"
wheel = "https://example.org/zoo_star-1.0-py3-none-any.whl"
sha256 = "%s"
""" % ("0" * 64)  # fmt: skip


def check(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "catalogue.toml"
    path.write_text(text, "utf-8")
    return check_registry(path)


def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text(text, "utf-8")
    monkeypatch.setenv("ZOO_REGISTRY", str(path))


def test_the_catalogue_of_the_project_passes_its_own_check() -> None:
    assert check_registry(PROJECT / "registry.toml") == []
    assert read_registry().troubles == ()


def test_the_catalogue_has_what_the_issue_names() -> None:
    rows = {row.name: row for row in read_registry().datasets}
    assert set(rows) == {
        "fashion-mnist-small", "fashion-mnist", "mnist", "kmnist", "cifar-10", "emoji",
        "emoji-mixed", "horse2zebra", "apple2orange", "summer2winter-yosemite", "facades",
        "monet2photo",
        "cezanne2photo", "ukiyoe2photo", "vangogh2photo", "maps", "iphone2dslr-flower",
        "facades-paired",
    }  # fmt: skip
    assert rows["horse2zebra"].domains == ("horse", "zebra")
    assert rows["horse2zebra"].files[0] == RemoteFile(
        "horse2zebra.zip",
        ("https://efrosgans.eecs.berkeley.edu/cyclegan/datasets/horse2zebra.zip",),
        116867962,
        "a74d9d392eecca9966b51287a76ca126af473d9de4f3e8fc0e9cda08fa1730a1",
    )
    assert len(rows["mnist"].files[0].urls) == 2
    unpublished = [row.name for row in rows.values() if None in [f.sha256 for f in row.files]]
    assert unpublished == ["facades-paired"]
    assert rows["emoji"].pairs == ("test",)
    for row in rows.values():
        assert len(row.domains) == (2 if "paired" in row.layout else 0), row.name
        without_classes = "paired" in row.layout or row.name == "emoji-mixed"
        assert len(row.classes) == (0 if without_classes else 10), row.name


def test_a_good_row_passes(tmp_path: Path) -> None:
    assert check(tmp_path, ROW) == []
    two = ROW.replace('"folder"', '"unpaired-folders"').replace("classes", "domains")
    assert check(tmp_path, two + 'pairs = ["train", "test"]') == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("schema = 1", "schema = 2", "schema = 1 was expected"),
        ("schema = 1", "", "schema = 1 was expected"),
        ("schema = 1", "schema = 1\nplugins = 3", "unknown key 'plugins'"),
        ("[dataset.toy]", "[dataset.Toy]", "lower-case"),
        ("[dataset.toy]", '[dataset."../toy"]', "lower-case"),
        ("[dataset.toy]", "[dataset.toy.more]", "unknown key 'more'"),
        ("[dataset.toy]", "[[dataset]]", "tables called"),
        ("[dataset.toy]", "[dataset]\nbad = 3\n[dataset.toy]", "data set 'bad': must be a table"),
        ('summary = "Toy"', "", "needs summary"),
        ('summary = "Toy"', "summary = 3", "needs summary"),
        ('summary = "Toy"', 'summary = "Toy\\nTwo"', "needs summary"),
        ('licence = "CC0"', "", "needs licence"),
        ('licence = "CC0"', 'license = "CC0"', "unknown key 'license'"),
        ('layout = "folder"', 'layout = "foldr"', "needs layout"),
        ('layout = "folder"', "layout = []", "needs layout"),
        ("size = [8, 8]", "size = [8]", "needs size"),
        ("size = [8, 8]", "size = [8, 0]", "needs size"),
        ("size = [8, 8]", "size = [8, true]", "needs size"),
        ("size = [8, 8]", "size = [8, 99999999]", "needs size"),
        ("size = [8, 8]", "size = 8", "size must be a list"),
        ("channels = 3", "channels = 4", "needs channels"),
        ("channels = 3", "channels = true", "needs channels"),
        ("channels = 3", "channels = []", "needs channels"),
        ("channels = 3", "embedded = true", "unless it is embedded"),
        ("channels = 3", "embedded = 1", "unless it is embedded"),
        ("channels = 3", 'embedded = "emoji"', "unless it is embedded"),
        ("channels = 3", 'embedded = "../emoji"', "lower-case"),
        ("channels = 3", 'domains = ["one"]', "needs domains"),
        ("channels = 3", 'pairs = ["test"]', "needs layout unpaired-folders to name pairs"),
        ("channels = 3", 'pairs = ["tests"]', "needs pairs: a list of train, validation, test"),
        ("channels = 3", 'pairs = ["test", "test"]', "needs pairs"),
        ("channels = 3", 'pairs = "test"', "pairs must be a list"),
        ('["a", "b"]', '["a", "a"]', "needs classes"),
        ('["a", "b"]', '["a", 1]', "needs classes"),
        ('"https://example.org/data/"', '"file:///data/"', "http(s) URLs"),
        ('"https://example.org/data/"', "3", "http(s) URLs"),
        ('"https://example.org/data/"', "", "http(s) URLs"),
        ('"toy.zip"', '"../toy.zip"', "not a plain name"),
        ('"toy.zip"', '".lock"', "not a plain name"),
        ('"toy.zip"', "[]", "not a plain name"),
        ("bytes = 12", "bytes = -1", "bytes must be"),
        ("bytes = 12", 'bytes = "12"', "bytes must be"),
        ("bytes = 12", "byte = 12", "unknown key 'byte' of a file"),
        ("0" * 64, "0" * 63, "sha256 must be"),
        ("0" * 64, "X" * 64, "sha256 must be"),
        ("[{ name", "[{ name = 'TOY.ZIP' }, { name", "no name twice"),
        ("[{ name", "[3, { name", "a file must be a table"),
        ("schema = 1", "schema = ", "Invalid"),
        ("schema = 1", "a = " + "[" * 5000, "nested too deeply"),
        ("schema = 1", "a" + ".a" * 20000 + " = 1", "dots"),
        ("schema = 1", "#" * 2**20, "larger than"),
        ("schema = 1", "a = " + "1" * 5000, ""),
    ],
)
def test_the_check_says_what_is_wrong(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert ROW.count(old) == 1
    begin = time.monotonic()
    problems = check(tmp_path, ROW.replace(old, new))
    assert problems
    assert any(told in problem for problem in problems), problems
    assert time.monotonic() - begin < 2


@given(st.text() | st.text(st.sampled_from("[]{}=.\"'\n#a1 ")))
def test_the_check_always_answers(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    assert check(tmp_path_factory.mktemp("catalogue"), text)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_is_no_text_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "catalogue.toml"
    if content:
        path.write_bytes(content)
    assert len(check_registry(path)) == 1


def test_a_second_catalogue_adds_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotFoundError):
        find_dataset("toy")
    add(tmp_path, monkeypatch, ROW)
    assert find_dataset("toy").files[0].urls == ("https://example.org/data/toy.zip",)
    assert find_dataset("mnist").channels == 1


def test_a_second_catalogue_may_replace_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, monkeypatch, ROW.replace("dataset.toy", "dataset.mnist"))
    assert find_dataset("mnist").summary == "Toy"


@pytest.mark.parametrize("distribution", ["zoo-core", "zoo-autoencoders", "zoo-gans"])
def test_own_distributions_are_installed_from_a_clone(distribution: str) -> None:
    for command in (
        install_command(distribution),
        install_command(distribution, upgrade=True),
        install_command(distribution, extra="train"),
    ):
        where = command.split()[-1].strip("'").partition("[")[0]
        assert f'name = "{distribution}"' in (PROJECT / where / "pyproject.toml").read_text("utf-8")


def test_other_distributions_are_installed_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert install_command("zoo-of-others") == "pip install zoo-of-others"
    assert install_command("zoo-of-others", upgrade=True) == "pip install --upgrade zoo-of-others"
    add(tmp_path, monkeypatch, LISTED)
    assert install_command("zoo-star") == "zoo plugins install zoo-star"


def test_a_newer_catalogue_can_still_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = ROW.replace("schema = 1", "schema = 1\nmodels = 3")
    newer = newer.replace("channels = 3", 'colour-space = "sRGB"').replace(
        "bytes =", "crc = 1, bytes ="
    )
    add(tmp_path, monkeypatch, newer)
    assert find_dataset("toy").classes == ("a", "b")
    assert read_registry().troubles == ()


def test_a_broken_row_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tmp_path, monkeypatch, ROW + '[dataset.broken]\nlayout = "idx"\n')
    assert find_dataset("toy").name == "toy"
    (trouble,) = read_registry().troubles
    assert "catalogue.toml" in trouble
    assert "'broken'" in trouble


def test_a_second_catalogue_that_is_not_there_is_a_short_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "nowhere.toml"))
    with raises(UsageError, "bad-registry", "ZOO_REGISTRY", tmp_path / "nowhere.toml"):
        read_registry()


@pytest.mark.parametrize("wrong", [{"channels": 2}, {"size": (0, 1)}, {"classes": ["a"]}])
def test_a_row_of_a_plugin_is_held_to_the_same_rules(wrong: dict[str, object]) -> None:
    files = (RemoteFile("a.zip", ("https://example.org/a.zip",)),)
    with pytest.raises(ValueError, match="data set 'toy' needs"):
        Dataset("toy", "Toy", "folder", "CC0", files=files, **wrong)  # type: ignore[arg-type] # on purpose
