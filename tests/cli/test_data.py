"""`zoo data list` and `zoo data get`, as a user sees them."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pty
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from tests.data.loopback import Loopback, loopback
from tests.data.pictures import fill
from tests.process import error_of, zoo, zoo_json

BODY = random.Random(1).randbytes(200_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with loopback() as running:
        yield running


@pytest.fixture
def toy(server: Loopback, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue with one more row, whose first mirror does not have the file."""
    server.put("/good/toy.bin", BODY)
    path = Path("catalogue.toml").absolute()
    path.write_text(
        'schema = 1\n[dataset.toy]\nsummary = "[bold]Toys[/bold]"\nlayout = "folder"\n'
        'licence = "CC0 (nobody)"\n'
        f"mirrors = {json.dumps([server.url('/gone'), server.url('/good')])}\n"
        f'files = [{{ name = "toy.bin", bytes = {len(BODY)}, sha256 = "{SHA256}" }}]\n'
    )
    monkeypatch.setenv("ZOO_REGISTRY", str(path))
    return path


def folder() -> Path:
    return Path(os.environ["ZOO_HOME"]) / "downloads" / "toy"


def rows() -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in zoo_json("data", "list")}


def test_the_list_names_every_data_set_and_what_it_costs(toy: Path) -> None:
    table = zoo("data", "list").stdout
    for words in (
        ["cifar-10", "32x32 colour", "170.1 MB", "no", "none given"],
        ["mnist", "28x28 grey", "11.6 MB", "no", "CC BY-SA 3.0"],
        ["fashion-mnist-small", "28x28 grey", "in the package", "yes", "MIT"],
        ["toy", "colour", "200.0 kB", "no", "CC0", "[bold]Toys[/bold]"],
    ):
        assert any(all(word in line for word in words) for line in table.splitlines()), words
    assert zoo("data").stdout == table


def test_the_list_as_json_has_the_facts() -> None:
    found = rows()
    assert len(found) == 21
    assert found["horse2zebra"] == {
        "name": "horse2zebra",
        "summary": "Horses and zebras",
        "licence": "none given (photos from ImageNet)",
        "kind": "image",
        "layout": "unpaired-folders",
        "size": [256, 256],
        "channels": 3,
        "classes": [],
        "domains": ["horse", "zebra"],
        "pairs": [],
        "bytes": 116867962,
        "embedded": False,
        "cached": "no",
    }


def test_get_says_size_and_licence_first_and_prints_the_folder(toy: Path) -> None:
    done = zoo("data", "get", "toy", FORCE_COLOR="1")
    assert done.stdout == f"{folder()}\n"
    assert done.stderr.splitlines()[0] == "data set 'toy': 200.0 kB; licence: CC0 (nobody)"
    assert "HTTP 404 Not Found; trying another mirror" in done.stderr
    assert done.stderr.splitlines()[-1] == "toy.bin: 200.0 kB of 200.0 kB"
    assert "\x1b" not in done.stderr
    assert (folder() / "toy.bin").read_bytes() == BODY
    assert rows()["toy"]["cached"] == "yes"

    again = zoo("data", "get", "toy")
    assert (again.stdout, again.stderr) == (done.stdout, "")


def test_get_as_json_tells_what_was_got(toy: Path) -> None:
    found = zoo_json("data", "get", "toy")
    assert found["path"] == str(folder())
    assert found["files"] == [
        {"name": "toy.bin", "bytes": len(BODY), "sha256": SHA256, "sha256_published": True}
    ]


def test_get_draws_a_bar_on_a_terminal(toy: Path) -> None:
    reader, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "zoo", "data", "get", "toy"],
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(terminal)
        drawn = b""
        try:
            while piece := os.read(reader, 65536):
                drawn += piece
        except OSError:  # how Linux says that the terminal has been closed
            pass
        os.close(reader)
        assert process.stdout is not None
        assert process.stdout.read().decode() == f"{folder()}\n"
    assert process.returncode == 0
    assert "━━━━" in drawn.decode()
    assert "200.0/200.0 kB" in drawn.decode()


def test_get_of_embedded_data_needs_nothing() -> None:
    done = zoo("data", "get", "fashion-mnist-small")
    assert (Path(done.stdout.strip()) / "train-images-idx3-ubyte.gz").is_file()
    assert done.stderr == ""


def test_get_without_a_network_names_the_files_and_the_folder(toy: Path, server: Loopback) -> None:
    del server.behaviours["/good/toy.bin"]
    said = error_of("data", "get", "toy", code=3, error="download-failed")
    assert f"{folder()}: {server.url('/gone/toy.bin')}" in said
    (folder() / "toy.bin").write_bytes(BODY)
    assert zoo("data", "get", "toy").stdout == f"{folder()}\n"


