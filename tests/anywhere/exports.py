"""The files that the matrix is about: every graph of every first-party model, in both forms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.process import zoo, zoo_json
from zoo.catalog.plugins import installed_plugins
from zoo.ports import Signature
from zoo.records import typed
from zoo.runtime.reference import FOLDER, Example, read_reference

PLUGINS = Path(__file__).parents[2] / "plugins"
FORMS = ("float", "uint8")

# Models whose own settings would take minutes, with what makes the same networks smaller, and
# models that have another graph with another option.
OPTIONS = dict.fromkeys(("cyclegan", "pix2pix", "ddpm", "wavegan"), ("--preset", "tiny"))
VARIANTS = {
    "conv-ae, unpool": ("conv-ae", "--set", "upsampling=unpool"),
    "denoising-ae, masking": ("denoising-ae", "--set", "noise=masking"),
    "denoising-ae, salt-and-pepper": ("denoising-ae", "--set", "noise=salt-and-pepper"),
}


@dataclass(frozen=True)
class Export:
    """One exported file, and what torch makes of some inputs.

    Args:
        model: its name, and the option that makes it another one.
        graph: its name.
        form: what its pictures are made of, ``float`` or ``uint8``.
        path: of the file.
        examples: as the export left them beside it, and all of one size as one batch.
    """

    model: str
    graph: str
    form: str
    path: Path
    examples: list[Example]


def models() -> dict[str, tuple[str, ...]]:
    """Return what to type after ``zoo train``, for every card of the plugins of this project."""
    ours = {path.name for path in PLUGINS.iterdir()}
    cards = [
        card
        for plugin in installed_plugins()
        if plugin.distribution in ours
        for card in plugin.models
    ]
    own = {card.name: (card.name, *OPTIONS.get(card.name, ())) for card in cards}
    return dict(sorted((own | VARIANTS).items()))


def export(model: str, folder: Path) -> Iterator[Export]:
    """Train a model for two steps, so that no number is left at its start, and export it."""
    run = zoo_json("train", *models()[model], "--steps", "2", "--name", folder.name)["run"]
    zoo("export", run, "--onnx", "-o", str(folder))
    if _has_pictures(folder):
        zoo("export", run, "--onnx", "--io", "uint8", "-o", str(folder))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for entry in manifest["files"].values():
        path = folder / entry["file"]
        signature = typed(entry["signature"], Signature)
        reference = folder / FOLDER / f"{path.stem}.npz"
        examples = read_reference(reference, signature.inputs, signature.outputs)
        form = "uint8" if ".uint8" in path.suffixes else "float"
        yield Export(model, entry["graph"], form, path, [*examples, _as_one(examples)])


def _has_pictures(folder: Path) -> bool:
    """Whether a graph of an exported model takes or gives pictures."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    return any(
        port["kind"] == "image"
        for entry in manifest["files"].values()
        for side in ("inputs", "outputs")
        for port in entry["signature"][side]
    )


def _as_one(examples: list[Example]) -> Example:
    """Return one batch of all the rows whose inputs are of the size of the first."""
    sizes = [[array.shape[1:] for array in each.inputs.values()] for each in examples]
    fitting = [each for each, size in zip(examples, sizes, strict=True) if size == sizes[0]]
    inputs, outputs = (
        {name: np.concatenate([side[name] for side in sides]) for name in sides[0]}
        for sides in zip(*fitting, strict=True)
    )
    return Example(inputs, outputs)
