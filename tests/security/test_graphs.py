"""Exported files of strangers: what reads other files or never ends is not begun."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.runtime.graphs import decoder, describe, save
from tests.security.inside import command, nothing_left, refused
from zoo.ports import Port
from zoo.runtime import screening, session

ROUNDS = 2**62
LATENT = Port.latent("latent", 20)
VALUE = Port.latent("value", 20, prior=None)
IS_A_MULTIPLE = helper.make_node("Mul", ["latent", "w"], ["value"])


def graph(
    path: Path, *nodes: onnx.NodeProto, constants: Mapping[str, Any] | None = None, **more: Any
) -> Path:
    return save(path, describe("f", [LATENT], [VALUE]), nodes, constants, **more)


def external(location: str) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[20])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def secret() -> Path:
    path = Path("secret.bin").absolute()
    path.write_bytes(np.ones(20, np.float32).tobytes())
    return path


def way_up(path: Path) -> None:
    graph(path, IS_A_MULTIPLE, constants={"w": external("../secret.bin")})


def absolute(path: Path) -> None:
    graph(path, IS_A_MULTIPLE, constants={"w": external(str(secret()))})


def beside(path: Path) -> None:
    (path.parent / "w.bin").write_bytes(secret().read_bytes())
    graph(path, IS_A_MULTIPLE, constants={"w": external("w.bin")})


def hard_link(path: Path) -> None:
    os.link(secret(), path.parent / "w.bin")
    graph(path, IS_A_MULTIPLE, constants={"w": external("w.bin")})


def symbolic_link(path: Path) -> None:
    (path.parent / "w.bin").symlink_to(secret())
    graph(path, IS_A_MULTIPLE, constants={"w": external("w.bin")})


def in_a_constant(path: Path) -> None:
    constant = helper.make_node("Constant", [], ["w"], value=external("../secret.bin"))
    graph(path, constant, IS_A_MULTIPLE)


def with_a_body(kind: str, **more: Any) -> Callable[[Path], object]:
    """A graph with an operator that holds one: rounds of `Loop` count to 2^62."""

    def write(path: Path) -> None:
        real = helper.make_tensor_value_info
        body = helper.make_graph(
            [helper.make_node("Identity", ["go"], ["on"]),
             helper.make_node("Identity", ["x"], ["y"])],
            "body",
            [real("n", TensorProto.INT64, []), real("go", TensorProto.BOOL, []),
             real("x", TensorProto.FLOAT, None)],
            [real("on", TensorProto.BOOL, []), real("y", TensorProto.FLOAT, None)],
        )  # fmt: skip
        loop = helper.make_node(kind, ["rounds", "", "latent"], ["value"], body=body, **more)
        graph(path, loop, constants={"rounds": np.int64(ROUNDS)})

    return write


def branches(path: Path) -> None:
    value = helper.make_tensor_value_info("v", TensorProto.FLOAT, None)
    branch = helper.make_graph([helper.make_node("Neg", ["latent"], ["v"])], "b", [], [value])
    node = helper.make_node("If", ["c"], ["value"], then_branch=branch, else_branch=branch)
    graph(path, node, constants={"c": np.array(True)})


def functions(path: Path) -> None:
    graph(path, helper.make_node("Neg", ["latent"], ["value"]))
    model = onnx.load(path)
    neg = helper.make_node("Neg", ["x"], ["y"])
    opsets = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("", "Neg", ["x"], ["y"], [neg], opsets))
    path.write_bytes(model.SerializeToString())


def other_operators(path: Path) -> None:
    node = helper.make_node("Gelu", ["latent"], ["value"], domain="com.microsoft")
    graph(path, node, opsets={"": 18, "com.microsoft": 1})


def second_graph(path: Path) -> None:
    """Two graphs in one file, which a reader of protocol buffers joins."""
    way_up(path)
    hidden = path.read_bytes()
    graph(path, helper.make_node("Neg", ["latent"], ["value"]))
    path.write_bytes(path.read_bytes() + hidden)


def wrapped_number(path: Path) -> None:
    """A second graph under a field number of 33 bits, of which a reader of 32 sees a graph's."""
    way_up(path)
    hidden = onnx.load(path, load_external_data=False).graph.SerializeToString()
    graph(path, helper.make_node("Neg", ["latent"], ["value"]))
    length = bytes([len(hidden) & 127 | 128, len(hidden) >> 7])
    path.write_bytes(path.read_bytes() + b"\xba\x80\x80\x80\x10" + length + hidden)


def cut(path: Path) -> None:
    path.write_bytes(decoder(path).read_bytes()[:-300])


