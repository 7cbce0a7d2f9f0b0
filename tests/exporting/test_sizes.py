"""Graphs for images of any size, and for labels: exported, verified, run as a user does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tests.errors import raises
from tests.exporting.test_exporter import Shift, ShiftConfig
from tests.process import error_of, zoo, zoo_json
from zoo import DataSpec, Graph, Model, Port
from zoo.draws import draw
from zoo.errors import PluginError, ZooError
from zoo.exporting.bundle import export_bundle
from zoo.identity import Identity
from zoo.model.inference import run_graph
from zoo.model.weights import Trained, save_weights

STEM = "shift-ponies.horse_to_zebra"
PONIES = DataSpec.of_images("ponies", 3, 20, 28, domains=("Horse", "Zebra"))
CLOTHES = DataSpec.of_images("clothes", 1, 4, 4, classes=("boot", "bag", "shirt"))


class Translator(Shift):
    """A small generator of a CycleGAN: halves twice, doubles twice, cuts to the input's size."""

    def __init__(self, config: ShiftConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.network = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, 4, 7),
            nn.InstanceNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 8, 3, stride=2, padding=1),
            nn.Conv2d(8, 8, 3, stride=2, padding=1),
            nn.InstanceNorm2d(8),
            nn.ReflectionPad2d(1),
            nn.Conv2d(8, 8, 3),
            nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1),
            nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, output_padding=1),
            nn.Tanh(),
        )

    def shift(self, image: Tensor) -> Tensor:
        height, width = image.shape[2:]
        return self.network(image)[:, :, :height, :width]

    def graphs(self) -> Mapping[str, Graph]:
        a, b = self.data.sides
        ports = [
            [Port.image(name, self.data.pictures, domain=domain, any_size=True)]
            for name, domain in (("image", a), ("translated", b))
        ]
        return {f"{a}_to_{b}": Graph(self.shift, *ports)}


class Uncut(Translator):
    """Gives more than it got, where the size is no multiple of four."""

    def shift(self, image: Tensor) -> Tensor:
        return self.network(image)


class OneSize(Translator):
    """Promises every size, and counts on its data's."""

    def shift(self, image: Tensor) -> Tensor:
        return super().shift(image).reshape(-1, 3, 20, 28)


