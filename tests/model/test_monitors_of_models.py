"""Monitors of a model, assets and data on its card: an author's mistakes are told as such."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.errors import raises
from zoo.catalog.card import Asset, Card, Paper
from zoo.catalog.lookup import find_model, load_class
from zoo.errors import PluginError
from zoo.model.checks import check_itself, monitors_of
from zoo.model.contract import Monitor

PAPER = Paper("A paper", "Somebody", 2020, "https://example.org")
VAE: Any = load_class(find_model("vae"))
SHA256 = "0" * 64


def test_monitors_that_are_no_class_method_are_the_authors_mistake() -> None:
    class Wrong(VAE):
        def monitors(self) -> Sequence[Monitor]:  # type: ignore[override]
            return []

    class Other(VAE):
        @classmethod
        def monitors(cls) -> Sequence[Monitor]:
            return ["narrow"]  # type: ignore[list-item]

    for model in (Wrong, Other):
        with raises(PluginError, "breaks-contract", model.__name__, Path(__file__).name):
            monitors_of(model)
    assert monitors_of(VAE) == []


def test_a_check_returns_text_or_nothing() -> None:
    model = VAE.__new__(VAE)
    for said, expected in ((None, ""), ("3 of 8", "3 of 8")):
        monitor = Monitor("narrow", "narrow", lambda _, __, said=said: said, "advice")
        assert check_itself(model, monitor, {}) == expected
    with raises(PluginError, "breaks-contract", "narrow", "float"):
        check_itself(model, Monitor("narrow", "narrow", lambda _, __: 0.5, "advice"), {})


def test_a_card_may_name_no_data() -> None:
    card = Card("x", "a model", "regression", "x.y:Z", PAPER, needs={"ratings": "values"}, data="")
    assert card.data == ""
    with pytest.raises(ValueError, match="data set"):
        Card("x", "a model", "regression", "x.y:Z", PAPER, data="No Name")


@pytest.mark.parametrize(
    "wrong", [{"path": "file"}, {}, {"path": Path("a"), "urls": ("https://x/y",)}, {"sha256": "1"}]
)
def test_an_asset_that_cannot_be_used_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'features'"):
        Asset(**{"network": "features", "licence": "CC0", "sha256": SHA256, **wrong})
