"""The guide to writing a plugin: its files make a plugin, and its commands do what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import check, files, write_anew

GUIDE = Path(__file__).parents[1] / "docs" / "writing-a-plugin.md"


def install(folder: Path) -> dict[str, str]:
    """Write and install the plugin of the guide; return the environment in which it is found."""
    project, site = folder / "project", folder / "site"
    files(GUIDE, project)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", site, project], check=True, capture_output=True)
    return {"PYTHONPATH": str(site)}


def tour(folder: Path) -> Path:
    """Return a folder with the files that the guide's commands need."""
    place = folder / "tour"
    place.mkdir()
    (place / "letters.py").write_text((folder / "project" / "letters.py").read_text())
    return place


def test_the_guide_shows_what_happens(tmp_path: Path) -> None:
    environment = install(tmp_path)
    check(GUIDE, tour(tmp_path), **environment)


@pytest.mark.slow
def test_the_models_of_the_guide_pass_the_kit(tmp_path: Path) -> None:
    environment = install(tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, tmp_path / "project" / "tests"],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        environment = install(Path(temporary))
        write_anew(GUIDE, tour(Path(temporary)), **environment)
