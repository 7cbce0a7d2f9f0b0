"""A folder with everything that a trained model needs to be used elsewhere.

One ``.onnx`` a graph and form, ``manifest.json``, the weights, references to check the files by, a
card and pictures. All of it is made and verified in a folder beside, and only then moved in.
"""

from __future__ import annotations

import glob
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo import pictures
from zoo.atomic import naming, write_json, write_text
from zoo.errors import NotFoundError, PluginError, UsageError, ZooError
from zoo.export.account import versions
from zoo.export.card import card
from zoo.export.form import Form
from zoo.export.leaf import Leaf, Press
from zoo.export.material import Material
from zoo.export.onnx import annotate
from zoo.export.outcome import Bundle, Judge, Judgement
from zoo.manifest import MANIFEST, Facts, facts_of, read_manifest
from zoo.model.drawing import overview, samplers
from zoo.model.weights import Header, Trained
from zoo.ports import as_word
from zoo.runtime.description import SCHEMA, Description
from zoo.runtime.reference import FOLDER, write_reference
from zoo.runtime.session import open_session

GRAPH_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
WEIGHTS = "model.safetensors"
PICTURES = "pictures"
CARD = "README.md"
STALE = 3600.0  # seconds after which nobody works on a folder any more
PLAIN = Form()
NOTHING = Material()


def export_bundle(
    trained: Trained,
    folder: Path,
    form: Form = PLAIN,
    *,
    material: Material = NOTHING,
    judge: Judge | None = None,
    most_loss: float = 0.0,
    report: Callable[[str], object] = str,
) -> Bundle:
    """Export every graph of a model into a folder.

    Args:
        trained: the model and what its weight file says.
        folder: made where it is missing. What an earlier export of the same weights left there
            stays beside the new files; that of other weights goes.
        form: in which the graphs leave.
        material: pictures to make and measure smaller files with.
        judge: measures how good the model is with smaller files.
        most_loss: of a smaller file, in percent: of an output's range, and of such a figure.
        report: told what is done next; what it raises ends the export, and nothing is written.

    Raises:
        PluginError: a graph's name cannot be the name of a file.
        UsageError: a graph cannot have that form, or the folder holds what is not this model's.
        ZooError: a graph cannot be exported, does not verify or loses too much; the folder is as
            it was.
    """
    _check_names(trained)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and not folder.is_dir():
        raise ZooError(f"{folder} is a file", hint="-o another-folder")
    earlier = _earlier(folder, trained.header)
    _remove_stale(folder)
    with _private_folders(folder) as (building, scratch):
        weights = building / WEIGHTS
        shutil.copyfile(trained.path, weights)
        press = Press(trained, form, facts_of(weights)["sha256"], material, most_loss)
        leaves = {}
        for name in trained.model.graphs():
            report(f"exporting {name}")
            path = building / file_name(trained.header, name, form)
            with naming(path):
                leaves[name] = press.write(name, path, scratch)
        judgements: Sequence[Judgement] = ()
        if form.is_reduced and judge is not None:
            report("measuring the model with these files")
            judgements = judge({name: open_session(leaf.path) for name, leaf in leaves.items()})
            leaves = _with_judgements(leaves, judgements, most_loss)
        _add_the_rest(trained, leaves, form, building, earlier, folder)
        report("")
        files, removed = _move(building, folder, _files_of(earlier))
        return Bundle(files, removed, leaves, judgements)


