"""What every model that is installed must do; a new one is tested by being installed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from zoo.catalog.lookup import Offer, find_model, load_class, offers
from zoo.data.batches import Batches
from zoo.data.source import find_source
from zoo.data.store import Store, prepare
from zoo.export.bundle import export_bundle
from zoo.export.onnx import example
from zoo.model.contract import Batch, Model, Update
from zoo.model.inference import run_graph
from zoo.model.weights import Trained, describe, load_weights, save_weights
from zoo.options import configure
from zoo.training.loop import play_round
from zoo.training.seats import Table, parameters_of, sit_down
from zoo.training.settings import resolve

CARDS = [f"{each.plugin.distribution}:{each.card.name}" for each in offers()]
BATCH = 4

pytestmark = pytest.mark.parametrize("card", CARDS)


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decode each data set once for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("zoo-home")))
        for each in offers():
            store_of(each.card.data)
        yield


@cache
def store_of(data: str) -> Store:
    return prepare(find_source(data))


def build(offer: Offer, **options: Any) -> Model:
    """The model with its defaults, on its default data, the same weights every time."""
    torch.manual_seed(0)
    model_class = load_class(offer)
    model: Model = model_class(
        configure(model_class.Config, options), store_of(offer.card.data).spec
    )
    return model


def batches_of(offer: Offer) -> Iterator[Batch]:
    split = store_of(offer.card.data).splits["train"]
    yield from Batches(split, BATCH, seed=0, device=torch.device("cpu")).epoch(0)


def take_seats(model: Model) -> Table:
    return sit_down(model, Fabric(accelerator="cpu", devices=1), nullcontext())


def play_some(offer: Offer, rounds: int) -> list[dict[str, float]]:
    """The terms of the first rounds of a training."""
    table = take_seats(build(offer))
    torch.manual_seed(1)
    batches = batches_of(offer)
    return [play_round(table, next(batches), step)[0] for step in range(1, rounds + 1)]


def weights_of(model: Model) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_every_parameter_belongs_to_one_player(card: str) -> None:
    model = build(find_model(card))
    owners = [key for player in model.players().values() for key in parameters_of(player)]
    assert sorted(owners) == sorted(id(each) for each in model.parameters() if each.requires_grad)


def test_each_update_moves_its_own_player_and_no_other(card: str) -> None:
    offer = find_model(card)
    table = take_seats(build(offer))
    play_as_written = table.model.training_step
    moved: set[str] = set()

    def watched(batch: Batch) -> Iterator[Update]:
        for update in play_as_written(batch):
            before = {
                name: [each.detach().clone() for each in seat.parameters]
                for name, seat in table.seats.items()
            }
            yield update
            for name, seat in table.seats.items():
                pairs = zip(before[name], seat.parameters, strict=True)
                changed = any(not torch.equal(old, new) for old, new in pairs)
                assert changed == (name == update.player), f"{update.player} moved {name}"
            moved.add(update.player)

    table.model.training_step = watched  # type: ignore[method-assign] # to look on
    play_round(table, next(batches_of(offer)), 1)
    assert moved == set(table.seats)


def test_terms_are_finite_and_follow_from_the_seed(card: str) -> None:
    offer = find_model(card)
    first, second = play_some(offer, 2), play_some(offer, 2)
    assert all(math.isfinite(value) for terms in first for value in terms.values())
    assert first == second


def test_every_parameter_has_a_gradient_within_a_round(card: str) -> None:
    offer = find_model(card)
    model = build(offer)
    table = take_seats(model)
    play_round(table, next(batches_of(offer)), 1)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


def test_saved_and_loaded_it_is_the_same(card: str, tmp_path: Path) -> None:
    offer = find_model(card)
    model = build(offer)
    play_round(take_seats(model), next(batches_of(offer)), 1)
    path = tmp_path / "model.safetensors"
    save_weights(path, model, describe(model, offer))
    loaded = load_weights(path).model
    saved = weights_of(model)
    assert saved.keys() == loaded.state_dict().keys()
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, saved[name], rtol=0, atol=0)
    spec = model.data
    sizes, random = {"height": spec.height, "width": spec.width}, np.random.default_rng(0)
    for name, graph in model.graphs().items():
        inputs = {port.name: example(port, 2, sizes, random) for port in graph.inputs}
        before, after = run_graph(model, name, inputs), run_graph(loaded, name, inputs)
        for port, array in before.items():
            # not to the bit: in training, weights lie in another order in memory
            np.testing.assert_allclose(array, after[port], rtol=1e-4, atol=1e-5)


def test_every_graph_exports_and_verifies(card: str, tmp_path: Path) -> None:
    offer = find_model(card)
    model = build(offer)
    play_round(take_seats(model), next(batches_of(offer)), 1)
    path = tmp_path / "model.safetensors"
    header = describe(model, offer)
    save_weights(path, model, header)
    bundle = export_bundle(Trained(build_again(path), header, path), tmp_path / "bundle")
    assert {name.partition("/")[0] for name in bundle.max_abs_difference} == set(model.graphs())


def build_again(path: Path) -> Model:
    return load_weights(path).model


def test_presets_are_options_that_there_are(card: str) -> None:
    offer = find_model(card)
    model_class = load_class(offer)
    usual = asdict(model_class.training_preset)
    for name, preset in offer.card.presets.items():
        values = {key: value for key, value in preset.items() if key != "size"}
        config, settings = resolve(model_class.Config, usual, [values])
        for key, value in values.items():
            holder = config if hasattr(config, key) else settings
            assert getattr(holder, key) == value, f"{name}: {key}"