class Multiples(Translator):
    """Refuses what is no multiple of four, in torch alone."""

    def shift(self, image: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and image.shape[3] % 4:
            raise ValueError("only multiples of four")
        return super().shift(image)


class Conditional(Shift):
    """latent, label -> image."""

    def __init__(self, config: ShiftConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.embedding = nn.Embedding(3, 5)
        self.network = nn.Linear(7, 16)

    def make(self, latent: Tensor, label: Tensor) -> Tensor:
        joined = torch.cat([latent, self.embedding(label)], dim=1)
        return torch.tanh(self.network(joined)).reshape(-1, 1, 4, 4)

    def graphs(self) -> Mapping[str, Graph]:
        ports = [Port.latent("latent", 2), Port.label("label", self.data.classes)]
        return {"generate": Graph(self.make, ports, [Port.image("image", self.data.pictures)])}


def trained(model: Model) -> Trained:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    graphs = {name: graph.signature for name, graph in model.graphs().items()}
    header = Identity("shift", "tests", "1", {"lr": 0.01}, model.data, graphs)
    save_weights(Path("weights.safetensors"), model, header)
    return Trained(model.eval(), header, Path("weights.safetensors"))


@pytest.mark.parametrize("licence", ["", "none given (photos from ImageNet)"])
def test_the_card_tells_the_licences(licence: str) -> None:
    export_bundle(trained(Translator(ShiftConfig(), replace(PONIES, licence=licence))), Path("out"))
    text = Path("out/README.md").read_text()
    assert "Licence of the weights" in text
    assert f"ponies: {licence or 'not known'}" in text
    assert ("may not be passed on" in text) == licence.startswith("none given")


def test_photos_of_any_size_become_what_torch_makes_of_them() -> None:
    subject = trained(Translator(ShiftConfig(), PONIES))
    bundle = export_bundle(subject, Path("exports/ponies"))
    assert bundle.differences["horse_to_zebra/translated"].greatest < 1e-5
    assert "zoo run . photos/ --to zebra" in Path("exports/ponies/README.md").read_text()
    Path("photos").mkdir()
    generator = np.random.default_rng(0)
    photos = {}
    for name, shape in {"a": (57, 101), "b": (20, 28), "c": (9, 5), "d": (33, 10)}.items():
        photos[name] = generator.integers(0, 255, (*shape, 3), np.uint8, endpoint=True)
        Image.fromarray(photos[name]).save(f"photos/{name}.png")
    told = zoo_json("run", "exports/ponies", "photos/", "--to", "zebra")
    assert told["outputs"] == [f"{STEM}/{name}.png" for name in "abcd"]
    for name, pixels in photos.items():
        image = np.float32(pixels.transpose(2, 0, 1)[None] / 127.5 - 1)
        expected = run_graph(subject.model, "horse_to_zebra", {"image": image})["translated"]
        expected = (expected[0].transpose(1, 2, 0) + 1) * 127.5
        with Image.open(f"{STEM}/{name}.png") as found:
            assert np.abs(np.asarray(found) - expected).max() < 1.01, name
    words = ["run", "exports/ponies", "photos", "--to", "zebbra"]
    assert "'zebra'" in error_of(*words, code=2, error="bad-value")


UNFIT = {
    "uncut": (Uncut, r"height 23, width 33.*shape \(1, 3, 24, 36\) where \(1, 3, 23, 33\)"),
    "one size": (OneSize, "height 23, width 33.*invalid for input of size"),
    "multiples": (Multiples, "height 23, width 33.*only multiples of four"),
}


@pytest.mark.parametrize(("kind", "says"), UNFIT.values(), ids=UNFIT)
def test_a_size_that_a_graph_cannot_take_is_told_before_it_leaves(
    kind: Callable[..., Translator], says: str
) -> None:
    with pytest.raises(ZooError) as caught:
        export_bundle(trained(kind(ShiftConfig(), PONIES)), Path("bundle"))
    assert re.search(says, str(caught.value), re.DOTALL), str(caught.value)
    assert len(str(caught.value).splitlines()) <= 6
    assert str(Path.cwd()) not in str(caught.value)
    assert not Path("bundle").exists()


def test_a_sample_of_onnxruntime_equals_torch_for_the_same_latent_and_label() -> None:
    subject = trained(Conditional(ShiftConfig(), CLOTHES))
    export_bundle(subject, Path("bundle"))
    assert (
        "zoo run shift-clothes.generate.onnx --class all -o" in Path("bundle/README.md").read_text()
    )
    zoo(
        "run",
        "bundle/shift-clothes.generate.onnx",
        "--class",
        "all",
        "-n",
        "4",
        "--seed",
        "3",
        "-o",
        "x.npz",
    )
    graph = subject.model.graphs()["generate"]
    inputs = draw(graph.inputs, 4, seed=3, classes=[0, 1, 2])
    with np.load("x.npz") as stored:
        assert stored["names"].tolist()[3:5] == ["boot-4", "bag-1"]
        wanted = run_graph(subject.model, "generate", inputs)["image"]
        np.testing.assert_allclose(stored["image"], wanted, atol=1e-6)
        assert np.ptp(wanted, axis=0).max() > 0.1


@pytest.mark.parametrize("name", ["../up", "a/b", "", "a b", "é", "x" * 101, ".hidden", "a\n"])
def test_a_graph_whose_name_is_no_file_name_does_not_leave(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Translator(ShiftConfig(), PONIES)
    (graph,) = model.graphs().values()
    subject = trained(model)
    monkeypatch.setattr(Translator, "graphs", lambda _: {name: graph})
    with raises(PluginError, "breaks-contract", repr(name[:100])):
        export_bundle(subject, Path("bundle"))
    assert [path.name for path in Path().iterdir()] == ["weights.safetensors"]


def test_names_that_differ_in_capitals_alone_do_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Translator(ShiftConfig(), PONIES)
    (graph,) = model.graphs().values()
    monkeypatch.setattr(Translator, "graphs", lambda _: {"encode": graph, "Encode": graph})
    with raises(PluginError, "breaks-contract", "'Encode'"):
        export_bundle(trained(model), Path("bundle"))


def test_a_domain_that_could_not_be_shown_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Translator(ShiftConfig(), PONIES)
    ports = [
        Port.image(name, PONIES.pictures, domain="\x1b[2J", any_size=True) for name in ("a", "b")
    ]
    graph = Graph(model.shift, ports[:1], ports[1:])
    subject = trained(model)
    monkeypatch.setattr(Translator, "graphs", lambda _: {"shift": graph})
    with raises(PluginError, "breaks-contract", "'shift'", "port 'a'"):
        export_bundle(subject, Path("bundle"))
