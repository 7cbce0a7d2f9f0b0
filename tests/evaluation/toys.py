"""Small data sets and models whose figures are known beforehand."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from zoo_classifiers.classifier import Classifier, ClassifierConfig

from zoo import DataSpec, Graph, Model, Player, Update
from zoo.catalog.lookup import find_model
from zoo.data.store import Store
from zoo.identity import Identity
from zoo.model.weights import Trained, describe

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class NoConfig:
    """Nothing to set."""


class Toy(Model):
    """A model of one weight that is not used; its graphs are given."""

    Config = NoConfig

    def __init__(self, data: DataSpec, graphs: Mapping[str, Graph]) -> None:
        super().__init__(NoConfig(), data)
        self.network = nn.Linear(1, 1)
        self.given = graphs

    def players(self) -> Mapping[str, Player]:
        return {"toy": Player([self.network], torch.optim.SGD)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("toy", loss=self.network.weight.sum())

    def graphs(self) -> Mapping[str, Graph]:
        return self.given


class Measured(Toy):
    """Its metric is the mean of one side's images, in [-1, 1]."""

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {name: batch[name].mean() for name in ("a", "b")}


def trained(model: Model) -> Trained:
    graphs = {name: graph.signature for name, graph in model.graphs().items()}
    return Trained(model, Identity("toy", "tests", "1", {}, model.data, graphs), Path("toy"))


def store(spec: DataSpec, pairs: tuple[str, ...] = (), **splits: Mapping[str, Any]) -> Store:
    """Return data as decoding gives them: arrays that nobody can write to."""
    for split in splits.values():
        for array in split.values():
            array.setflags(write=False)
    return Store(spec, splits, pairs, total=sum(len(each) for each in splits.values()))


STRIPES = DataSpec.of_images("stripes", 1, 8, 8, classes=("rows", "columns", "checks"))


def stripes(count: int, seed: int) -> dict[str, NDArray[Any]]:
    """Noisy rows, columns and checks in turn, and their labels."""
    row, column = np.mgrid[:8, :8] // 2 % 2
    patterns = np.stack([row, column, row ^ column])
    labels = np.arange(count) % 3
    random = np.random.default_rng(seed)
    inverted = random.integers(0, 2, (count, 1, 1))
    clean = (patterns[labels] ^ inverted) * 120 + 60
    noisy = clean + random.integers(-40, 41, clean.shape)
    return {"image": noisy.astype(np.uint8)[..., None], "label": labels.astype(np.int64)}


def with_wrong_labels(split: dict[str, NDArray[Any]], every: int) -> dict[str, NDArray[Any]]:
    """Give every so-manyth image the label after its own."""
    labels = split["label"].copy()
    labels[::every] = (labels[::every] + 1) % 3
    return {**split, "label": labels}


@functools.cache
def striped_classifier() -> Trained:
    """Return a classifier that was trained on 120 stripes; it is right on nearly all others."""
    torch.manual_seed(0)
    model = Classifier(ClassifierConfig(channels=(16, 32), dropout=0.2, shift=0), STRIPES)
    learnt = stripes(120, 1)
    images, labels = values(learnt["image"]), torch.from_numpy(learnt["label"])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = cross_entropy(model.last(model.features(images)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    return Trained(model, describe(model, find_model("classifier")), Path("stripes"))


def values(images: Pixels) -> Tensor:
    """Pixels (N, H, W, C) as a model takes and gives them."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def report_to(said: list[str]) -> Callable[[str], None]:
    return said.append
