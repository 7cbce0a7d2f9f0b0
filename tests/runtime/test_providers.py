"""Providers: what is not there is refused, what does not work is noticed, the rest is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from tests.cli.running import Zoo
from tests.errors import raises
from tests.runtime.graphs import decoder, describe, save
from zoo.errors import PluginError
from zoo.ports import Port
from zoo.runtime.engine import PROVIDERS
from zoo.runtime.session import open_session

# Ordinary installations of ONNX Runtime have it beside the CPU. It computes nothing by itself.
IDLE = "AzureExecutionProvider"


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Zoo:
    return Zoo(capfd)


@pytest.fixture
def _broken_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime lists CUDA, as its package for GPUs does where CUDA's libraries are missing."""
    listed = ["CUDAExecutionProvider", *onnxruntime.get_available_providers()]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: listed)


@pytest.fixture
def _idle_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that works stands where CUDA does."""
    if IDLE not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {IDLE}")
    entry = PROVIDERS["cuda"]._replace(engine=IDLE)
    monkeypatch.setitem(PROVIDERS, "cuda", entry)


def fails(path: Path) -> Path:
    """A graph that takes the tenth of one row."""
    ports = [Port.latent("latent", 2), Port.latent("value", 2, prior=None)]
    node = helper.make_node("Gather", ["latent", "where"], ["value"], axis=0)
    return save(path, describe("odd", ports[:1], ports[1:]), [node], {"where": np.array([9])})


def test_every_provider_is_one_of_onnx_runtime() -> None:
    assert {each.engine for each in PROVIDERS.values()} <= set(onnxruntime.get_all_providers())


def test_a_provider_that_is_not_installed_is_refused(command: Zoo) -> None:
    decoder(Path("decode.onnx"))
    words = ("decode.onnx", "--provider", "tensorrt", "-o", "x.png")
    said = command.refused(*words, code=4, error="provider-unavailable")
    assert all(name in said for name in ("tensorrt", onnxruntime.__version__, "onnxruntime-gpu"))
    assert not Path("x.png").exists()


@pytest.mark.usefixtures("_broken_cuda")
def test_a_provider_that_gives_way_to_the_cpu_is_noticed(command: Zoo) -> None:
    decoder(Path("decode.onnx"))
    words = ("decode.onnx", "--provider", "cuda", "-o", "x.png")
    assert "cuda" in command.refused(*words, code=4, error="provider-unavailable")
    done = command.run("decode.onnx", "-o", "x.png", "--json")
    assert done.code == 0
    assert "cuda" in done.err
    assert '"provider": "cpu"' in done.out


@pytest.mark.usefixtures("_idle_cuda")
def test_the_best_that_works_is_taken_and_said(command: Zoo) -> None:
    decoder(Path("decode.onnx"))
    done = command.run("decode.onnx", "-o", "x.png", "--json")
    assert (done.code, done.err) == (0, "running on cuda\n")
    assert '"provider": "cuda"' in done.out
    assert command.run("decode.onnx", "-o", "x.png", "--provider", "cpu").err == ""


@pytest.mark.usefixtures("_idle_cuda")
def test_a_provider_that_cannot_run_the_file_is_passed_over() -> None:
    path = fails(Path("odd.onnx"))
    with raises(PluginError, "provider-unavailable", "cuda", "odd.onnx"):
        open_session(path, provider="cuda")
    session = open_session(path, provider="auto")
    assert session.provider == "cpu"
    assert "cuda" in session.notes[0]
    assert "odd.onnx" in session.notes[0]