def test_get_leaves_a_silent_server(toy: Path, server: Loopback) -> None:
    server.put("/gone/toy.bin", BODY, drip=60)
    assert "trying another mirror" in zoo("data", "get", "toy", "--timeout", "1").stderr


@pytest.mark.parametrize(
    ("words", "code", "error", "name"),
    [
        (["data", "get", "horse2zerba"], 3, "data-not-found", "'horse2zebra'"),
        (["data", "get", "summer2winter_yosemite"], 3, "data-not-found",
         "'summer2winter-yosemite'"),
        (["data", "get", "../mnist"], 3, "data-not-found", "'../mnist'"),
        (["data", "get", ""], 3, "data-not-found", "''"),
        (["data", "get"], 2, "usage", "NAME"),
        (["data", "get", "mnist", "--timeout", "0"], 2, "usage", "--timeout"),
        (["data", "get", "mnist", "--timeout", "nan"], 2, "usage", "--timeout"),
        (["data", "fetch"], 2, "usage", "fetch"),
    ],
)  # fmt: skip
def test_wrong_words_end_in_a_short_error(
    words: list[str], code: int, error: str, name: str
) -> None:
    assert name in error_of(*words, code=code, error=error)


def test_a_catalogue_that_is_not_there_is_a_short_error() -> None:
    said = error_of(
        "data", "list", code=2, error="bad-registry", ZOO_REGISTRY="/nowhere/catalogue.toml"
    )
    assert "ZOO_REGISTRY" in said
    assert "/nowhere/catalogue.toml" in said


def test_a_row_that_cannot_be_used_is_told_on_stderr(toy: Path) -> None:
    toy.write_text(toy.read_text() + '[dataset.broken]\nlayout = "idx"\n')
    done = zoo("data", "list", "--json")
    assert "passed over: " in done.stderr
    assert "'broken'" in done.stderr
    assert "toy" in [row["name"] for row in json.loads(done.stdout)]


def test_a_cache_that_is_a_file_is_a_short_error(toy: Path) -> None:
    Path("file").write_text("")
    said = error_of("data", "get", "toy", code=1, error="cache-unusable", ZOO_HOME="file")
    assert "ZOO_HOME=" in said


def cached(*words: str) -> list[dict[str, object]]:
    return zoo_json("data", "list", "--cached", *words)


def decode(place: str, *words: str) -> None:
    small = ("--set", "channels=4", "--steps", "1", "--batch-size", "4", *words)
    zoo("train", "conv-ae", "--data", place, *small)


def test_the_cache_is_listed_with_size_use_and_source() -> None:
    fill(Path("photos"), 6, height=8, width=8)
    decode("photos")
    decode("photos", "--size", "16", "--fit", "stretch")
    found = cached()
    assert [(each["kind"], each["name"]) for each in found] == [("decoded", "photos")] * 2
    assert {each["form"] for each in found} == {
        "6 of 8x8 RGB, fit cover",
        "6 of 16x16 RGB, fit stretch",
    }
    for each in found:
        assert each["source"] == str(Path("photos").absolute())
        assert each["stale"] == ""
        folder = Path(str(each["path"]))
        assert each["bytes"] == sum(path.stat().st_size for path in folder.iterdir())
        assert time.time() - each["used"] < 60
    table = zoo("data", "list", "--cached").stdout
    assert str(found[0]["id"])[:12] in table
    assert "16x16 RGB, fit stretch" in table


def test_downloads_are_listed_and_removed_by_name(toy: Path) -> None:
    zoo("data", "get", "toy")
    (found,) = cached()
    assert (found["kind"], found["id"], found["source"]) == ("download", "toy", "toy")
    assert found["bytes"] >= len(BODY)
    assert zoo("data", "rm", "toy", "--dry-run").stdout == f"{folder()}\n"
    assert folder().is_dir()
    assert zoo("data", "rm", "toy").stdout == f"{folder()}\n"
    assert not folder().exists()
    assert cached() == []
    zoo("data", "get", "toy")
    assert rows()["toy"]["cached"] == "yes"


def test_a_download_under_way_is_left_alone(toy: Path) -> None:
    zoo("data", "get", "toy")
    fill(Path("photos"), 6, height=8, width=8)
    decode("photos")
    with FileLock(folder() / ".lock"):
        assert str(folder()) in error_of("data", "rm", "--all", code=1)
    assert [each["kind"] for each in cached()] == ["download"]  # the rest has gone


