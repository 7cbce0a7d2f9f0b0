"""Smaller files have the ports of the float file, do nearly what it does, and say nothing."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from zoo_autoencoders.conv_ae import ConvAutoencoder, ConvAutoencoderConfig
from zoo_autoencoders.vae import VAE, VAEConfig
from zoo_gans.cgan import ConditionalGAN, ConditionalGANConfig

from tests.errors import raises
from tests.exporting.test_exporter import ShiftConfig
from tests.exporting.test_sizes import PONIES, Translator, trained
from tests.runtime import graphs
from zoo import DataSpec, Model, Port
from zoo.errors import ZooError
from zoo.exporting.exporter import export_graph
from zoo.exporting.metadata import describe_graph
from zoo.exporting.variants import (
    Variant,
    apply_variant,
    convert_to_float16,
    optimise,
    quantise_to_int8,
    store_weights_in_float16,
)
from zoo.model.weights import Trained
from zoo.runtime.screening import check_file

DOTS = DataSpec.of_images("dots", 1, 14, 14)
SHIRTS = DataSpec.of_images("shirts", 1, 16, 16, classes=("boot", "bag", "shirt"))
WEIGHTED = {"Conv": 0, "ConvTranspose": 1, "MatMul": 1, "Gemm": 1}  # axis of what comes out

Rows = list[dict[str, np.ndarray[Any, Any]]]


def unpooling() -> Model:
    config = ConvAutoencoderConfig(channels=(8, 16), upsampling="unpool")
    return ConvAutoencoder(config, DOTS)


# Every kind of graph: pads that mirror, instance and layer normalisation, embeddings, unpooling.
KINDS: dict[str, tuple[Callable[[], Model], str, Variant]] = {
    "pixels": (lambda: Translator(ShiftConfig(), PONIES), "horse_to_zebra", Variant(io="uint8")),
    "labels": (
        lambda: ConditionalGAN(ConditionalGANConfig(features=8), SHIRTS),
        "generate",
        Variant(),
    ),
    "two outputs": (lambda: VAE(VAEConfig(hidden=(160, 24)), DOTS), "encode", Variant()),
    "unpooling": (unpooling, "reconstruct", Variant()),
    "fixed": (unpooling, "encode", Variant(io="uint8", batch=2)),
}


def export(subject: Trained, name: str, variant: Variant, path: Path) -> Path:
    """Write one graph as an export does, but for the gate."""
    graph = apply_variant(subject.model.graphs()[name], variant)
    about = describe_graph(subject, name, graph, weights_sha256="0" * 64)
    export_graph(subject.model, graph, about, path)
    return path


@pytest.fixture(scope="module", params=KINDS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make, name, variant = KINDS[request.param]
    folder = tmp_path_factory.mktemp("exported")
    with contextlib.chdir(folder):
        return export(trained(make()), name, variant, folder / f"{name}.onnx")


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder for one file, in which nothing else may be left."""
    folder = Path("place")
    folder.mkdir()
    yield folder / "smaller.onnx"
    assert {each.name for each in folder.iterdir()} <= {"smaller.onnx"}


