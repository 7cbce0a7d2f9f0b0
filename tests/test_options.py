"""Configuration values from the command line and from TOML."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.errors import raises
from zoo.errors import UsageError
from zoo.options import configure, option, options_of, plain_options, show_value


@dataclass(frozen=True)
class Config:
    size: int = option(20, "a size", at_least=1, at_most=4096)
    rate: float = option(2e-3, "a rate", above=0.0, at_most=1.0)
    layers: tuple[int, ...] = option((512, 256), "some layers", at_least=1)
    loss: Literal["mse", "bce"] = option("mse", "a loss")
    noisy: bool = option(False, "whether noisy")
    limit: int | None = option(None, "perhaps a limit", at_least=1)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("size", "7", 7),
        ("rate", "1e-3", 1e-3),
        ("rate", "1", 1.0),
        ("layers", "64,32", (64, 32)),
        ("layers", "64", (64,)),
        ("layers", [64, 32], (64, 32)),
        ("loss", "bce", "bce"),
        ("noisy", "true", True),
        ("noisy", "no", False),
        ("limit", "5", 5),
        ("limit", "none", None),
    ],
)
def test_text_and_toml_become_the_declared_type(key: str, text: Any, value: Any) -> None:
    assert getattr(configure(Config, {key: text}), key) == value


@pytest.mark.parametrize(
    ("key", "text", "says"),
    [
        ("size", "0", "at least 1"),
        ("size", "9999", "at most 4,096"),
        ("size", "1.5", "whole number"),
        ("size", True, "whole number"),
        ("size", "9" * 400, "too large"),
        ("size", "9" * 5000, "whole number"),
        ("rate", "0", "above 0"),
        ("rate", "nan", "finite"),
        ("rate", "inf", "finite"),
        ("rate", "1e400", "finite"),
        ("rate", 10**400, "number"),
        ("rate", "fast", "number"),
        ("layers", "64,x", "whole number"),
        ("layers", "64,0", "at least 1"),
        ("layers", 64, "list"),
        ("loss", "msr", "Did you mean 'mse'?"),
        ("noisy", "maybe", "true or false"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(key: str, text: Any, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        configure(Config, {key: text})
    assert key in str(caught.value)
    assert says in str(caught.value)
    assert max(map(len, str(caught.value).splitlines())) < 200


def test_an_unknown_key_names_the_nearest() -> None:
    with raises(UsageError, "unknown-option", "'layers'"):
        configure(Config, {"layrs": "1"})


@given(st.sampled_from(sorted(options_of(Config))), st.text(max_size=30))
def test_any_text_is_taken_or_refused(key: str, text: str) -> None:
    with contextlib.suppress(UsageError):
        configure(Config, {key: text})


@given(
    st.builds(
        Config,
        size=st.integers(1, 4096),
        rate=st.floats(0, 1, exclude_min=True),
        layers=st.lists(st.integers(1, 10**6), min_size=1, max_size=5).map(tuple),
        loss=st.sampled_from(["mse", "bce"]),
        noisy=st.booleans(),
        limit=st.none() | st.integers(1, 10**6),
    )
)
def test_a_configuration_survives_plain_values_and_typing(config: Config) -> None:
    assert configure(Config, plain_options(config)) == config
    typed = {key: show_value(getattr(config, key)) for key in options_of(Config)}
    assert configure(Config, typed) == config


def test_allowed_values_are_described() -> None:
    described = {name: each.allowed for name, each in options_of(Config).items()}
    assert described == {
        "size": "integer ≥ 1, ≤ 4,096",
        "rate": "number > 0, ≤ 1",
        "layers": "list of integer ≥ 1",
        "loss": "mse | bce",
        "noisy": "true | false",
        "limit": "integer ≥ 1 | none",
    }