def test_data_is_removed_by_name_by_place_and_by_id() -> None:
    for name in ("cats", "dogs", "owls"):
        fill(Path(name), 6, first=ord(name[0]), height=8, width=8)
        decode(name)
    decode("owls", "--size", "16")
    ids = {each["name"]: each["id"] for each in cached()}
    zoo("data", "rm", str(ids["cats"])[:12])
    assert {each["name"] for each in cached()} == {"dogs", "owls"}
    removed = zoo_json("data", "rm", "./owls")
    assert len(removed["removed"]) == 2
    assert removed["bytes"] > 0
    assert "'dogs'" in error_of("data", "rm", "dgos", code=3)
    assert {each["name"] for each in cached()} == {"dogs"}
    assert len(list(Path("owls").iterdir())) == 6
    decode("owls")  # and all of it can be had anew


def test_only_what_is_old_or_of_no_use_is_removed() -> None:
    for number, name in enumerate(("new", "old", "gone", "format")):
        fill(Path(name), 6, first=10 * number, height=8, width=8)
        decode(name)
    paths = {each["name"]: Path(str(each["path"])) for each in cached()}
    for path in paths["old"].iterdir():
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    shutil.rmtree("gone")
    description = paths["format"] / "store.json"
    facts = json.loads(description.read_text())
    del facts["format"], facts["digest"]
    description.write_text(json.dumps(facts))
    assert {each["name"] for each in cached() if each["stale"]} == {"gone", "format"}

    removed = zoo_json("data", "rm", "--unused-for", "30")["removed"]
    assert [each["name"] for each in removed] == ["old"]
    removed = zoo_json("data", "rm", "--stale")["removed"]
    assert {each["name"] for each in removed} == {"gone", "format"}
    assert [each["name"] for each in cached()] == ["new"]
    assert "--stale" in error_of("data", "rm", code=2)
    zoo("data", "rm", "--all")
    assert cached() == []


def test_using_data_again_makes_it_new() -> None:
    fill(Path("photos"), 6, height=8, width=8)
    decode("photos")
    (found,) = cached()
    for path in Path(str(found["path"])).iterdir():
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    zoo("sample", "conv-ae", "-n", "1")
    assert zoo_json("data", "rm", "--unused-for", "30")["removed"] == []


def test_a_training_goes_on_when_its_data_is_removed_from_the_cache() -> None:
    fill(Path("photos"), 40, height=8, width=8)
    decode("photos")
    words = ["train", "conv-ae", "--data", "photos", "--set", "channels=4", "--batch-size", "4"]
    with subprocess.Popen(
        [sys.executable, "-m", "zoo", *words, "--steps", "600", "--name", "long"],
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 60
        while not Path("runs/long/metrics.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        zoo("data", "rm", "--all")
        assert process.poll() is None, "it was quicker than the removal"
        assert process.wait(60) == 0
    assert cached() == []


def tiles(page: Path, size: int) -> list[list[int]]:
    """Return the grey value of each picture of a page, row by row, without the white ones."""
    with Image.open(page) as image:
        pixels = np.asarray(image.convert("L")).astype(int)
    columns = pixels.shape[1] // (size + 2)
    left = pixels.shape[1] - columns * (size + 2)
    return [
        [value for value in row if value < 255]
        for row in pixels[2 + size // 2 :: size + 2, left + size // 4 :: size + 2].tolist()
    ]


def test_the_page_shows_classes_in_rows_and_what_is_held_back_is_said(tmp_path: Path) -> None:
    for name, value in (("cat", 10), ("dog", 60), ("owl", 110)):
        for number in range(3):
            path = Path("pets") / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (200, 200), value + number).save(path)
    done = zoo("data", "check", "pets", "-o", "pages/pets.png")
    assert "layout      class-folders" in done.stdout
    assert "pages/pets.png" in done.stderr
    assert tiles(Path("pages/pets.png"), 200) == [[10, 11, 12], [60, 61, 62], [110, 111, 112]]


def test_the_page_shows_pairs_side_by_side_beside_damaged_ones() -> None:
    for number in range(4):
        for side, more in (("input", 0), ("target", 100)):
            path = Path("pairs") / side / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (200, 200), number + more).save(path)
    Path("pairs/target/2.png").write_bytes(b"")
    zoo("data", "check", "pairs", "-o", "page.png")
    with Image.open("page.png") as image:
        row = np.asarray(image.convert("L"))[100, -3 * 402 :].tolist()
    assert [value for value, _ in itertools.groupby(row) if value < 255] == [0, 100, 1, 101, 3, 103]


def test_a_page_of_nothing_and_of_another_name_are_short_errors() -> None:
    Path("bad").mkdir()
    Path("bad/a.png").write_bytes(b"")
    assert "bad" in error_of("data", "check", "bad", "-o", "page.png", code=3)
    assert "page.jpg" in error_of("data", "check", "bad", "-o", "page.jpg", code=2)
    assert zoo_json("data", "check", "bad")["bad"]
