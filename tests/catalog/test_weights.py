"""Published weights: the package, the registry and the recipes say the same."""

from __future__ import annotations

import hashlib
import re
import tomllib
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.process import error_of, zoo, zoo_json
from zoo import load
from zoo.api.loaded_model import LoadedModel
from zoo.catalog.lookup import WEIGHTS_PACKAGE, find_model, weights_here
from zoo.catalog.registry import load_registry, read_registry
from zoo.model.weights import load_weights, read_identity

ROWS = {row.name: row for row in read_registry().weights}
RECIPES = {
    name: row["recipe"]
    for name, row in tomllib.loads((PROJECT / "registry.toml").read_text())["weights"].items()
}
MOST_BYTES = 25 * 10**6  # of the wheel, which compresses each file


def files() -> list[Path]:
    spec = find_spec(WEIGHTS_PACKAGE)
    assert spec is not None
    return sorted(Path(spec.submodule_search_locations[0]).rglob("*.safetensors"))


def test_every_file_of_the_package_has_a_row_and_every_row_a_file() -> None:
    assert {path.stem for path in files()} == set(ROWS)
    assert sum(len(zlib.compress(path.read_bytes())) for path in files()) < MOST_BYTES


@pytest.mark.parametrize("name", ROWS)
def test_the_file_is_the_one_that_the_registry_lists(name: str) -> None:
    entry = find_model(ROWS[name].model)
    path = weights_here(entry, ROWS[name])
    assert path is not None
    assert path.stem == name
    file, identity = ROWS[name].file, read_identity(path)
    body = path.read_bytes()
    assert (len(body), hashlib.sha256(body).hexdigest()) == (file.bytes, file.sha256)
    assert (identity.model, identity.distribution) == (
        ROWS[name].model,
        entry.plugin.distribution,
    )
    assert ROWS[name].licence == identity.data.licence
    load_weights(path)


@pytest.mark.parametrize("name", ROWS)
def test_the_recipe_is_a_training_of_the_model(name: str) -> None:
    recipe = tomllib.loads((PROJECT / RECIPES[name]).read_text())
    entry = find_model(ROWS[name].model)
    assert recipe["model"] == entry.full_name
    path = weights_here(entry, ROWS[name])
    assert path is not None
    identity = read_identity(path)
    assert recipe["data"] == identity.data.name
    assert recipe["options"] == {**identity.config}


def test_the_list_says_what_is_ready() -> None:
    ready = [name for row in zoo_json("list") for name in row["published"]]
    assert sorted(ready) == sorted(ROWS)
    assert re.search(r"^ *classifier .* 2 published ", zoo("list").stdout, re.M)


def test_weights_are_shown_and_taken_by_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = zoo("show", "classifier-mnist").stdout
    assert shown.startswith("classifier: ")
    assert ROWS["classifier-mnist"].summary in shown
    assert ROWS["classifier"].summary not in shown
    both = zoo("show", "classifier").stdout
    assert all(ROWS[name].summary in both for name in ("classifier", "classifier-mnist"))
    assert loaded_from("classifier").data.name == "fashion-mnist", "the model's own name"
    assert loaded_from("classifier-mnist").data.name == "mnist"
    zoo("export", "classifier-mnist", "--onnx")
    assert list(Path("exports/classifier-mnist").glob("*-mnist.classify.onnx"))


def loaded_from(name: str) -> LoadedModel:
    return load(name, log=None)


def test_a_name_that_is_misspelt_is_suggested() -> None:
    said = error_of("sample", "classifier-minst", code=3, error="target-not-found")
    assert "'classifier-mnist'" in said
    assert "'classifier-mnist'" in error_of("show", "classifier-minst", code=3)


def test_a_registry_names_several_weights_of_a_model(tmp_path: Path) -> None:
    row = (
        '''summary = "s"
licence = "CC0"
file = { name = "NAME.safetensors", bytes = 1, sha256 = "'''
        + "0" * 64
        + """" }
"""
    )
    names = ["vae-faces", "vae-digits"]
    text = "schema = 1\n" + "".join(
        f'[weights.{name}]\nmodel = "vae"\n{row.replace("NAME", name)}' for name in names
    )
    (tmp_path / "more.toml").write_text(text + '[weights.bad]\nmodel = "No Model"\n' + row)
    registry = load_registry(tmp_path / "more.toml", "more.toml")
    assert [(each.name, each.model) for each in registry.weights] == [(n, "vae") for n in names]
    assert [each.download.folder for each in registry.weights] == [f"weights/{n}" for n in names]
    (trouble,) = registry.troubles
    assert "bad" in trouble
    read = read_registry(str(tmp_path / "more.toml"))
    assert {"vae", *names} <= {each.name for each in read.weights}
