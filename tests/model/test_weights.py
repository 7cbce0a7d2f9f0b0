"""Weight files: what they say of themselves, and what is refused."""

from __future__ import annotations

import importlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.conftest import PROJECT
from tests.errors import raises
from zoo.catalog.lookup import find_model, load_class
from zoo.errors import NotFoundError, PluginError, ZooError
from zoo.identity import Identity
from zoo.model.inference import draw_samples, samplers
from zoo.model.weights import (
    describe,
    load_weights,
    read_identity,
    read_tensors,
    save_weights,
    tensors_as_bytes,
)
from zoo.options import configure
from zoo.ports import DataSpec
from zoo.records import to_plain, typed

SPEC = DataSpec.of_images("shirts", 1, 8, 8)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    entry = find_model("vae")
    vae = load_class(entry)
    torch.manual_seed(0)
    model = vae(vae.Config(latent_size=3, hidden=(16,)), SPEC)
    path = tmp_path / "model.safetensors"
    save_weights(path, model, describe(model, entry, step=7, metrics={"elbo": -3.5}))
    return path


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    """Change the zoo's header and the tensors of a file."""
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["zoo"])
    change(header["identity"], tensors)
    safetensors.torch.save_file(tensors, path, {"zoo": json.dumps(header)})


def test_a_file_is_all_that_is_needed(saved: Path) -> None:
    trained = load_weights(saved)
    assert trained.identity.model == "vae"
    assert trained.identity.step == 7
    assert trained.identity.metrics == {"elbo": -3.5}
    assert trained.identity.data == SPEC
    assert set(trained.identity.graphs) == {"encode", "decode", "reconstruct", "sample"}
    assert trained.model.config.hidden == (16,)
    assert not trained.model.training


def test_loading_gives_the_same_weights_and_saving_again_the_same_bytes(
    saved: Path, tmp_path: Path
) -> None:
    trained = load_weights(saved)
    again = tmp_path / "again.safetensors"
    save_weights(again, trained.model, trained.identity)
    assert again.read_bytes() == saved.read_bytes()


def test_the_header_survives_json(saved: Path) -> None:
    header = read_identity(saved)
    assert typed(json.loads(json.dumps(to_plain(header))), Identity) == header


def drop(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    del tensors["decoder.0.weight"]


def add(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["../../x"] = torch.zeros(1)


def reshape(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["decoder.0.weight"] = torch.zeros(2, 2)


def retype(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["decoder.0.weight"] = tensors["decoder.0.weight"].double()


def poison(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["decoder.0.weight"][0, 0] = torch.nan


def other_config(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    header["config"]["hidden"] = [32]


def odd_config(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    header["config"]["hiden"] = [32]


def no_data(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    del header["data"]


def odd_step(header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    header["step"] = "many"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop, "lacks tensor 'decoder.0.weight'"),
        (add, "unknown tensor '../../x'"),
        (reshape, "the model wants (16, 3)"),
        (retype, "float64"),
        (poison, "not finite"),
        (other_config, "the model wants"),
        (odd_config, "Did you mean 'hidden'?"),
        (no_data, "damaged"),
        (odd_step, "step"),
    ],
)
def test_what_does_not_fit_is_refused(saved: Path, change: Any, says: str) -> None:
    rewrite(saved, change)
    with pytest.raises(NotFoundError) as caught:
        load_weights(saved)
    assert says in str(caught.value)
    assert str(saved) in str(caught.value)


def test_a_model_that_nobody_provides_names_its_distribution(saved: Path) -> None:
    rewrite(saved, lambda header, _: header.update(model="nobody", distribution="zoo-of-others"))
    with raises(PluginError, "missing-plugin", "pip install zoo-of-others"):
        load_weights(saved)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 8) + b'{"a": 1}',
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        b"\x89PNG\r\n\x1a\n" + bytes(100),
    ],
)
def test_what_is_no_weight_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with raises(NotFoundError, "damaged-weights", path):
        load_weights(path)


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    with raises(NotFoundError, "file-not-found", tmp_path / "none.safetensors"):
        load_weights(tmp_path / "none.safetensors")
    with raises(NotFoundError, "cannot-read", tmp_path):
        load_weights(tmp_path)


def test_every_truncation_is_noticed(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 40).astype(int):
        saved.write_bytes(whole[:length])
        with pytest.raises(ZooError):
            load_weights(saved)


def test_a_million_names_are_refused_before_tensors_are_read(tmp_path: Path) -> None:
    entries = {
        f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(30_000)
    }
    text = json.dumps(entries).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    with raises(NotFoundError, "damaged-weights", path):
        load_weights(path)


def test_networks_that_no_graph_uses_can_be_left_out_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(PROJECT / "tools")
    publish = importlib.import_module("publish")
    data = DataSpec.of_images("clothes", 1, 28, 28)
    entry = find_model("gan")
    model = load_class(entry)(configure(load_class(entry).Config, {}), data)
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_weights(whole, model, describe(model, entry))
    half.write_bytes(publish.in_half(whole, ["discriminator"]))
    assert half.stat().st_size < whole.stat().st_size / 2
    trained = load_weights(half)
    assert trained.left_out == ("discriminator",)
    for name, parameter in trained.model.named_parameters():
        assert parameter.isnan().all() == name.startswith("discriminator."), name
    (graph,) = samplers(trained.model)
    draw_samples(trained.model, graph, count=2, seed=0)
    # a graph that uses what is left out says so, and draws no pictures of NaN
    half.write_bytes(publish.in_half(whole, ["generator"]))
    without = load_weights(half).model
    with raises(NotFoundError, "weights-do-not-fit", "generator"):
        draw_samples(without, graph, count=2, seed=0)
    # what is missing without being listed is an error
    half.write_bytes(publish.in_half(whole))
    tensors, metadata = read_tensors(half)
    fewer = {key: each for key, each in tensors.items() if not key.startswith("generator.")}
    half.write_bytes(tensors_as_bytes(fewer, metadata))
    with raises(NotFoundError, "weights-do-not-fit", "generator"):
        load_weights(half)
