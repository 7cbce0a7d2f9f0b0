"""`zoo show FILE`: what an exported file says of itself, and what is in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.output import print_json, print_table
from zoo.errors import NotFoundError
from zoo.messages import say

if TYPE_CHECKING:
    from zoo.identity import Description
    from zoo.ports import DataSpec, Port
    from zoo.runtime.summary import Summary

MOST_NAMES = 5  # of classes that are shown
MOST_OPERATORS = 12  # kinds that are shown; --json has all

Row = tuple[str, str]


def is_place(word: str) -> bool:
    """Whether a word means a file or a folder, not a model, whether it is there or not.

    A bare name may be both a model and the folder of its export; it is the model then, and
    ``./NAME`` the folder.
    """
    if any(separator in word for separator in (os.sep, os.altsep) if separator):
        return True
    if ":" in word:
        return False
    if "." in word:
        return True
    from zoo.catalog.lookup import installed_models
    from zoo.manifest import MANIFEST

    path = Path(word)
    try:
        is_bundle = (path / MANIFEST).is_file() or (path.is_dir() and any(path.glob("*.onnx")))
    except OSError:  # a name that cannot be one
        return False
    return is_bundle and not any(entry.is_called(word) for entry in installed_models())


def show_place(word: str, *, as_json: bool) -> None:
    """Print what an ONNX file, or each one in a folder, says of itself."""
    path = Path(word)
    try:
        files = sorted(path.glob("*.onnx")) if path.is_dir() else []
    except OSError as problem:
        raise NotFoundError(f"{word[:60]!r}: {problem.strerror}", code="cannot-read") from None
    if not path.is_dir():
        summary = _read(path)
        if as_json:
            print_json(summary.to_json())
        else:
            _print_file(summary)
    elif files:
        _show_folder(path, files, as_json=as_json)
    else:
        below = next(iter(sorted(path.glob("*/*.onnx"))), None)
        hint = f"zoo show {below.parent}" if below else "zoo export MODEL --onnx"
        raise NotFoundError(f"{path} holds no .onnx file", hint=hint, code="file-not-found")


def _read(path: Path) -> Summary:
    """Read a file; one that is not what the manifest beside it lists is shown, and refused."""
    from zoo.manifest import check_listed, entry_of
    from zoo.runtime.summary import read_summary

    summary = read_summary(path)
    try:
        check_listed(path)
        summary.listed = entry_of(path)
    except NotFoundError as problem:
        summary.refused = f"{problem.message}: {problem.cause}"
    return summary


def _show_folder(folder: Path, files: list[Path], *, as_json: bool) -> None:
    """Print a table of the files; one that cannot be read says why in its row."""
    rows: list[tuple[str, ...]] = []
    found: list[dict[str, Any]] = []
    readable: list[Path] = []
    for path in files:
        try:
            summary = _read(path)
        except NotFoundError as problem:
            rows.append((path.name, "", "", problem.cause or problem.message))
            found.append({"file": str(path), "problem": str(problem.cause or problem.message)})
        else:
            readable.append(path)
            rows.append(_folder_row(summary))
            found.append(summary.to_json())
    if as_json:
        print_json({"folder": str(folder), "files": found})
        return
    print_table(["file", "MB", "precision", "what it takes and gives"], rows)
    say(f"all that one says: zoo show {[*readable, *files][0]}")


def _folder_row(summary: Summary) -> tuple[str, ...]:
    description = summary.description
    size = f"{summary.bytes / 1e6:,.2f}"
    if description is None:
        return summary.path.name, size, "", summary.unusable or "it does not describe itself"
    takes = description.takes.removeprefix(f"{description.graph} takes ")
    gives = description.gives.removeprefix(f"{description.graph} gives ")
    return summary.path.name, size, description.precision, f"{takes} -> {gives}"


def _print_file(summary: Summary) -> None:
    description = summary.description
    rows: Iterable[Row] = [("nothing", "zoo did not write it")]
    if description is not None:
        rows = _described(description)
    elif summary.unusable:
        rows = [("cannot be used", summary.unusable)]
    print_table(["what", "the file says of itself"], rows)
    listed = summary.listed
    if description is not None and listed is not None:
        # against a tolerance, or without one
        checked = "verified" if description.precision == "float32" else "measured"
        rows = [(f"{output} {checked}", _figures(each)) for output, each in listed.checks.items()]
        rows += [(f"{metric} with", _figures(each)) for metric, each in listed.quality.items()]
        if rows:
            click.echo()
            print_table(["what", "the manifest beside it says"], rows)
    click.echo()
    print_table(["what", "is found in it"], _read_off(summary))


def _described(description: Description) -> Iterator[Row]:
    """Yield what the file says, a line each."""
    from zoo.options import show_value
    from zoo.ports import CLASSES_ARE

    identity = description.identity
    data = identity.data
    package = f"{identity.distribution} {identity.version}"
    yield "model", f"{identity.model} of {package}, {identity.step:,} steps"
    yield "graph", description.graph
    if description.signature.is_step:
        rounds = description.signature.rounds
        yield "step of a loop", f"{rounds:,} rounds unless --rounds N" if rounds else "--rounds N"
    for side, ports in (
        ("takes", description.signature.inputs),
        ("gives", description.signature.outputs),
    ):
        for port in ports:
            words = list(_port(port))
            if side == "gives" and description.precision == "float32":  # others say what they lose
                words.append(f"within {port.tolerance:g} of the model")
            yield side, "; ".join(words)
            if port.classes:
                word = CLASSES_ARE.get(port.kind, "classes")
                yield f"{word} of {port.name}", _names(port.classes)
    licence = f"; licence {data.licence}" if data.licence else ""
    yield "trained on", f"{data.name}, {_row(data)}{licence}"
    if data.domains:
        yield "domains", _names(data.domains)
    if identity.config:
        values = {key: tuple(value) if isinstance(value, list) else value  # as JSON has it
                  for key, value in identity.config.items()}  # fmt: skip
        yield "options", ", ".join(f"{key} {show_value(each)}" for key, each in values.items())
    if identity.metrics:
        yield "validation", _figures(identity.metrics)
    yield "precision", description.precision
    yield "normalisation", "; ".join(description.normalisation) or "none"
    yield "dropout", description.dropout
    if description.weights_sha256:
        yield "sha256 of weights", description.weights_sha256
    if description.written_by:
        versions = (f"{name} {version}" for name, version in description.written_by.items())
        yield "written by", ", ".join(versions)


def _row(data: DataSpec) -> str:
    """Return what one row of the data is, without labels: ``1 × 28 × 28``."""
    rows = (" × ".join(map(str, port.shape[1:])) for port in data.ports if port.shape[1:])
    return ", ".join(dict.fromkeys(rows)) or "numbers"


def _port(port: Port) -> Iterator[str]:
    """Yield a port in words: what every port has, then what its kind has."""
    from zoo.ports import describe_port

    yield describe_port(port)
    if port.dtype != "uint8":  # which the words above have
        yield port.dtype
    if port.colours:
        yield f"{port.layout} {port.colours}"
    if port.rate:
        yield f"{port.rate:,} samples a second"


def _read_off(summary: Summary) -> Iterator[Row]:
    """Yield what the file is, a line each."""
    description = summary.description
    yield "bytes", f"{summary.bytes:,}"
    opsets = (f"{domain or 'opset'} {version}" for domain, version in summary.opsets.items())
    yield "format", ", ".join((f"ONNX IR {summary.ir_version}", *opsets))
    if summary.producer:
        yield "producer", summary.producer
    kinds = summary.operators.most_common()
    left_out = f", and {len(kinds) - MOST_OPERATORS} more" if len(kinds) > MOST_OPERATORS else ""
    shown = ", ".join(f"{count:,} {name}" for name, count in kinds[:MOST_OPERATORS])
    yield "operators", f"{summary.nodes:,}: {shown}{left_out}" if kinds else "0"
    weights = summary.weights.most_common()
    yield "constants", ", ".join(f"{size:,} bytes of {kind}" for kind, size in weights) or "none"
    if description is None:
        for side, values in (("input", summary.inputs), ("output", summary.outputs)):
            for value in values:
                yield side, f"{value.name} {value.type} ({', '.join(map(str, value.shape))})"
    if summary.refused:
        yield "zoo run refuses it", summary.refused
    elif description is None:
        yield "zoo run refuses it", "it cannot know what goes in"
    else:
        yield "runs with", f"zoo run {summary.path}"


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown}, … ({len(names)})"


def _figures(values: Mapping[str, float]) -> str:
    return ", ".join(  # a whole number may be larger than any float
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in values.items()
    )
