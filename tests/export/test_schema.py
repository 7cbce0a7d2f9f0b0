"""docs/onnx.md has the JSON schemas of what a file says of itself and of the manifest beside it."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.documents import files
from tests.export.test_sizes import (
    CLOTHES,
    PONIES,
    Conditional,
    ShiftConfig,
    Translator,
    trained,
)
from tests.process import zoo_json
from zoo.export.bundle import export_bundle
from zoo.export.variants import Variant
from zoo.runtime.description import SCHEMA

DOCUMENT = Path(__file__).parents[2] / "docs" / "onnx.md"
BLOCKS = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
DESCRIPTION, MANIFEST = (
    next(each for each in map(json.loads, BLOCKS) if each.get("$id") == f"urn:zoo:{name}:{SCHEMA}")
    for name in ("description", "manifest")
)
REGISTRY: Registry[Any] = Registry().with_resources(
    (each["$id"], Resource.from_contents(each)) for each in (DESCRIPTION, MANIFEST)
)
OF_A_FILE, OF_A_BUNDLE = (
    Draft202012Validator(each, registry=REGISTRY) for each in (DESCRIPTION, MANIFEST)
)
VARIANTS = {"ponies": [Variant()], "clothes": [Variant(), Variant(io="uint8")]}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """A translator of any size, and a generator with classes in two variants."""
    place = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, model in (
            ("ponies", Translator(ShiftConfig(), PONIES)),
            ("clothes", Conditional(ShiftConfig(), CLOTHES)),
        ):
            subject = trained(model)
            for variant in VARIANTS[name]:
                export_bundle(subject, place / name, variant)
    yield [place / "ponies", place / "clothes"]


def entry(path: Path) -> Any:
    model = onnx.load(path)
    return json.loads(next(prop.value for prop in model.metadata_props if prop.key == "zoo"))


def test_the_schemas_are_schemas() -> None:
    for schema in (DESCRIPTION, MANIFEST):
        Draft202012Validator.check_schema(schema)


def test_every_file_and_manifest_that_an_export_wrote_is_as_the_schemas_say(
    bundles: list[Path],
) -> None:
    for folder in bundles:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        OF_A_BUNDLE.validate(manifest)
        written = sorted(path.name for path in folder.glob("*.onnx"))
        assert sorted(each["file"] for each in manifest["files"].values()) == written
        assert len(written) == len(VARIANTS[folder.name])
        for told in manifest["files"].values():
            path = folder / told["file"]
            OF_A_FILE.validate(entry(path))
            assert entry(path) == told["description"]
        shown = zoo_json("show", str(folder))["files"]
        assert [each["description"] for each in shown] == [entry(folder / name) for name in written]


def test_every_key_of_a_file_is_in_the_schema(bundles: list[Path]) -> None:
    told = entry(next(bundles[1].glob("*.generate.onnx")))
    port = told["signature"]["outputs"][0]
    assert set(told) == set(DESCRIPTION["properties"]) == set(DESCRIPTION["required"])
    assert set(port) == set(DESCRIPTION["$defs"]["port"]["properties"])
    assert set(told["data"]) == set(DESCRIPTION["$defs"]["data"]["properties"])
    manifest = json.loads((bundles[1] / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest) == set(MANIFEST["properties"]) == set(MANIFEST["required"])
    schema = MANIFEST["properties"]["files"]["additionalProperties"]
    for each in manifest["files"].values():
        assert set(each) == set(schema["properties"]) == set(schema["required"])


OPEN = [("config",), ("metrics",)]  # objects of any keys


def places(value: Any, *way: Any) -> Iterator[tuple[Any, ...]]:
    """Every key of every object of known keys in an entry, by the way there."""
    if isinstance(value, dict) and way[:1] not in OPEN:
        for key, inner in value.items():
            yield (*way, key)
            yield from places(inner, *way, key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(inner, *way, number)


def changed(value: Any, way: tuple[Any, ...]) -> tuple[Any, Any]:
    """A copy, and the object in it that holds the last key of the way."""
    whole = copy.deepcopy(value)
    inner = whole
    for key in way[:-1]:
        inner = inner[key]
    return whole, inner


def test_no_key_may_be_missing_or_of_another_type(bundles: list[Path]) -> None:
    told = entry(next(bundles[0].glob("*.horse_to_zebra.onnx")))
    OF_A_FILE.validate(told)
    ways = [way for way in places(told) if way[0] != "written_by" or len(way) == 1]
    assert ("signature", "inputs", 0, "prior") in ways
    for way in ways:
        whole, inner = changed(told, way)
        inner[way[-1]] = [{}]
        assert not OF_A_FILE.is_valid(whole), way
        del inner[way[-1]]
        assert OF_A_FILE.is_valid(whole) == (way[-1] == "colours"), way
    assert OF_A_FILE.is_valid({**told, "later": 1})


WRONG: dict[str, Any] = {
    "schema": 1,
    "step": -1,
    "precision": "int4",
    "weights_sha256": "abc",
    "metrics": {"fid": None},
}
WRONG_PORT: dict[str, Any] = {
    "kind": "audio",
    "shape": ["batch", 3],
    "dtype": "float64",
    "range": [0],
    "prior": "poisson",
    "layout": "CHW",
    "rate": 44100,
    "tolerance": 0,
    "colours": "BGR",
}


def test_wrong_values_are_refused(bundles: list[Path]) -> None:
    told = entry(next(bundles[0].glob("*.horse_to_zebra.onnx")))
    for key, value in WRONG.items():
        assert not OF_A_FILE.is_valid({**told, key: value}), key
    for key, value in WRONG_PORT.items():
        whole, port = changed(told, ("signature", "inputs", 0, key))
        port[key] = value
        assert not OF_A_FILE.is_valid(whole), key
    whole, port = changed(told, ("signature", "inputs", 0, "prior"))
    port |= {"prior": "uniform", "range": None}
    assert not OF_A_FILE.is_valid(whole)


def test_a_wrong_manifest_is_refused(bundles: list[Path]) -> None:
    manifest = json.loads((bundles[0] / "manifest.json").read_text(encoding="utf-8"))
    name = next(iter(manifest["files"]))
    ways: list[tuple[Any, ...]] = [
        *((key,) for key in manifest),
        *(("weights", key) for key in ("file", "bytes", "sha256")),
        *(("files", name, key) for key in manifest["files"][name]),
        ("files", name, "description", "signature"),
        ("files", name, "reference", "sha256"),
    ]
    for way in ways:
        whole, inner = changed(manifest, way)
        del inner[way[-1]]
        assert not OF_A_BUNDLE.is_valid(whole), way
    for key, value in (
        ("file", "../x.onnx"),
        ("bytes", 0),
        ("sha256", "0" * 63),
        ("checks", {"image": {"greatest": "small"}}),
        ("quality", {"elbo": 3}),
    ):
        whole, inner = changed(manifest, ("files", name, key))
        inner[key] = value
        assert not OF_A_BUNDLE.is_valid(whole), key


@pytest.mark.parametrize("variant", ["", ".uint8"])
def test_the_example_in_python_runs_a_file_it_knows_nothing_of(
    bundles: list[Path], variant: str, tmp_path: Path
) -> None:
    program, *_ = files(DOCUMENT, tmp_path)
    (exported,) = bundles[1].glob(f"*.generate{variant}.onnx")
    code = [sys.executable, "-W", "error", str(program), str(exported)]
    done = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "shift generate trained on clothes" in done.stdout
    pixels = np.load(tmp_path / "image.npy")
    assert pixels.shape == (4, 4, 4, 1)
    assert pixels.dtype == np.uint8
    assert 50 < pixels.mean() < 200
    assert pixels.std() > 20


def test_the_example_says_what_has_to_be_supplied(bundles: list[Path], tmp_path: Path) -> None:
    program, *_ = files(DOCUMENT, tmp_path)
    (exported,) = bundles[0].glob("*.horse_to_zebra.onnx")
    done = subprocess.run(
        [sys.executable, str(program), str(exported)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is to be supplied" in done.stderr
