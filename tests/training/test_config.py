"""From a request to settings: durations, layers and budgets."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.errors import raises
from zoo import option
from zoo.errors import UsageError
from zoo.messages import is_first_rank
from zoo.training.config import resolve, seconds
from zoo.training.reporting import Window


@dataclass(frozen=True)
class Config:
    lr: float = option(0.1, "rate", above=0.0)


PRESET = {"epochs": 20, "batch_size": 64}


@pytest.mark.parametrize(
    ("text", "wanted"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("2h", 7200), ("1.5s", 1.5)]
)
def test_durations(text: str, wanted: float) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "10", "m", "-5s", "1e3s", "nan", "0s", "5 m", "9" * 5000 + "s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        seconds(text)


@pytest.mark.parametrize(
    ("layers", "epochs", "steps", "max_seconds"),
    [
        ([{}], 20, None, None),
        ([{"steps": "5"}], None, 5, None),
        ([{"epochs": 3}, {"steps": 5}], None, 5, None),
        ([{"epochs": 3, "steps": 5}], 3, 5, None),
        ([{"steps": 5}, {"max_seconds": 2.0}], None, None, 2.0),
        ([{"steps": 5}, {"epochs": "none"}], None, 5, None),
    ],
)
def test_a_budget_replaces_the_weaker_ones(layers, epochs, steps, max_seconds) -> None:
    _, settings = resolve(Config, PRESET, layers)
    assert (settings.epochs, settings.steps, settings.max_seconds) == (epochs, steps, max_seconds)
    assert settings.batch_size == 64


def test_a_training_without_end_is_refused() -> None:
    with raises(UsageError, "missing-argument", "--epochs"):
        resolve(Config, PRESET, [{"epochs": "none"}])


def test_later_layers_are_stronger_and_keys_find_their_owner() -> None:
    config, settings = resolve(Config, PRESET, [{"lr": 0.2, "seed": 1}, {"lr": "0.3"}])
    assert config.lr == 0.3
    assert settings.seed == 1


def test_a_term_is_averaged_over_the_steps_that_had_it() -> None:
    window = Window()
    window.add_step({"loss": 1.0, "penalty": 8.0}, images=4)
    window.add_step({"loss": 3.0}, images=4)
    assert window.means() == {"loss": 2.0, "penalty": 8.0}


@pytest.mark.parametrize(
    ("variables", "is_first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "1"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, False),
    ],
)
def test_the_first_rank_is_known_before_the_ranks_have_met(
    variables: dict[str, str], is_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_rank() is is_first
