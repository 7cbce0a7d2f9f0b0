"""What does not do as the model does, or is no function of its inputs, does not leave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.errors import raises
from zoo import DataSpec, Graph, Model, Player, Port, Update, option
from zoo.errors import ZooError
from zoo.exporting.bundle import export_bundle
from zoo.exporting.quality import CalibrationData
from zoo.exporting.variants import Variant
from zoo.exporting.verify import Verified, verify
from zoo.identity import Identity
from zoo.model.weights import Trained, save_weights

SPEC = DataSpec.of_images("dots", 1, 4, 4)
IMAGES = {"image": np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1), np.uint8)}
PICTURES = CalibrationData(IMAGES, IMAGES)


@dataclass(frozen=True)
class ShiftConfig:
    lr: float = option(1e-2, "rate", above=0.0)


class Shift(Model):
    """Adds a learnt shift to an image."""

    Config = ShiftConfig

    def __init__(self, config: ShiftConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.network = nn.Conv2d(1, 1, 1)
        self.calls = 0

    def players(self) -> Mapping[str, Player]:
        return {"shift": Player([self.network], torch.optim.SGD)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("shift", loss=self.shift(batch["image"]).mean())

    def shift(self, image: Tensor) -> Tensor:
        return self.network(image)

    def graphs(self) -> Mapping[str, Graph]:
        shifted = Port("shifted", "image", ("batch", 1, 4, 4))
        return {"shift": Graph(self.shift, [Port.image("image", SPEC.pictures)], [shifted])}


class Counting(Shift):
    """Gives something else each time it is called."""

    def shift(self, image: Tensor) -> Tensor:
        self.calls += 1
        return self.network(image) + self.calls


class Noisy(Shift):
    def shift(self, image: Tensor) -> Tensor:
        return self.network(image) + torch.randn_like(image)


class Uniform(Shift):
    def shift(self, image: Tensor) -> Tensor:
        return self.network(image) + torch.rand_like(image)


class Dropping(Shift):
    def shift(self, image: Tensor) -> Tensor:
        return nn.functional.dropout(self.network(image), 0.5, training=True)


class Throwing(Shift):
    def shift(self, image: Tensor) -> Tensor:
        return self.network(image) * torch.bernoulli(torch.full_like(image, 0.5))


class FixedBatch(Shift):
    def shift(self, image: Tensor) -> Tensor:
        return self.network(image).reshape(2, 1, 4, 4)


class Wrong(Shift):
    """Declares a port of another shape than the graph gives."""

    def graphs(self) -> Mapping[str, Graph]:
        shifted = Port("shifted", "image", ("batch", 1, 8, 8))
        return {"shift": Graph(self.shift, [Port.image("image", SPEC.pictures)], [shifted])}


def trained(kind: type[Shift], folder: Path) -> Trained:
    model = kind(ShiftConfig(), SPEC).eval()
    graphs = {name: graph.signature for name, graph in model.graphs().items()}
    header = Identity("shift", "tests", "1", {"lr": 0.01}, SPEC, graphs)
    path = folder / "weights.safetensors"
    save_weights(path, model, header)
    return Trained(model, header, path)


def test_a_model_that_is_a_function_leaves(tmp_path: Path) -> None:
    bundle = export_bundle(trained(Shift, tmp_path), tmp_path / "bundle")
    assert bundle.differences["shift/shifted"].greatest < 1e-6
    content = (tmp_path / "bundle" / "shift-dots.shift.onnx").read_bytes()
    assert str(Path(__file__).parent).encode() not in content, "it tells nothing of this machine"


@pytest.mark.parametrize(
    ("kind", "code", "name"),
    [
        (Counting, "not-verified", ""),
        (Noisy, "cannot-export", "RandomNormal"),
        (Uniform, "cannot-export", "RandomUniform"),
        (Dropping, "cannot-export", ""),
        (Throwing, "cannot-export", ""),
        (FixedBatch, "not-verified", "batch"),
        (Wrong, "breaks-contract", "8"),
    ],
)
def test_what_does_not_verify_leaves_nothing(
    tmp_path: Path, kind: type[Shift], code: str, name: str
) -> None:
    subject = trained(kind, tmp_path)
    with raises(ZooError, code, name) as caught:
        export_bundle(subject, tmp_path / "bundle")
    assert len(str(caught.value).splitlines()) <= 6
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


@pytest.mark.parametrize(
    "variant", [Variant(), Variant(optimised=True), Variant(precision="float16 weights")]
)
def test_the_file_that_was_verified_is_the_file_that_is_shipped(
    tmp_path: Path, variant: Variant
) -> None:
    folder = tmp_path / "bundle"
    bundle = export_bundle(trained(Shift, tmp_path), folder, variant,
                           calibration=PICTURES, max_loss=5.0)  # fmt: skip
    verified = bundle.graphs["shift"].facts
    (entry,) = json.loads((folder / "manifest.json").read_text())["files"].values()
    shipped = hashlib.sha256((folder / verified.file).read_bytes()).hexdigest()
    assert entry["sha256"] == verified.sha256 == shipped


def test_the_file_is_not_written_after_it_was_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real gate, and the hash of what it was given."""
    given: list[str] = []

    def watched(model: Model, graph: Graph, path: Path) -> Verified:
        given.append(hashlib.sha256(path.read_bytes()).hexdigest())
        return verify(model, graph, path)

    monkeypatch.setattr("zoo.exporting.exporter.verify", watched)
    export_bundle(trained(Shift, tmp_path), tmp_path / "bundle")
    content = (tmp_path / "bundle" / "shift-dots.shift.onnx").read_bytes()
    assert given == [hashlib.sha256(content).hexdigest()]


def test_an_export_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    export_bundle(trained(Shift, tmp_path), folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ZooError):
        export_bundle(trained(Counting, tmp_path), folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
