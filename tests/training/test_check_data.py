"""A model is refused data that it cannot learn from, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoo.data.location import locate_data

from tests.data.pictures import fill
from zoo.catalog.card import Card, Paper
from zoo.catalog.lookup import ModelEntry
from zoo.catalog.plugins import Plugin
from zoo.data.store import Store, open_store
from zoo.errors import UsageError
from zoo.training.config import check_data

HOLDS = {
    "images without labels": ("photos", ["photos"]),
    "labelled images": ("pets", ["pets/cat", "pets/dog"]),
    "two domains": ("cat2dog", ["cat2dog/trainA", "cat2dog/trainB"]),
}


def entry(needs: str) -> ModelEntry:
    card = Card("toy", "a toy", "generation", "toy:Toy", Paper("", "", 2000, ""), needs)
    return ModelEntry(card, Plugin("zoo-toy", "1", "zoo_toy", (card,)))


def store(holds: str) -> Store:
    place, folders = HOLDS[holds]
    for folder in folders:
        fill(Path(folder), 3)
    return open_store(locate_data(place))


@pytest.mark.parametrize(
    ("needs", "holds", "is_enough"),
    [
        ("images", "images without labels", True),
        ("images", "labelled images", True),
        ("images", "two domains", False),
        ("labelled images", "images without labels", False),
        ("labelled images", "labelled images", True),
        ("labelled images", "two domains", False),
        ("two domains", "images without labels", False),
        ("two domains", "labelled images", False),
        ("two domains", "two domains", True),
    ],
)
def test_data_must_hold_what_the_model_learns_from(needs, holds, is_enough) -> None:
    if is_enough:
        check_data(entry(needs), "here", store(holds))
        return
    with pytest.raises(UsageError, match=f"toy learns from {needs}; 'here' holds {holds}"):
        check_data(entry(needs), "here", store(holds))
