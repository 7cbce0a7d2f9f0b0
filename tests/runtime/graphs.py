"""Small exported files, built by hand: no exporter, no torch, no plugin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from zoo.identity import Description, Identity, Precision, to_text
from zoo.ports import DataSpec, Port, Signature

ELEMENTS = {
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
}
CLOTHES = DataSpec.of_images("clothes", 1, 28, 28)
PHOTOS = DataSpec.of_images("photos", 3, 32, 48)


def describe(
    graph: str,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    data: DataSpec = CLOTHES,
    rounds: int | None = None,
) -> Description:
    signature = Signature(tuple(inputs), tuple(outputs), rounds)
    identity = Identity(
        model="vae",
        distribution="zoo-autoencoders",
        version="0.1.0",
        config={"latent_size": 20, "hidden": [512, 512], "likelihood": "bernoulli", "beta": 1.0},
        data=data,
        graphs={graph: signature},
        step=940,
        metrics={"elbo": -237.5},
    )
    return Description(
        identity=identity,
        graph=graph,
        signature=signature,
        precision="float32",
        normalisation=(),
        dropout="none",
        weights_sha256="0123456789abcdef" * 4,
        written_by={"zoo-core": "0.1.0"},
    )


def save(
    path: Path,
    description: Description,
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    *,
    zoo_entry: str | None = "",
    opsets: Mapping[str, int] | None = None,
) -> Path:
    """Write a graph whose ports are those of the description; `zoo_entry` replaces its text."""
    signature = description.signature
    inputs, outputs = (
        [
            helper.make_tensor_value_info(port.name, ELEMENTS[port.dtype], port.shape)
            for port in side
        ]
        for side in (signature.inputs, signature.outputs)
    )
    tensors = [
        value
        if isinstance(value, onnx.TensorProto)
        else numpy_helper.from_array(np.asarray(value), name)
        for name, value in (constants or {}).items()
    ]
    graph = helper.make_graph(list(nodes), description.graph, inputs, outputs, tensors)
    imports = [helper.make_opsetid(*each) for each in (opsets or {"": 18}).items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    if zoo_entry is not None:
        helper.set_model_props(model, {"zoo": zoo_entry or to_text(description)})
    path.write_bytes(model.SerializeToString())
    return path


def changed(description: Description, **changes: Any) -> Description:
    """Return a description with other values, of its own or of its identity."""
    of_identity = {key: changes.pop(key) for key in ("config", "data", "metrics") if key in changes}
    return replace(description, identity=replace(description.identity, **of_identity), **changes)


def decoder(path: Path, **changes: Any) -> Path:
    """latent (batch, 20) -> image (batch, 1, 28, 28): a sum of twenty stripe patterns."""
    described = describe(
        "decode", [Port.latent("latent", 20)], [Port.image("image", CLOTHES.pictures)]
    )
    y, x = np.mgrid[0:28, 0:28] / 28
    waves = [np.sin(np.pi * (x * (k % 5) + y * (k // 5) + k / 7)) for k in range(20)]
    constants = {
        "patterns": np.stack(waves).reshape(20, 784).astype(np.float32),
        "shape": np.array([-1, 1, 28, 28]),
    }
    nodes = [
        helper.make_node("MatMul", ["latent", "patterns"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["image"]),
    ]
    return save(path, changed(described, **changes), nodes, constants)


def encoder(path: Path) -> Path:
    """image -> mu, its mean and greatest pixel, and logvar, its least: both (batch, 2)."""
    mu, logvar = (Port.latent(name, 2, prior=None) for name in ("mu", "logvar"))
    described = describe("encode", [Port.image("image", CLOTHES.pictures)], [mu, logvar])
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("ReduceMean", ["flat", "axes"], ["mean"]),
        helper.make_node("ReduceMax", ["flat", "axes"], ["greatest"]),
        helper.make_node("ReduceMin", ["flat", "axes"], ["least"]),
        helper.make_node("Concat", ["mean", "greatest"], ["mu"], axis=1),
        helper.make_node("Concat", ["least", "least"], ["logvar"], axis=1),
    ]
    return save(path, described, nodes, {"axes": np.array([1])})


def halves(folder: Path, **changes: Any) -> Path:
    """Write encode.onnx and decode.onnx: a code is the means of the left and the right half.

    image (batch, 1, 28, 28) -> code (batch, 2) -> image, of one value on each side; standard normal
    prior. `changes` are those of the description of both.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image = Port.image("image", CLOTHES.pictures)
    sides = np.zeros((2, 28, 28), np.float32)
    sides[0, :, :14] = sides[1, :, 14:] = 1
    sides = sides.reshape(2, 784)
    code, mean = Port.latent("code", 2), Port.latent("mean", 2, prior=None)
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["mean"]),
    ]
    described = changed(describe("encode", [image], [mean]), **changes)
    save(folder / "encode.onnx", described, nodes, {"weights": sides.T / 392})
    nodes = [
        helper.make_node("MatMul", ["code", "sides"], ["sum"]),
        helper.make_node("Clip", ["sum", "least", "greatest"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["image"]),
    ]
    constants = {"sides": sides, "least": np.float32(-1), "greatest": np.float32(1),
                 "shape": np.array([-1, 1, 28, 28])}  # fmt: skip
    described = changed(describe("decode", [code], [image]), **changes)
    save(folder / "decode.onnx", described, nodes, constants)
    return folder


def negative(
    path: Path, data: DataSpec = PHOTOS, *, any_size: bool = False, batch: int | str = "batch"
) -> Path:
    """image -> its negative, so that what was written can be told from what was read."""
    ports = [Port.image(name, data.pictures, any_size=any_size) for name in ("image", "negative")]
    ports = [replace(port, shape=(batch, *port.shape[1:])) for port in ports]
    described = describe("reconstruct", ports[:1], ports[1:], data)
    return save(path, described, [helper.make_node("Neg", ["image"], ["negative"])])


def pixel_negative(
    path: Path, data: DataSpec = PHOTOS, *, any_size: bool = False, batch: int | str = "batch"
) -> Path:
    """image -> its negative, both as pixels (batch, height, width, channels) of uint8."""
    height, width = ("height", "width") if any_size else (data.pictures.height, data.pictures.width)
    shape = (batch, height, width, data.pictures.channels)
    image, negated = (
        Port(name, "image", shape, "uint8", (0.0, 255.0), layout="NHWC", tolerance=1.0)
        for name in ("image", "negative")
    )
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["white", "values"], ["difference"]),
        helper.make_node("Cast", ["difference"], ["negative"], to=TensorProto.UINT8),
    ]
    described = describe("reconstruct", [image], [negated])
    return save(path, described, nodes, {"white": np.float32(255)})


