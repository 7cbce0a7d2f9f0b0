"""Where results go: one picture, a grid, a folder of pictures, a file of arrays, or JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from zoo.errors import UsageError
from zoo.grids import grid
from zoo.pictures import Pixels, undo_fit, write_png
from zoo.ports import Fit, Port, Signature, is_pictorial, numbers_in_a_row
from zoo.runtime.feed import Feed, Result, port_to_pixels
from zoo.runtime.files import PIPE, write_arrays
from zoo.runtime.session import Arrays, Session

MAX_HELD = 2**27  # numbers of a grid or a file of arrays, half a gigabyte
MAX_PRINTED = 2**20  # numbers in JSON on stdout, some twenty megabytes
MOST = {"grid": MAX_HELD, "arrays": MAX_HELD, "json": MAX_PRINTED}
NAMES = (
    "names"  # of the array in an .npz file, and of the list in JSON, that says which row is which
)


@dataclass(frozen=True)
class Target:
    """What is written, and where; `path` is None for standard output.

    A grid has as many `columns` as there are rows of a class, and a label for each class; None and
    none for a square.
    """

    kind: Literal["picture", "grid", "folder", "arrays", "json"]
    path: Path | None = None
    columns: int | None = None
    labels: tuple[str, ...] = ()


def choose_target(session: Session, feed: Feed, output: str | None) -> Target:
    """Decide what is written, and where.

    Args:
        session: the graph.
        feed: what goes in.
        output: what the user asked for: ``x.png``, ``x.npz`` or a folder; ``-`` for what would
            be in ``x.png`` or, where no pictures come out, ``x.npz``, to standard output; None
            for a grid or folder named like the graph's file, or JSON where no pictures come out.

    Raises:
        UsageError: the graph does not give that, it would not fit, or an input would be lost.
    """
    target = _decide(session, feed, output)
    outputs = session.description.signature.outputs
    held = outputs[:1] if target.kind == "grid" else outputs
    numbers = feed.count * sum(map(numbers_in_a_row, held))
    if numbers > MOST.get(target.kind, numbers):
        instead = "-o folder/" if is_pictorial(outputs[0]) else "-o codes.npz, in parts"
        where = "JSON" if target.kind == "json" else f"one file, {_destination(output)}"
        raise UsageError(f"{feed.count} rows are too many for {where}", hint=instead)
    if target.kind == "picture" and feed.count > 1:
        raise UsageError(
            f"{feed.count} pictures do not go into one file, {_destination(output)}",
            hint=f"-o {session.path.stem}/",
        )
    _protect_inputs(feed, target)
    return target


def write_results(
    results: Iterable[Result], port: Port, target: Target, pipe: BinaryIO, fit: Fit | None = None
) -> list[Path]:
    """Write results, those for a folder as they come, and return the files.

    Args:
        results: of all batches.
        port: the first output, which pictures are made of.
        target: anything but JSON.
        pipe: standard output.
        fit: how the pictures that went in were brought to size, where what comes out is to have
            their own size again.
    """
    if target.kind == "folder":
        assert target.path is not None
        return [
            _write(target.path / f"{name}.png", pixels)
            for result in results
            for name, pixels in zip(result.names, _pictures(result, port, fit), strict=True)
        ]
    if target.kind == "arrays":
        names, values = join_results(results, MAX_HELD)
        if target.path:
            target.path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(target.path or pipe, {NAMES: np.array(names), **values})
        return [target.path] if target.path else []
    pictures = [each for result in results for each in _pictures(result, port, fit)]
    _require_one_size([each.shape for each in pictures])
    page = pictures[0]
    if target.kind == "grid":
        page = grid(np.stack(pictures), target.columns, target.labels)
    if target.path is None:
        write_png(pipe, page)
        return []
    return [_write(target.path, page)]


def join_results(results: Iterable[Result], most: int) -> tuple[list[str], Arrays]:
    """Join all batches: the names, and the outputs by port name, a row each.

    Raises:
        UsageError: the rows have different sizes, or hold more than `most` numbers in all.
    """
    whole, numbers = [], 0
    for result in results:
        numbers += sum(array.size for array in result.outputs.values())
        if numbers > most:  # known only now, where the graph leaves a size open
            raise UsageError(
                f"the results are too large for one file: more than {most:,} numbers",
                hint="fewer or smaller inputs at once",
            )
        whole.append(result)
    names = [name for result in whole for name in result.names]
    joined: Arrays = {}
    for port in whole[0].outputs:
        parts = [result.outputs[port] for result in whole]
        _require_one_size([part.shape[1:] for part in parts])
        joined[port] = np.concatenate(parts)
    return names, joined


def _decide(session: Session, feed: Feed, output: str | None) -> Target:
    pictures_come_out = is_pictorial(session.description.signature.outputs[0])
    stem = session.path.stem  # never a name from inside the file
    if output is None:
        if not pictures_come_out:
            return Target("json")
        return Target("folder", Path(stem)) if feed.pictures else _grid(Path(f"{stem}.png"), feed)
    if output == PIPE:
        if not pictures_come_out:
            return Target("arrays")
        return Target("picture") if feed.pictures else _grid(None, feed)
    path = Path(output)
    suffix = path.suffix.lower()
    is_folder = path.is_dir() or output.endswith((os.sep, "/")) or not suffix
    if suffix == ".npz" and not is_folder:
        return Target("arrays", path)
    if not is_folder and suffix != ".png":
        raise UsageError(
            f"-o {output}: pictures are written as .png or into a folder, numbers as .npz",
            hint=f"-o {output}/ for a folder",
        )
    if not pictures_come_out:
        raise UsageError(
            f"-o {output}: no pictures come out; {session.description.gives}",
            hint="-o codes.npz, or no -o for JSON",
        )
    if is_folder:
        return Target("folder", path)
    return Target("picture", path) if feed.pictures else _grid(path, feed)


def _grid(path: Path | None, feed: Feed) -> Target:
    """Return a square of rows or, where there are several classes, a line for each."""
    classes = len(feed.classes)
    if classes < 2:
        return Target("grid", path)
    return Target("grid", path, feed.count // classes, feed.labels)


def _protect_inputs(feed: Feed, target: Target) -> None:
    if target.path is None:
        return
    written: Iterable[Path] = [target.path]
    if target.kind == "folder":
        written = (target.path / f"{picture.name}.png" for picture in feed.pictures)
    there = [path for path in written if path.exists()]
    if not there:
        return
    inputs = {source.path.resolve() for source in feed.sources if source.content is None}
    for path in there:
        if path.resolve() in inputs:
            raise UsageError(f"{path} is an input and would be overwritten", hint="another -o")


def keeps_size(signature: Signature, port: Port) -> bool:
    """Whether the first output is a picture of the size of an input port."""
    output = signature.outputs[0]
    return is_pictorial(output) and output.image_size == port.image_size


def _pictures(result: Result, port: Port, fit: Fit | None) -> Sequence[Pixels]:
    """Return outputs as pixels (H, W, C), of the size of the input pictures if `fit` is given."""
    pixels = port_to_pixels(result.outputs[port.name], port)
    if fit is None or not result.originals:
        return list(pixels)
    return [
        undo_fit(each, original.height, original.width, fit)
        for each, original in zip(pixels, result.originals, strict=True)
    ]


def _write(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, pixels)
    return path


def _require_one_size(shapes: Sequence[tuple[int, ...]]) -> None:
    if len(set(shapes)) > 1:
        raise UsageError(
            "the results have different sizes", hint="-o folder/ writes each by itself"
        )


def _destination(output: str | None) -> str:
    return "standard output" if output == PIPE else str(output)
