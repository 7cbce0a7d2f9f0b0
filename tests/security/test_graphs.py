"""Exported files of strangers: what reads other files or never ends is not begun."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.process import error_of
from tests.runtime.graphs import decoder, describe, save
from tests.security.inside import command, nothing_left, refused
from zoo.ports import Port
from zoo.runtime import screening

ROUNDS = 2**62
LATENT = Port.latent("latent", 20)
VALUE = Port.latent("value", 20, prior=None)
IS_A_MULTIPLE = helper.make_node("Mul", ["latent", "w"], ["value"])


def graph(
    path: Path, *nodes: onnx.NodeProto, constants: Mapping[str, Any] | None = None, **more: Any
) -> Path:
    return save(path, describe("f", [LATENT], [VALUE]), nodes, constants, **more)


def external(location: str, **more: object) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[20])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "length": 80, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def secret() -> Path:
    path = Path("secret.bin").absolute()
    path.write_bytes(np.ones(20, np.float32).tobytes())
    return path


def way_up(path: Path) -> None:
    graph(path, IS_A_MULTIPLE, constants={"w": external("../secret.bin")})


def absolute(path: Path) -> None:
    graph(path, IS_A_MULTIPLE, constants={"w": external(str(secret()))})


def beside(path: Path, **more: object) -> None:
    """A graph that multiplies by the twenty twos in the second half of a file beside it."""
    (path.parent / "w.bin").write_bytes(np.repeat(np.float32([1, 2]), 20).tobytes())
    tensor = external("w.bin", **{"offset": 80} | more)
    graph(path, IS_A_MULTIPLE, constants={"w": tensor})


def elsewhere(**more: object) -> Callable[[Path], None]:
    """Data beside, of which something else is said than is there."""
    return lambda path: beside(path, **more)


def location(name: str) -> Callable[[Path], None]:
    """Data in a file of that name, in a folder below as well."""

    def write(path: Path) -> None:
        below = path.parent / "below"
        below.mkdir()
        for place in (below, path.parent):
            (place / "w.bin").write_bytes(secret().read_bytes())
        graph(path, IS_A_MULTIPLE, constants={"w": external(name)})

    return write


def a_pipe(path: Path) -> None:
    os.mkfifo(path.parent / "w.bin")
    graph(path, IS_A_MULTIPLE, constants={"w": external("w.bin")})


def named_twice(path: Path) -> None:
    tensor = external("w.bin")
    tensor.external_data.add(key="location", value="../secret.bin")
    (path.parent / "w.bin").write_bytes(secret().read_bytes())
    graph(path, IS_A_MULTIPLE, constants={"w": tensor})


def in_two_places(path: Path) -> None:
    beside(path)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].raw_data = b"\0" * 80
    path.write_bytes(model.SerializeToString())


def outside_unsaid(path: Path) -> None:
    beside(path)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].data_location = TensorProto.DEFAULT
    path.write_bytes(model.SerializeToString())


def tensor(kind: int = TensorProto.FLOAT, /, *dims: int, **values: Any) -> Callable[[Path], None]:
    """A tensor of which its message says what is not so."""

    def write(path: Path) -> None:
        weights = TensorProto(name="w", data_type=kind, dims=dims, **values)
        total = helper.make_node("ReduceSum", ["w"], ["sum"], keepdims=0)
        add = helper.make_node("Add", ["latent", "sum"], ["value"])
        graph(path, total, add, constants={"w": weights})

    return write


def two_tensors_in_one(path: Path) -> None:
    """A constant's value twice, of which a reader makes one: the second's place, both's sizes."""
    beside(path)
    constant = helper.make_node("Constant", [], ["w"], value=external("w.bin"))
    graph(path, constant, IS_A_MULTIPLE)
    attribute = constant.attribute[0].SerializeToString()
    second = external("../secret.bin").SerializeToString()
    joined = attribute + b"\x2a" + bytes([len(second)]) + second
    content = path.read_bytes()
    assert attribute in content
    (node,) = (
        each for each in onnx.load(path, load_external_data=False).graph.node if each.attribute
    )
    assert node.op_type == "Constant"
    path.write_bytes(rewritten(content, attribute, joined))


