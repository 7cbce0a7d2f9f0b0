"""A folder in which small plugins can be written as if they were installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from zoo.data.location import locate_data

from tests.testing.tiny import forget
from zoo.data.store import open_store


@pytest.fixture(scope="package")
def zoo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which the data set of the small plugin is decoded, once for all tests here."""
    home = tmp_path_factory.mktemp("zoo-home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        open_store(locate_data("fashion-mnist-small"))
    return home


@pytest.fixture
def site(tmp_path: Path, zoo_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder, which is on the path of Python as long as the test takes."""
    monkeypatch.setenv("ZOO_HOME", str(zoo_home))
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield tmp_path / "site"
    monkeypatch.undo()
    forget()
