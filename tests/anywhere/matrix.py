"""The matrix: how far each runtime is from torch on each file, or what it says instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.anywhere.exports import Export
from tests.anywhere.runtimes import Runtime

DOCUMENT = Path(__file__).parents[2] / "docs" / "onnx.md"
MARKED = re.compile(r"(?<=<!-- table: runtimes -->\n).*?(?=<!-- end -->)", re.DOTALL)

# one grey level: a half may be rounded either way
TOLERANCE = {"float32": 1e-4, "uint8": 1.0, "int64": 0}

# What does not run, by runtime, model and graph, and what it says; in both forms.
# The reference evaluator counts the indices of a pooling of one pixel anew in every plane; the
# exporter subtracts them from those of the real one.
KNOWN: Mapping[tuple[str, str, str], str] = {
    ("ONNX reference", "conv-ae, unpool", "reconstruct"): "is out of bounds for axis 2",
    ("OpenCV dnn", "conv-ae, unpool", "reconstruct"): "constantofshape_layer.cpp",
}


@dataclass(frozen=True)
class Cell:
    """What came of one file in one runtime.

    Args:
        gap: greatest difference from torch, over all outputs and examples.
        within: whether every output is within its tolerance.
        refusal: the runtime's own words, where it did not run.
    """

    gap: float = 0.0
    within: bool = False
    refusal: str = ""


def try_out(runtime: Runtime, export: Export) -> Cell:
    """Run all examples of a file, opened once, so that the batch varies from call to call."""
    gap, within = 0.0, True
    try:
        run = runtime.open(export.path)
        for inputs, outputs in export.examples:
            found = run(dict(inputs))
            for name, wanted in outputs.items():
                _check_kind(name, wanted, found[name])
                apart = float(np.abs(found[name].astype(np.float64) - wanted).max())
                within &= apart <= TOLERANCE[wanted.dtype.name]  # not-a-number is not within
                gap = float(np.fmax(gap, apart)) if np.isfinite(apart) else np.inf
    except Exception as problem:  # what a runtime raises is its own affair
        return Cell(refusal=" ".join(str(problem).split()) or type(problem).__name__)
    return Cell(gap, within)


def _check_kind(name: str, wanted: np.ndarray, found: np.ndarray) -> None:
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        kinds = f"{found.dtype} {found.shape} instead of {wanted.dtype} {wanted.shape}"
        raise ValueError(f"{name} is {kinds}")


def is_as_known(runtime: Runtime, export: Export, cell: Cell) -> bool:
    """Whether a file runs as it should, or does not run as it is known not to."""
    known = KNOWN.get((runtime.name, export.model, export.graph))
    return cell.within if known is None else known in cell.refusal


Row = tuple[Export, Mapping[str, Cell]]  # cells by name of the runtime


def table(rows: Iterable[Row], runtimes: Sequence[Runtime]) -> str:
    """Return the matrix as Markdown, with what runtimes say in notes below it."""
    notes: list[str] = []
    names = [runtime.name for runtime in runtimes]
    lines = [
        f"| model | graph | pictures | {' | '.join(names)} |",
        f"|---|---|---|{'---:|' * len(names)}",
    ]
    for export, cells in rows:
        shown = [_shown(cells[name], name, notes) for name in names]
        lines.append(f"| {export.model} | {export.graph} | {export.form} | {' | '.join(shown)} |")
    versions = ", ".join(f"{runtime.name} {runtime.version()}" for runtime in runtimes)
    notes = [f"{number}. {note}" for number, note in enumerate(notes, start=1)]
    return "\n".join([*lines, "", f"Versions: {versions}.", *([""] if notes else []), *notes])


def _shown(cell: Cell, runtime: str, notes: list[str]) -> str:
    if not cell.refusal:
        shown = f"{cell.gap:.0e}".replace("e-0", "e-") if cell.gap % 1 else f"{cell.gap:g}"
        return shown if cell.within else f"**{shown}**"
    note = f"{runtime}: `{cell.refusal[:200]}`"
    if note not in notes:
        notes.append(note)
    return f"no ({notes.index(note) + 1})"
