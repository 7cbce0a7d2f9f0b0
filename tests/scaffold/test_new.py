"""`zoo plugins new` writes a whole distribution, or nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.cli.test_imports import imported_by
from tests.conftest import PROJECT
from tests.process import error_of, zoo, zoo_json
from tests.scaffold.projects import DATA, KINDS, python, write
from zoo.scaffold.project import bounds_of

LONGEST = "abcdefghijklmnop-rstuvwxyz-abcdefghi"  # with zoo- before it, the 40 characters there are
NOBODY = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_COUNT": "0"}


def read_project_file(project: Path) -> dict[str, dict[str, object]]:
    return tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_distribution_is_written(kind: str) -> None:
    told = zoo_json("plugins", "new", "my-sketch", "--kind", kind)
    written = sorted(
        str(path.relative_to("my-sketch"))
        for path in Path("my-sketch").rglob("*")
        if path.is_file()
    )
    assert told["files"] == written
    assert set(written) == {
        ".github/workflows/ci.yml",
        ".gitignore",
        "CHANGELOG.md",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "tests/test_my_sketch.py",
        "zoo_my_sketch/__init__.py",
        "zoo_my_sketch/my_sketch.py",
        *([f"zoo_my_sketch/data/{DATA[kind]}"] if kind in DATA else []),
    }
    project = read_project_file(Path("my-sketch"))["project"]
    assert project["name"] == told["distribution"] == "zoo-my-sketch"
    assert project["dependencies"] == ["zoo-core[train]>=0.1,<0.2"]
    assert project["entry-points"] == {"zoo": {"my-sketch": "zoo_my_sketch"}}
    for path in [each for each in written if "/data/" not in each]:
        text = (Path("my-sketch") / path).read_text(encoding="utf-8")
        unfilled = re.findall(r"\$\{?[a-z_]\w*", text)
        assert not unfilled, f"{path} holds {unfilled}"
    assert Path("my-sketch/LICENSE").read_bytes() == (PROJECT / "LICENSE").read_bytes()


def test_what_to_do_next_is_said_and_the_files_are_listed() -> None:
    done = zoo("plugins", "new", "my-sketch")
    assert "my-sketch/zoo_my_sketch/my_sketch.py" in done.stdout.splitlines()
    for command in (
        "pip install -e my-sketch",
        "zoo plugins check my-sketch",
        "zoo train my-sketch",
    ):
        assert command in done.stderr


def test_it_imports_nothing_heavy() -> None:
    assert imported_by("plugins", "new", "my-sketch") == []


def test_publishing_needs_no_password_and_only_that_job_may_speak_for_the_repository() -> None:
    workflow = (write(Path(), "bare", "my-sketch") / ".github/workflows/ci.yml").read_text()
    before, publish = workflow.split("\n  publish:\n")
    assert "id-token: write" in publish
    assert "environment: pypi" in publish
    assert "pypa/gh-action-pypi-publish@release/v1" in publish
    assert "id-token" not in before
    assert "permissions:\n  contents: read\n" in before
    assert "if: startsWith(github.ref, 'refs/tags/v')" in before
    assert "secrets." not in workflow
    assert "password:" not in workflow


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("class", "'class'"),
        ("torch", "'torch'"),
        ("json", "'json'"),
        ("vae", "zoo-autoencoders"),
        ("gans", "zoo-gans"),
        ("core", "zoo-core"),
        ("zoo-translation", "zoo-translation"),
        ("emoji", "'emoji'"),
        ("My-Sketch", "'My-Sketch'"),
        ("my_sketch", "'my_sketch'"),
        ("../sketch", "'../sketch'"),
        ("/tmp/sketch", "'/tmp/sketch'"),
        ("sketch\n", r"'sketch\n'"),
        ("", "''"),
        (LONGEST + "a", "40"),
        ("a" * 5000, "40"),
    ],
)
def test_a_name_that_nobody_can_use_is_refused(name: str, named: str) -> None:
    assert named in error_of("plugins", "new", name, code=2, error="bad-value")
    assert not list(Path().iterdir())


def test_a_kind_that_there_is_not_is_refused() -> None:
    words = ("plugins", "new", "my-sketch", "--kind", "autoencode")
    assert "autoencoder" in error_of(*words, code=2, error="usage")


@pytest.mark.parametrize("there", ["folder", "file", "dangling link"])
def test_what_is_there_already_is_left_alone(there: str) -> None:
    place = Path("my-sketch")
    if there == "folder":
        place.mkdir()
    elif there == "file":
        place.write_text("mine")
    else:
        place.symlink_to("nowhere")
    assert "my-sketch" in error_of("plugins", "new", "my-sketch", code=2, error="already-exists")
    assert [path.name for path in Path().iterdir()] == ["my-sketch"]
    assert there != "file" or place.read_text() == "mine"


def test_a_folder_appears_when_everything_is_in_it(tmp_path: Path) -> None:
    limited = (  # the third file of the project is larger than this process may write
        "import resource, signal, sys; from zoo.cli.command import main;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "main(['plugins', 'new', 'my-sketch', '-o', 'new/my-sketch', '--json'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "cannot-write"
    assert not list((tmp_path / "new").iterdir())


def test_the_author_is_who_git_says(tmp_path: Path) -> None:
    config = tmp_path / "gitconfig"
    name = 'Ada "Countess" \\ Lovelace $model'
    for key, value in (("name", name), ("email", "ada@example.org")):
        git = ["git", "config", "--file", str(config), f"user.{key}", value]
        subprocess.run(git, check=True)
    known = {**NOBODY, "GIT_CONFIG_GLOBAL": str(config)}
    project = read_project_file(write(tmp_path, "bare", "my-sketch", **known))["project"]
    assert project["authors"] == [{"name": name, "email": "ada@example.org"}]


def test_who_is_unknown_to_git_is_left_to_fill_in(tmp_path: Path) -> None:
    project = read_project_file(write(tmp_path, "bare", "my-sketch", **NOBODY))["project"]
    assert "TODO" in str(project["authors"])


@pytest.mark.parametrize("name", ["my-sketch", LONGEST, "graph", "none", "generator"])
def test_the_code_is_as_formatted_and_linted_as_the_zoo_s_own(name: str, tmp_path: Path) -> None:
    for kind in KINDS:
        write(tmp_path / kind, kind, name)
    house = ["--config", str(PROJECT / "pyproject.toml"), "--no-cache", "."]
    python("-m", "ruff", "check", "--ignore", "D102", *house, cwd=tmp_path)  # as for plugins/
    python("-m", "ruff", "format", "--check", *house, cwd=tmp_path)
    for kind in KINDS:
        python("-m", "ruff", "check", "--no-cache", ".", cwd=tmp_path / kind / name)


@pytest.mark.slow
def test_the_code_is_typed_as_strictly_as_the_zoo_s_own(tmp_path: Path) -> None:
    projects = [write(tmp_path, kind, f"sketch-{kind}") for kind in KINDS]
    packages = [str(path) for project in projects for path in project.glob("zoo_*")]
    python("-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *packages, cwd=PROJECT)


@pytest.mark.parametrize(
    ("version", "bounds"),
    [
        ("0.1.0", ">=0.1,<0.2"),
        ("0.12.3", ">=0.12,<0.13"),
        ("0.2.0rc1", ">=0.2.0rc1,<0.3"),
        ("1.4.2", ">=1.4,<2"),
    ],
)
def test_the_core_is_bounded_by_what_may_break_a_plugin(version: str, bounds: str) -> None:
    assert bounds_of(version) == bounds


def test_the_templates_are_in_the_wheel_of_the_core(tmp_path: Path) -> None:
    python("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
           "--wheel-dir", str(tmp_path), str(PROJECT), cwd=tmp_path)  # fmt: skip
    (wheel,) = tmp_path.glob("zoo_core-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    written = (  # by the copy in the wheel, which stands before this one on the path
        "import zoo; assert zoo.__file__.startswith(sys.argv[1]), zoo.__file__;"
        "from zoo.cli.command import main;"
        "main(['plugins', 'new', 'my-sketch', '--kind', 'sound', '--json'])"
    )
    command = f"import sys; sys.path.insert(0, sys.argv[1]); {written}"
    told = json.loads(python("-c", command, str(tmp_path / "site"), cwd=tmp_path).stdout)
    assert len(told["files"]) == 10
