"""The guide to writing a plugin: its files make a plugin, and its commands do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import check, files, write_anew
from tests.market.environments import make_environment

GUIDE = Path(__file__).parents[1] / "docs" / "writing-a-plugin.md"


def install(folder: Path) -> dict[str, str]:
    """Write and install the plugin of the guide; return the environment in which it is found."""
    project, site = folder / "project", folder / "site"
    files(GUIDE, project)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", site, project], check=True, capture_output=True)
    places = [str(site), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, places))}


def tour(folder: Path) -> Path:
    """Return a folder with the files that the guide's commands need."""
    place = folder / "tour"
    place.mkdir()
    for name in ("letters.py", "tunes.py"):
        (place / name).write_text((folder / "project" / name).read_text())
    return place


@pytest.mark.slow
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


@pytest.mark.slow
def test_what_is_typed_into_a_shell_does_what_the_guide_says(tmp_path: Path) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    environment = make_environment(tmp_path / "venv")
    environment.variables["PIP_NO_BUILD_ISOLATION"] = "0"  # pip's way to say that there is none
    outcomes = []
    for line in ["zoo plugins new tiny-ae --kind autoencoder", *block.splitlines()]:
        done = subprocess.run(
            [str(environment.python), "-m", *line.split()],
            cwd=tmp_path,
            env={**os.environ, **environment.variables},
            capture_output=True,
            text=True,
            check=False,
        )
        outcomes.append((line.split()[0:3], done.returncode, done.stdout, done.stderr))
    assert [code for _, code, _, _ in outcomes] == [0, 0, 4, 0], outcomes[1][3][-1500:]
    checked = outcomes[2][2]
    assert [line for line in checked.splitlines() if line.startswith("failed")] == [
        line for line in checked.splitlines() if "static/placeholders" in line
    ]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        environment = install(Path(temporary)) | {"ZOO_HOME": str(Path(temporary, "home"))}
        write_anew(GUIDE, tour(Path(temporary)), **environment)
