"""Alerts: each is raised in a training that fails in its way, and in no healthy one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, fields
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.training.trials import CARDS, cards
from zoo.catalog.lookup import find_model, installed_models, load_class
from zoo.data.batches import Batches, in_order
from zoo.data.location import locate_data
from zoo.data.store import Store, open_store
from zoo.model.contract import Batch, Goal, Model, Monitor
from zoo.model.inference import mean_metrics
from zoo.options import configure
from zoo.records import typed
from zoo.training.devices import Ranks
from zoo.training.monitors import MONITORS, Alert, alert_history, diverged
from zoo.training.players import setup_players
from zoo.training.trainer import Cursor, StepResult, StepValues, training_step
from zoo.training.watch import Validation, Watched, Watcher, measure_latent_kl

SMALLER = {"hidden": (64,), "features": 8, "discriminator_features": 8, "blocks": 1, "samples": 1}
NARROW: dict[str, dict[str, Any]] = {  # quicker than the defaults, and yet something is learnt
    "translation": {"features": 8, "discriminator_features": 8, "blocks": 1},
    "generation": {"features": 32},
    "reconstruction": {},
}
LATE = 2000  # a step by which every monitor may find something


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decode each data set once for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("zoo-home")))
        for each in installed_models():
            store_of(each.card.data)
        yield


@cache
def store_of(data: str) -> Store:
    return open_store(locate_data(data))


def build(card: str, **options: Any) -> Model:
    torch.manual_seed(0)
    entry = find_model(card)
    model_class = load_class(entry)
    config = configure(model_class.Config, options)
    model: Model = model_class(config, store_of(entry.card.data).spec)
    return model


def small(card: str, **options: Any) -> Model:
    """The model with the smaller ones of its own options."""
    own = {field.name: field.default for field in fields(load_class(find_model(card)).Config)}
    fitting = {key: each for key, each in SMALLER.items() if isinstance(own.get(key), type(each))}
    return build(card, **fitting | options)


def splits(model: Model) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    found = store_of(model.data.name).splits
    return found["train"], {name: array[:200] for name, array in found["validation"].items()}


def step_result(
    step: int, terms: Mapping[str, float] | None = None, norms: Mapping[str, float] | None = None
) -> StepResult:
    return StepResult(
        Cursor(step), 0.5, StepValues(step, dict(terms or {}), dict(norms or {}), is_read=True),
        images=8, epoch_ends=True, validates=True, signal=0, saves=False,
    )  # fmt: skip


def train(
    model: Model, steps: int, *, images: int = 0, batch: int = 16, validate_every: int = 0
) -> Watcher:
    """Train as the loop does, with somebody watching."""
    split, held_out = splits(model)
    if images:
        split = {name: array[:images] for name, array in split.items()}
    state = setup_players(model, Ranks(torch.device("cpu")), nullcontext())
    watcher = Watcher(model, held_out)
    cpu = torch.device("cpu")
    batches = Batches(split, model.data, batch, seed=0, device=cpu)
    stream = (each for epoch in range(10**6) for each in batches.epoch(epoch))
    for step in range(1, steps + 1):
        for player in state.players.values():
            player.set_learning_rates(step / steps)
        values = training_step(state, next(stream), step)
        values.read()
        now = step_result(step, values.terms, values.gradient_norms)
        watcher.after_step(now)
        if step == steps or (validate_every and step % validate_every == 0):
            metrics = mean_metrics(model, in_order(held_out, model.data, 100, cpu))
            watcher.after_validation(now, metrics)
    return watcher


def active_monitors(watcher: Watcher) -> set[str]:
    for alert in watcher.alerts:
        assert alert.evidence
        assert str(alert.step) in alert.message
        assert "\n" not in alert.message + alert.advice
        assert alert == typed(json.loads(json.dumps(asdict(alert))), Alert)
    return {alert.monitor for alert in watcher.alerts}


def test_minimax_against_a_strong_discriminator_stands_still() -> None:
    model = build("gan", objective="minimax", lr=1e-2, hidden=(32, 256))
    found = active_monitors(train(model, 1350))
    assert {"discriminator-won", "vanishing-gradient"} <= found


def test_a_game_that_keeps_pace_is_not_told_to_have_been_won() -> None:
    assert active_monitors(train(build("gan", hidden=(64,)), 1100, batch=32)) == set()


def test_a_generator_that_ignores_its_noise_has_collapsed() -> None:
    model = small("gan")
    with torch.no_grad():
        model.generator[0].weight.zero_()  # type: ignore[index,union-attr] # a stack of layers
    watcher = Watcher(model, splits(model)[1])
    watcher.after_validation(step_result(LATE), {})
    assert active_monitors(watcher) == {"collapse"}
    assert float(watcher.alerts[0].evidence["spread"]) < 0.01


class Sign(nn.Module):
    """Noise -> the sign of its first number, so that there are two kinds of noise."""

    def forward(self, latent: Tensor) -> Tensor:
        return latent[:, :1].sign().expand_as(latent)


def test_a_generator_of_two_pictures_has_collapsed_though_they_differ() -> None:
    model = small("gan")
    layers = list(model.generator)  # type: ignore[arg-type] # a stack of layers
    with torch.no_grad():
        layers[-3].weight.mul_(30)  # so that the two are black and white
    model.generator = nn.Sequential(Sign(), *layers)
    watcher = Watcher(model, splits(model)[1])
    watcher.after_validation(step_result(LATE), {})
    assert active_monitors(watcher) == {"collapse"}
    assert float(watcher.alerts[0].evidence["spread"]) > 0.8
    assert float(watcher.alerts[0].evidence["nearest"]) < 0.01


def test_a_generator_that_repeats_itself_within_its_classes_has_collapsed() -> None:
    model = small("cgan")
    with torch.no_grad():
        for parameter in model.generator.parameters():  # type: ignore[union-attr] # a network
            parameter.mul_(3)  # so that the classes differ …
        model.generator.body[0].weight[:, : model.config.latent_size].zero_()  # type: ignore[index,union-attr]
        found = Watcher(model, splits(model)[1])
    found.after_validation(step_result(LATE), {})  # … and the noise does nothing
    assert active_monitors(found) == {"collapse"}
    assert "of 10 in 10 classes" in found.alerts[0].message


def test_a_translator_that_answers_everything_alike_has_collapsed() -> None:
    model = small("cyclegan")
    with torch.no_grad():
        model.a_to_b.layers[-1].weight.zero_()  # type: ignore[index,union-attr] # its last layer
    watcher = Watcher(model, splits(model)[1])
    watcher.after_validation(step_result(LATE), {})
    assert active_monitors(watcher) == {"collapse"}
    assert "twemoji_to_noto" in watcher.alerts[0].message


def test_nothing_is_said_before_there_is_enough_to_tell() -> None:
    model = small("gan")
    with torch.no_grad():
        model.generator[0].weight.zero_()  # type: ignore[index,union-attr] # a stack of layers
    watcher = Watcher(model, splits(model)[1])
    assert watcher.after_validation(step_result(10), {}) == []


def test_an_alert_is_new_once_and_goes_when_its_cause_does() -> None:
    model = small("gan")
    watcher = Watcher(model, splits(model)[1])
    weight = model.generator[0].weight  # type: ignore[index,union-attr] # a stack of layers
    healthy = weight.detach().clone() * 20  # first weights give pictures that differ little
    with torch.no_grad():
        weight.zero_()
    assert [each.monitor for each in watcher.after_validation(step_result(LATE), {})] == [
        "collapse"
    ]
    assert watcher.after_validation(step_result(LATE + 10), {}) == []
    assert watcher.alerts[0].step == LATE
    with torch.no_grad():
        weight.copy_(healthy)
        model.generator[3].weight.mul_(30)  # type: ignore[index,union-attr]
    assert watcher.after_validation(step_result(LATE + 20), {}) == []
    assert watcher.alerts == []


def test_a_beta_far_too_large_empties_the_code() -> None:
    found = train(small("vae", beta=200.0), 520)
    assert active_monitors(found) == {"posterior-collapse"}
    assert found.alerts[0].evidence["active"] == 0


def test_a_rate_far_too_small_does_not_converge() -> None:
    assert "not-converging" in active_monitors(train(small("ae", lr=1e-7), 1010, batch=4))


def test_units_that_a_rate_too_high_has_killed_are_counted() -> None:
    watcher = train(small("ae", lr=0.5), 500, batch=8)
    assert "dead-units" in active_monitors(watcher)


def test_a_model_may_count_its_dead_units_itself() -> None:
    model = small("sparse-ae")
    watcher = Watcher(model, splits(model)[1])
    watcher.after_validation(step_result(LATE), {"dead_units": 0.1})
    assert "dead-units" not in active_monitors(watcher)
    watcher.after_validation(step_result(LATE), {"dead_units": 0.9})
    assert "dead-units" in active_monitors(watcher)


def test_a_model_has_monitors_of_its_own() -> None:
    class Watching(load_class(find_model("vae"))):  # type: ignore[misc]
        @classmethod
        def monitors(cls) -> Sequence[Monitor]:
            return [Monitor("narrow", "narrow codes", cls.check_codes, "a larger latent_size")]

        def check_codes(self, batch: Batch) -> str | None:
            assert not self.training
            assert batch["image"].shape[0] == 200
            return f"{wrong} of 8 are used" if wrong else None

    plain = small("vae")
    model = Watching(plain.config, plain.data)
    watcher = Watcher(model, splits(model)[1])
    wrong = 3
    (alert,) = watcher.after_validation(step_result(1), {})
    assert (alert.monitor, alert.title) == ("narrow", "narrow codes")
    assert "3 of 8" in alert.message
    wrong = 0
    watcher.after_validation(step_result(2), {})
    assert "narrow" not in active_monitors(watcher)


def test_few_images_are_learnt_by_heart() -> None:
    found = train(build("ae", hidden=(256,)), 600, images=60, validate_every=50)
    assert active_monitors(found) == {"overfitting"}


@pytest.mark.parametrize(
    ("history", "is_overfitting"),
    [
        ([(9, -100), (8, -90), (7, -95), (6, -96), (5, -97)], True),
        ([(9, -100), (8, -90), (8.5, -95), (8.6, -96), (8.7, -97)], False),  # both became worse
        ([(9, -100), (8, -90), (7, -95), (6, -90.5), (5, -97)], False),  # it nearly came back
        ([(9, -100), (8, -90), (7, -95), (6, -96)], False),  # too few since the best
        ([(9, -100), (8, -90), (7, -91), (6, -92), (5, -91)], False),  # hardly worse
    ],
)
def test_overfitting_is_a_lasting_turn_while_training_goes_on(
    history: list[tuple[float, float]], is_overfitting: bool
) -> None:
    watched = Watched(["autoencoder"], {}, Goal("elbo", "highest"), has_posterior=True)
    validation = Validation(watched, 100, {}, [], [], {}, history)
    alert = MONITORS["overfitting"].check_validation(validation)
    assert (alert is not None) == is_overfitting


def test_the_kl_by_dimension_adds_up_to_the_kl_of_the_bound() -> None:
    model = small("vae")
    held_out = {name: array[:100] for name, array in splits(model)[1].items()}
    (batch,) = in_order(held_out, model.data, 100, torch.device("cpu"))
    nats = measure_latent_kl(model, held_out)
    assert len(nats) == model.config.latent_size
    assert sum(nats) == pytest.approx(mean_metrics(model, [batch])["kl"], rel=1e-4)
    assert measure_latent_kl(small("ae"), held_out) == []


def test_what_is_not_finite_is_told_by_its_name() -> None:
    alert = diverged("critic/real", float("nan"), 7)
    assert alert.message == "training diverged at step 7: critic/real is nan"
    assert json.loads(json.dumps(asdict(alert), allow_nan=False))["evidence"]


@pytest.mark.parametrize(
    "card", cards("zoo-autoencoders:vae", "zoo-gans:dcgan", "zoo-translation:cyclegan")
)
def test_watching_says_nothing_of_a_beginning_and_changes_nothing(card: str) -> None:
    model = small(card)
    train(model, 5, batch=4)
    watcher = Watcher(model, splits(model)[1])
    weights = {name: each.clone() for name, each in model.state_dict().items()}
    random, modes = torch.get_rng_state(), [each.training for each in model.modules()]
    assert watcher.after_validation(step_result(5), {}) == []
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [each.training for each in model.modules()]
    assert all(torch.equal(each, weights[name]) for name, each in model.state_dict().items())
    assert not any(each._forward_hooks for each in model.modules())


@pytest.mark.slow
@pytest.mark.parametrize("card", CARDS)
def test_there_is_no_alert_in_a_healthy_training(card: str) -> None:
    task = find_model(card).card.task
    names = {field.name for field in fields(load_class(find_model(card)).Config)}
    model = build(
        card, **{key: value for key, value in NARROW.get(task, {}).items() if key in names}
    )
    batch = {"translation": 2, "generation": 32}.get(task, 16)
    watcher = train(model, 1100, batch=batch, validate_every=100)
    assert [alert.message for alert in watcher.alerts] == []


def test_what_is_remembered_survives_as_json() -> None:
    def series(watcher: Watcher, steps: range) -> list[Alert]:
        found = []
        for step in steps:
            terms = {"discriminator/real": 1e-6 * step, "generator/fool": 3.0}
            norms = {"discriminator": 1.0, "generator": 1.0 if step < 60 else 1e-3}
            found += watcher.after_step(step_result(step, terms, norms))
        return found

    model = small("gan")
    whole, first, second = (Watcher(model, splits(model)[1]) for _ in range(3))
    told = series(whole, range(1, 1311))
    before = series(first, range(1, 977))  # in the middle of the window that brings a alert
    second.restore(json.loads(json.dumps(first.state(), allow_nan=False)))
    assert before + series(second, range(977, 1311)) == told
    assert second.state() == whole.state()
    assert {each.monitor for each in told} == {"discriminator-won", "vanishing-gradient"}


def test_what_cannot_be_seen_of_a_model_is_said() -> None:
    unwatched = {card: Watcher(small(card), splits(small(card))[1]).unwatched for card in CARDS}
    by_name = {card.partition(":")[2]: found for card, found in unwatched.items()}
    assert set(by_name["vae"]) == {"vanishing-gradient", "discriminator-won"}
    assert set(by_name["gan"]) == {"not-converging", "overfitting", "posterior-collapse"}
    assert {"discriminator-won", "vanishing-gradient"} <= set(by_name["wgan-gp"])
    assert all(set(found) < set(MONITORS) for found in unwatched.values())


def test_events_become_alert_history() -> None:
    alert = diverged("a/b", "nan", 3)
    rows: list[dict[str, Any]] = [
        {"event": "trained"},
        {"event": "alert", "monitor": "collapse"},  # cut short
        {"event": "recovered", "monitor": "collapse", "step": 2},
        {"event": "alert", **asdict(alert)},
        {"event": "recovered", "monitor": "diverged", "step": 9},
        {"event": "alert", **asdict(alert)},
    ]
    assert alert_history(rows) == [(alert, 9), (alert, None)]


def test_the_table_needs_no_torch() -> None:
    code = (
        "import sys, zoo.training.monitors; print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "False"]


def test_every_row_of_the_table_has_its_reasons() -> None:
    for row in MONITORS.values():
        assert row.title and row.reason and row.advice and row.explanation
        assert all(np.isfinite(limit) for limit in row.limits.values())
