"""A trained model that classifies pictures, for the samples of another one: the extractor.

Its classes say what samples show, and in its features sets of pictures are compared. What it says
means no more than its accuracy on images that it has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.batches import Split
from zoo.data.store import Store
from zoo.errors import UsageError
from zoo.manifest import sha256_of
from zoo.model.inference import run_graph
from zoo.model.weights import Trained
from zoo.pictures import to_values
from zoo.ports import DataSpec, Port, Signature, is_pictorial
from zoo.sampling import as_port_takes

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float32]

AT_ONCE = 500  # images


@dataclass(frozen=True)
class Extractor:
    """A trained extractor, and how its graphs are asked about the classes of some data.

    Attributes:
        trained: the model.
        classify: the graph that gives a number for each class, and which output that is.
        describe: the graph that gives features, and which output.
        columns: for each class of the data, its number in the model.
        accuracy: share of held-out images of the data that it classifies rightly.
    """

    trained: Trained
    classify: tuple[str, Port]
    describe: tuple[str, Port]
    columns: tuple[int, ...]
    accuracy: float = 0.0

    def probabilities(self, images: Pixels) -> Numbers:
        """Return the probability of every class of the data, (N, K), for images (N, H, W, C)."""
        numbers = self._apply(*self.classify, images)
        if self.classify[1].range != (0.0, 1.0):  # logits
            exponentials = np.exp(numbers - numbers.max(axis=1, keepdims=True))
            numbers = exponentials / exponentials.sum(axis=1, keepdims=True)
        return numbers[:, self.columns]

    def features(self, images: Pixels) -> Numbers:
        """Return the features (N, units) of images (N, H, W, C)."""
        return self._apply(*self.describe, images)

    @cached_property
    def protocol(self) -> dict[str, Any]:
        """What another number must share to be compared with one that this extractor gave."""
        identity = self.trained.identity
        return {
            "extractor": identity.model,
            "extractor_data": identity.data.name,
            "extractor_sha256": sha256_of(self.trained.path),
            "extractor_accuracy": self.accuracy,
        }

    def _apply(self, graph: str, output: Port, images: Pixels) -> Numbers:
        """Run a graph on images, which are brought to the size and the channels that it takes."""
        model = self.trained.model
        (port,) = model.graphs()[graph].signature.required
        parts = []
        for start in range(0, len(images), AT_ONCE):
            pixels = as_port_takes(images[start : start + AT_ONCE], port)
            numbers = to_values(pixels, *(port.range or (-1.0, 1.0)))
            parts.append(run_graph(model, graph, {port.name: numbers})[output.name])
        return np.concatenate(parts)


def held_out(store: Store) -> tuple[str, Split]:
    """Return the labelled images that no training sees: the test split, else the validation one."""
    name = "test" if "label" in store.splits.get("test", {}) else "validation"
    return name, store.splits[name]


def require_labels(store: Store) -> None:
    """Raise a `UsageError` where the data has no classes to be told apart."""
    if "label" not in store.splits["train"] or len(store.spec.classes) < 2:
        raise UsageError(
            f"{store.spec.name} has no labels, so its samples cannot be classified",
            code="no-labels",
        )


def as_extractor(trained: Trained, store: Store) -> Extractor:
    """Return a trained model as an extractor of some data, with its accuracy on held-out images.

    Raises:
        UsageError: no graph of the model gives classes of pictures, or features of them, or it
            tells other classes than those of the data.
    """
    signatures = {name: graph.signature for name, graph in trained.model.graphs().items()}
    classify, describe = class_graph(signatures), feature_graph(signatures)
    name = trained.identity.model
    if classify is None or describe is None:
        raise UsageError(
            f"{name} cannot classify samples",
            cause="no graph of it gives "
            + ("features" if classify else "classes")
            + " of pictures",
            hint="a model of zoo list --task classification",
            code="does-not-apply",
        )
    columns = matching_classes(trained.identity.data, classify[1].classes, store.spec)
    if columns is None:
        raise UsageError(
            f"{name} tells the classes {few(classify[1].classes)}; "
            f"the data has {few(store.spec.classes)}",
            hint=f"--extractor with a model that was trained on {store.spec.name}",
            code="other-classes",
        )
    made = Extractor(trained, classify, describe, columns)
    _, images = held_out(store)
    right = made.probabilities(images["image"]).argmax(axis=1) == images["label"]
    return Extractor(trained, classify, describe, columns, float(right.mean()))


def class_graph(signatures: Mapping[str, Signature]) -> tuple[str, Port] | None:
    """Return the graph that gives a number for each class of a picture, and its output."""
    for name, signature in _of_pictures(signatures):
        for port in signature.outputs:
            if len(port.classes) > 1 and port.shape[1:] == (len(port.classes),):
                return name, port
    return None


def feature_graph(signatures: Mapping[str, Signature]) -> tuple[str, Port] | None:
    """Return the graph that gives one row of numbers of a picture, and its output."""
    for name, signature in _of_pictures(signatures):
        for port in signature.outputs:
            if len(port.shape) == 2 and port.dtype == "float32" and not port.classes:
                return name, port
    return None


def _of_pictures(signatures: Mapping[str, Signature]) -> list[tuple[str, Signature]]:
    return [
        (name, each)
        for name, each in signatures.items()
        if len(each.inputs) == len(each.required) == 1 and is_pictorial(each.inputs[0])
    ]


def matching_classes(
    trained_on: DataSpec, own: tuple[str, ...], data: DataSpec
) -> tuple[int, ...] | None:
    """Return the number that a model has for each class of some data; None where they differ.

    Classes are matched by their names, whatever their order; those of data of one name also by
    their numbers, since files alone do not name them.
    """
    if len(set(own)) == len(own) and sorted(own) == sorted(data.classes):
        return tuple(map(own.index, data.classes))
    if trained_on.name == data.name and len(own) == len(data.classes):
        return tuple(range(len(own)))
    return None


def few(names: Sequence[str]) -> str:
    """Return the first few names."""
    return ", ".join(name[:20] for name in names[:3]) + (", …" if len(names) > 3 else "")
