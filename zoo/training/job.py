"""A request for training, resolved: which model, which data, which settings."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w

from zoo.catalog.lookup import Offer, load_class
from zoo.data.store import Store
from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.model.contract import Model
from zoo.options import to_plain
from zoo.training.settings import Settings, resolve

MAX_CONFIG_BYTES = 16 * 2**10  # tomllib is quadratic in dotted keys
TABLES = {"model", "data", "size", "training", "options"}


@dataclass(frozen=True)
class Job:
    """Everything that decides the outcome of a training.

    Args:
        offer: the model and the plugin it comes from.
        model_class: that model, imported.
        config: its configuration.
        settings: the trainer's.
        data: the data set as the user named it.
        store: that data, decoded.
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

    def to_toml(self) -> str:
        """Return the configuration file that asks for this training again."""
        spec = self.store.spec
        return tomli_w.dumps(
            {
                "model": f"{self.offer.plugin.distribution}:{self.offer.card.name}",
                "data": self.data,
                "size": [spec.height, spec.width],
                "training": to_plain(self.settings),
                "options": to_plain(self.config),
            }
        )


def resolve_job(offer: Offer, data: str, store: Store, layers: Sequence[Mapping[str, Any]]) -> Job:
    """Return the job that the layers of a request add up to, the later ones stronger.

    Raises:
        UsageError: an unknown or unusable option, or data of the wrong kind for the model.
        PluginError: the model cannot be imported.
    """
    check_material(offer, data, store)
    model_class: type[Model] = load_class(offer)
    preset = asdict(model_class.training_preset)
    config, settings = resolve(model_class.Config, preset, layers)
    return Job(offer, model_class, config, settings, data, store)


def check_material(offer: Offer, data: str, store: Store) -> None:
    """Check that the data holds what the model learns from.

    Raises:
        UsageError: it does not.
    """
    wanted = {"images": {"image"}, "labelled images": {"image", "label"}, "two domains": {"a", "b"}}
    there = set(store.splits["train"])
    if wanted[offer.card.learns_from] <= there:
        return
    holds = "two domains" if "a" in there else "images without labels"
    raise UsageError(
        f"{offer.card.name} learns from {offer.card.learns_from}; {data!r} holds {holds}",
        hint="zoo data check PATH says what a folder holds; zoo show MODEL what a model needs",
    )


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file: ``model``, ``data``, ``size``, ``[training]``, ``[options]``.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is not TOML, too large, or has unknown keys.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise UsageError(f"{path} is larger than {MAX_CONFIG_BYTES // 1024} KiB")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise NotFoundError(f"{path} cannot be read: {problem.strerror}") from None
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"{path} is not a TOML file: {problem}") from None
    for key in content:
        if key not in TABLES:
            raise UsageError(
                f"{path}: unknown key {key[:60]!r}.{did_you_mean(key, TABLES)}",
                hint=f"one of: {', '.join(sorted(TABLES))}",
            )
    for key in ("training", "options"):
        if not isinstance(content.get(key, {}), dict):
            raise UsageError(f"{path}: {key!r} must be a table, [{key}]")
    return content
