"""Real data for tests, and the isolation that every test gets."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nursery import keep_operators

PROJECT = Path(__file__).parents[1]

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, one a core


@pytest.fixture(scope="session", autouse=True)
def _quicker_exports() -> None:
    """Let the exports in this process share what torch.onnx looks up anew for each."""
    keep_operators()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with ``fashion-mnist/``, ``mnist/`` and ``horse2zebra.zip``, as published."""
    folder = Path(os.environ.get("ZOO_TEST_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the real data must be present in CI; not found at {folder}")
        pytest.skip(f"real data not found at {folder}; set ZOO_TEST_DATA to its folder")
    return folder.resolve()


@pytest.fixture(autouse=True)
def _working_directory(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Give each test an empty working directory and a cache of its own."""
    place = tmp_path_factory.mktemp("place")
    (place / "work").mkdir()
    monkeypatch.chdir(place / "work")
    monkeypatch.setenv("ZOO_HOME", str(place / "zoo-home"))
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file system of 3 MB, as working directory."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only an administrator can make a small disk")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    monkeypatch.undo()
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


@pytest.fixture(autouse=True)
def _interruptible() -> None:
    """Let what a test starts be interrupted.

    Processes inherit that Ctrl-C is ignored: from a shell that runs the tests in the background,
    and from the command when it has ended in this process.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no worker waits for it at the end."""
    longest = ("test_the_tour_shows", "test_the_guide_shows")
    items.sort(key=lambda item: not any(each in item.nodeid for each in longest))
