"""What a smaller file costs is measured as it is, and of the file, not of the model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from tests.exporting.test_exporter import Shift, ShiftConfig
from tests.exporting.test_reduced_precision import export
from tests.exporting.test_sizes import trained
from tests.runtime import graphs
from zoo import DataSpec, Graph, Port
from zoo.exporting.bundle import export_bundle
from zoo.exporting.quality import (
    CalibrationData,
    SubstitutedModel,
    quality_losses,
    quality_losses_in_float16,
    substitute_graphs,
)
from zoo.exporting.variants import Variant, convert_to_float16
from zoo.identity import Identity
from zoo.model.inference import evaluating, mean_metrics, run_graph
from zoo.model.weights import Trained, save_weights
from zoo.runtime.session import Session, open_session

SPEC = DataSpec.of_images("dots", 1, 4, 6)


class Coder(Shift):
    """image -> code -> image, with a graph of each kind: network, method, neither."""

    def __init__(self, config: ShiftConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(24, 3))
        self.network = nn.Linear(3, 24)

    def decode(self, code: Tensor, *, scale: float = 1.0) -> Tensor:
        return torch.tanh(scale * self.network(code)).reshape(-1, 1, 4, 6)

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        image = batch["image"]
        return {"l1": (self.decode(self.encoder(image)) - image).abs().mean()}

    def graphs(self) -> Mapping[str, Graph]:
        code = Port("code", "latent", ("batch", 3))
        image, result = (
            Port.image("image", self.data.pictures),
            Port.image("result", self.data.pictures),
        )
        return {
            "encode": Graph(self.encoder, [image], [code]),
            "decode": Graph(self.decode, [code], [result]),
            "halved": Graph(partial(self.decode, scale=0.5), [code], [result]),
        }


def coder(seed: int) -> Coder:
    torch.manual_seed(seed)
    return Coder(ShiftConfig(), SPEC).eval()


Exported = dict[str, dict[str, Session]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The files of `coder(1)`, by what their pictures are made of and by graph."""
    folder = tmp_path_factory.mktemp("exported")
    with contextlib.chdir(folder):
        subject = kept(coder(1))
        return {
            variant.io: {
                name: open_session(
                    export(subject, name, variant, folder / f"{variant.io}-{name}.onnx")
                )
                for name in subject.model.graphs()
            }
            for variant in (Variant(), Variant(io="uint8"))
        }


def kept(model: Coder) -> Trained:
    """The model as a file holds it, with the weights that it has."""
    header = Identity("coder", "tests", "1", {"lr": 0.01}, SPEC,
                    {name: graph.signature for name, graph in model.graphs().items()})  # fmt: skip
    save_weights(Path("weights.safetensors"), model, header)
    return Trained(model, header, Path("weights.safetensors"))


def images(count: int = 7) -> Tensor:
    return torch.rand(count, 1, 4, 6, generator=torch.Generator().manual_seed(5)) * 2 - 1


def darker(path: Path, by: float) -> Session:
    """image -> its negative, less a constant."""
    ports = [
        Port.image("image", graphs.PHOTOS.pictures),
        Port.image("negative", graphs.PHOTOS.pictures),
    ]
    about = graphs.describe("reconstruct", ports[:1], ports[1:])
    nodes = [
        helper.make_node("Neg", ["image"], ["bright"]),
        helper.make_node("Sub", ["bright", "by"], ["negative"]),
    ]
    return open_session(graphs.save(path, about, nodes, {"by": np.float32(by)}))


def test_costs_are_in_percent_of_the_range_and_in_decibels() -> None:
    whole = open_session(graphs.negative(Path("whole.onnx")))
    rows = [{"image": np.full((count, 3, 32, 48), 0.5, np.float32)} for count in (1, 4)]
    cost = quality_losses(whole, darker(Path("off.onnx"), 0.2), rows)["negative"]
    assert cost.greatest == pytest.approx(0.2, rel=1e-5)
    assert cost.mean == pytest.approx(0.2, rel=1e-5)
    assert cost.loss == pytest.approx(10, rel=1e-5)  # of a range of two
    assert cost.psnr == pytest.approx(20, rel=1e-5)
    assert set(cost.to_json()) == {"greatest", "mean", "loss", "psnr"}
    same = quality_losses(whole, darker(Path("same.onnx"), 0), rows)["negative"]
    assert same.to_json() == {"greatest": 0, "mean": 0, "loss": 0, "psnr": None}


def test_metrics_are_those_of_the_files(exported: Exported) -> None:
    model, other = coder(0), coder(1)
    subject = substitute_graphs(kept(model), exported["float"])
    batches = [{"image": images()}, {"image": images(2)}]
    assert mean_metrics(subject.model, batches) == pytest.approx(mean_metrics(other, batches))
    assert mean_metrics(other, batches) != pytest.approx(mean_metrics(model, batches))
    assert subject.called == ("encode", "decode")


def test_the_model_itself_stays_as_it_is(exported: Exported) -> None:
    model = coder(0)
    batches = [{"image": images()}]
    original = kept(model)
    before = mean_metrics(model, batches)
    subject = substitute_graphs(original, exported["float"])
    mean_metrics(subject.model, batches)
    assert mean_metrics(model, batches) == before
    assert subject.model is not model
    assert (subject.identity, subject.path) == (original.identity, original.path)