def rewritten(content: bytes, attribute: bytes, joined: bytes) -> bytes:
    """Put another attribute into the first node of a file, and its lengths right around it."""

    def message(number: int, value: bytes) -> bytes:
        length, digits = len(value), bytearray()
        while length > 127:
            digits.append(length & 127 | 128)
            length >>= 7
        return bytes([number << 3 | 2, *digits, length]) + value

    model = onnx.load_from_string(content)
    constant, multiple = (node.SerializeToString() for node in model.graph.node)
    constant = constant.replace(message(5, attribute), message(5, joined))
    del model.graph.node[:]
    rest = model.graph.SerializeToString()
    model.ClearField("graph")
    inner = message(1, constant) + message(1, multiple) + rest
    return model.SerializeToString() + message(7, inner)


def sparse(path: Path) -> None:
    graph(path, IS_A_MULTIPLE)
    model = onnx.load(path)
    values = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], float_data=[1.0])
    indices = TensorProto(data_type=TensorProto.INT64, dims=[1], int64_data=[0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**40]))
    path.write_bytes(model.SerializeToString())


def training(path: Path) -> None:
    graph(path, helper.make_node("Neg", ["latent"], ["value"]))
    model = onnx.load(path)
    model.training_info.add().algorithm.CopyFrom(model.graph)
    path.write_bytes(model.SerializeToString())


def hard_link(path: Path) -> None:
    os.link(secret(), path.parent / "w.bin")
    graph(path, IS_A_MULTIPLE, constants={"w": external("w.bin")})


def named_by_another_kind(number: int) -> Callable[[Path], None]:
    """A hard link by its name, and a plain file by a number that stands where a name should."""

    def write(path: Path) -> None:
        os.link(secret(), path.parent / "w.bin")
        (path.parent / "data.bin").write_bytes(secret().read_bytes())
        tensor = external("w.bin")
        tensor.external_data[0].MergeFromString(bytes([number << 3 | 1]) + b"data.bin")
        graph(path, IS_A_MULTIPLE, constants={"w": tensor})

    return write


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
    beside(path)
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


