"""Decides what is written of the results of a graph, and where."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zoo.errors import UsageError
from zoo.loops import shown_rounds
from zoo.ports import is_pictorial, numbers_in_a_row
from zoo.runtime.inputs import PIPE, Feed
from zoo.runtime.session import Session

MAX_HELD = 2**27  # numbers of a grid or a file of arrays, half a gigabyte
MAX_PRINTED = 2**20  # numbers in JSON on stdout, some twenty megabytes
MOST = {"json": MAX_PRINTED} | dict.fromkeys(("grid", "arrays", "animation", "strip"), MAX_HELD)


@dataclass(frozen=True)
class Target:
    """What is written, and where; `path` is None for standard output.

    A grid has as many `columns` as there are rows of a class, and a label for each class; None and
    none for a square. An animation is of such grids, and a strip has a line for each row: these
    two show some rounds of a loop.
    """

    kind: Literal["picture", "grid", "folder", "arrays", "json", "animation", "strip"]
    path: Path | None = None
    columns: int | None = None
    labels: tuple[str, ...] = ()
    shown: tuple[int, ...] = ()


def choose_target(
    session: Session,
    feed: Feed,
    output: str | None,
    rounds: int | None = None,
    every: int | None = None,
) -> Target:
    """Decide what is written, and where.

    `output` is what the user asked for: ``x.png``, ``x.webp``, ``x.npz`` or a folder; ``-`` for
    what would be in ``x.png`` or, where no pictures come out, ``x.npz``, to standard output; None
    for a grid or folder named like the graph's file, or JSON where no pictures come out. `every` so
    many of the rounds of a loop are shown, in a strip or an animation.

    Raises:
        UsageError: the graph does not give that, it would not fit, or an input would be lost.
    """
    target = _decide(session, feed, output)
    if target.kind == "animation" or every is not None:
        target = _of_rounds(target, feed, rounds, every)
    outputs = session.description.signature.outputs
    held = outputs[:1] if target.kind in {"grid", "animation", "strip"} else outputs
    numbers = feed.count * sum(map(numbers_in_a_row, held)) * max(1, len(target.shown))
    if numbers > MOST.get(target.kind, numbers):
        instead = "-o folder/" if is_pictorial(outputs[0]) else "-o codes.npz, in parts"
        where = "JSON" if target.kind == "json" else f"one file, {_destination(output)}"
        raise UsageError(
            f"{feed.count} rows are too many for {where}", hint=instead, code="too-many"
        )
    if target.kind == "picture" and feed.count > 1:
        raise UsageError(
            f"{feed.count} pictures do not go into one file, {_destination(output)}",
            hint=f"-o {session.path.stem}/",
            code="bad-output",
        )
    _protect_inputs(feed, target)
    return target


def _decide(session: Session, feed: Feed, output: str | None) -> Target:
    pictures_come_out = is_pictorial(session.description.signature.outputs[0])
    stem = session.path.stem  # never a name from inside the file
    if output in {None, PIPE} and not pictures_come_out:
        return Target("json" if output is None else "arrays")
    if output is None:
        return Target("folder", Path(stem)) if feed.pictures else _grid(Path(f"{stem}.png"), feed)
    if output == PIPE:
        return Target("picture") if feed.pictures else _grid(None, feed)
    path = Path(output)
    suffix = path.suffix.lower()
    is_folder = path.is_dir() or output.endswith((os.sep, "/")) or not suffix
    if suffix == ".npz" and not is_folder:
        return Target("arrays", path)
    if not is_folder and suffix not in {".png", ".webp"}:
        raise UsageError(
            f"-o {output}: pictures are written as .png or into a folder, numbers as .npz, the "
            "rounds of a loop as .webp",
            hint=f"-o {output}/ for a folder",
            code="bad-output",
        )
    if not pictures_come_out:
        raise UsageError(
            f"-o {output}: no pictures come out; {session.description.gives}",
            hint="-o codes.npz, or no -o for JSON",
            code="bad-output",
        )
    if is_folder:
        return Target("folder", path)
    if suffix == ".webp":
        return replace(_grid(path, feed), kind="animation")
    return Target("picture", path) if feed.pictures else _grid(path, feed)


def _of_rounds(target: Target, feed: Feed, rounds: int | None, every: int | None) -> Target:
    """Return the animation of a loop with its rounds, or the strip in the place of a picture."""
    if rounds is None:
        what = ".webp" if target.kind == "animation" else "--every"
        raise UsageError(
            f"{what} shows the rounds of a loop, and this graph is run once", code="does-not-apply"
        )
    if target.kind == "animation":
        return replace(target, shown=shown_rounds(rounds, every))
    if target.kind not in {"picture", "grid"}:
        raise UsageError(
            "--every shows rounds in a .png, side by side, or in a .webp, one after the other",
            hint="-o rounds.png, or -o rounds.webp",
            code="bad-output",
        )
    each = feed.count // max(1, len(target.labels))
    labels = tuple(label for label in target.labels for _ in range(each))
    return Target("strip", target.path, None, labels, shown_rounds(rounds, every))


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
    inputs = {file.path.resolve() for file in feed.files if file.content is None}
    for path in written:
        if path.exists() and path.resolve() in inputs:
            raise UsageError(
                f"{path} is an input and would be overwritten", hint="another -o", code="bad-output"
            )


def _destination(output: str | None) -> str:
    return "standard output" if output == PIPE else str(output)