def test_every_graph_runs_its_file_whatever_its_function_is(exported: Exported) -> None:
    other = coder(1)
    subject = substitute_graphs(kept(coder(0)), exported["float"])
    code = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    for name in ("decode", "halved"):
        wanted = run_graph(other, name, {"code": code})["result"]
        found = run_graph(subject.model, name, {"code": code})["result"]
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        assert name in subject.called


def test_graphs_without_a_file_stay_the_models_own(exported: Exported) -> None:
    model, other = coder(0), coder(1)
    files = {"encode": exported["float"]["encode"]}
    subject = substitute_graphs(kept(model), files)
    with evaluating(subject.model):
        found = subject.model.decode(subject.model.encoder(images()))
        wanted = model.decode(other.encoder(images()))
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    assert subject.called == ("encode",)


def test_files_of_pixels_are_given_pixels_and_give_values(exported: Exported) -> None:
    other = coder(1)
    subject = substitute_graphs(kept(coder(0)), exported["uint8"])
    with evaluating(subject.model):
        image = images()
        pixels = ((image + 1) * 127.5).round() / 127.5 - 1
        found, wanted = subject.model.encoder(image), other.encoder(pixels)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        gap = (subject.model.decode(wanted) - other.decode(wanted)).abs().max()
    assert 1e-4 < gap < 0.501 / 127.5
    assert subject.called == ("encode", "decode")


REFUSED: dict[str, Callable[[Coder], Tensor]] = {
    "an option": lambda model: model.decode(torch.ones(2, 3), scale=2.0),
    "another rank": lambda model: model.decode(torch.ones(2, 5, 3)),
    "another size": lambda model: model.encoder[0](torch.ones(2, 2)),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_a_file_does_not_take_the_model_computes_itself(
    call: Callable[[Coder], Tensor], exported: Exported
) -> None:
    model = coder(0)
    subject: SubstitutedModel = substitute_graphs(kept(model), exported["float"])
    assert isinstance(subject.model, Coder)
    with evaluating(subject.model):
        torch.testing.assert_close(call(subject.model), call(model))
    assert subject.called == ()


def test_half_arithmetic_is_measured_where_every_operator_rounds_to_sixteen_bits() -> None:
    """exp(15) is no number of 16 bits; ONNX Runtime on a CPU computes it in 32 all the same."""
    ports = Port.latent("latent", 4), Port("value", "values", ("batch", 4))
    about = graphs.describe("softplus", ports[:1], ports[1:])
    nodes = [
        helper.make_node("Mul", ["latent", "three"], ["large"]),
        helper.make_node("Exp", ["large"], ["larger"]),
        helper.make_node("Log", ["larger"], ["value"]),
    ]
    whole = graphs.save(Path("whole.onnx"), about, nodes, {"three": np.float32(3)})
    convert_to_float16(whole, Path("half.onnx"))
    batch = {"latent": np.float32([[0, 1, 2, 5]])}
    sessions = [open_session(Path(name)) for name in ("whole.onnx", "half.onnx")]
    assert quality_losses(*sessions, [batch])["value"].loss < 1
    assert quality_losses_in_float16(sessions[0], Path("half.onnx"), batch)["value"].loss == float(
        "inf"
    )


class RowCoder(Shift):
    """row -> code -> row: a model of tables, whose codes nothing draws."""

    def __init__(self, config: ShiftConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.network = nn.Linear(8, 16)
        self.encoder = nn.Linear(16, 8)

    def graphs(self) -> Mapping[str, Graph]:
        row, code = self.data["row"], Port.latent("code", 8, prior=None)
        made = Port("made", "values", row.shape)
        return {
            "encode": Graph(self.encoder, [row], [code]),
            "decode": Graph(self.network, [code], [made]),
            "reconstruct": Graph(lambda row: self.network(self.encoder(row)), [row], [made]),
        }


def test_a_smaller_file_for_rows_of_a_table_is_measured_on_rows_of_the_data() -> None:
    data = DataSpec("table", (Port("row", "values", ("batch", 16), range=(0.0, 1.0)),))
    subject = trained(RowCoder(ShiftConfig(), data))
    rows = np.random.default_rng(0).uniform(0, 1, (40, 16)).astype(np.float32)
    there = CalibrationData({"row": rows[:30]}, {"row": rows[30:]})
    graphs = subject.model.graphs()
    known = run_graph(subject.model, "encode", {"row": rows[:30]})["code"]
    for name, port, wanted in (("reconstruct", "row", rows[:30]), ("decode", "code", known)):
        batches = there.calibration_batches(subject.model, name, graphs[name])
        taken = np.concatenate([each[port] for each in batches])
        nearest = np.abs(taken[:, None] - wanted).max(axis=2).min(axis=1)
        assert nearest.max() < 1e-4, "each is a row of the data, or its code"

    half = Variant(precision="float16 weights")
    found = export_bundle(subject, Path("out"), half, calibration=there, max_loss=5)
    for name in graphs:
        savings = found.graphs[name].savings
        assert savings
        assert 0 < max(each.loss for each in savings.losses.values()) < 1
