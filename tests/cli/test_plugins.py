"""`zoo plugins`: what the user chooses to load, and what remains when a plugin goes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.installing import CARD, install
from tests.process import error_of, zoo, zoo_json
from zoo.model.weights import load_weights, save_weights

FIRST_PARTY = [
    "zoo-autoencoders",
    "zoo-classifiers",
    "zoo-diffusion",
    "zoo-gans",
    "zoo-sequences",
    "zoo-translation",
]
MODEL = PROJECT / "plugins" / "zoo-autoencoders" / "zoo_autoencoders" / "ae.py"


def loaded(**environment: str) -> list[str]:
    rows = zoo_json("plugins", "list", **environment)
    return [row["distribution"] for row in rows if not row["left_out"]]


def test_the_variable_names_the_only_plugins_that_are_wanted() -> None:
    assert loaded() == FIRST_PARTY
    assert loaded(ZOO_PLUGINS="zoo-gans, Zoo_Translation") == ["zoo-gans", "zoo-translation"]
    assert loaded(ZOO_PLUGINS="") == []
    assert {row["plugin"] for row in zoo_json("list", ZOO_PLUGINS="zoo-gans")} == {"zoo-gans"}
    said = error_of("list", code=2, ZOO_PLUGINS="zoo-gnas")
    assert "'zoo-gans'" in said
    assert "ZOO_PLUGINS" in said


def test_no_plugins_may_stand_anywhere_on_the_line() -> None:
    for words in (["--no-plugins", "list"], ["list", "--no-plugins"]):
        done = zoo(*words)
        assert done.stdout == ""
        assert f"left out: {', '.join(FIRST_PARTY)}" in done.stderr
    said = error_of("show", "vae", "--no-plugins", code=3, error="model-not-found")
    assert "zoo-autoencoders" in said
    assert "--no-plugins" in error_of("train", "--", "--no-plugins", code=3), "a name after --"


def test_what_is_disabled_is_remembered_and_said(tmp_path: Path) -> None:
    assert zoo("plugins", "disable", "zoo_GANs").stderr == (
        "zoo-gans is disabled; zoo plugins enable zoo-gans\n"
    )
    assert "disabled" in zoo("plugins", "list").stdout
    said = error_of("train", "dcgan", code=3, error="model-not-found")
    assert "disabled" in said
    assert "zoo plugins enable zoo-gans" in said
    assert loaded() == [
        "zoo-autoencoders",
        "zoo-classifiers",
        "zoo-diffusion",
        "zoo-sequences",
        "zoo-translation",
    ]
    assert loaded(ZOO_HOME=str(tmp_path)) == FIRST_PARTY, "elsewhere it is not"
    assert zoo("plugins", "enable", "zoo-gans").stderr == "zoo-gans is enabled\n"
    assert loaded() == FIRST_PARTY
    assert "'zoo-gans'" in error_of("plugins", "enable", "zoo-gnas", code=3)


@pytest.mark.parametrize("text", ["", "[]", '{"disabled": "zoo-gans"}', '{"disabled": [1]}'])
def test_a_damaged_list_of_disabled_plugins_is_an_error_that_names_it(text: str) -> None:
    home = Path(os.environ["ZOO_HOME"])
    home.mkdir()
    (home / "plugins.json").write_text(text)
    assert str(home / "plugins.json") in error_of("list", code=1)


def test_what_is_disabled_lies_where_the_platform_keeps_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZOO_HOME")
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    zoo("plugins", "disable", "zoo-gans", **home)
    (path,) = tmp_path.rglob("plugins.json")
    assert not {"cache", ".cache", "Caches"}.intersection(path.parts)
    assert "zoo-gans" not in loaded(**home)


def test_the_help_of_the_group_imports_no_verb_of_it() -> None:
    shown = zoo("plugins", "-h").stdout
    for name in ("list", "disable", "enable", "new", "check", "search", "install"):
        assert f"  {name} " in shown
    assert "'list'" in error_of("plugins", "lst", code=2, error="unknown-verb")


def test_runs_and_exports_outlive_their_plugin(tmp_path: Path) -> None:
    """Installed for a training, gone afterwards, and back in another version."""
    card = CARD.format(model="mine", module="zoo_mine").replace("Missing", "Autoencoder")
    plugin: dict[str, str | dict[str, str]] = {
        "zoo-mine": {"__init__.py": card, "model.py": MODEL.read_text("utf-8")}
    }
    first = install(tmp_path / "first", plugin)
    zoo("train", "mine", "--steps", "2", "--set", "hidden=8", "--name", "kept", **first)
    zoo("export", "kept", "--onnx", "-o", "bundle", **first)

    assert "kept" in zoo("runs").stdout
    assert zoo_json("runs", "show", "kept")["distribution"] == "zoo-mine"
    assert "kept: mine" in zoo("doctor", "kept").stdout
    graph = next(Path("bundle").glob("*reconstruct*.onnx"))
    picture = next(Path("runs/kept/samples").glob("*.png"))
    done = zoo("run", str(graph), str(picture), "-o", "out.png")
    assert Path("out.png").is_file()
    assert "note" not in done.stderr
    assert "pip install zoo-mine" in error_of("sample", "kept", code=4, error="missing-plugin")

    second = install(tmp_path / "second", plugin, version="2.0")
    said = zoo("run", str(graph), str(picture), "-o", "out.png", **second).stderr
    assert "it was written by zoo-mine 1.0; zoo-mine 2.0 is installed" in said


def test_weights_of_another_version_say_so_when_they_are_loaded(
    in_trained: Path, tmp_path: Path
) -> None:
    (path,) = (in_trained / "runs" / "first" / "checkpoints").glob("*/model.safetensors")
    trained = load_weights(path)
    older = tmp_path / "older.safetensors"
    save_weights(older, trained.model, replace(trained.identity, version="0.0.9"))
    said = zoo("sample", str(older), "-o", str(tmp_path / "x.png")).stderr
    now = trained.identity.version
    told = f"it was written by zoo-autoencoders 0.0.9; zoo-autoencoders {now} is installed"
    assert [line for line in said.splitlines() if line.startswith("note")] == [
        f"note on older.safetensors: {told}"
    ]
    assert "note" not in zoo("sample", str(path), "-o", str(tmp_path / "x.png")).stderr
