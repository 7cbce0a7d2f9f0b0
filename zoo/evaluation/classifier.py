"""A small convolutional classifier of labelled images, for the samples of a model.

It is trained on a data set's training images the first time it is needed, and kept in the cache
with its accuracy on images that it has not seen: what it says of samples means no more than that.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

from zoo.atomic import replacing
from zoo.catalog.dataset import cache_home
from zoo.data.batches import Batches, Split, in_order, length
from zoo.data.download import make_folder
from zoo.data.store import Store
from zoo.errors import UsageError, ZooError
from zoo.messages import Log
from zoo.model.blocks import one_cycle
from zoo.model.inference import evaluation_batch
from zoo.ports import DataSpec

VERSION = 1  # of network and training; a classifier of another version is trained anew
LARGEST = 32  # pixels of height and width that the network sees; larger images are averaged down
FEATURES = 16  # maps of the first layer

PASSES = 8  # over the training images, …
FEWEST_SHOWN, MOST_SHOWN = 64_000, 480_000  # … but these many images at least, and at most, …
MOST_PASSES = 100  # … and no image more often than this
BATCH = 64
RATE = 5e-3  # of AdamW, at the peak of a one-cycle schedule
WEIGHT_DECAY = 1e-2
SEED = 0


class Network(nn.Module):
    """Images (N, C, H, W) in [-1, 1] -> logits of the classes (N, K)."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        self.spec = spec
        self.seen = min(spec.pictures.height, LARGEST), min(spec.pictures.width, LARGEST)
        wide = FEATURES
        places = (self.seen[0] // 8) * (self.seen[1] // 8)
        self.layers = nn.Sequential(
            *_convolution(spec.pictures.channels, wide),
            *_convolution(wide, 2 * wide),
            *_convolution(2 * wide, 4 * wide),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(4 * wide * places, 128),
            nn.ReLU(),
            nn.Linear(128, len(spec.classes)),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's stub lacks it

    def forward(self, image: Tensor) -> Tensor:
        """Return logits; larger images are averaged down first."""
        logits: Tensor = self.layers[-1](self.features(image))
        return logits

    def features(self, image: Tensor) -> Tensor:
        """Return what the last layer takes, (N, 128)."""
        if image.shape[2:] != self.seen:
            image = adaptive_avg_pool2d(image, self.seen)
        found: Tensor = self.layers[:-1](image)
        return found


def _convolution(before: int, after: int) -> list[nn.Module]:
    """Return a layer that halves height and width."""
    layer = nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False)
    return [layer, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]


@dataclass(frozen=True)
class Classifier:
    """A network in evaluation mode, and the share of held-out images that it classifies rightly."""

    network: Network
    accuracy: float

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probability of every class, (N, K), for images (N, H, W, C)."""
        return self._apply(lambda image: self.network(image).softmax(dim=1), images)

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the last layer decides by, (N, 128), for images (N, H, W, C)."""
        return self._apply(self.network.features, images)

    def _apply(
        self, function: Callable[[Tensor], Tensor], images: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        size = evaluation_batch(self.network.spec)
        batches = in_order({"image": images}, self.network.spec, size, torch.device("cpu"))
        with torch.no_grad():
            return np.concatenate([function(batch["image"]).numpy() for batch in batches])


def held_out(store: Store) -> tuple[str, Split]:
    """Return the labelled images that no training sees: the test split, else the validation one."""
    name = "test" if "label" in store.splits.get("test", {}) else "validation"
    return name, store.splits[name]


def find_classifier(store: Store, log: Log) -> Classifier:
    """Return the classifier of a data set; the first time trains it, the same every time.

    The data has labels, and images of at least 8 × 8 pixels. `log` is called with a line when the
    classifier is trained, and with its accuracy.

    Raises:
        UsageError: the data has no labels, or its images are too small.
        ZooError: the cache cannot be written to.
    """
    spec = store.spec
    if "label" not in store.splits["train"] or len(spec.classes) < 2:
        raise UsageError(
            f"{spec.name} has no labels that a classifier could learn", code="no-labels"
        )
    if min(spec.pictures.height, spec.pictures.width) < 8:
        raise UsageError(
            f"{spec.name}: images below 8×8 pixels are too small to be classified",
            code="wrong-size",
        )
    path = cache_home() / "classifiers" / f"{_digest(store)}.safetensors"
    with torch.random.fork_rng(devices=[]):  # the noise of others is left as it is
        found = _load(path, spec)
        if found:
            with suppress(OSError):  # when it was last used, for `zoo data list --cached`
                os.utime(path)
            return found
        made = _train(store, log)
    _save(path, made)
    return made


def _train(store: Store, log: Log) -> Classifier:
    began = time.monotonic()
    split = store.splits["train"]
    log(
        f"training a classifier on {length(split):,} images of {store.spec.name}, to "
        "classify samples; it is kept for the next time"
    )
    torch.manual_seed(SEED)
    network = _fit(Network(store.spec), split)
    name, images = held_out(store)
    right = Classifier(network, 0.0).probabilities(images["image"]).argmax(1) == images["label"]
    made = Classifier(network, float(right.mean()))
    log(
        f"the classifier is right on {made.accuracy:.1%} of {len(right):,} {name} images "
        f"({time.monotonic() - began:.0f} s)"
    )
    return made


def _fit(network: Network, split: Split) -> Network:
    """Train with AdamW, a one-cycle rate and cross-entropy."""
    batches = Batches(split, network.spec, BATCH, seed=SEED, device=torch.device("cpu"))
    images = batches.images
    shown = min(max(PASSES * images, FEWEST_SHOWN), MOST_SHOWN, MOST_PASSES * images)
    steps = shown // batches.batch_size
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY, fused=True
    )
    endless = (batch for epoch in count() for batch in batches.epoch(epoch))
    for step, batch in enumerate(islice(endless, steps)):
        optimiser.param_groups[0]["lr"] = RATE * one_cycle(step / steps)
        loss = cross_entropy(network(batch["image"]), batch["label"])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch's stub lacks it
        optimiser.step()
    return network.eval()


def _digest(store: Store) -> str:
    """Return what changes when the images, the labels or the way of learning from them do."""
    spec = store.spec
    facts = [
        VERSION,
        spec.pictures.channels,
        spec.pictures.height,
        spec.pictures.width,
        spec.classes,
    ]
    digest = hashlib.blake2b(repr(facts).encode(), digest_size=16)
    for split in (store.splits["train"], held_out(store)[1]):
        for name in ("image", "label"):
            digest.update(repr(split[name].shape).encode())
            digest.update(np.ascontiguousarray(split[name]).data)
    return digest.hexdigest()


def _save(path: Path, classifier: Classifier) -> None:
    make_folder(path.parent)
    tensors = {key: each.contiguous() for key, each in classifier.network.state_dict().items()}
    try:
        with replacing(path) as temporary:
            safetensors.torch.save_file(tensors, temporary, {"accuracy": repr(classifier.accuracy)})
    except (OSError, safetensors.SafetensorError) as problem:
        raise ZooError(
            f"the classifier cannot be written to {path.parent}: {problem}",
            hint="make room, or put the cache elsewhere with ZOO_HOME=/another/folder",
            code="cache-unusable",
        ) from problem


def _load(path: Path, spec: DataSpec) -> Classifier | None:
    """Read a classifier; None where there is none, or the file is damaged."""
    network = Network(spec)
    try:
        with safetensors.safe_open(path, "pt") as file:
            accuracy = float(file.metadata()["accuracy"])
        tensors = safetensors.torch.load_file(path)
        network.load_state_dict(tensors)  # refuses other keys and shapes
    except (OSError, safetensors.SafetensorError, RuntimeError, ValueError, KeyError, TypeError):
        return None
    sound = all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
    if not (sound and 0 <= accuracy <= 1):
        return None
    return Classifier(network.eval(), accuracy)
