"""A disk without room: errors name what could not be written, nothing half-written stays."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.process import error_of
from tests.runtime.graphs import decoder


@pytest.fixture
def full_disk(small_disk: Path) -> Path:
    """A file system as working directory with room for names, and for no byte."""
    with Path("fill").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    return small_disk


@pytest.fixture
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return decoder(tmp_path_factory.mktemp("graph") / "decode.onnx")


def left(disk: Path) -> list[str]:
    return sorted(str(path.relative_to(disk)) for path in disk.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("place", "file"),
    [("grid.png", "grid.png"), ("codes.npz", "codes.npz"), ("folder/", "folder/01.png")],
)
def test_run_names_the_file_and_the_folder(
    full_disk: Path, graph: Path, place: str, file: str
) -> None:
    said = error_of("run", str(graph), "-n", "16", "-o", place, code=1, error="disk-full")
    assert file in said
    assert str((full_disk / file).parent) in said
    assert left(full_disk) == ["fill"]


def test_sample_and_export_name_the_file_and_the_folder(full_disk: Path, trained: Path) -> None:
    weights = str(next(trained.glob("runs/plain/**/model.safetensors")))
    said = error_of("sample", weights, "-o", "grid.png", code=1, error="disk-full")
    assert "grid.png" in said
    assert str(full_disk) in said
    said = error_of("export", weights, "--onnx", "-o", "bundle", code=1, error="disk-full")
    assert "bundle/model.safetensors" in said
    assert str(full_disk) in said
    assert left(full_disk) == ["fill"]


def test_a_disk_that_is_read_only_says_so(small_disk: Path, graph: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    said = error_of("run", str(graph), "-o", "grid.png", code=1, error="cannot-write")
    assert str(small_disk) in said
