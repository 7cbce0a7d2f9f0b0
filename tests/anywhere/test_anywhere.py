"""Exported files do the same in other hands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.anywhere.exports import FORMS, export, models
from tests.anywhere.matrix import DOCUMENT, MARKED, is_as_known, try_out
from tests.anywhere.runtimes import ELSEWHERE, IN_PYTHON, RUNTIMES, Runtime
from tests.runtime.graphs import labelled
from zoo.catalog.lookup import find_model


# One takes noise and the number of a class; the slow one pictures, and gives pictures or a code.
@pytest.mark.parametrize("model", ["cgan", pytest.param("conv-ae", marks=pytest.mark.slow)])
def test_python_packages_run_exported_files(model: str, tmp_path: Path) -> None:
    files = list(export(model, tmp_path / "run"))
    assert {each.form for each in files} == set(FORMS)
    for each in files:
        for runtime in IN_PYTHON:
            cell = try_out(runtime, each)
            assert cell.within, (runtime.name, each.form, cell)


@pytest.mark.parametrize("runtime", ELSEWHERE, ids=lambda runtime: runtime.name)
def test_other_languages_run_a_file_and_say_what_is_wrong(runtime: Runtime, tmp_path: Path) -> None:
    if why := runtime.absent():
        pytest.skip(why)
    run = runtime.open(labelled(tmp_path / "labelled.onnx"))
    image = run({"label": np.array([2, 0], np.int64)})["image"]
    assert image.dtype == np.float32
    assert image.shape == (2, 1, 4, 4)
    assert image[0].min() == 1 and image[1].max() == -1
    with pytest.raises(RuntimeError, match="label"):
        run({"label": np.zeros((2, 2), np.int64)})
    assert run({"label": np.array([1], np.int64)})["image"].max() == 0  # it goes on afterwards


def test_the_document_tells_of_every_model_and_runtime() -> None:
    told = MARKED.search(DOCUMENT.read_text(encoding="utf-8"))
    assert told is not None
    lines = [line.strip("| ").split(" | ") for line in told[0].splitlines() if line[:1] == "|"]
    assert lines[0][3:] == [runtime.name for runtime in RUNTIMES]
    rows = {(model, form) for model, _, form, *_ in lines[2:]}
    wanted = {(model, "float") for model in models()}
    for model, (name, *_) in models().items():
        if "image" in find_model(name).card.needs.values():  # sounds have no pixels
            wanted.add((model, "uint8"))
    assert rows == wanted
    assert {len(line) for line in lines[2:]} == {3 + len(RUNTIMES)}


@pytest.mark.slow
@pytest.mark.parametrize("model", models())
def test_every_export_runs_in_every_runtime_that_is_here(model: str, tmp_path: Path) -> None:
    present = [runtime for runtime in RUNTIMES if not runtime.absent()]
    wrong = [
        (each.path.name, runtime.name, cell)
        for each in export(model, tmp_path / "run")
        for runtime in present
        if not is_as_known(runtime, each, cell := try_out(runtime, each))
    ]
    assert wrong == []