def open_file(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def rows_of(path: Path, *, batches: int = 4, rows: int = 8, seed: int = 0, size: int = 20) -> Rows:
    """Draw inputs of a file; pictures are smooth, as those of the world are."""
    generator = np.random.default_rng(seed)

    def one(port: Any) -> np.ndarray[Any, Any]:
        count = port.shape[0] if isinstance(port.shape[0], int) else rows
        shape = [count, *(each if isinstance(each, int) else size for each in port.shape[1:])]
        if port.type == "tensor(int64)":
            return generator.integers(0, 3, shape)
        if len(shape) == 2:
            return generator.standard_normal(shape).astype(np.float32)
        image = np.cumsum(generator.standard_normal(shape), axis=2)
        image = np.tanh(image / np.abs(image).max(axis=(1, 2, 3), keepdims=True) * 2)
        is_uint8 = port.type == "tensor(uint8)"
        return np.uint8(np.rint((image + 1) * 127.5)) if is_uint8 else np.float32(image)

    ports = open_file(path).get_inputs()
    return [{port.name: one(port) for port in ports} for _ in range(batches)]


def loss(wanted: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> float:
    """Root of the mean squared difference, in percent of the span of what is wanted."""
    difference = found.astype(np.float64) - wanted
    return float(100 * np.sqrt((difference**2).mean()) / np.ptp(wanted.astype(np.float64)))


def quantised(source: Path, target: Path) -> None:
    quantise_to_int8(source, target, rows_of(source))


WAYS: dict[str, tuple[Callable[[Path, Path], None], float]] = {
    "half weights": (store_weights_in_float16, 0.2),
    "half arithmetic": (convert_to_float16, 0.5),
    "int8": (quantised, 4.0),
    "optimised": (optimise, 1e-3),
}


@pytest.mark.parametrize(("way", "most"), WAYS.values(), ids=WAYS)
def test_a_smaller_file_has_the_same_ports_and_nearly_the_same_results(
    exported: Path,
    way: Callable[[Path, Path], None],
    most: float,
    place: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    disabled = logging.root.manager.disable
    way(exported, place)
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")
    assert logging.root.manager.disable == disabled
    onnx.checker.check_model(place, full_check=True)
    check_file(place)  # operators of the standard only
    before, after = onnx.load(exported), onnx.load(place)
    assert list(after.metadata_props) == list(before.metadata_props)
    assert list(after.opset_import) == list(before.opset_import)
    for side in ("get_inputs", "get_outputs"):
        ports = [getattr(open_file(path), side)() for path in (exported, place)]
        assert len({tuple((p.name, p.type, *p.shape) for p in each) for each in ports}) == 1
    if way is quantised and "ScatterElements" in {node.op_type for node in before.graph.node}:
        most = 15.0  # of two pixels that are nearly equal, another one may be the greatest
    for rows, size in ((1, 20), (5, 20), (1, 27)):
        inputs = rows_of(exported, batches=1, rows=rows, seed=9, size=size)[0]
        wanted, found = (open_file(path).run(None, inputs) for path in (exported, place))
        for one, other in zip(wanted, found, strict=True):
            assert loss(one, other) < most
    stored = [weights_in(path) for path in (place, exported)]
    assert stored[0] < stored[1] or (way is optimise and stored[0] == stored[1])


def weights_in(path: Path) -> int:
    """Bytes of all weights of a file."""
    return sum(numpy_helper.to_array(each).nbytes for each in onnx.load(path).graph.initializer)


def test_halved_weights_are_rounded_and_nothing_else_is(exported: Path, place: Path) -> None:
    store_weights_in_float16(exported, place)
    stored = {each.name: each.data_type for each in onnx.load(place).graph.initializer}
    model = onnx.load(exported)
    rounded = 0
    for weight in model.graph.initializer:
        full = numpy_helper.to_array(weight)
        if full.dtype == np.float32 and full.ndim > 1 and full.size >= 128:
            half = full.astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(half.astype(np.float32), weight.name))
            rounded += 1
            assert stored.pop(f"{weight.name}_half") == TensorProto.FLOAT16
    assert rounded
    assert TensorProto.FLOAT16 not in stored.values()
    onnx.save(model, "rounded.onnx")
    (inputs,) = rows_of(exported, batches=1)
    outputs = (open_file(path).run(None, inputs) for path in (Path("rounded.onnx"), place))
    for one, other in zip(*outputs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("greatest", [1e6, 1e-6], ids=["too large", "too small"])
def test_weights_that_float16_cannot_hold_stay(greatest: float, place: Path) -> None:
    source = graphs.decoder(Path("decoder.onnx"))
    model = onnx.load(source)
    patterns = next(each for each in model.graph.initializer if each.name == "patterns")
    values = numpy_helper.to_array(patterns) * np.float32(greatest)
    patterns.CopyFrom(numpy_helper.from_array(values, "patterns"))
    onnx.save(model, source)
    store_weights_in_float16(source, place)
    (inputs,) = rows_of(source, batches=1)
    wanted, found = (open_file(path).run(None, inputs)[0] for path in (source, place))
    np.testing.assert_array_equal(wanted, found)


def test_weights_become_eight_bits_with_a_scale_for_each_channel(
    exported: Path, place: Path
) -> None:
    quantised(exported, place)
    graph = onnx.load(place).graph
    initialisers = {each.name: each for each in graph.initializer}
    made_by = {node.output[0]: node for node in graph.node}
    found = 0
    for node in graph.node:
        if node.op_type not in WEIGHTED:
            continue
        taken = made_by[node.input[1]]
        assert taken.op_type == made_by[node.input[0]].op_type == "DequantizeLinear"
        weight, scale = (initialisers[name] for name in taken.input[:2])
        assert weight.data_type == TensorProto.INT8
        turned = any(each.name == "transB" and each.i for each in node.attribute)
        axis = 0 if turned else WEIGHTED[node.op_type]
        (given,) = (each.i for each in taken.attribute if each.name == "axis")
        assert (given, list(scale.dims)) == (axis, [weight.dims[axis]])
        found += 1
    assert found
    assert not any(
        each.data_type == TensorProto.FLOAT and len(each.dims) == 4 for each in graph.initializer
    )


def test_scales_are_those_of_the_rows_that_were_given(place: Path) -> None:
    source = graphs.decoder(Path("decoder.onnx"))
    rows = rows_of(source)
    narrow = [{"latent": each["latent"] / 10} for each in rows]
    losses = []
    for given in (rows, narrow):
        quantise_to_int8(source, place, given)
        wanted, found = (open_file(path).run(None, rows[0])[0] for path in (source, place))
        losses.append(loss(wanted, found))
    assert losses[0] < 1
    assert losses[1] > 10


def test_what_the_quantiser_would_warn_of_is_done_without_a_word(
    place: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ports = [Port.latent("latent", 20), Port.latent("shift", 2)]
    about = graphs.describe("code", ports, [Port.latent("code", 2, prior=None)])
    nodes = [helper.make_node("Gemm", ["latent", "weight", "shift"], ["code"])]
    weight = np.linspace(-1, 1, 40, dtype=np.float32).reshape(20, 2) * np.float32([1, 0])
    source = graphs.save(Path("shifted.onnx"), about, nodes, {"weight": weight})
    quantise_to_int8(source, place, rows_of(source))
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")
    (inputs,) = rows_of(source, batches=1)
    wanted, found = (open_file(path).run(None, inputs)[0] for path in (source, place))
    assert loss(wanted, found) < 1


def test_a_graph_without_weights_stays_as_it_is(place: Path) -> None:
    source = graphs.negative(Path("negative.onnx"))
    for way in (quantised, store_weights_in_float16, optimise):
        way(source, place)
        assert [node.op_type for node in onnx.load(place).graph.node] == ["Neg"]


def test_what_cannot_be_made_smaller_is_told_and_leaves_the_file_before(place: Path) -> None:
    source = graphs.decoder(Path("decoder.onnx"))
    place.write_bytes(b"before")
    with raises(ZooError, "cannot-export", "decoder.onnx"):
        quantise_to_int8(source, place, [])
    with raises(ZooError, "cannot-export", "decoder.onnx"):
        quantise_to_int8(source, place, [{"other": np.zeros((1, 20), np.float32)}])
    source.write_bytes(source.read_bytes()[:1000])
    for way in (store_weights_in_float16, convert_to_float16, quantised_blindly, optimise):
        with raises(ZooError, "cannot-export", "decoder.onnx") as caught:
            way(source, place)
        assert len(str(caught.value).splitlines()) <= 6
    assert place.read_bytes() == b"before"


def quantised_blindly(source: Path, target: Path) -> None:
    quantise_to_int8(source, target, [{"latent": np.zeros((1, 20), np.float32)}])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dcgan", "cyclegan"])
def test_int8_takes_at_most_two_fifths_of_the_bytes(name: str, place: Path) -> None:
    from zoo_gans.dcgan import DCGAN, DCGANConfig
    from zoo_translation.cyclegan import CycleGAN, CycleGANConfig

    model: Model
    if name == "dcgan":
        model = DCGAN(DCGANConfig(), DataSpec.of_images("clothes", 1, 32, 32))
    else:
        model = CycleGAN(
            CycleGANConfig(), DataSpec.of_images("ponies", 3, 64, 64, domains=("a", "b"))
        )
    graph = next(iter(model.graphs()))
    for variant in (Variant(), Variant(io="uint8")):
        path = export(trained(model), graph, variant, Path(f"{variant.io}.onnx"))
        quantise_to_int8(path, place, rows_of(path, batches=1, rows=2, size=64))
        assert place.stat().st_size <= 0.4 * path.stat().st_size