def translator(
    path: Path,
    source: str,
    target: str,
    *,
    graph: str = "",
    precision: Precision = "float32",
    batch: int | str = "batch",
) -> Path:
    """image of one domain -> its negative, said to be of the other domain; any size."""
    image, negated = (
        Port.image(name, PHOTOS.pictures, domain=domain, any_size=True)
        for name, domain in (("image", source), ("translated", target))
    )
    ports = [replace(port, shape=(batch, *port.shape[1:])) for port in (image, negated)]
    described = describe(graph or path.stem[:100], ports[:1], ports[1:])
    node = helper.make_node("Neg", ["image"], ["translated"])
    return save(path, replace(described, precision=precision), [node])


def mirrored(path: Path) -> Path:
    """image of any size -> itself, padded by four mirrored pixels and cut again.

    Fails on less than five pixels, and takes much memory.
    """
    image = Port.image("image", PHOTOS.pictures, any_size=True)
    nodes = [
        helper.make_node("Pad", ["image", "pads"], ["wide"], mode="reflect"),
        helper.make_node("Concat", ["wide"] * 64, ["stack"], axis=1),
        helper.make_node("Relu", ["stack"], ["relu"]),
        helper.make_node("Slice", ["relu", "start", "end", "axes"], ["out"]),
    ]
    constants = {
        "pads": np.array([0, 0, 4, 4, 0, 0, 4, 4]),
        "start": np.array([0, 4, 4]),
        "end": np.array([3, -4, -4]),
        "axes": np.array([1, 2, 3]),
    }
    described = describe("pad", [image], [replace(image, name="out")])
    return save(path, described, nodes, constants)


