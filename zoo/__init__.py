"""A model zoo for generative modelling: every model a plugin, every model leaves as ONNX.

The names below are what programs (docs/python.md) and plugins (docs/plugin-api.md) rely on. They
are resolved when they are first used, so that importing `zoo` imports neither torch nor anything
else that is slow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.api.evaluate import evaluate as evaluate
    from zoo.api.export import export as export
    from zoo.api.load import load as load
    from zoo.api.loaded_model import LoadedModel as LoadedModel
    from zoo.api.train import train as train
    from zoo.catalog.card import Asset as Asset
    from zoo.catalog.card import Card as Card
    from zoo.catalog.card import Paper as Paper
    from zoo.catalog.dataset import Dataset as Dataset
    from zoo.catalog.dataset import RemoteFile as RemoteFile
    from zoo.catalog.plugins import hookimpl as hookimpl
    from zoo.errors import NotFoundError as NotFoundError
    from zoo.errors import UsageError as UsageError
    from zoo.errors import ZooError as ZooError
    from zoo.modalities.base import DecodeOptions as DecodeOptions
    from zoo.modalities.base import Decoding as Decoding
    from zoo.modalities.base import Modality as Modality
    from zoo.modalities.base import Side as Side
    from zoo.modalities.base import Stored as Stored
    from zoo.model.blocks import ImagePool as ImagePool
    from zoo.model.blocks import constant as constant
    from zoo.model.blocks import constant_then_linear as constant_then_linear
    from zoo.model.blocks import gather_rows as gather_rows
    from zoo.model.blocks import mlp as mlp
    from zoo.model.blocks import normal_weights as normal_weights
    from zoo.model.blocks import one_cycle as one_cycle
    from zoo.model.blocks import pixel_mse as pixel_mse
    from zoo.model.blocks import psnr as psnr
    from zoo.model.blocks import resize_crop_flip as resize_crop_flip
    from zoo.model.contract import Goal as Goal
    from zoo.model.contract import Graph as Graph
    from zoo.model.contract import Model as Model
    from zoo.model.contract import Monitor as Monitor
    from zoo.model.contract import Player as Player
    from zoo.model.contract import Training as Training
    from zoo.model.contract import Update as Update
    from zoo.options import option as option
    from zoo.ports import DataSpec as DataSpec
    from zoo.ports import Port as Port
    from zoo.training.train import TrainResult as TrainResult

__version__ = "0.1.0"

_HOMES = {
    "Asset": "zoo.catalog.card",
    "Card": "zoo.catalog.card",
    "DataSpec": "zoo.ports",
    "Dataset": "zoo.catalog.dataset",
    "DecodeOptions": "zoo.modalities.base",
    "Decoding": "zoo.modalities.base",
    "Goal": "zoo.model.contract",
    "Graph": "zoo.model.contract",
    "ImagePool": "zoo.model.blocks",
    "LoadedModel": "zoo.api.loaded_model",
    "Modality": "zoo.modalities.base",
    "Model": "zoo.model.contract",
    "Monitor": "zoo.model.contract",
    "NotFoundError": "zoo.errors",
    "Paper": "zoo.catalog.card",
    "Player": "zoo.model.contract",
    "Port": "zoo.ports",
    "RemoteFile": "zoo.catalog.dataset",
    "Side": "zoo.modalities.base",
    "Stored": "zoo.modalities.base",
    "TrainResult": "zoo.training.train",
    "Training": "zoo.model.contract",
    "Update": "zoo.model.contract",
    "UsageError": "zoo.errors",
    "ZooError": "zoo.errors",
    "constant": "zoo.model.blocks",
    "constant_then_linear": "zoo.model.blocks",
    "evaluate": "zoo.api.evaluate",
    "export": "zoo.api.export",
    "gather_rows": "zoo.model.blocks",
    "hookimpl": "zoo.catalog.plugins",
    "load": "zoo.api.load",
    "mlp": "zoo.model.blocks",
    "normal_weights": "zoo.model.blocks",
    "one_cycle": "zoo.model.blocks",
    "option": "zoo.options",
    "pixel_mse": "zoo.model.blocks",
    "psnr": "zoo.model.blocks",
    "resize_crop_flip": "zoo.model.blocks",
    "train": "zoo.api.train",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - computed from the table, so that the two agree


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
