"""The gate again, later and elsewhere: a file against what it gave when it left; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zoo.errors import NotFoundError, ZooError
from zoo.manifest import MANIFEST, check_listed, entry_of, facts_of, read_manifest
from zoo.ports import Port
from zoo.runtime.bundles import open_graph
from zoo.runtime.description import Description
from zoo.runtime.reading import read_description
from zoo.runtime.reference import FOLDER, Gap, measure, read_reference

LIMIT = "most_loss_percent"  # in the checks of a file of reduced precision


def files_in(folder: Path) -> list[Path]:
    """Return the exported files that the manifest of a folder lists.

    Raises:
        NotFoundError: there is no manifest, or it is damaged.
    """
    try:
        files = read_manifest(folder)["files"]
    except (OSError, ValueError) as problem:
        raise NotFoundError(
            f"{folder} is no folder that zoo export wrote",
            cause=f"its {MANIFEST} is missing or damaged: {problem}",
            hint="zoo export MODEL --onnx",
        ) from None
    return [folder / entry["file"] for entry in files.values()]


def recheck(path: Path) -> dict[str, Gap]:
    """Run an exported file on its reference inputs and compare what comes out.

    Args:
        path: an ``.onnx`` file in the folder that ``zoo export`` wrote.

    Returns:
        How far each output is from the reference, which is what the model gave in torch.

    Raises:
        NotFoundError: the file or its reference is missing, damaged or another one.
        ZooError: it is not valid ONNX, or an output differs by more than it may.
    """
    session = open_graph(path)  # holds the file against the manifest
    about = session.description
    check_onnx(path)
    inputs, outputs = about.signature.inputs, about.signature.outputs
    examples = read_reference(_reference_of(path), inputs, outputs)
    found = [session.run(example.inputs) for example in examples]
    gaps = {}
    for example, each in zip(examples, found, strict=True):
        if any(each[port.name].shape != example.outputs[port.name].shape for port in outputs):
            raise NotFoundError(
                f"{_reference_of(path)} does not hold as many rows of what comes out as go in",
                cause="it is damaged, or was exchanged together with the manifest",
                hint="zoo export MODEL --onnx",
            )
    for port in outputs:
        pairs = [(example.outputs[port.name], each[port.name])
                 for example, each in zip(examples, found, strict=True)]  # fmt: skip
        gaps[port.name] = gap = measure(port, pairs)
        problem = too_far(about, port, gap)
        if problem:
            raise ZooError(
                f"{path} does not do here what it did when it was exported: {problem}",
                cause="another version of ONNX Runtime, or a fault of this machine",
                hint="update onnxruntime; the manifest says with which version it was written",
            )
    return gaps


def too_far(about: Description, port: Port, gap: Gap) -> str:
    """Return in words by how much an output differs more than it may, or nothing.

    A float file may differ by the port's tolerance, a reduced one by the loss it was allowed.
    """
    if about.precision == "float32":
        if gap.greatest <= port.tolerance:
            return ""
        return f"output {port.name!r} differs by {gap.greatest:.3g}, more than {port.tolerance:g}"
    most = about.checks.get(port.name, {}).get(LIMIT, 0.0)
    if gap.loss <= most:
        return ""
    return f"output {port.name!r} loses {gap.loss:.3g} %, more than {most:g} %"


def check_onnx(path: Path) -> None:
    """Hold a file against the standard, where the package onnx is installed.

    Raises:
        ZooError: the file is not valid ONNX.
    """
    try:
        import onnx  # noqa: PLC0415 - not needed to run a file
    except ImportError:
        return
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as problem:
        raise ZooError(f"{path.name} is not valid ONNX: {problem}") from problem


def _reference_of(path: Path) -> Path:
    """Return the reference beside a file, as the manifest lists it.

    Raises:
        NotFoundError: there is none, or it is not the one that was written with the file.
    """
    reference = path.parent / FOLDER / f"{path.stem}.npz"
    wanted = (entry_of(path) or {}).get("reference")
    is_there = reference.is_file()
    if not (is_there and isinstance(wanted, dict)) or (
        wanted.get("sha256") != facts_of(reference)["sha256"]
    ):
        raise NotFoundError(
            f"{path} cannot be checked: {_why(reference, wanted)}",
            cause="a file is checked in the folder that it was exported to, or a copy of it all",
            hint="zoo export MODEL --onnx",
        )
    return reference


def _why(reference: Path, wanted: object) -> str:
    if not isinstance(wanted, dict):
        return f"no {MANIFEST} beside it tells of its reference"
    return f"{reference} is {'another' if reference.is_file() else 'not there'}"


def check_weights(folder: Path) -> str:
    """Hold the weights of a bundle, which its files do not need, against the manifest.

    Returns:
        A note where they are not there; else nothing.

    Raises:
        NotFoundError: they are others.
    """
    path = folder / "model.safetensors"
    if not path.is_file():
        return f"note: {path} is not there; the files do without it"
    check_listed(path)
    return ""


def in_words(path: Path, gaps: Mapping[str, Gap]) -> str:
    """Return how far each output of a file was off, and how far it may be."""
    about = read_description(path)
    assert about is not None  # it has been run
    words = []
    for port in about.signature.outputs:
        gap = gaps[port.name]
        if about.precision == "float32":
            words.append(f"{port.name} differs by {gap.greatest:.2g}, at most {port.tolerance:g}")
        else:
            most = about.checks[port.name][LIMIT]
            words.append(f"{port.name} loses {gap.loss:.2g} %, at most {most:g} %")
    return "; ".join(words)