OUTSIDE, INNER = "from outside of its folder", "a graph of its own"
NO_FILE, OTHER_BYTES = "no plain file of its folder", "takes other bytes from w.bin than"
NUMBERS = TensorProto.FLOAT
HARMFUL: dict[str, tuple[Callable[[Path], object], str]] = {
    "data above": (way_up, OUTSIDE),
    "data at an absolute path": (absolute, OUTSIDE),
    "data in a folder below": (location("below/w.bin"), OUTSIDE),
    "data of a stream": (location("w.bin:x"), OUTSIDE),
    "data of a drive": (location("c:w.bin"), OUTSIDE),
    "data in memory": (location("*/_ORT_MEM_ADDR_/*"), OUTSIDE),
    "data in the folder itself": (location("."), OUTSIDE),
    "data nowhere": (location(""), OUTSIDE),
    "data that is not there": (location("v.bin"), "not beside it"),
    "data in a folder": (location("below"), NO_FILE),
    "data through a hard link": (hard_link, NO_FILE),
    "data through a symbolic link": (symbolic_link, NO_FILE),
    "data of a pipe": (a_pipe, NO_FILE),
    "data of a constant": (in_a_constant, OUTSIDE),
    "data of two files": (named_twice, "which is not known"),
    "data named by a number": (named_by_another_kind(2), "there twice, or is no text"),
    "data under a numbered key": (named_by_another_kind(1), "there twice, or is no text"),
    "data in two places": (in_two_places, "in two places"),
    "data in no place": (outside_unsaid, "does not say where"),
    "data by an unknown key": (elsewhere(prepacked_0="x|0;80;0"), "which is not known"),
    "data before its file": (elsewhere(offset=-8), OTHER_BYTES),
    "data behind its file": (elsewhere(offset=81), OTHER_BYTES),
    "data far behind its file": (elsewhere(offset=2**63), OTHER_BYTES),
    "less data than the tensor": (elsewhere(length=76), OTHER_BYTES),
    "more data than the tensor": (elsewhere(offset=0, length=160), OTHER_BYTES),
    "data of no length": (elsewhere(length=""), OTHER_BYTES),
    "data of an odd length": (elsewhere(length="٨٠"), OTHER_BYTES),
    "two tensors in one": (two_tensors_in_one, "two graphs or tensors"),
    "2^40 numbers, none there": (tensor(NUMBERS, 2**40), "1,099,511,627,776 values of float32"),
    "2^80 numbers": (tensor(NUMBERS, 2**40, 2**40), "more than 2^63 values"),
    "2^28 numbers, one there": (tensor(NUMBERS, 2**28, float_data=[1.0]), "with 1 of them"),
    "2^28 numbers, a byte there": (tensor(NUMBERS, 2**28, raw_data=b"x"), "with 1 bytes"),
    "more bytes than numbers": (tensor(NUMBERS, 1, raw_data=b"x" * 8), "with 8 bytes"),
    "more varints than numbers": (tensor(7, 2, int64_data=[2**60, 1, -1]), "with 3 of them"),
    "numbers of another type": (tensor(NUMBERS, 2, int64_data=[1, 2]), "values of float32"),
    "a negative size": (tensor(NUMBERS, -1, raw_data=b"x" * 4), "negative size"),
    "a hundred dimensions": (tensor(NUMBERS, *[1] * 100, raw_data=b"x" * 4), "64 dimensions"),
    "a type of the future": (tensor(99, 1, raw_data=b"x"), "not known here, 99"),
    "a sparse tensor": (sparse, "sparse"),
    "a training": (training, "training of its own"),
    "a second graph": (second_graph, "two graphs"),
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
    monkeypatch.setattr(screening, "screen", lambda path: None)
    assert command("run", "theirs/x.onnx", "-o", "x.npz").code == 0


def test_data_in_a_plain_file_beside_is_read() -> None:
    Path("theirs").mkdir()
    beside(Path("theirs/x.onnx"))
    assert command("run", "theirs/x.onnx", "-n", "2", "-o", "x.npz").code == 0
    with np.load("x.npz") as written:
        drawn = written["value"] / 2
    graph(Path("theirs/y.onnx"), helper.make_node("Identity", ["latent"], ["value"]))
    assert command("run", "theirs/y.onnx", "-n", "2", "-o", "y.npz").code == 0
    with np.load("y.npz") as written:
        np.testing.assert_array_equal(drawn, written["value"])


@pytest.mark.parametrize("kind", ["float32", "float16", "int32", "int8", "uint8", "int64", "bool"])
@pytest.mark.parametrize("raw", [True, False], ids=["as bytes", "one by one"])
def test_tensors_with_what_they_promise_are_let_through(kind: str, raw: bool) -> None:
    values = np.array([[0, 1, 1], [1, 0, 100]]).astype(kind)
    number = helper.np_dtype_to_tensor_dtype(values.dtype)
    weights = helper.make_tensor(
        "w", number, (2, 3), values.tobytes() if raw else values.flatten().tolist(), raw=raw
    )
    scalar = helper.make_tensor("s", TensorProto.FLOAT, (), [2.0])
    empty = helper.make_tensor("e", TensorProto.FLOAT, (0, 2**62), [])
    identity = helper.make_node("Mul", ["latent", "s"], ["value"])
    graph(Path("x.onnx"), identity, constants={"s": scalar, "w": weights, "e": empty})
    screening.check_file(Path("x.onnx"))


def test_quantised_files_are_let_through() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["latent", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["value"]),
    ]
    zero = helper.make_tensor("zero", TensorProto.INT8, (), [-3])
    graph(Path("x.onnx"), *nodes, constants={"scale": np.float32(0.1), "zero": zero})
    assert command("run", "x.onnx", "-o", "x.npz").code == 0


def test_a_file_of_too_many_parts_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "MAX_FIELDS", 1000)
    nodes = [helper.make_node("Neg", [f"x{n}"], [f"x{n + 1}"]) for n in range(400)]
    first, last = (
        helper.make_node("Neg", [a], [b]) for a, b in (("latent", "x0"), ("x400", "value"))
    )
    graph(Path("x.onnx"), first, *nodes, last)
    for verb in ("run", "show"):
        assert "more than 1,000 parts" in refused(verb, "x.onnx", code=3)


