"""A model is refused data that it cannot learn from, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.pictures import fill
from tests.errors import raises
from zoo.catalog.card import Card, Paper
from zoo.catalog.lookup import ModelEntry
from zoo.catalog.plugins import Plugin
from zoo.data.location import locate_data
from zoo.data.store import Store, open_store
from zoo.errors import UsageError
from zoo.training.config import check_data

HOLDS = {
    "image": ("photos", ["photos"]),
    "image and label": ("pets", ["pets/cat", "pets/dog"]),
    "a and b": ("cat2dog", ["cat2dog/trainA", "cat2dog/trainB"]),
}


KINDS = {"image": "image", "label": "label", "a": "image", "b": "image"}


def entry(needs: str) -> ModelEntry:
    ports = {name: KINDS[name] for name in needs.split(" and ")}
    card = Card("toy", "a toy", "generation", "toy:Toy", Paper("", "", 2000, ""), ports)
    return ModelEntry(card, Plugin("zoo-toy", "1", "zoo_toy", (card,)))


def store(holds: str) -> Store:
    place, folders = HOLDS[holds]
    for folder in folders:
        fill(Path(folder), 3)
    return open_store(locate_data(place))


@pytest.mark.parametrize(
    ("needs", "holds", "is_enough"),
    [
        ("image", "image", True),
        ("image", "image and label", True),
        ("image", "a and b", False),
        ("image and label", "image", False),
        ("image and label", "image and label", True),
        ("image and label", "a and b", False),
        ("a and b", "image", False),
        ("a and b", "image and label", False),
        ("a and b", "a and b", True),
    ],
)
def test_data_must_hold_what_the_model_learns_from(needs, holds, is_enough) -> None:
    if is_enough:
        check_data(entry(needs), "here", store(holds))
        return
    with raises(UsageError, "wrong-data", "toy", needs, "'here'", holds):
        check_data(entry(needs), "here", store(holds))
