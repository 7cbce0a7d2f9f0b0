"""`zoo plugins install` into environments of its own, from wheels and registries of the test."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

import zoo
from tests.data.loopback import loopback
from tests.errors import raises
from tests.installing import CARD
from tests.market.environments import (
    Environment,
    farm,
    make_environment,
    offline,
    registry_text,
    release,
    see,
    write_wheel,
)

CANNOT_INSTALL = "cannot-install"


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return make_environment(tmp_path / "environment")


def listed(folder: Path, *releases: dict[str, str], name: str = "zoo-star") -> str:
    """Write a registry that lists one plugin, and return its path."""
    path = folder / "registry.toml"
    path.write_text(registry_text({name: releases}))
    return str(path)


def test_a_listed_plugin_is_installed_and_looked_at(
    tmp_path: Path, environment: Environment
) -> None:
    registry = listed(tmp_path, release(write_wheel(tmp_path / "wheels", "zoo-star")))
    Path("pip.py").write_text("open('was-run', 'w')\n")  # in the working directory
    out, err = environment.zoo("plugins", "install", "Zoo_Star", ZOO_REGISTRY=registry)
    assert out == "zoo-star 1.0 brings zoo-star-model\n"
    assert "reviewed" in err
    assert environment.version("zoo-star") == "1.0"
    assert not Path("was-run").exists()
    out, err = environment.zoo("plugins", "install", "zoo-star", "--json", ZOO_REGISTRY=registry)
    assert json.loads(out)["models"]
    assert "zoo-star 1.0" in err
    out, _ = environment.zoo(
        "plugins", "install", "zoo-star", ZOO_REGISTRY=registry, ZOO_PLUGINS=""
    )
    assert "is not loaded" in out


@pytest.mark.slow
def test_the_newest_release_that_fits_is_chosen_and_the_others_are_told(tmp_path: Path) -> None:
    here = make_environment(tmp_path / "environment")
    wheels = tmp_path / "wheels"
    with loopback() as server:
        releases = []
        for version, core in (("1.9", ""), ("1.10", ">=0.1,<9"), ("2.0", ">=9")):
            wheel = write_wheel(wheels, "zoo-star", version=version)
            server.put(f"/{wheel.name}", wheel.read_bytes())
            bounds = {"requires-core": core} if core else {}
            releases.append(release(wheel, wheel.name, **bounds))
        server.put("/registry.toml", registry_text({"zoo-star": releases}).encode())
        url = server.url("/registry.toml")
        words = ("plugins", "install", "--registry", url)
        said = here.refused(*words, "zoo-star==3", code=3, error="release-not-found")
        assert all(version in said for version in ("zoo-star", "3", "1.9", "1.10", "2.0"))
        said = here.refused(*words, "zoo-star==2", code=4, error="incompatible-release")
        assert all(name in said for name in ("zoo-star 2.0", "zoo-core >=9", zoo.__version__))
        out, err = here.zoo(*words, "zoo-star")
        assert any("2.0" in line and "zoo-core >=9" in line for line in err.splitlines())
        assert out.startswith("zoo-star 1.10 brings")
    assert here.version("zoo-star") == "1.10"


@pytest.mark.parametrize(("way", "error"), [("file", "hash-mismatch"), ("http", "download-failed")])
def test_a_wheel_with_another_hash_is_not_installed(
    tmp_path: Path, environment: Environment, way: str, error: str
) -> None:
    wheel = write_wheel(tmp_path / "wheels", "zoo-star")
    with loopback() as server:
        server.put(f"/{wheel.name}", wheel.read_bytes())
        url = server.url(f"/{wheel.name}") if way == "http" else ""
        registry = listed(tmp_path, {**release(wheel, url), "sha256": "f" * 64})
        words = ("plugins", "install", "zoo-star", "--registry", registry)
        said = environment.refused(*words, code=3, error=error)
    for name in ("zoo-star", hashlib.sha256(wheel.read_bytes()).hexdigest()[:12], "f" * 12):
        assert name in said
    assert environment.version("zoo-star") == ""
    left = [path for path in Path(os.environ["ZOO_HOME"]).rglob("*.whl") if path.is_file()]
    assert left == []


def test_a_wheel_that_was_changed_after_it_was_verified_is_not_installed(
    tmp_path: Path, environment: Environment
) -> None:
    wheel = write_wheel(tmp_path / "wheels", "zoo-star")
    entry = release(wheel)
    registry = listed(tmp_path, entry)
    write_wheel(tmp_path / "wheels", "zoo-star", source="raise SystemExit('evil')\n")
    words = ("plugins", "install", "zoo-star", "--registry", registry)
    assert registry in environment.refused(*words, code=3, error="hash-mismatch")
    wheel.unlink()
    assert str(wheel) in environment.refused(*words, code=3, error="release-not-found")
    assert environment.version("zoo-star") == ""


@pytest.mark.slow
def test_an_unlisted_plugin_needs_the_word_and_comes_from_the_index(
    tmp_path: Path, environment: Environment
) -> None:
    index = tmp_path / "index"
    write_wheel(index, "zoo-stray", requires=[f"zoo-core=={zoo.__version__}", "zoo-helper"])
    write_wheel(index, "zoo-helper", is_plugin=False)
    variables = {"PIP_FIND_LINKS": str(index)}
    install, missing = ("plugins", "install"), "plugin-not-found"
    said = environment.refused(*install, "zoo-stray", code=3, error=missing, **variables)
    assert "zoo-stray --unlisted" in said
    said = environment.refused(*install, "zoo-gnas", code=3, error=missing, **variables)
    assert "'zoo-gans'" in said
    assert "--unlisted" not in said, "whoever mistypes is not led to a stranger's"
    assert environment.version("zoo-stray") == ""
    words = (*install, "zoo-stray==1.0", "--unlisted")
    out, err = environment.zoo(*words, **variables)
    assert "zoo-stray==1.0" in err
    assert out == "zoo-stray 1.0 brings zoo-stray-model\n"
    assert environment.version("zoo-helper") == "1.0"


def test_a_listed_plugin_is_not_taken_from_the_index(
    tmp_path: Path, environment: Environment
) -> None:
    """Else whoever takes its name there would be installed."""
    write_wheel(tmp_path / "index", "zoo-gans")
    words = ("plugins", "install", "zoo-gans", "--unlisted")
    index = str(tmp_path / "index")
    said = environment.refused(*words, code=2, error="conflicting-options", PIP_FIND_LINKS=index)
    assert "zoo-gans" in said
    assert "--unlisted" in said


def source_project(folder: Path) -> tuple[Path, Path]:
    """Write a project, and return it with the file that its build would write."""
    project = folder / "zoo_stray-1.0"
    project.mkdir()
    witness = folder / "was-built"
    (project / "maker.py").write_text(f"open({str(witness)!r}, 'w')\n")
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "maker"\nbackend-path = ["."]\n'
    )
    return project, witness


def test_sources_are_never_built(tmp_path: Path, environment: Environment) -> None:
    project, witness = source_project(tmp_path)
    index = tmp_path / "index"
    index.mkdir()
    shutil.make_archive(str(index / "zoo_stray-1.0"), "gztar", tmp_path, project.name)
    words = ("plugins", "install", "zoo-stray", "--unlisted")
    said = environment.refused(*words, code=1, error=CANNOT_INSTALL, PIP_FIND_LINKS=str(index))
    assert "zoo-stray" in said
    assert not witness.exists()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["listed", "unlisted", "through another", "through an extra"])
def test_sources_that_a_requirement_names_are_never_built(
    tmp_path: Path, environment: Environment, way: str
) -> None:
    project, witness = source_project(tmp_path)
    index = tmp_path / "index"
    need = f"zoo-stray @ {project.as_uri()}"
    marked = f"{need} ; extra == 'all'" if way == "through an extra" else need
    write_wheel(index, "zoo-helper", requires=[marked], is_plugin=False)
    direct = way in {"listed", "unlisted"}
    helper = "zoo-helper[all]" if way == "through an extra" else "zoo-helper"
    wheel = write_wheel(index, "zoo-star", requires=[need if direct else helper])
    words = ["plugins", "install", "zoo-star", "--registry", listed(tmp_path, release(wheel))]
    if way == "unlisted":
        words = [*words[:3], "--unlisted"]
    said = environment.refused(*words, code=1, error=CANNOT_INSTALL, PIP_FIND_LINKS=str(index))
    assert ("zoo-star" if direct else "zoo-helper") in said
    assert project.as_uri() in said
    assert not witness.exists()
    assert environment.version("zoo-star") == environment.version("zoo-helper") == ""


@pytest.mark.slow
def test_what_is_needed_fits_together_and_markers_hold(
    tmp_path: Path, environment: Environment
) -> None:
    index = tmp_path / "index"
    for version in ("1.0", "2.0"):
        write_wheel(index, "zoo-helper", version=version, is_plugin=False)
    write_wheel(index, "zoo-other", requires=["zoo-helper<2"], is_plugin=False)
    elsewhere = "zoo-nowhere @ https://example.org/x.whl ; sys_platform == 'moon'"
    wheel = write_wheel(
        tmp_path / "wheels", "zoo-star", requires=["zoo-helper", "zoo-other", "numpy", elsewhere]
    )
    words = ("plugins", "install", "zoo-star", "--registry", listed(tmp_path, release(wheel)))
    environment.zoo(*words, PIP_FIND_LINKS=str(index))
    assert environment.version("zoo-helper") == "1.0"
    assert environment.version("zoo-other") == "1.0"


@pytest.mark.slow
def test_a_listed_plugin_that_another_needs_is_not_taken_from_the_index(
    tmp_path: Path, environment: Environment
) -> None:
    index = tmp_path / "index"
    moon = write_wheel(tmp_path / "wheels", "zoo-moon")
    write_wheel(index, "zoo-moon", source="raise SystemExit('evil')\n")
    write_wheel(index, "zoo-stray", requires=["Zoo_Moon"])
    registry = listed(tmp_path, release(moon), name="zoo-moon")
    variables = {"PIP_FIND_LINKS": str(index), "ZOO_REGISTRY": registry}
    words = ("plugins", "install", "zoo-stray", "--unlisted")
    said = environment.refused(*words, code=1, error=CANNOT_INSTALL, **variables)
    assert "zoo plugins install zoo-moon" in said
    assert environment.version("zoo-moon") == environment.version("zoo-stray") == ""
    environment.zoo("plugins", "install", "zoo-moon", **variables)
    environment.zoo(*words, **variables)


@pytest.mark.slow
def test_a_model_whose_name_is_anothers_is_told_by_what_to_type(
    tmp_path: Path, environment: Environment
) -> None:
    source = CARD.format(model="vae", module="zoo_star")
    wheel = write_wheel(tmp_path / "wheels", "zoo-star", source=source)
    registry = listed(tmp_path, release(wheel))
    out, err = environment.zoo("plugins", "install", "zoo-star", "--registry", registry)
    assert out == "zoo-star 1.0 brings zoo-star:vae\n"
    assert "zoo-autoencoders's" in err


def test_a_package_that_is_no_plugin_is_not_installed_over(
    tmp_path: Path, environment: Environment
) -> None:
    wheel = write_wheel(tmp_path / "wheels", "numpy", version="99.0")
    registry = listed(tmp_path, release(wheel), name="numpy")
    before = environment.version("numpy")
    index = str(wheel.parent)
    for options in (("--registry", registry), ("--unlisted",)):
        words = ("plugins", "install", "numpy", *options)
        said = environment.refused(*words, code=2, error="not-a-plugin", PIP_FIND_LINKS=index)
        assert "numpy" in said
    assert environment.version("numpy") == before


@pytest.mark.slow
def test_what_is_installed_already_is_not_changed(tmp_path: Path, environment: Environment) -> None:
    index = tmp_path / "index"
    write_wheel(index, "zoo-helper", version="1.0", is_plugin=False)
    install = [sys.executable, "-m", "pip", "--python", str(environment.python), "install", "-q"]
    subprocess.run(
        [*install, str(index / "zoo_helper-1.0-py3-none-any.whl")],
        check=True,
        env={**os.environ, **offline()},
    )
    write_wheel(index, "zoo-helper", version="2.0", is_plugin=False)
    wheel = write_wheel(tmp_path / "wheels", "zoo-star", requires=["zoo-helper>=2"])
    registry = listed(tmp_path, release(wheel))
    words = ("plugins", "install", "zoo-star", "--registry", registry)
    said = environment.refused(*words, code=1, error=CANNOT_INSTALL, PIP_FIND_LINKS=str(index))
    assert "zoo-helper>=2" in said
    assert environment.version("zoo-helper") == "1.0"
    assert environment.version("zoo-star") == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "is_plugin", "error", "name"),
    [
        ("raise RuntimeError('the server is away')\n", True, "plugin-failed", "the server is away"),
        ("X = 1\n", False, "not-a-plugin", "zoo-star"),
    ],
)
def test_trouble_is_told_at_once(
    tmp_path: Path, environment: Environment, source: str, is_plugin: bool, error: str, name: str
) -> None:
    wheel = write_wheel(tmp_path / "wheels", "zoo-star", source=source, is_plugin=is_plugin)
    registry = listed(tmp_path, release(wheel))
    words = ("plugins", "install", "zoo-star", "--registry", registry)
    said = environment.refused(*words, code=4, error=error)
    assert name in said
    assert "pip uninstall zoo-star" in said


@pytest.fixture(scope="module")
def without_pip(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    place = tmp_path_factory.mktemp("bare")
    site = farm(
        place / "site", Path(sysconfig.get_path("purelib")), "pip", "_editable", "__editable"
    )
    return make_environment(place / "environment", site)


def test_without_pip_uv_installs(
    tmp_path: Path, without_pip: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in takes the words that uv takes, and installs by the pip of these tests."""
    registry = listed(tmp_path, release(write_wheel(tmp_path / "wheels", "zoo-star")))
    words = ("plugins", "install", "zoo-star", "--registry", registry)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "ensurepip" in without_pip.refused(*words, code=1, error=CANNOT_INSTALL)
    uv = tmp_path / "bin" / "uv"
    uv.write_text(
        f'#!/bin/sh\n[ "$1 $2 $3" = "pip install --python" ] || exit 9\nenv="$4"; shift 4\n'
        f'exec {sys.executable} -m pip --python "$env" install "$@"\n'
    )
    uv.chmod(0o755)
    assert "zoo-star-model" in without_pip.zoo(*words)[0]
    assert without_pip.version("zoo-star") == "1.0"


