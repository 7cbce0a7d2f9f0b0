"""The documents have the JSON schema of the records in weight files, ONNX files and manifests."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import safetensors
from jsonschema import Draft202012Validator

from tests.documents import files
from tests.exporting.test_sizes import (
    CLOTHES,
    PONIES,
    Conditional,
    ShiftConfig,
    Translator,
    trained,
)
from tests.process import zoo_json
from zoo.exporting.bundle import export_bundle
from zoo.exporting.variants import Variant
from zoo.identity import SCHEMA, Description, GraphFile, Manifest, WeightHeader

DOCUMENT = Path(__file__).parents[2] / "docs" / "onnx.md"
SCHEMAS = DOCUMENT.with_name("records.schema.json")


def schemas() -> dict[str, Any]:
    """Return the JSON schema of the records: their types, and every key that zoo writes."""
    kinds = (Description, Manifest, WeightHeader)
    _, records = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    for record in records.values():
        record["description"] = record["description"].partition("\n")[0]
        record["required"] = list(record["properties"])
        for field in record["properties"].values():
            field.pop("default", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:zoo:records:{SCHEMA}",
        "$defs": records,
    }


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({**schemas(), "$ref": f"#/$defs/{name}"})


OF_A_FILE, OF_A_BUNDLE, OF_WEIGHTS = map(validator, ("Description", "Manifest", "WeightHeader"))
OF_A_GRAPH = [field.name for field in dataclasses.fields(GraphFile)]
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


def test_the_document_has_the_schemas_of_the_classes() -> None:
    """After a change that is meant: ``python -m tests.exporting.test_schema`` writes it anew."""
    assert json.loads(SCHEMAS.read_text(encoding="utf-8")) == schemas()
    Draft202012Validator.check_schema(schemas())


def test_every_file_and_manifest_that_an_export_wrote_is_as_the_schemas_say(
    bundles: list[Path],
) -> None:
    for folder in bundles:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        OF_A_BUNDLE.validate(manifest)
        written = sorted(path.name for path in folder.glob("*.onnx"))
        assert sorted(each["file"] for each in manifest["files"].values()) == written
        assert len(written) == len(VARIANTS[folder.name])
        with safetensors.safe_open(folder / manifest["weights"]["file"], "np") as weights:
            header = json.loads(weights.metadata()["zoo"])
        OF_WEIGHTS.validate(header)
        assert header["identity"] == manifest["identity"]
        for told in manifest["files"].values():
            described = entry(folder / told["file"])
            OF_A_FILE.validate(described)
            assert described["identity"] == manifest["identity"]
            assert described["weights_sha256"] == manifest["weights"]["sha256"]
            assert {key: told[key] for key in OF_A_GRAPH} == {
                key: described[key] for key in OF_A_GRAPH
            }
        shown = zoo_json("show", str(folder))["files"]
        assert [each["description"] for each in shown] == [entry(folder / name) for name in written]


OPEN = ("config", "metrics", "graphs")  # objects of any keys


def places(value: Any, *way: Any) -> Iterator[tuple[Any, ...]]:
    """Every key of every object of known keys in an entry, by the way there."""
    if isinstance(value, dict) and (not way or way[-1] not in OPEN):
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
        assert not OF_A_FILE.is_valid(whole), way
    assert OF_A_FILE.is_valid({**told, "later": 1})


WRONG: dict[str, Any] = {
    "schema": 1,
    "precision": "int4",
    "weights_sha256": "abc",
}
WRONG_PORT: dict[str, Any] = {
    "kind": 3,
    "shape": [{}],
    "dtype": "float64",
    "range": [0],
    "prior": "poisson",
    "layout": "CHW",
    "rate": "high",
    "tolerance": None,
}


def test_wrong_values_are_refused(bundles: list[Path]) -> None:
    told = entry(next(bundles[0].glob("*.horse_to_zebra.onnx")))
    for key, value in WRONG.items():
        assert not OF_A_FILE.is_valid({**told, key: value}), key
    for key, value in {"step": -1, "metrics": {"fid": None}}.items():
        identity = {**told["identity"], key: value}
        assert not OF_A_FILE.is_valid({**told, "identity": identity}), key
    for key, value in WRONG_PORT.items():
        whole, port = changed(told, ("signature", "inputs", 0, key))
        port[key] = value
        assert not OF_A_FILE.is_valid(whole), key


def test_a_wrong_manifest_is_refused(bundles: list[Path]) -> None:
    manifest = json.loads((bundles[0] / "manifest.json").read_text(encoding="utf-8"))
    name = next(iter(manifest["files"]))
    ways: list[tuple[Any, ...]] = [
        *((key,) for key in manifest),
        *(("weights", key) for key in ("file", "bytes", "sha256")),
        *(("files", name, key) for key in manifest["files"][name]),
        ("identity", "config"),
        ("files", name, "reference", "sha256"),
    ]
    for way in ways:
        whole, inner = changed(manifest, way)
        del inner[way[-1]]
        assert not OF_A_BUNDLE.is_valid(whole), way
    for key, value in (
        ("file", ""),
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


if __name__ == "__main__":
    SCHEMAS.write_text(json.dumps(schemas(), indent=2) + "\n", encoding="utf-8")
