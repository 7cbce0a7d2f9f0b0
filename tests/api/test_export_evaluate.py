"""`zoo.export` and `zoo.evaluate`: what the command does, of whatever `zoo.load` takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import zoo
from tests.errors import raises
from tests.process import zoo_json

pytestmark = pytest.mark.usefixtures("trained")


def test_files_lie_where_the_command_writes_them(tmp_path: Path) -> None:
    files = zoo.export("codes", tmp_path / "codes", batch=2, log=None).files
    assert all(path.is_file() and path.is_relative_to(tmp_path) for path in files)
    (first, *_) = files
    fixed = zoo.load(first, log=None)
    (graph,) = fixed.graphs
    assert fixed.graphs[graph].inputs[0].shape[0] == 2
    assert len(list(Path("exports/codes").glob("*.onnx"))) == 4  # by the fixture, without a folder


def test_smaller_files_are_measured_on_the_data(tmp_path: Path) -> None:
    model = zoo.load("codes", log=None)
    bundle = zoo.export(model, tmp_path / "half", half=True, log=None)
    assert {each.name for each in bundle.metrics} >= {"elbo"}
    assert all(graph.savings for graph in bundle.graphs.values())
    with raises(zoo.ZooError, "quality-loss"):
        zoo.export(model, tmp_path / "int8", int8=True, max_quality_loss=0.0, log=None)
    assert not list((tmp_path / "int8").glob("*.onnx"))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"half": True, "int8": True}, "conflicting-options"),
        ({"max_quality_loss": 1.0}, "conflicting-options"),
        ({"batch": 0}, "bad-value"),
        ({"io": "int4"}, "bad-value"),
        ({"size": 64}, "wrong-size"),
    ],
)
def test_wrong_forms_of_files_are_told(options: dict, code: str, tmp_path: Path) -> None:
    with raises(zoo.UsageError, code):
        zoo.export("codes", tmp_path / "out", log=None, **options)
    assert not (tmp_path / "out").exists()


def test_a_model_is_measured_as_the_command_measures_it() -> None:
    found = zoo.evaluate("codes", metrics=["model", "reconstruction"], log=None)
    said = zoo_json("eval", "codes", "--metrics", "model", "--metrics", "reconstruction")
    assert (found.model, found.step, found.split) == ("vae", 60, "test")
    assert found.metrics == pytest.approx(said["metrics"])
    values = {each.name: each.value for each in found.measurements}
    assert values == pytest.approx({each["name"]: each["value"] for each in said["measurements"]})
    assert np.isfinite(list(values.values())).all()


def test_what_cannot_be_measured_is_told() -> None:
    model = zoo.load("codes", log=None)
    with raises(zoo.UsageError, "bad-value", "Did you mean 'reconstruction'"):
        zoo.evaluate(model, metrics=["reconstructon"], log=None)
    with raises(zoo.UsageError, "no-such-split"):
        zoo.evaluate(model, split="holdout", log=None)
    with raises(zoo.UsageError, "does-not-apply", "exports"):
        zoo.evaluate("exports/codes", log=None)
    with raises(zoo.NotFoundError, "data-not-found"):
        zoo.evaluate("codes", data="mnsit", log=None)