def test_the_installer_checks_the_hash_as_well(
    tmp_path: Path, without_pip: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in changes the wheel after the zoo has looked at it."""
    registry = listed(tmp_path, release(write_wheel(tmp_path / "wheels", "zoo-sun"), ""),
                      name="zoo-sun")  # fmt: skip
    evil = write_wheel(tmp_path / "evil", "zoo-sun", source="raise SystemExit('evil')\n")
    folder = Path(os.environ["ZOO_HOME"]).absolute()
    (tmp_path / "bin").mkdir()
    uv = tmp_path / "bin" / "uv"
    uv.write_text(
        f"#!{sys.executable}\nimport pathlib, shutil, subprocess, sys\n"
        f"(wheel,) = pathlib.Path({str(folder)!r}).rglob('zoo_sun*.whl')\n"
        f"shutil.copyfile({str(evil)!r}, wheel)\n"
        f"pip = [{sys.executable!r}, '-m', 'pip', '--python', sys.argv[4], 'install']\n"
        "sys.exit(subprocess.run([*pip, *sys.argv[5:]]).returncode)\n"
    )
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    words = ("plugins", "install", "zoo-sun", "--registry", registry)
    assert "zoo-sun" in without_pip.refused(*words, code=1, error=CANNOT_INSTALL)
    assert without_pip.version("zoo-sun") == ""


def test_where_uv_installs_a_listed_plugin_comes_from_no_index_either(
    tmp_path: Path, without_pip: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    moon = write_wheel(index, "zoo-moon")
    write_wheel(index, "zoo-stray", requires=["zoo-moon"])
    (tmp_path / "bin").mkdir()
    uv = tmp_path / "bin" / "uv"
    uv.write_text(
        f'#!/bin/sh\nenv="$4"; shift 4\nexec {sys.executable} -m pip --python "$env" install "$@"\n'
    )
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    registry = listed(tmp_path, release(moon), name="zoo-moon")
    words = ("plugins", "install", "zoo-stray", "--unlisted", "--registry", registry)
    said = without_pip.refused(*words, code=1, error=CANNOT_INSTALL, PIP_FIND_LINKS=str(index))
    assert f"zoo plugins install --registry {registry} zoo-moon" in said
    assert without_pip.version("zoo-moon") == ""


@pytest.mark.parametrize(
    ("marks", "command"),
    [
        (["pipx_metadata.json"], "pipx inject zoo-core 'zoo-star @ file://"),
        (["uv-receipt.toml"], "uv tool install . --with 'zoo-star @ file://"),
        (["conda-meta/", "condabin/"], "conda create -n zoo"),
    ],
)
def test_an_environment_of_another_manager_is_left_to_it(
    tmp_path: Path, environment: Environment, marks: list[str], command: str
) -> None:
    entry = release(write_wheel(tmp_path / "wheels", "zoo-star"))
    for mark in marks:
        path = environment.python.parents[1] / mark
        path.mkdir() if mark.endswith("/") else path.write_text("")
    words = ("plugins", "install", "zoo-star", "--registry", listed(tmp_path, entry))
    said = environment.refused(*words, code=1, error=CANNOT_INSTALL)
    assert str(environment.python.parents[1]) in said
    assert command in said
    assert f"#sha256={entry['sha256']}" in said
    assert environment.version("zoo-star") == ""


def test_an_externally_managed_python_is_left_alone(tmp_path: Path) -> None:
    """A Python of its own, made of links to the one that runs the tests."""
    standard = Path(sysconfig.get_path("stdlib"))
    home = tmp_path / "python"
    lib = farm(home / "lib" / standard.name, standard, "site-packages")
    (lib / "site-packages").mkdir()
    see(lib / "site-packages", Path(sysconfig.get_path("purelib")))
    python = Path(getattr(sys, "_base_executable", sys.executable))
    here = Environment(python, {**offline(), "PYTHONHOME": str(home)})
    registry = listed(tmp_path, release(write_wheel(tmp_path / "wheels", "zoo-star")))
    words = ("plugins", "install", "zoo-star", "--registry", registry)
    (lib / "EXTERNALLY-MANAGED").write_text("[externally-managed]\nError=ask apt\n")
    said = here.refused(*words, code=1, error=CANNOT_INSTALL)
    assert "-m venv" in said
    (lib / "EXTERNALLY-MANAGED").unlink()
    here.zoo(*words)
    assert (lib / "site-packages" / "zoo_star").is_dir()


def test_an_environment_that_cannot_be_written_to_is_told(
    tmp_path: Path, environment: Environment
) -> None:
    registry = listed(tmp_path, release(write_wheel(tmp_path / "wheels", "zoo-star")))
    (site,) = environment.python.parents[1].glob("lib/python*/site-packages")
    site.chmod(0o555)
    words = [str(environment.python), "-m", "zoo", "plugins", "install", "zoo-star"]
    if os.geteuid() == 0:  # who may write anywhere
        if not shutil.which("setpriv"):
            pytest.skip("root may write anywhere, and there is no setpriv to take that right away")
        words = ["setpriv", "--bounding-set=-dac_override", *words]
    done = subprocess.run(
        [*words, "--registry", registry, "--json"], capture_output=True, text=True, check=False
    )
    site.chmod(0o755)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == CANNOT_INSTALL
    assert str(site) in done.stderr


def test_a_server_that_dawdles_is_left_after_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.catalog.registry import copy_of
    from zoo.errors import NotFoundError
    from zoo.market.search import refresh

    with loopback() as server:
        server.put("/registry.toml", b"schema = 1\n" * 99, drip=0.05)
        url = server.url("/registry.toml")
        begin = time.monotonic()
        with raises(NotFoundError, "registry-unreachable", url):
            refresh(url, lambda _: None, seconds=0.5)
        assert time.monotonic() - begin < 2
        assert not copy_of(url).exists()


def test_a_server_that_dawdles_over_its_headers_is_left_as_well() -> None:
    from zoo.errors import NotFoundError
    from zoo.market.search import refresh

    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            with suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
                    for _ in range(60):
                        client.sendall(b"a")
                        time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/registry.toml"
        begin = time.monotonic()
        with raises(NotFoundError, "registry-unreachable", url, "0.5 seconds"):
            refresh(url, lambda _: None, seconds=0.5)
        assert time.monotonic() - begin < 2
