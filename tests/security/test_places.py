"""Places that cannot be written to: a read-only disk, and a cache that is somebody else's."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.graphs import decoder, negative
from tests.security.inside import command, no_network, nothing_left, refused, unfinished
from tests.security.test_weights import save

NOBODY = 65534
TRAIN = (
    "train", "vae", "--data", "photos", "--size", "8", "--steps", "1", "--batch-size", "2",
    "--set", "hidden=4", "--set", "latent_size=2",
)  # fmt: skip


@contextmanager
def without_privileges() -> Iterator[None]:
    """Be a user whom permissions bind: root writes wherever it likes.

    What a command imports must have been imported before: that user may not see it.
    """
    if os.geteuid() != 0:
        yield
        return
    if not hasattr(os, "setresuid"):
        pytest.skip("this system lets nobody be another user and come back")
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every user may enter, with something for every verb to work on."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-place-"))
    folder.chmod(0o755)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ZOO_HOME", str(folder / "home"))
    Path("photos").mkdir()
    for number in range(4):
        Image.fromarray(np.full((8, 8), 60 * number, np.uint8)).save(f"photos/{number}.png")
    save(Path("x.safetensors"), "vae", latent_size=2, hidden=(4,))
    decoder(Path("decode.onnx"))
    negative(Path("reconstruct.onnx"))
    yield folder
    shutil.rmtree(folder)


WRITING = {
    "a picture": ("sample", "x.safetensors", "-n", "1", "-o", "disk/x.png"),
    "a folder for a picture": ("sample", "x.safetensors", "-n", "1", "-o", "disk/new/x.png"),
    "an export": ("export", "x.safetensors", "--onnx", "-o", "disk/x"),
    "a grid": ("run", "decode.onnx", "-n", "2", "-o", "disk/x.png"),
    "arrays": ("run", "decode.onnx", "-n", "2", "-o", "disk/x.npz"),
    "pictures": ("run", "reconstruct.onnx", "photos", "-o", "disk/x/"),
}


def test_a_read_only_disk_is_told_and_nothing_is_left(place: Path) -> None:
    Path("disk").write_text("")  # no folder, which fails as well, once all is imported
    for words in WRITING.values():
        refused(*words, code=1)
    Path("disk").unlink()
    Path("disk").mkdir(mode=0o555)
    with nothing_left(place), without_privileges():
        told = {name: refused(*words, code=1) for name, words in WRITING.items()}
    for name, said in told.items():
        assert "disk" in said, name
        assert ".part" not in said, name
        assert "Errno" not in said, name


@pytest.mark.parametrize("folder", ["runs", "."])
def test_a_run_cannot_begin_on_a_read_only_disk(place: Path, folder: str) -> None:
    assert command(*TRAIN).code == 0
    shutil.rmtree("runs/vae-1" if folder == "runs" else "runs")
    Path(folder).chmod(0o555)  # that of the runs, or that in which it would be made
    with nothing_left(place), without_privileges():
        said = refused(*TRAIN, code=1)
    Path(folder).chmod(0o755)
    assert said.startswith("error: runs")


def test_a_cache_that_another_user_filled_can_be_read(place: Path) -> None:
    assert command(*TRAIN).code == 0
    Path("runs").chmod(0o777)
    with without_privileges():
        assert command(*TRAIN).code == 0


@pytest.mark.parametrize("words", [TRAIN, ("data", "get", "mnist")], ids=["store", "downloads"])
def test_a_cache_of_somebody_else_is_told(
    place: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    command("data", "list")
    assert command(*TRAIN).code == 0
    Path("runs").chmod(0o777)
    monkeypatch.setenv("ZOO_HOME", str(place / "theirs"))
    no_network(monkeypatch)
    command("data", "get", "mnist")
    shutil.rmtree(place / "theirs")
    Path("theirs").mkdir(mode=0o755 if os.geteuid() == 0 else 0o555)
    with nothing_left(place), without_privileges():
        said = refused(*words, code=1)
    assert "theirs" in said
    assert "ZOO_HOME=" in said
    assert not unfinished(place)


def test_what_only_reads_works_on_a_read_only_disk(place: Path) -> None:
    reading = [("data", "list"), ("runs",), ("data", "check", "photos"), ("list",)]
    for words in reading:
        assert command(*words).code == 0
    Path().chmod(0o555)
    with nothing_left(place), without_privileges():
        codes = [command(*words).code for words in reading]
    Path().chmod(0o755)
    assert codes == [0, 0, 0, 0]
