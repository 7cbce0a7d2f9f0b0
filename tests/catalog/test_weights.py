"""Published weights: the package, the registry and the recipes say the same."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.process import zoo_json
from zoo.catalog.lookup import WEIGHTS_PACKAGE, find_model, weights_here
from zoo.catalog.registry import read_registry
from zoo.model.weights import load_weights, read_identity

ROWS = {row.model: row for row in read_registry().weights}
RECIPES = {
    name: row["recipe"]
    for name, row in tomllib.loads((PROJECT / "registry.toml").read_text())["weights"].items()
}
MOST_BYTES = 25 * 10**6  # of the wheel


def files() -> list[Path]:
    spec = find_spec(WEIGHTS_PACKAGE)
    assert spec is not None
    return sorted(Path(spec.submodule_search_locations[0]).rglob("*.safetensors"))


def test_every_file_of_the_package_has_a_row_and_every_row_a_file() -> None:
    assert {path.stem for path in files()} == set(ROWS)
    assert sum(path.stat().st_size for path in files()) < MOST_BYTES


@pytest.mark.parametrize("model", ROWS)
def test_the_file_is_the_one_that_the_registry_lists(model: str) -> None:
    entry = find_model(model)
    path = weights_here(entry)
    assert path is not None
    file, identity = ROWS[model].file, read_identity(path)
    body = path.read_bytes()
    assert (len(body), hashlib.sha256(body).hexdigest()) == (file.bytes, file.sha256)
    assert (identity.model, identity.distribution) == (model, entry.plugin.distribution)
    assert ROWS[model].licence == identity.data.licence
    load_weights(path)


@pytest.mark.parametrize("model", ROWS)
def test_the_recipe_is_a_training_of_the_model(model: str) -> None:
    recipe = tomllib.loads((PROJECT / RECIPES[model]).read_text())
    entry = find_model(model)
    assert recipe["model"] == entry.full_name
    path = weights_here(entry)
    assert path is not None
    identity = read_identity(path)
    assert recipe["data"] == identity.data.name
    assert recipe["options"] == {**identity.config}


def test_the_list_says_what_is_ready() -> None:
    rows = zoo_json("list")
    ready = {row["name"] for row in rows if row["weights"] == "published"}
    assert ready == set(ROWS)
