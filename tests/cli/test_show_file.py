"""`zoo show FILE`: what a file says of itself and what is in it, whoever wrote it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from tests.cli.test_imports import imported_by
from tests.process import error_of, zoo, zoo_json
from tests.runtime.graphs import (
    PHOTOS,
    conditional,
    decoder,
    describe,
    encoder,
    entry_of,
    negative,
    save,
    translator,
)
from zoo.identity import SCHEMA, to_text
from zoo.manifest import facts_of
from zoo.ports import DataSpec, Port
from zoo.records import to_plain

CLASSES = ["t-shirt", "trouser", "pullover", "dress", "coat", "sandal"]
CARRIED = DataSpec.of_images("fashion-mnist", 1, 28, 28, tuple(CLASSES), licence="MIT")


def shown(*words: str, **environment: str) -> dict[str, list[str]]:
    """Return what is printed, by the word before it; every row is told on one line."""
    found: dict[str, list[str]] = {}
    for line in zoo("show", *words, COLUMNS="400", **environment).stdout.splitlines():
        key, _, told = line.strip().partition("   ")
        found.setdefault(key, []).append(told.strip())
    return found


def stranger(path: Path, *nodes: onnx.NodeProto, **more: Any) -> Path:
    """An ONNX file of somebody else."""
    ports = [Port.latent("latent", 20)], [Port.latent("value", 20, prior=None)]
    neg = helper.make_node("Neg", ["latent"], ["value"])
    return save(path, describe("f", *ports), nodes or [neg], **{"zoo_entry": None} | more)


def account(path: Path) -> Path:
    return decoder(
        path,
        data=CARRIED,
        normalisation=("BatchNorm2d: the running statistics of the training",),
        dropout="off",
        weights_sha256="ab" * 32,
        written_by={"zoo-core": "0.1.0", "torch": "2.13.0"},
    )


def manifest_of(path: Path, **measured: Any) -> None:
    """Write a manifest beside a file, with what was measured of the file."""
    facts, told = to_plain(facts_of(path)), entry_of(path)
    entry = {**told, **facts, "reference": facts, "checks": {}, "quality": {}, **measured}
    manifest = {"schema": SCHEMA, "identity": told["identity"], "weights": facts,
                "files": {"decode": entry}, "written_by": {}}  # fmt: skip
    (path.parent / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_a_file_tells_what_made_it_and_what_flows_through_it() -> None:
    path = account(Path("x.onnx"))
    checks = {"image": {"greatest": 3.46e-6, "mean": 1e-7}}
    manifest_of(path, checks=checks, quality={"elbo": {"float32": -237.5, "this": -238.25}})
    found = shown(str(path))
    assert zoo_json("show", str(path))["measurements"]["checks"] == checks
    assert found["model"] == ["vae of zoo-autoencoders 0.1.0, 940 steps"]
    assert found["graph"] == ["decode"]
    assert found["takes"] == ["latent (batch, 20), standard normal; float32"]
    assert found["gives"] == [
        "image (batch, 1, 28, 28) in [-1, 1]; float32; NCHW grey; within 0.0001 of the model"
    ]
    assert found["precision"] == ["float32"]
    assert found["trained on"] == ["fashion-mnist, 1 × 28 × 28; licence MIT"]
    assert "hidden 512,512" in found["options"][0]
    assert found["validation"] == ["elbo -237.5"]
    assert found["normalisation"] == ["BatchNorm2d: the running statistics of the training"]
    assert found["dropout"] == ["off"]
    assert found["image verified"] == ["greatest 3.46e-06, mean 1e-07"]
    assert found["elbo with"] == ["float32 -237.5, this -238.2"]
    assert found["sha256 of weights"] == ["ab" * 32]
    assert found["written by"] == ["zoo-core 0.1.0, torch 2.13.0"]


def test_a_file_of_reduced_precision_promises_no_tolerance() -> None:
    path = decoder(Path("x.onnx"), precision="int8")
    assert "image measured" not in shown("x.onnx"), "there is no manifest"
    manifest_of(path, checks={"image": {"loss_percent": 0.25}})
    found = shown("x.onnx")
    assert found["precision"] == ["int8"]
    assert found["gives"] == ["image (batch, 1, 28, 28) in [-1, 1]; float32; NCHW grey"]
    assert found["image measured"] == ["loss_percent 0.25"]
    assert "image verified" not in found


@pytest.mark.parametrize(
    "checks",
    [{"other": {"greatest": 0.0}}, {"image": {"\x1b[2J": 0.0}}, {"image": {"greatest": "0"}}],
)
def test_figures_of_a_manifest_that_cannot_be_used_are_not_shown(checks: Any) -> None:
    path = decoder(Path("x.onnx"))
    manifest_of(path, checks=checks)
    found = shown("x.onnx")
    assert not [row for row in found if row.endswith(" verified")]
    assert "\x1b" not in str(found)


def test_a_file_tells_what_is_in_it() -> None:
    path = decoder(Path("x.onnx"))
    found = shown("x.onnx")
    assert found["bytes"] == [f"{path.stat().st_size:,}"]
    assert found["format"] == ["ONNX IR 10, opset 18"]
    assert found["operators"] == ["3: 1 MatMul, 1 Tanh, 1 Reshape"]
    assert found["constants"] == ["62,720 bytes of float32, 32 bytes of int64"]
    assert found["runs with"] == ["zoo run x.onnx"]


def test_classes_domains_layout_and_rate_are_told() -> None:
    conditional(Path("generate.onnx"), CLASSES)
    found = shown("generate.onnx")
    assert found["classes of label"] == ["t-shirt, trouser, pullover, dress, coat, … (6)"]
    assert found["takes"][1] == "label (batch), uniform in [0, 5], 6 classes; int64"
    translator(Path("translate.onnx"), "horse", "zebra")
    found = shown("translate.onnx")
    assert "in [-1, 1], of horse; float32; NCHW RGB" in found["takes"][0]
    assert ", of zebra; " in found["gives"][0]

    shape = ("batch", "height", "width", 3)
    pixels = Port("image", "image", shape, "uint8", (0.0, 255.0), layout="NHWC", tolerance=1.0)
    sound = Port("sound", "audio", ("batch", 1, 100), rate=22050)
    described = describe(
        "hear", [pixels, sound], [replace(pixels, name="y"), replace(sound, name="z")]
    )
    stranger(Path("hear.onnx"), zoo_entry=to_text(described))
    found = shown("hear.onnx")
    assert "(batch, height, width, 3) of uint8 in [0, 255]; NHWC RGB" in found["takes"][0]
    assert "22,050 samples a second" in found["takes"][1]
    assert "within 1 of the model" in found["gives"][0]


def test_json_has_the_description_as_it_stands_in_the_file() -> None:
    path = account(Path("x.onnx"))
    found = zoo_json("show", "x.onnx")
    assert found["description"] == entry_of(path)
    assert found["bytes"] == path.stat().st_size
    assert found["refused"] == found["unusable"] == ""
    graph = found["graph"]
    model = onnx.load(path)
    assert graph["ir_version"] == model.ir_version
    assert graph["opsets"] == {each.domain: each.version for each in model.opset_import}
    assert graph["nodes"] == len(model.graph.node)
    assert graph["operators"] == {"MatMul": 1, "Tanh": 1, "Reshape": 1}
    assert graph["inputs"] == [{"name": "latent", "type": "float32", "shape": ["batch", 20]}]
    assert graph["outputs"][0]["shape"] == ["batch", 1, 28, 28]


def test_what_is_read_off_a_file_is_what_onnx_reads(files_of_all_types: list[Path]) -> None:
    for path in files_of_all_types:
        graph = zoo_json("show", str(path))["graph"]
        model = onnx.load(path)
        assert graph["nodes"] == len(model.graph.node)
        assert sum(graph["operators"].values()) == graph["nodes"]
        arrays = [onnx.numpy_helper.to_array(each) for each in model.graph.initializer]
        constants = [
            onnx.numpy_helper.to_array(attribute.t)
            for node in model.graph.node
            for attribute in node.attribute
            if attribute.type == onnx.AttributeProto.TENSOR
        ]
        assert sum(graph["weights"].values()) == sum(each.nbytes for each in arrays + constants)
        assert [each["name"] for each in graph["inputs"]] == [i.name for i in model.graph.input]


@pytest.fixture
def files_of_all_types() -> list[Path]:
    """Files of several kinds: numbers as bytes and one by one, constants in nodes, two opsets."""
    encoder(Path("encode.onnx"))
    negative(Path("negative.onnx"), PHOTOS, any_size=True)
    numbers = [1.0, 2.0, 300.0]
    weights = [
        helper.make_tensor(name, kind, (3,), numbers)
        for name, kind in (("a", 1), ("b", 10), ("c", 11), ("d", 16))
    ]
    whole = [
        helper.make_tensor(f"n{kind}", kind, (2,), [1, 100]) for kind in (2, 3, 5, 6, 7, 9, 13)
    ]
    constant = helper.make_node("Constant", [], ["k"], value=weights[0])
    neg = helper.make_node("Neg", ["latent"], ["value"])
    constants = {each.name: each for each in [*weights, *whole]}
    stranger(Path("kinds.onnx"), constant, neg, constants=constants)
    return [Path("encode.onnx"), Path("negative.onnx"), Path("kinds.onnx")]


def test_a_file_of_somebody_else_is_shown_with_what_its_graph_declares() -> None:
    stranger(Path("theirs.onnx"))
    found = shown("theirs.onnx")
    assert found["nothing"] == ["zoo did not write it"]
    assert found["input"] == ["latent float32 (batch, 20)"]
    assert found["output"] == ["value float32 (batch, 20)"]
    assert found["operators"] == ["1: 1 Neg"]
    assert "cannot know" in found["zoo run refuses it"][0]
    assert zoo_json("show", "theirs.onnx")["description"] is None


def test_constants_that_an_old_file_lists_among_its_inputs_are_none() -> None:
    path = stranger(Path("old.onnx"), constants={"w": [1.0, 2.0]})
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.DOUBLE, [2]))
    path.write_bytes(model.SerializeToString())
    found = shown("old.onnx")
    assert found["input"] == ["latent float32 (batch, 20)"]
    assert found["constants"] == ["16 bytes of float64"]


def test_a_file_that_would_not_be_run_is_shown_with_the_reason() -> None:
    gelu = helper.make_node("Gelu", ["latent"], ["value"], domain="com.microsoft")
    stranger(Path("x.onnx"), gelu, zoo_entry="", opsets={"": 18, "com.microsoft": 1})
    found = shown("x.onnx")
    assert found["model"] == ["vae of zoo-autoencoders 0.1.0, 940 steps"]
    assert found["operators"] == ["1: 1 com.microsoft.Gelu"]
    assert found["format"] == ["ONNX IR 10, opset 18, com.microsoft 1"]
    assert "not of the ONNX standard" in found["zoo run refuses it"][0]
    outside = onnx.TensorProto(name="w", data_type=1, dims=[20], data_location=1)
    outside.external_data.add(key="location", value="../../secret")
    stranger(Path("y.onnx"), zoo_entry="", constants={"w": outside})
    assert "outside of its folder" in shown("y.onnx")["zoo run refuses it"][0]
    assert "outside of its folder" in zoo_json("show", "y.onnx")["refused"]


def test_a_description_that_cannot_be_used_is_told_and_the_rest_shown() -> None:
    decoder(Path("x.onnx"))
    changed = {**entry_of(Path("x.onnx")), "schema": 99}
    stranger(Path("new.onnx"), zoo_entry=json.dumps(changed))
    found = shown("new.onnx")
    assert "newer zoo" in found["cannot be used"][0]
    assert found["input"] == ["latent float32 (batch, 20)"]


def test_what_could_steer_the_terminal_is_not_printed() -> None:
    decoder(
        Path("x.onnx"),
        config={"a": "\x1b[2J"},
        data=DataSpec.of_images("\x1b[31m", 1, 28, 28, ("\x07",)),
    )
    odd = helper.make_node("\x1b[2JNeg", ["latent"], ["value"], domain="\x1b]0;x\x07")
    stranger(Path("y.onnx"), odd)
    for name in ("x.onnx", "y.onnx"):
        for words in ([name], [name, "--json"], ["."]):
            printed = zoo("show", *words)
            assert "\x1b" not in printed.stdout + printed.stderr
            assert "\x07" not in printed.stdout + printed.stderr


def test_absurd_numbers_are_shown_as_they_are() -> None:
    decoder(Path("x.onnx"), metrics={"elbo": 1e300}, config={"hidden": 2**62})
    found = shown("x.onnx")
    assert found["validation"] == ["elbo 1e+300"]
    assert found["options"] == [f"hidden {2**62}"]
    told = json.dumps({**entry_of(Path("x.onnx")), "weights_sha256": "0" * 64})
    stranger(Path("y.onnx"), zoo_entry=told.replace(str(2**62), str(10**340)))
    assert "64 bits" in shown("y.onnx")["cannot be used"][0]


DAMAGED = {
    "empty": b"",
    "text": b"hello, I am no network\n" * 50,
    "no graph": b"\x08\x0a",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_onnx_file_is_told(content: bytes) -> None:
    Path("x.onnx").write_bytes(content)
    assert "x.onnx" in error_of("show", "x.onnx", code=3, error="bad-onnx")


def test_a_file_cut_short_is_told() -> None:
    whole = decoder(Path("x.onnx")).read_bytes()
    for length in (10, 500, len(whole) // 2, len(whole) - 1):
        Path("x.onnx").write_bytes(whole[:length])
        assert "x.onnx" in error_of("show", "x.onnx", code=3, error="bad-onnx")


def test_a_folder_is_a_table_of_its_files() -> None:
    folder = Path("exports/vae")
    folder.mkdir(parents=True)
    decoder(folder / "vae-clothes.decode.onnx")
    encoder(folder / "vae-clothes.encode.onnx")
    stranger(folder / "theirs.onnx")
    (folder / "cut.onnx").write_bytes(b"\x0a")
    found = zoo("show", "exports/vae")
    lines = {line.split()[0]: line for line in found.stdout.splitlines() if line.strip()}
    assert "latent (batch, 20), standard normal -> image" in lines["vae-clothes.decode.onnx"]
    assert "latent mu (batch, 2); latent logvar" in lines["vae-clothes.encode.onnx"]
    assert "does not describe itself" in lines["theirs.onnx"]
    assert "not written to its end" in lines["cut.onnx"]
    assert "zoo show exports/vae/theirs.onnx" in found.stderr
    answer = zoo_json("show", "exports/vae/")
    assert [Path(each["file"]).name for each in answer["files"]] == sorted(
        path.name for path in folder.glob("*.onnx")
    )
    assert "zoo show exports/vae" in error_of("show", "exports/", code=3, error="file-not-found")
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    assert "exports/vae" in error_of("show", "exports/vae", code=3, error="file-not-found")


def test_a_model_and_the_folder_of_its_export_are_told_apart() -> None:
    for name in ("vae", "mine"):
        Path(name).mkdir()
        decoder(Path(name, "decode.onnx"))
    assert "paper" in zoo("show", "vae").stdout
    assert "decode.onnx" in zoo("show", "./vae").stdout
    assert "decode.onnx" in zoo("show", "mine").stdout
    os.chdir("vae")
    assert "decode.onnx" in zoo("show", ".").stdout


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("exports/vae/decod.onnx", "'decode.onnx'"),
        ("exports/vea", "'vae'"),
        ("top.onx", "'top.onnx'"),
        ("exports/vae/nothing-like-it.onnx", "nothing-like-it.onnx"),
        ("nowhere/x.onnx", "nowhere/x.onnx"),
    ],
)
def test_the_nearest_file_is_named(word: str, near: str) -> None:
    Path("exports/vae").mkdir(parents=True)
    decoder(Path("exports/vae/decode.onnx"))
    decoder(Path("top.onnx"))
    assert near in error_of("show", word, code=3, error="file-not-found")


def test_a_file_is_shown_without_torch_onnx_onnxruntime_and_numpy() -> None:
    decoder(Path("x.onnx"))
    assert imported_by("show", "x.onnx") == []
    assert imported_by("show", ".") == []
