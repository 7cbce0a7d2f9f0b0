"""A folder with everything that a trained model needs to be used elsewhere.

One ``.onnx`` a graph, ``manifest.json``, the weights, a card and pictures. All of it is made and
verified in a folder beside, and only then moved in.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch

import zoo
from zoo import pictures
from zoo.atomic import write_json, write_text
from zoo.errors import NotFoundError, PluginError, ZooError
from zoo.export.onnx import export_graph
from zoo.export.verify import verify
from zoo.model.drawing import overview, samplers
from zoo.model.weights import Trained
from zoo.ports import Signature
from zoo.runtime.bundles import MANIFEST
from zoo.runtime.description import describe_port, translates_to

SCHEMA = 1
GRAPH_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True)
class Bundle:
    """What an export has written.

    Args:
        files: every file, the ONNX files first.
        max_abs_difference: between the model and ONNX Runtime, as ``graph/output``.
    """

    files: list[Path]
    max_abs_difference: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return what ``zoo export --json`` prints."""
        return {
            "files": [str(path) for path in self.files],
            "verified": True,
            "max_abs_difference": self.max_abs_difference,
        }


def export_bundle(trained: Trained, folder: Path) -> Bundle:
    """Export every graph of a model into a folder.

    Args:
        trained: the model and what its weight file says.
        folder: made where it is missing; files of an earlier export are replaced.

    Raises:
        PluginError: a graph's name cannot be the name of a file.
        ZooError: a graph cannot be exported or does not verify; the folder is as it was.
    """
    _check_names(trained)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not folder.is_dir():
        raise ZooError(f"{folder} is a file", hint="-o another-folder")
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name[:80]}.", suffix=".part",
                                     dir=folder.parent))  # fmt: skip
    try:
        differences = _build(trained, building)
        files = _move(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Bundle(files, differences)


def _check_names(trained: Trained) -> None:
    taken: set[str] = set()
    for name in trained.model.graphs():
        if not GRAPH_NAME.fullmatch(name) or name.lower() in taken:
            raise PluginError(
                f"{trained.header.model} has a graph {name[:100]!r}, which cannot name a file",
                cause="names have letters of ASCII, digits, - and _, at most 100 of them; "
                "no two differ in capitals alone",
            )
        taken.add(name.lower())


def _build(trained: Trained, folder: Path) -> dict[str, float]:
    """Fill the folder; return the differences by ``graph/output``."""
    model, header = trained.model, trained.header
    entries: dict[str, Any] = {}
    differences: dict[str, float] = {}
    for name, graph in model.graphs().items():
        path = folder / f"{name}.onnx"
        export_graph(model, header, name, path)
        found = verify(model, name, path)
        differences |= {f"{name}/{output}": gap for output, gap in found.items()}
        entries[name] = {
            **_file_facts(path),
            "signature": graph.signature.to_json(),
            "max_abs_difference": found,
        }
    for name in samplers(model):
        (folder / "pictures").mkdir(exist_ok=True)
        pictures.write_png(folder / "pictures" / f"{name}.png", overview(model, name, {}))
    weights = folder / "model.safetensors"
    shutil.copyfile(trained.path, weights)
    write_text(folder / "README.md", _card(trained))
    facts = {key: value for key, value in header.to_json().items() if key != "graphs"}
    write_json(
        folder / MANIFEST,
        {
            **facts,
            "schema": SCHEMA,
            "weights": _file_facts(weights),
            "files": entries,
            "written_by": {
                "zoo-core": zoo.__version__,
                "torch": torch.__version__,
                "onnx": onnx.__version__,
                "onnxruntime": onnxruntime.__version__,
            },
        },
    )
    return differences


def _move(building: Path, folder: Path) -> list[Path]:
    """Move the files into the folder, the manifest last, and remove those of an older export."""
    new = [path.relative_to(building) for path in building.rglob("*") if path.is_file()]
    new.sort(key=lambda path: (path.name == MANIFEST, path.suffix != ".onnx", path))
    folder.mkdir(exist_ok=True)
    stale = _graph_files(folder) - {path.name for path in new}
    for path in new:
        (folder / path).parent.mkdir(exist_ok=True)
        (building / path).replace(folder / path)
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    return [folder / path for path in new]


def _graph_files(folder: Path) -> set[str]:
    """Return the names of the graph files that an earlier manifest lists."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        names = {entry["file"] for entry in manifest["files"].values()}
    except FileNotFoundError:
        return set()
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise NotFoundError(
            f"{folder / MANIFEST} is damaged: {problem}", hint="-o another-folder"
        ) from None
    return {name for name in names if Path(name).name == name and name.endswith(".onnx")}


def _file_facts(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "file": path.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def _card(trained: Trained) -> str:
    """Return the card of a bundle: what it is and how to run it."""
    header = trained.header
    spec = header.data
    lines = [
        f"# {header.model}",
        "",
        f"Trained with {header.distribution} {header.version} on {spec.name} "
        f"({spec.channels} × {spec.height} × {spec.width}), {header.step:,} steps.",
        "",
        *(f"* {name}: {value:.4g}" for name, value in header.metrics.items()),
        "",
        "| file | takes | gives |",
        "|---|---|---|",
    ]
    for name, signature in header.graphs.items():
        takes = "; ".join(map(describe_port, signature.inputs))
        gives = "; ".join(map(describe_port, signature.outputs))
        lines.append(f"| `{name}.onnx` | {takes} | {gives} |")
    lines += ["", "Each file says the same of itself in its metadata, under the key `zoo`. "
              "Run one without torch:", "", "```sh", "pip install zoo-core"]  # fmt: skip
    lines += [f"zoo run {_example(name, signature)}" for name, signature in header.graphs.items()
              if signature.can_sample or signature.maps_images]  # fmt: skip
    return "\n".join([*lines, "```", ""])


def _example(name: str, signature: Signature) -> str:
    """Return what to type after ``zoo run``, in the folder of the bundle."""
    if signature.can_sample:
        labels = any(port.kind == "label" for port in signature.inputs)
        return f"{name}.onnx {'--class all' if labels else '-n 16'} -o grid.png"
    domain = translates_to(signature)
    return f". photos/ --to {domain} -o {domain}/" if domain else f"{name}.onnx photo.png -o out/"