OUTSIDE, INNER = "from outside of the file", "a graph of its own"
HARMFUL: dict[str, tuple[Callable[[Path], object], str]] = {
    "data above": (way_up, OUTSIDE),
    "data at an absolute path": (absolute, OUTSIDE),
    "data beside": (beside, OUTSIDE),
    "data through a hard link": (hard_link, OUTSIDE),
    "data through a symbolic link": (symbolic_link, OUTSIDE),
    "data of a constant": (in_a_constant, OUTSIDE),
    "a second graph": (second_graph, OUTSIDE),
    "a second graph in disguise": (wrapped_number, "not written to its end"),
    "2^62 rounds": (with_a_body("Loop"), INNER),
    "a scan": (with_a_body("Scan", num_scan_inputs=1), INNER),
    "branches": (branches, INNER),
    "functions": (functions, "functions of its own"),
    "operators of others": (other_operators, "not of the ONNX standard, of 'com.microsoft'"),
    "cut short": (cut, "not written to its end"),
}


@pytest.mark.parametrize(("write", "says"), HARMFUL.values(), ids=HARMFUL)
def test_a_graph_that_does_harm_is_not_begun(write: Callable[[Path], object], says: str) -> None:
    Path("theirs").mkdir()
    secret()
    write(Path("theirs/x.onnx"))
    with nothing_left(Path()):
        assert says in refused("run", "theirs/x.onnx", "-o", "x.npz", code=3)


def test_what_is_refused_would_have_read_the_other_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("theirs").mkdir()
    hard_link(Path("theirs/x.onnx"))
    monkeypatch.setattr(screening, "_screen", lambda path: None)
    assert command("run", "theirs/x.onnx", "-o", "x.npz").code == 0


def test_a_file_of_too_many_parts_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "MOST_FIELDS", 1000)
    nodes = [helper.make_node("Neg", [f"x{n}"], [f"x{n + 1}"]) for n in range(400)]
    first, last = (
        helper.make_node("Neg", [a], [b]) for a, b in (("latent", "x0"), ("x400", "value"))
    )
    graph(Path("x.onnx"), first, *nodes, last)
    assert "more than 1,000 parts" in refused("run", "x.onnx", code=3)


def test_a_graph_that_takes_all_memory_is_stopped() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["much"], ["x"]),
        helper.make_node("ReduceSum", ["x"], ["sum"]),
        helper.make_node("Add", ["latent", "sum"], ["value"]),
    ]
    graph(Path("x.onnx"), *nodes, constants={"much": np.array([2**40])})
    with nothing_left(Path()):
        assert "not enough memory" in refused("run", "x.onnx", "-o", "x.npz", code=1)


def test_a_graph_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LONGEST_RUN", 0.2)
    rounds = [helper.make_node("MatMul", [f"m{n}", f"m{n}"], [f"m{n + 1}"]) for n in range(400)]
    nodes = [
        helper.make_node("ReduceSum", ["latent"], ["sum"]),
        helper.make_node("Expand", ["sum", "large"], ["m0"]),
        *rounds,
        helper.make_node("ReduceMax", ["m400"], ["most"], keepdims=0),
        helper.make_node("Add", ["latent", "most"], ["value"]),
    ]
    graph(Path("x.onnx"), *nodes, constants={"large": np.array([700, 700])})
    with nothing_left(Path()):
        assert "was not done" in refused("run", "x.onnx", "-o", "x.npz", code=1)


def bundle(sha256: str = "") -> Path:
    """A folder as an export writes it; `sha256` replaces that of the file."""
    folder = Path("exports/vae")
    folder.mkdir(parents=True)
    path = decoder(folder / "decode.onnx")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    entry = {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256 or found}
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, "files": {"decode": entry}}))
    return path


def test_a_file_that_its_manifest_lists_runs() -> None:
    assert command("run", str(bundle()), "-o", "x.png").code == 0


def test_a_manifest_that_lists_another_file_is_told() -> None:
    path = bundle("0" * 64)
    with nothing_left(Path()):
        said = refused("run", str(path), "-o", "x.png", code=3)
    assert "manifest.json" in said


def test_one_bit_in_the_weights_is_noticed_by_the_manifest() -> None:
    path = bundle()
    content = bytearray(path.read_bytes())
    patterns = numpy_helper.to_array(onnx.load(path).graph.initializer[0]).tobytes()
    content[content.index(patterns)] ^= 1
    path.write_bytes(content)
    assert "sha256" in refused("run", str(path), "-o", "x.png", code=3)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"files": 3}', '{"files": {"a": {}}}', "[" * 10**5]
)
def test_a_manifest_of_another_program_is_passed_over(text: str) -> None:
    path = bundle()
    path.with_name("manifest.json").write_text(text)
    assert command("run", str(path), "-o", "x.png").code == 0
