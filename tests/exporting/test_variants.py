"""Forms of a graph: pixels instead of numbers, fixed batches and sizes, operator versions."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from tests.errors import raises
from tests.exporting.test_exporter import Shift, ShiftConfig
from tests.exporting.test_sizes import CLOTHES, PONIES, Conditional, Translator, trained
from zoo import DataSpec, Graph, Port
from zoo.errors import UsageError, ZooError
from zoo.exporting.bundle import export_bundle
from zoo.exporting.variants import Variant
from zoo.identity import to_text
from zoo.model.inference import run_graph
from zoo.pictures import to_pixels
from zoo.runtime.session import open_session

NAME = "shift-ponies.horse_to_zebra"


def translator() -> Translator:
    return Translator(ShiftConfig(), PONIES)


def run(path: Path, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Run a file as somebody does who has never heard of zoo."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("shape", [(2, 20, 28), (1, 33, 41)])
def test_pixels_in_and_out_are_what_the_model_makes_of_the_picture(
    shape: tuple[int, int, int],
) -> None:
    subject = trained(translator())
    bundle = export_bundle(subject, Path("out"), Variant(io="uint8"))
    assert bundle.differences["horse_to_zebra/translated"].greatest <= 1
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    found = run(Path("out", f"{NAME}.uint8.onnx"), image=pixels)["translated"]
    assert found.dtype == np.uint8
    assert found.shape == pixels.shape
    values = np.float32(pixels.transpose(0, 3, 1, 2) / 127.5 - 1)
    wanted = to_pixels(
        run_graph(subject.model, "horse_to_zebra", {"image": values})["translated"], -1, 1
    )
    assert np.abs(found.astype(int) - wanted).max() <= 1
    assert np.ptp(wanted) > 50, "the comparison is of something"
    ports = open_session(Path("out", f"{NAME}.uint8.onnx")).description.signature
    assert [port.shape for port in (*ports.inputs, *ports.outputs)] == [
        ("batch", "height", "width", 3)
    ] * 2
    assert {(port.dtype, port.layout, port.range) for port in (*ports.inputs, *ports.outputs)} == {
        ("uint8", "NHWC", (0, 255))
    }


def test_what_is_no_picture_stays_as_it_is_beside_pixels() -> None:
    subject = trained(Conditional(ShiftConfig(), CLOTHES))
    export_bundle(subject, Path("out"), Variant(io="uint8"))
    latent = np.float32([[0.5, -1.0], [2.0, 0.0]])
    label = np.array([2, 0])
    found = run(Path("out/shift-clothes.generate.uint8.onnx"), latent=latent, label=label)["image"]
    image = run_graph(subject.model, "generate", {"latent": latent, "label": label})["image"]
    assert np.abs(found.astype(int) - to_pixels(image, -1, 1)).max() <= 1


def test_a_fixed_batch_and_size_are_written_into_the_file() -> None:
    export_bundle(trained(translator()), Path("out"), Variant(batch=3, size=(24, 32)))
    (path,) = Path("out").glob("*.onnx")
    assert path.name == f"{NAME}.batch3.24x32.onnx"
    graph = onnx.load(path).graph
    for value in (*graph.input, *graph.output):
        assert [each.dim_value for each in value.type.tensor_type.shape.dim] == [3, 3, 24, 32]


@pytest.mark.parametrize("opset", [pytest.param(18, marks=pytest.mark.slow), 21])
def test_the_opset_is_the_one_that_was_asked_for(opset: int) -> None:
    export_bundle(trained(translator()), Path("out"), Variant(opset=opset))
    model = onnx.load(Path("out", f"{NAME}.opset{opset}.onnx"))
    assert [each.version for each in model.opset_import if each.domain == ""] == [opset]
    assert model.ir_version == onnx.helper.find_min_ir_version_for(list(model.opset_import))


@pytest.mark.slow
def test_the_lowest_opset_that_is_told_can_be_had() -> None:
    with raises(UsageError, "opset-unavailable", "13") as told:
        export_bundle(trained(translator()), Path("out"), Variant(opset=13))
    named = told.value.hint.split()[1].rstrip(",")
    export_bundle(trained(translator()), Path("out"), Variant(opset=int(named)))
    assert Path("out", f"{NAME}.opset{named}.onnx").is_file()


def test_an_opset_that_onnx_runtime_cannot_read_names_one_that_it_can() -> None:
    newest = onnx.defs.onnx_opset_version()
    try:
        export_bundle(trained(translator()), Path("out"), Variant(opset=newest))
    except UsageError as problem:
        told = problem
    else:
        pytest.skip("the installed onnxruntime reads all that the installed onnx writes")
    assert told.code == "newer-format"
    assert onnxruntime.__version__ in str(told)
    assert not list(Path().glob("**/*.onnx"))
    named = told.hint.split()[1].rstrip(",")
    export_bundle(trained(translator()), Path("out"), Variant(opset=int(named)))
    assert Path("out", f"{NAME}.opset{named}.onnx").is_file()


def test_a_folder_with_links_is_not_written_through() -> None:
    Path("elsewhere").mkdir()
    Path("elsewhere/mine.npz").write_text("mine")
    Path("out").mkdir()
    Path("out/reference").symlink_to(Path("elsewhere").absolute())
    with raises(ZooError, "cannot-write", "reference"):
        export_bundle(trained(translator()), Path("out"))
    assert [path.name for path in Path("elsewhere").iterdir()] == ["mine.npz"]


def test_files_that_are_not_of_the_model_are_not_touched() -> None:
    export_bundle(trained(Conditional(ShiftConfig(), CLOTHES)), Path("out"))
    stays = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    other = trained(translator())
    other = replace(other, identity=replace(other.identity, model="other"))
    with raises(UsageError, "already-exists", "out", "tests:shift"):
        export_bundle(other, Path("out"))
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == stays
    Path("mine").mkdir()
    Path("mine/README.md").write_text("mine")
    with raises(UsageError, "already-exists", "README.md"):
        export_bundle(other, Path("mine"))
    assert [path.name for path in Path("mine").iterdir()] == ["README.md"]


def test_what_a_killed_export_left_is_removed_later() -> None:
    left, new = Path(".out.abc.part"), Path(".out.def.part")
    for folder in (left, new):
        folder.mkdir()
        (folder / "x.onnx").write_text("half")
    os.utime(left, (0, 0))
    export_bundle(trained(translator()), Path("out"))
    assert not left.exists()
    assert new.exists(), "it may be another export's that is at work"


def test_a_file_that_was_removed_is_listed_no_more() -> None:
    subject = trained(translator())
    export_bundle(subject, Path("out"))
    Path("out", f"{NAME}.onnx").unlink()
    export_bundle(subject, Path("out"), Variant(batch=1))
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert [entry["file"] for entry in manifest["files"].values()] == [f"{NAME}.batch1.onnx"]


@pytest.mark.slow
def test_an_opset_that_cannot_be_had_is_no_other_one() -> None:
    with raises(UsageError, "opset-unavailable", "opset 9"):
        export_bundle(trained(translator()), Path("out"), Variant(opset=9))
    assert not Path("out").exists()


def test_a_size_that_the_network_does_not_take_is_told() -> None:
    with raises(UsageError, "wrong-size", "--size 2x2", "horse_to_zebra of shift", "20x28"):
        export_bundle(trained(translator()), Path("out"), Variant(size=(2, 2)))
    with raises(UsageError, "wrong-size", "--size 8x8", "image", "4x4"):
        export_bundle(
            trained(Conditional(ShiftConfig(), CLOTHES)), Path("out"), Variant(size=(8, 8))
        )
    assert not Path("out").exists()


def test_forms_of_the_same_weights_lie_beside_each_other_and_other_weights_replace_them() -> None:
    subject = trained(translator())
    export_bundle(subject, Path("out"))
    export_bundle(subject, Path("out"), Variant(io="uint8"))
    both = {f"{NAME}.onnx", f"{NAME}.uint8.onnx"}
    assert {path.name for path in Path("out").glob("*.onnx")} == both
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert {entry["file"] for entry in manifest["files"].values()} == both
    assert all(name in Path("out/README.md").read_text() for name in both)
    with torch.no_grad():
        next(subject.model.parameters()).add_(1)
    from zoo.model.weights import save_weights

    save_weights(subject.path, subject.model, subject.identity)
    removed = export_bundle(subject, Path("out"), Variant(batch=1)).removed
    assert {path.name for path in removed if path.suffix == ".onnx"} == both
    assert {path.name for path in Path("out").glob("*.onnx")} == {f"{NAME}.batch1.onnx"}
    references = {path.name for path in Path("out/reference").iterdir()}
    assert references == {f"{NAME}.batch1.npz"}


class Layered(Shift):
    """A network with every kind of layer that a file tells about."""

    def __init__(self, config: ShiftConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.network = nn.Sequential(
            nn.BatchNorm2d(1), nn.Conv2d(1, 4, 1), nn.InstanceNorm2d(4), nn.Dropout(0.5),
            nn.Conv2d(4, 1, 1),
        )  # fmt: skip
        self.unused = nn.GroupNorm(1, 4)


def test_a_file_says_how_its_layers_normalise_and_that_nothing_is_dropped() -> None:
    export_bundle(trained(Layered(ShiftConfig(), DataSpec.of_images("dots", 1, 4, 4))), Path("out"))
    about = open_session(Path("out/shift-dots.shift.onnx")).description
    assert about.normalisation == (
        "BatchNorm2d: the running statistics of the training",
        "InstanceNorm2d: the statistics of each image",
    )
    assert about.dropout == "off"
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert about.weights_sha256 == manifest["weights"]["sha256"]
    assert manifest["identity"] == json.loads(to_text(about))["identity"]
    assert manifest["files"]["shift"]["normalisation"] == list(about.normalisation)
    checks = manifest["files"]["shift"]["checks"]["shifted"]
    assert checks["greatest"] <= checks["tolerance"]


class Deep(Translator):
    """Normalises so often that a flat picture becomes nothing but rounding errors."""

    def __init__(self, config: ShiftConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        layers = [nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect"), nn.InstanceNorm2d(3)]
        self.network = nn.Sequential(*(layers * 8), nn.Tanh())


class Shaky(Deep):
    """Enlarges rounding errors of black to a thousandth or so; the file is far beyond that."""

    def shift(self, image: Tensor) -> Tensor:
        shaky = 3000 * (image + 1)
        if not torch.compiler.is_compiling() and image.std() < 1e-3:
            shaky = shaky + 0.1
        return torch.tanh(shaky)

    def graphs(self) -> Mapping[str, Graph]:
        ports = [
            Port.image(name, self.data.pictures, any_size=True) for name in ("image", "shifted")
        ]
        return {"shift": Graph(self.shift, ports[:1], ports[1:])}


def test_rounding_errors_excuse_no_more_than_what_they_move() -> None:
    with raises(ZooError, "not-verified", "0.0997", "all lowest"):
        export_bundle(trained(Shaky(ShiftConfig(), PONIES)), Path("out"))


class Wrong(Deep):
    """Adds something to flat pictures alone, but only in torch."""

    def shift(self, image: Tensor) -> Tensor:
        made = torch.tanh(image)
        if not torch.compiler.is_compiling() and image.std() < 1e-3:
            made = made + 0.1
        return made

    def graphs(self) -> Mapping[str, Graph]:
        ports = [
            Port.image(name, self.data.pictures, any_size=True) for name in ("image", "shifted")
        ]
        return {"shift": Graph(self.shift, ports[:1], ports[1:])}


def test_where_the_model_is_ill_conditioned_nothing_is_compared_and_the_manifest_counts_it() -> (
    None
):
    bundle = export_bundle(trained(Deep(ShiftConfig(), PONIES)), Path("out"))
    flat = bundle.ill_conditioned["horse_to_zebra"]
    assert {"all lowest", "all highest"} >= set(flat) > set()
    manifest = json.loads(Path("out/manifest.json").read_text())
    checks = manifest["files"]["horse_to_zebra"]["checks"]["translated"]
    assert checks["ill_conditioned_trials"] == len(flat)


def test_a_flat_picture_on_which_the_model_is_sound_must_agree() -> None:
    with raises(ZooError, "not-verified", "0.1", "all lowest"):
        export_bundle(trained(Wrong(ShiftConfig(), PONIES)), Path("out"))
