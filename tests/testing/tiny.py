"""A small plugin that is correct, and copies of it in which one thing is wrong."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

CARDS = '''
"""The card of a small model."""

import os

from zoo import Card, Paper, hookimpl


@hookimpl
def zoo_models():
    return [
        Card(
            name="MODULE",
            summary="a generator and a critic, both small",
            task="generation",
            model="MODULE.model:Tiny",
            paper=Paper("On small models", "Doe", 2020, "https://arxiv.org/abs/2001.00001"),
            presets={"tiny": {"epochs": 1, "width": 8}},
        )
    ]
'''

MODEL = '''
"""A generator and a critic."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from zoo import Goal, Graph, Model, Player, Port, Update, option


@dataclass(frozen=True)
class TinyConfig:
    width: int = option(8, "units of the critic", at_least=1)


class Tiny(Model):
    Config = TinyConfig
    goal = Goal("score", "lowest")

    def __init__(self, config, data) -> None:
        super().__init__(config, data)
        shape = data.image.image_shape
        self.generator = nn.Sequential(
            nn.Linear(4, data.image.pixels),
            nn.Tanh(),
            nn.Unflatten(1, shape),
        )
        self.critic = nn.Sequential(
            nn.Flatten(),
            nn.Linear(data.image.pixels, config.width),
            nn.LeakyReLU(),
            nn.Linear(config.width, 1),
        )
        self.register_buffer("age", torch.zeros(()), persistent=False)

    def players(self) -> Mapping[str, Player]:
        adam = partial(torch.optim.Adam, lr=1e-3)
        return {
            "critic": Player([self.critic], adam),
            "generator": Player([self.generator], adam),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        real = batch["image"]
        self.age += 1
        fake = self.generator(torch.randn(len(real), 4))
        true, false = self.critic(real), self.critic(fake.detach())
        yield Update("critic", real=softplus(-true).mean(), fake=softplus(false).mean())
        fool = softplus(-self.critic(fake)).mean()
        yield Update("generator", fool=fool)

    def validation_step(self, batch: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {"score": self.critic(batch["image"]).mean()}

    def sample(self, noise: Tensor) -> Tensor:
        return self.generator(noise)

    def graphs(self) -> Mapping[str, Graph]:
        noise, image = Port.latent("noise", 4), self.data.image
        return {"sample": Graph(self.sample, [noise], [image])}
'''

METADATA = """Metadata-Version: 2.4
Name: NAME
Version: 1.0
Requires-Dist: zoo-core[train]>=0.1,<0.2
"""

PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "NAME"
version = "1.0"
dependencies = ["zoo-core[train]>=0.1,<0.2"]

[project.entry-points.zoo]
MODULE = "MODULE"

[tool.hatch.build.targets.wheel]
packages = ["MODULE"]
"""

FILES = {"pyproject.toml": PROJECT, "MODULE/__init__.py": CARDS, "MODULE/model.py": MODEL,
         "zoo_MODULE-1.0.dist-info/METADATA": METADATA,
         "zoo_MODULE-1.0.dist-info/entry_points.txt": "[zoo]\nMODULE = MODULE\n",
         "zoo_MODULE-1.0.dist-info/RECORD": "zoo_MODULE-1.0.dist-info/METADATA,,\n"}  # fmt: skip


def write(
    site: Path, name: str, changes: Mapping[str, Mapping[str, str]], *, project: bool = False
) -> Path:
    """Write the plugin as if it were installed into a folder, some of its lines replaced.

    Args:
        site: a folder on the path of Python.
        name: of the model; the distribution is called ``zoo-NAME``.
        changes: by file, what is replaced by what.
        project: whether it says that it was installed from this folder, where its project lies.
    """
    for file, correct in FILES.items():
        text = correct
        for old, new in changes.get(file, {}).items():
            assert old in text, old
            text = text.replace(old, new)  # a copy in which something is wrong
        place = site / _named(file, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_named(text.lstrip("\n"), name))
    information = site / _named("zoo_MODULE-1.0.dist-info", name)
    if project:
        source = {"url": site.as_uri(), "dir_info": {"editable": True}}
        (information / "direct_url.json").write_text(json.dumps(source))
    return site


def _named(text: str, name: str) -> str:
    return text.replace("NAME", f"zoo-{name}").replace("MODULE", name)


def forget() -> None:
    """Let Python look anew for what is installed."""
    from zoo.catalog.plugins import installed_plugins

    importlib.invalidate_caches()
    installed_plugins.cache_clear()
    for module in [each for each in sys.modules if each.partition(".")[0].startswith("tiny")]:
        del sys.modules[module]
