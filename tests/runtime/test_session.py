"""Opening a file and running it: what is promised comes out, and what lies is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from tests.errors import raises
from tests.process import error_of
from tests.runtime.graphs import PHOTOS, decoder, describe, encoder, entry_of, negative, save
from zoo.errors import NotFoundError, UsageError, ZooError
from zoo.ports import Port, Signature
from zoo.runtime.engine import short_message
from zoo.runtime.screening import read_tensor, screen
from zoo.runtime.session import open_session

LATENT = Port.latent("latent", 20)
VALUE = Port("value", "values", ("batch", 20))


def one_node(path: Path, node: onnx.NodeProto, constants: Any = None, **how: Any) -> Path:
    """A graph latent (batch, 20) -> value (batch, 20)."""
    return save(path, describe("odd", [LATENT], [VALUE]), [node], constants, **how)


def test_a_graph_runs_by_the_names_of_its_ports(tmp_path: Path) -> None:
    session = open_session(encoder(tmp_path / "encode.onnx"))
    image = np.zeros((3, 1, 28, 28), np.float32)
    image[1, 0, 0, :14] = 1.0
    codes = session.run({"image": image})
    assert list(codes) == ["mu", "logvar"]
    np.testing.assert_allclose(codes["mu"], [[0, 0], [14 / 784, 1], [0, 0]], rtol=1e-6)
    assert session.description.identity.model == "vae"


def test_the_batch_may_have_any_size(tmp_path: Path) -> None:
    session = open_session(decoder(tmp_path / "decode.onnx"), threads=1)
    codes = np.random.default_rng(0).standard_normal((70, 20)).astype(np.float32)
    together = session.run({"latent": codes})["image"]
    assert together.shape == (70, 1, 28, 28)
    alone = [session.run({"latent": code[None]})["image"][0] for code in codes[:3]]
    np.testing.assert_allclose(together[:3], alone, atol=1e-6)


@pytest.mark.parametrize("memory_pattern", [None, True])
def test_opening_looks_through_a_file_once(tmp_path: Path, memory_pattern: bool | None) -> None:
    path = decoder(tmp_path / "decode.onnx")
    calls: list[str] = []
    before = sys.getprofile()
    sys.setprofile(
        lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None
    )
    try:
        open_session(path, memory_pattern=memory_pattern)
    finally:
        sys.setprofile(before)
    assert calls.count(screen.__name__) == 1
    assert calls.count(read_tensor.__name__) == len(onnx.load(path).graph.initializer)


@pytest.mark.parametrize(("any_size", "expected"), [(False, True), (True, False)])
def test_memory_is_laid_out_once_where_only_the_batch_varies(
    tmp_path: Path, any_size: bool, expected: bool
) -> None:
    session = open_session(negative(tmp_path / "negative.onnx", any_size=any_size))
    assert session.engine.get_session_options().enable_mem_pattern is expected


def truncated(path: Path) -> None:
    content = decoder(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def without_entry(path: Path) -> None:
    one_node(path, helper.make_node("Neg", ["latent"], ["value"]), zoo_entry=None)


def with_entry(text: str) -> Callable[[Path], object]:
    node = helper.make_node("Neg", ["latent"], ["value"])
    return lambda path: one_node(path, node, zoo_entry=text)


def with_other_ports(**changes: Any) -> Callable[[Path], object]:
    """A decoder whose entry promises other ports than its graph has."""

    def write(path: Path) -> None:
        entry = entry_of(decoder(path))
        for where, value in changes.items():
            side, key = where.split("_")
            entry["signature"][side + "s"][0][key] = value
        model = onnx.load(path)
        helper.set_model_props(model, {"zoo": json.dumps(entry)})
        onnx.save(model, path)

    return write


def with_bytes(before: bytes, after: bytes) -> Callable[[Path], object]:
    """A decoder whose file has the first such bytes replaced by as many others."""
    return lambda path: path.write_bytes(decoder(path).read_bytes().replace(before, after, 1))


def with_fixed_batch(path: Path) -> None:
    model = onnx.load(decoder(path))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, path)


def with_missing_external_data(path: Path) -> None:
    tensor = onnx.TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[20])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../elsewhere.bin")
    one_node(path, helper.make_node("Mul", ["latent", "w"], ["value"]), {"w": tensor})


def with_unknown_operator(path: Path) -> None:
    node = helper.make_node("Frobnicate", ["latent"], ["value"], domain="org.example")
    one_node(path, node, opsets={"": 18, "org.example": 1})


def with_two_ports_of_one_name(path: Path) -> None:
    entry = entry_of(decoder(path))
    entry["signature"]["inputs"] *= 2
    with_entry(json.dumps(entry))(path)


HOSTILE = {
    "empty": (lambda path: path.write_bytes(b""), ""),
    "text": (lambda path: path.write_text("latent\n" * 100), ""),
    "zeros": (lambda path: path.write_bytes(bytes(4096)), ""),
    "truncated": (truncated, ""),
    "not the zoo's": (without_entry, ""),
    "entry is no JSON": (with_entry("{"), ""),
    "entry is a number": (with_entry("7"), ""),
    "entry is a list of lists": (with_entry("[" * 100_000), ""),
    "entry is huge": (with_entry('"' + "x" * 5_000_000 + '"'), "5,000,002"),
    "entry lacks the ports": (with_entry('{"schema": 3, "graph": "f"}'), "`signature"),
    "other input name": (with_other_ports(input_name="code"), "['code']"),
    "other output name": (with_other_ports(output_name="photo"), "['photo']"),
    "other dtype": (with_other_ports(input_dtype="int64"), "latent int64"),
    "other rank": (with_other_ports(input_shape=["batch"]), "input latent"),
    "other size": (with_other_ports(output_shape=["batch", 3, 28, 28]), "output image"),
    "varying size": (with_other_ports(input_shape=["batch", "size"]), "input latent"),
    "absurd size": (with_other_ports(input_shape=["batch", 2**19, 2**19]), "size of port"),
    "two ports of one name": (with_two_ports_of_one_name, ""),
    "fixed batch": (with_fixed_batch, "latent float32 (batch, 20)"),
    "entry is no UTF-8": (with_bytes(b"bernoulli", b"bernoull\xe8"), ""),
    "a name is no UTF-8": (with_bytes(b"patterns", b"pattern\xb7"), ""),
    "missing external data": (with_missing_external_data, ""),
    "unknown operator": (with_unknown_operator, "org.example"),
}


@pytest.mark.parametrize(("write", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_with_its_name_and_a_reason(
    write: Callable[[Path], object], expected: str, tmp_path: Path, capfd: Any
) -> None:
    path = tmp_path / "odd.onnx"
    write(path)
    with raises(NotFoundError, "bad-onnx", path, expected) as caught:
        open_session(path)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).count("\n") < 6
    assert "ONNXRuntimeError" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # ONNX Runtime keeps its log to itself


@pytest.mark.parametrize(("ir_version", "opset"), [(99, 18), (10, 99)])
@pytest.mark.parametrize("command", [("run",), ("bench",), ("export", "--check")])
def test_a_file_newer_than_onnx_runtime_says_so(
    command: tuple[str, ...], ir_version: int, opset: int, tmp_path: Path
) -> None:
    path = decoder(tmp_path / "newer.onnx")
    model = onnx.load(path)
    model.ir_version, model.opset_import[0].version = ir_version, opset
    path.write_bytes(model.SerializeToString())
    said = error_of(*command, str(path), code=4, error="newer-format")
    assert str(path) in said
    assert "99" in said
    assert f"ONNX Runtime {onnxruntime.__version__}" in said
    assert "pip install --upgrade onnxruntime" in said
    assert "zoo export MODEL --onnx --opset" in said
    assert ".h:" not in said
    assert ".cc:" not in said


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("[ONNXRuntimeError] : 1 : FAIL : /a/x.cc:9 a::F::F(b::C<d()>&, int) const low", "low"),
        ("Loading failed:/a/x.h:9 f::<lambda()>::operator()(g(h)) Why (so)", "failed: Why (so)"),
        ("nothing at /a/x.cc:9 in brackets", "nothing at /a/x.cc:9 in brackets"),
    ],
)
def test_source_lines_of_onnx_runtime_are_left_out(said: str, expected: str) -> None:
    assert short_message(RuntimeError(said)).endswith(expected)
    assert "F::F" not in short_message(RuntimeError(said))


def test_a_file_too_large_to_be_one_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "vast.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # a hole, which takes no room on the disk
    with raises(NotFoundError, "bad-onnx", path, "2,147,483,648"):
        open_session(path)


def test_a_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    decoder(tmp_path / "decode.onnx")
    with raises(NotFoundError, "file-not-found", "'decode.onnx'"):
        open_session(tmp_path / "decoder.onnx")


def test_a_model_name_instead_of_a_file_leads_to_export() -> None:
    with raises(NotFoundError, "file-not-found", "zoo export vae --onnx"):
        open_session(Path("vae"))


def test_a_folder_names_a_file_inside(tmp_path: Path) -> None:
    path = decoder(tmp_path / "decode.onnx")
    with raises(UsageError, "bad-path", f"zoo run {path}"):
        open_session(tmp_path)


def test_what_fails_while_running_is_an_error_without_noise(tmp_path: Path, capfd: Any) -> None:
    node = helper.make_node("Gather", ["latent", "where"], ["value"], axis=0)
    path = one_node(tmp_path / "odd.onnx", node, {"where": np.array([9])})
    session = open_session(path)
    with raises(ZooError, "run-failed", path):
        session.run({"latent": np.zeros((2, 20), np.float32)})
    with raises(ZooError, "run-failed", 21, 20):
        session.run({"latent": np.zeros((2, 21), np.float32)})
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (helper.make_node("Log", ["latent"], ["value"]), "value"),
        (helper.make_node("ReduceMax", ["latent", "axes"], ["value"]), "(1, 20)"),
        (helper.make_node("Concat", ["latent", "latent"], ["value"], axis=0), "(4, 20)"),
    ],
    ids=["infinite", "one row for all", "two rows for one"],
)
def test_what_comes_out_is_held_against_the_promise(
    node: onnx.NodeProto, expected: str, tmp_path: Path
) -> None:
    path = one_node(tmp_path / "odd.onnx", node, {"axes": np.array([0])})
    session = open_session(path)
    with raises(NotFoundError, "bad-onnx", path, expected):
        session.run({"latent": np.zeros((2, 20), np.float32)})


def test_one_word_is_one_size_on_the_way_in_and_out(tmp_path: Path) -> None:
    image = Port.image("image", PHOTOS.pictures, any_size=True)
    turned = describe("turn", [image], [replace(image, name="turned")])
    node = helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 1, 3, 2])
    session = open_session(save(tmp_path / "turn.onnx", turned, [node]))
    assert session.run({"image": np.zeros((2, 3, 5, 5), np.float32)})["turned"].shape[2:] == (5, 5)
    with raises(NotFoundError, "bad-onnx", "(2, 3, 7, 5)", "(2, 3, 5, 7)"):
        session.run({"image": np.zeros((2, 3, 5, 7), np.float32)})


def test_one_word_is_one_size_on_all_inputs(tmp_path: Path) -> None:
    image = Port.image("image", PHOTOS.pictures, any_size=True)
    ports = [image, replace(image, name="other")]
    described = describe("first", ports, [replace(image, name="out")])
    node = helper.make_node("Neg", ["image"], ["out"])
    session = open_session(save(tmp_path / "first.onnx", described, [node]))
    inputs = {"image": np.zeros((1, 3, 5, 7), np.float32)}
    with raises(UsageError, "bad-input", "height", 5, 6):
        session.run(inputs | {"other": np.zeros((1, 3, 6, 7), np.float32)})
    assert session.run(inputs | {"other": inputs["image"]})["out"].shape == (1, 3, 5, 7)


def test_ports_of_a_graph_without_inputs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ports"):
        replace(describe("none", [LATENT], [VALUE]), signature=Signature((), (VALUE,)))
