"""A request for training, resolved: which model, which data, which settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tomli_w
import torch

import zoo
from zoo.catalog.lookup import Offer
from zoo.data.store import Store
from zoo.errors import NotFoundError, UsageError
from zoo.model.contract import Model
from zoo.options import to_plain
from zoo.training import engine
from zoo.training.checkpoint import Checkpoint, JobRecord
from zoo.training.settings import Settings


@dataclass(frozen=True)
class Job:
    """Everything that decides the outcome of a training.

    Args:
        offer: the model and the plugin it comes from.
        model_class: that model, imported.
        config: its configuration.
        settings: the trainer's.
        data: name in the catalogue, or absolute path, of the data set.
        store: the data, decoded.
    """

    offer: Offer
    model_class: type[Model]
    config: Any
    settings: Settings
    data: str
    store: Store

    def build(self) -> Model:
        """Return a new, untrained model."""
        return self.model_class(self.config, self.store.spec)

    def to_json(self) -> JobRecord:
        """Return what asks for this training again, as plain values."""
        spec = self.store.spec
        return {
            "model": f"{self.offer.plugin.distribution}:{self.offer.card.name}",
            "data": self.data,
            "size": [spec.height, spec.width],
            "fit": spec.fit,
            "training": to_plain(self.settings),
            "options": to_plain(self.config),
        }

    def to_toml(self) -> str:
        """Return the configuration file that asks for this training again."""
        return tomli_w.dumps(self.to_json())

    def circumstances(self, device: torch.device) -> dict[str, str]:
        """Return what else a training depends on to the bit."""
        plugin = self.offer.plugin
        kind = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        return {
            "device": kind,
            "precision": engine.precision(self.settings, device.type),
            "threads": str(torch.get_num_threads()),
            "torch": torch.__version__,
            "zoo-core": zoo.__version__,
            plugin.distribution: plugin.version,
            "data": self.store.digest,
        }

    def changes(self, checkpoint: Checkpoint, device: torch.device, ranks: int) -> list[str]:
        """Say in words what is different from when a checkpoint was written.

        Raises:
            NotFoundError: the data is.
        """
        before = {**checkpoint.facts["circumstances"], "devices": str(checkpoint.ranks)}
        now = {**self.circumstances(device), "devices": str(ranks)}
        if before.get("data") != now["data"]:
            data = checkpoint.facts.get("job", {}).get("data", self.data)
            moved = f"; that was {data!r}" if data != self.data else ""
            raise NotFoundError(
                f"{self.data!r} is not the data that the run was trained on{moved}",
                cause="pictures were added, removed or changed since",
                hint="zoo data check says what is there; without --resume a new run begins",
            )
        return [
            f"{name} {value}, it was {before.get(name, 'not there')}"
            for name, value in now.items()
            if before.get(name) != value
        ]


NEEDED = {"images": {"image"}, "labelled images": {"image", "label"}, "two domains": {"a", "b"}}
WAYS = {  # to lay out what a model needs
    "images": "pictures in one folder",
    "labelled images": "a folder of pictures for each class",
    "two domains": "two folders of pictures, one for each domain, or trainA and trainB",
}


def check_material(offer: Offer, data: str, store: Store, split: str = "train") -> None:
    """Check that a split of the data holds what the model learns from.

    Raises:
        UsageError: it does not.
    """
    there = set(store.splits[split])
    if NEEDED[offer.card.learns_from] <= there:
        return
    if "a" in there:
        holds = "two domains"
    else:
        holds = "labelled images" if "label" in there else "images without labels"
    what = repr(data) if split == "train" else f"the {split} split of {data!r}"
    raise UsageError(
        f"{offer.card.name} learns from {offer.card.learns_from}; {what} holds {holds}",
        cause=f"{offer.card.learns_from}: {WAYS[offer.card.learns_from]}",
        hint="zoo data check PATH says what a folder holds",
    )