def conditional(path: Path, classes: Sequence[str]) -> Path:
    """latent (batch, 1), label (batch) -> image (batch, 1, 4, 4), the class's shade plus noise."""
    ports = [Port.latent("latent", 1), Port.label("label", classes)]
    described = describe(
        "generate", ports, [Port.image("image", DataSpec.of_images("squares", 1, 4, 4).pictures)]
    )
    nodes = [
        helper.make_node("Gather", ["squares", "label"], ["square"], axis=0),
        helper.make_node("Mul", ["latent", "tenth"], ["faint"]),
        helper.make_node("Reshape", ["faint", "shape"], ["noise"]),
        helper.make_node("Add", ["square", "noise"], ["image"]),
    ]
    shades = np.linspace(-0.5, 0.5, len(classes), dtype=np.float32)
    constants = {
        "squares": np.broadcast_to(shades.reshape(-1, 1, 1, 1), (len(classes), 1, 4, 4)).copy(),
        "tenth": np.float32(0.1),
        "shape": np.array([-1, 1, 1, 1]),
    }
    return save(path, described, nodes, constants)


def labelled(path: Path) -> Path:
    """label (batch) -> image (batch, 1, 4, 4) as grey as the label's number says."""
    image = Port.image("image", DataSpec.of_images("squares", 1, 4, 4).pictures)
    described = describe("generate", [Port.label("label", ["black", "grey", "white"])], [image])
    nodes = [
        helper.make_node("Gather", ["squares", "label"], ["image"], axis=0),
    ]
    grey = np.repeat(np.array([-1, 0, 1], np.float32), 16).reshape(3, 1, 4, 4)
    return save(path, described, nodes, {"squares": grey})


def entry_of(path: Path) -> Any:
    """Return the zoo entry of a file as JSON."""
    model = onnx.load(path)
    return json.loads(next(prop.value for prop in model.metadata_props if prop.key == "zoo"))


def fading(path: Path, rounds: int | None = 5) -> Path:
    """One step of a loop: a picture loses a share of its light, and noise and a counter pass by."""
    shape = ("batch", 1, 28, 28)
    image = Port("image", "image", shape, range=(-1.0, 1.0), prior="uniform", next="faded")
    count = Port("count", "values", ("batch",), "int64", default=0, next="counted")
    noise = Port("noise", "latent", ("batch", 2), prior="normal")
    share = Port("share", "values", ("batch", 1, 1, 1), range=(0.0, 1.0), default=0.5)
    outputs = [
        Port.image("faded", CLOTHES.pictures),
        Port("counted", "values", ("batch",), "int64"),
        Port("seen", "latent", ("batch", 2)),
    ]
    nodes = [
        helper.make_node("Sub", ["one", "share"], ["rest"]),
        helper.make_node("Sub", ["image", "black"], ["light"]),
        helper.make_node("Mul", ["light", "rest"], ["left"]),
        helper.make_node("Add", ["left", "black"], ["faded"]),
        helper.make_node("Add", ["count", "step"], ["counted"]),
        helper.make_node("Identity", ["noise"], ["seen"]),
    ]
    constants = {"one": np.float32(1), "black": np.float32(-1), "step": np.int64(1)}
    described = describe("fade", [image, count, noise, share], outputs, rounds=rounds)
    return save(path, described, nodes, constants)


def spelling(path: Path) -> Path:
    """One step of a loop: each symbol of the alphabet is followed by the next one."""
    symbols = tuple("abc")
    symbol = Port("symbol", "text", ("batch",), "int64", (0.0, 2.0), "uniform", symbols,
                  next="following")  # fmt: skip
    following = Port("following", "text", ("batch",), "int64", (0.0, 2.0), classes=symbols)
    nodes = [
        helper.make_node("Add", ["symbol", "one"], ["sum"]),
        helper.make_node("Mod", ["sum", "three"], ["following"]),
    ]
    constants = {"one": np.int64(1), "three": np.int64(3)}
    return save(path, describe("spell", [symbol], [following]), nodes, constants)
