"""Which model classifies the samples of another: one that the user names, or published weights."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.api.data import find_assets
from zoo.api.load import Target, target_word, trained_target
from zoo.api.loaded_model import LoadedModel
from zoo.errors import NotFoundError
from zoo.messages import Log

if TYPE_CHECKING:
    from zoo.catalog.lookup import ModelEntry
    from zoo.data.store import Store
    from zoo.evaluation.extractor import Extractor

TASK = "classification"
MIN_ACCURACY = 0.5  # of weights that nobody named: below it, the data only has the same form


def find_extractor(
    extractor: Target | None,
    store: Store,
    log: Log,
    target: Target = "TARGET",
    place: str | None = None,
) -> Extractor:
    """Return the extractor of labelled data, and tell which one it is and how good.

    Where the user names none, that is published weights of an installed model whose task is
    classification. They were trained on data of the same name, or of the same classes and shape,
    and are right on at least half of the held-out images.

    Args:
        extractor: what the user named.
        store: the data.
        log: called with a line.
        target: what is measured, for the error.
        place: name or path of the data, for the error.

    Raises:
        UsageError: the data has no labels, or the model that was named tells no classes of it.
        NotFoundError: there are no such weights.
    """
    from zoo.evaluation.extractor import as_extractor, held_out, require_labels

    require_labels(store)
    found = None
    if extractor is not None:
        found = as_extractor(trained_target(extractor, None, log), store)
    else:
        for path in _published_for(store):
            candidate = _read(path, store)
            if candidate.accuracy >= MIN_ACCURACY:
                found = candidate
                break
    if found is None:
        raise _no_extractor(store, target, place)
    split, images = held_out(store)
    identity = found.trained.identity
    log(
        f"samples are classified by {identity.model}, trained on {identity.data.name}, which is "
        f"right on {found.accuracy:.1%} of {len(images['label']):,} {split} images"
    )
    return found


def _classifiers() -> list[ModelEntry]:
    """Return the installed models that classify."""
    from zoo.catalog.lookup import installed_models

    return [entry for entry in installed_models() if entry.card.task == TASK]


def _published_for(store: Store) -> Iterator[Path]:
    """Yield published weights whose data has the name of `store`, then those of the same form."""
    from zoo.catalog.lookup import published_weights, weights_here
    from zoo.evaluation.extractor import class_graph, matching_classes
    from zoo.model.weights import read_identity

    alike = []
    for entry in _classifiers():
        for weights in published_weights(entry):
            path = weights_here(entry, weights)
            if path is None:
                continue
            identity = read_identity(path)
            classify, spec = class_graph(identity.graphs), identity.data
            if classify is None or not matching_classes(spec, classify[1].classes, store.spec):
                continue
            if spec.name == store.spec.name:
                yield path
            elif spec.pictures.image_shape == store.spec.pictures.image_shape:
                alike.append(path)
    yield from alike


def _read(path: Path, store: Store) -> Extractor:
    from zoo.evaluation.extractor import as_extractor
    from zoo.model.weights import load_weights

    return as_extractor(load_weights(path, find_assets), store)


def _no_extractor(store: Store, target: Target, place: str | None) -> NotFoundError:
    """Return the error for data that no published weights classify."""
    word = shlex.quote(target.name if isinstance(target, LoadedModel) else target_word(target))
    data = shlex.quote(place or store.spec.name)
    models = [entry.name for entry in _classifiers()]
    train = f"zoo train {models[0] if models else 'MODEL'} --data {data}"
    return NotFoundError(
        f"no extractor of {store.spec.name} for the samples",
        cause="no published weights of a model with the task classification were trained on such "
        "data" + ("" if models else ", and no such model is installed (zoo plugins search)"),
        hint=f"{train}, then zoo eval {word} --data {data} --extractor RUN",
        code="no-classifier",
    )