@contextmanager
def _private_folders(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield two temporary folders beside an export's, which errors of the disk do not name."""
    with naming(folder), ExitStack() as stack:
        made = []
        for _ in range(2):
            prefix = f".{folder.name[:80]}."
            path = Path(tempfile.mkdtemp(prefix=prefix, suffix=".part", dir=folder.parent))
            stack.callback(shutil.rmtree, path, ignore_errors=True)
            made.append(path)
        yield made[0], made[1]


def file_name(header: Header, graph: str, form: Form) -> str:
    """Return what a graph's file is called: ``vae-fashion-mnist.decode.uint8.onnx``."""
    words = "-".join(filter(None, (as_word(header.model), as_word(header.data.name))))
    return f"{words}.{graph}{form.suffix}.onnx"


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


def _with_judgements(
    leaves: Mapping[str, Leaf], judgements: Sequence[Judgement], most_loss: float
) -> dict[str, Leaf]:
    """Write into the files how good the model is with them.

    Raises:
        ZooError: it is worse by more than it may be.
    """
    for each in judgements:
        if each.loss is not None and not each.loss <= most_loss:
            raise ZooError(
                f"with these files {each.name} becomes {each.files:.4g} from {each.model:.4g}, "
                f"{each.loss:.2g} % worse, more than {most_loss:g} %",
                hint="--half, which loses less; or --max-quality-loss PERCENT; no file was written",
            )
    told = {}
    for name, leaf in leaves.items():
        quality = {
            each.name: {"float32": each.model, "this": each.files}
            for each in judgements
            if name in each.graphs
        }
        about = replace(leaf.about, quality=quality)
        annotate(leaf.path, about)
        told[name] = replace(leaf, about=about)
    return told


def _add_the_rest(
    trained: Trained, leaves: Mapping[str, Leaf], form: Form, building: Path,
    earlier: Mapping[str, Any], folder: Path,
) -> None:  # fmt: skip
    """Add references, pictures, card and manifest to the files in `building`."""
    model, header = trained.model, trained.header
    (building / FOLDER).mkdir()
    entries: dict[str, Facts] = {}
    for name, leaf in leaves.items():
        reference = building / FOLDER / f"{leaf.path.stem}.npz"
        write_reference(reference, leaf.examples)
        told = facts_of(reference) | {"file": f"{FOLDER}/{reference.name}"}
        entries[f"{name}{form.suffix}"] = {
            **facts_of(leaf.path), "reference": told, "description": leaf.about.to_json(),
        }  # fmt: skip
    for name in samplers(model):
        (building / PICTURES).mkdir(exist_ok=True)
        pictures.write_png(building / PICTURES / f"{name}.png", overview(model, name, {}))
    weights = facts_of(building / WEIGHTS)
    if earlier.get("weights") == weights:
        there = {key: each for key, each in earlier["files"].items()
                 if (folder / each["file"]).is_file()}  # fmt: skip
        entries = there | entries
    write_text(building / CARD, card(header, _descriptions(entries)))
    facts = {key: value for key, value in header.to_json().items() if key != "graphs"}
    manifest = {**facts, "schema": SCHEMA, "weights": weights, "files": entries}
    write_json(building / MANIFEST, {**manifest, "written_by": versions()})


def _move(building: Path, folder: Path, listed: set[str]) -> tuple[list[Path], list[Path]]:
    """Move the files into the folder, the manifest last, and remove those of other weights.

    Args:
        building: where the files are.
        folder: where they go.
        listed: files of an earlier export there.

    Returns:
        The files, and those that were removed.
    """
    new = [path.relative_to(building) for path in building.rglob("*") if path.is_file()]
    new.sort(key=lambda path: (path.name == MANIFEST, path.suffix != ".onnx", path))
    wanted = _files_of(read_manifest(building))
    folder.mkdir(exist_ok=True)
    for path in new:
        (folder / path).parent.mkdir(exist_ok=True)
        (building / path).replace(folder / path)
    removed = [folder / name for name in sorted(listed - wanted) if (folder / name).is_file()]
    for path in removed:
        path.unlink()
    return [folder / path for path in new], removed


def _remove_stale(folder: Path) -> None:
    """Remove what an export into the folder left that was killed hours ago."""
    for left in folder.parent.glob(f".{glob.escape(folder.name[:80])}.*.part"):
        with suppress(OSError):
            if left.is_dir() and time.time() - left.stat().st_mtime > STALE:
                shutil.rmtree(left)


def _earlier(folder: Path, header: Header) -> Mapping[str, Any]:
    """Return the manifest of an earlier export of the model; an empty one where there is none.

    That of another schema lists files, and none of them can stay.

    Raises:
        UsageError: the folder holds another model's export, or files that are not an export's.
        NotFoundError: the manifest is damaged.
    """
    for inner in (folder / FOLDER, folder / PICTURES):
        if inner.is_symlink() or inner.is_file():
            raise ZooError(f"{inner} is a link or a file", hint="-o another-folder")
    try:
        manifest = read_manifest(folder)
        if manifest.get("schema") != SCHEMA:
            return {"files": manifest["files"], "weights": None}
        _descriptions(manifest["files"])
    except FileNotFoundError:
        for name in (CARD, WEIGHTS):
            if (folder / name).exists():
                raise UsageError(
                    f"{folder / name} is there already, and not of an export",
                    hint="-o another-folder",
                ) from None
        return {"files": {}, "weights": None}
    except ValueError as problem:
        raise NotFoundError(
            f"{folder / MANIFEST} is damaged: {problem}", hint="-o another-folder"
        ) from None
    ours = header.distribution, header.model
    theirs = manifest.get("distribution"), manifest.get("model")
    if theirs != ours:
        raise UsageError(
            f"{folder} holds an export of {':'.join(map(str, theirs))[:100]}",
            hint="-o another-folder",
        )
    return manifest


def _files_of(manifest: Mapping[str, Any]) -> set[str]:
    """Return the graphs' files, and their references, that a manifest lists."""
    paths = [Path(entry["file"]) for entry in manifest["files"].values()]
    onnx = [path for path in paths if path.suffix == ".onnx"]
    return {path.name for path in onnx} | {f"{FOLDER}/{path.stem}.npz" for path in onnx}


def _descriptions(entries: Mapping[str, Any]) -> dict[str, Description]:
    """Return what each file says of itself, by file."""
    return {
        entry["file"]: Description.from_json(entry.get("description")) for entry in entries.values()
    }
