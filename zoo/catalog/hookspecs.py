"""The hooks that a plugin may implement."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from zoo.catalog.card import Card
from zoo.catalog.dataset import Dataset

PROJECT = "zoo"  # the name of pluggy's project and of the entry-point group

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def zoo_models() -> Sequence[Card]:
    """Return the cards of the models that this plugin provides."""
    raise AssertionError("a hook specification is never called")


@hookspec
def zoo_datasets() -> Sequence[Dataset]:
    """Return the data sets that this plugin adds to the catalogue."""
    raise AssertionError("a hook specification is never called")