def test_a_graph_that_takes_all_memory_is_stopped() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["much"], ["x"]),
        helper.make_node("ReduceSum", ["x"], ["sum"]),
        helper.make_node("Add", ["latent", "sum"], ["value"]),
    ]
    graph(Path("x.onnx"), *nodes, constants={"much": np.array([2**40])})
    with nothing_left(Path()):
        assert "not enough memory" in refused("run", "x.onnx", "-o", "x.npz", code=1)


def test_a_graph_that_takes_too_long_is_stopped() -> None:
    rounds = [helper.make_node("MatMul", [f"m{n}", f"m{n}"], [f"m{n + 1}"]) for n in range(400)]
    nodes = [
        helper.make_node("ReduceSum", ["latent"], ["sum"]),
        helper.make_node("Expand", ["sum", "large"], ["m0"]),
        *rounds,
        helper.make_node("ReduceMax", ["m400"], ["most"], keepdims=0),
        helper.make_node("Add", ["latent", "most"], ["value"]),
    ]
    graph(Path("x.onnx"), *nodes, constants={"large": np.array([1400, 1400])})
    with nothing_left(Path()):
        words = ("run", "x.onnx", "-o", "x.npz")
        said = error_of(*words, code=1, error="time-limit", ZOO_MAX_SECONDS="1")
        assert "ZOO_MAX_SECONDS" in said


def never_open(path: Path) -> Path:
    """A small file whose constants take minutes to compute, which opening it does."""
    rounds = [helper.make_node("MatMul", [f"m{n}", "m0"], [f"m{n + 1}"]) for n in range(90)]
    nodes = [
        helper.make_node("ConstantOfShape", ["large"], ["m0"]),
        *rounds,
        helper.make_node("ReduceMax", ["m90"], ["most"], keepdims=0),
        helper.make_node("Add", ["latent", "most"], ["value"]),
    ]
    return graph(path, *nodes, constants={"large": np.array([4000, 4000])})


@pytest.mark.parametrize("verb", [["run", "-n", "1", "-o", "x.npz"], ["bench"]])
def test_a_file_that_takes_too_long_to_open_is_left(
    verb: list[str],
) -> None:
    never_open(Path("x.onnx"))
    assert Path("x.onnx").stat().st_size < 20_000
    began = time.monotonic()
    said = error_of(verb[0], "x.onnx", *verb[1:], code=3, ZOO_MAX_SECONDS="0.5")
    assert "ZOO_MAX_SECONDS" in said
    assert time.monotonic() - began < 30
    assert sorted(path.name for path in Path().iterdir()) == ["x.onnx"]


def one_long_operator(path: Path) -> Path:
    nodes = [
        helper.make_node("ReduceSum", ["latent"], ["sum"]),
        helper.make_node("Expand", ["sum", "large"], ["m"]),
        helper.make_node("MatMul", ["m", "m"], ["product"]),
        helper.make_node("ReduceMax", ["product"], ["most"], keepdims=0),
        helper.make_node("Add", ["latent", "most"], ["value"]),
    ]
    return graph(path, *nodes, constants={"large": np.array([9000, 9000])})


@pytest.mark.parametrize("make", [never_open, one_long_operator])
def test_ctrl_c_ends_a_command_that_opens_or_computes(make: Callable[[Path], Path]) -> None:
    make(Path("x.onnx"))
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", "run", "x.onnx", "-n", "4", "-o", "x.npz"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(2.5)  # until it is at work
    assert process.poll() is None
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - began < 2
    assert process.returncode == 130
    assert said.strip() == "interrupted"
    assert sorted(path.name for path in Path().iterdir()) == ["x.onnx"]


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


@pytest.mark.parametrize("text", ["", "{", "[" * 10**5])
def test_a_damaged_manifest_is_told(text: str) -> None:
    path = bundle()
    path.with_name("manifest.json").write_text(text)
    assert "damaged" in refused("run", str(path), "-o", "x.png", code=3)


@pytest.mark.parametrize("text", ["[]", '{"files": 3}', '{"files": {"a": {}}}', '{"name": "page"}'])
def test_a_manifest_of_another_program_is_passed_over(text: str) -> None:
    path = bundle()
    path.with_name("manifest.json").write_text(text)
    assert command("run", str(path), "-o", "x.png").code == 0
