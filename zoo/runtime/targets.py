"""Decides what is written of the results of a graph, and where."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from zoo.errors import UsageError
from zoo.loops import is_sequence, shown_rounds
from zoo.modalities import modality_of
from zoo.ports import Port, is_pictorial, numbers_in_a_row
from zoo.runtime.inputs import PIPE, Feed
from zoo.runtime.session import Session

MAX_HELD = 2**27  # numbers of a grid or a file of arrays, half a gigabyte
MAX_PRINTED = 2**20  # numbers in JSON on stdout, some twenty megabytes
MAX_TABLE = 2**24  # numbers of a table, which can be read again: 16 bytes each are 2**28
IN_ONE = ("grid", "file", "arrays", "animation", "strip")  # files that hold all rows
MOST = dict.fromkeys(("json", "text"), MAX_PRINTED) | dict.fromkeys(IN_ONE, MAX_HELD)
MOST |= {"table": MAX_TABLE}


@dataclass(frozen=True)
class Target:
    """What is written, and where; `path` is None for standard output.

    A grid shows all rows in one picture. It has as many `columns` as there are rows of a class, and
    a label for each class; None and none for a square. An animation is of such grids, and a strip
    has a line for each row: these two show some rounds of a loop. A file is of the rows' own kind,
    such as a WAV, and holds them all; a folder has one for each. A table has a line for each.
    Text goes to the terminal.
    """

    kind: Literal[
        "picture", "grid", "file", "folder", "arrays", "table", "json", "text", "animation", "strip"
    ]
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

    `output` is what the user asked for: ``x.png``, ``x.wav`` or ``x.txt`` as results are sounds or
    text, ``x.webp``, ``x.npz``, ``x.csv`` or a folder; ``-`` for the content of such a file to
    standard output, which is ``x.npz`` where results are but numbers; None for a grid or folder
    named like the graph's file, printed text, or JSON where results are numbers. `every` so many of
    the rounds of a loop are shown, in a strip or an animation.

    Raises:
        UsageError: the graph does not give that, it would not fit, or an input would be lost.
    """
    target = _decide(session, feed, output)
    first = session.description.signature.outputs[0]
    if target.kind == "animation" or every is not None:
        if rounds is not None and is_sequence(first):
            raise UsageError(
                f"--every and .webp show what each round makes better; the rounds of {first.name} "
                "follow one another",
                code="does-not-apply",
            )
        target = _of_rounds(target, feed, rounds, every)
    outputs = session.description.signature.outputs
    held = outputs if target.kind in {"arrays", "json"} else outputs[:1]
    each = sum(numbers_in_a_row(port) * _parts(port, rounds) for port in held)
    numbers = feed.count * each * max(1, len(target.shown))
    if numbers > MOST.get(target.kind, numbers):
        instead = "-o folder/" if _has_files(outputs[0]) else "-o codes.npz, in parts"
        where = {"json": "JSON", "text": "the terminal"}.get(
            target.kind, f"one file, {_destination(output)}"
        )
        raise UsageError(
            f"{feed.count} rows are too many for {where}", hint=instead, code="too-many"
        )
    if target.kind == "picture" and feed.count > 1:
        raise UsageError(
            f"{feed.count} pictures do not go into one file, {_destination(output)}",
            hint=f"-o {session.path.stem}/",
            code="bad-output",
        )
    _protect_inputs(feed, target, modality_of(outputs[0]).suffix)
    return target


def _parts(port: Port, rounds: int | None) -> int:
    """Return how many rounds of a loop follow one another in what comes out at a port."""
    return (rounds or 1) if is_sequence(port) else 1


def _has_files(port: Port) -> bool:
    """Whether each row of a port can be a file, such as a picture."""
    modality = modality_of(port)
    return bool(modality.suffix) and modality.presents(port)


def _decide(session: Session, feed: Feed, output: str | None) -> Target:
    port = session.description.signature.outputs[0]
    if not modality_of(port).presents(port):
        return _of_numbers(session, output, modality_of(port).suffix)
    if output in {None, PIPE}:
        return _usual(port, session.path.stem, feed, piped=output == PIPE)
    assert output is not None
    path = Path(output)
    suffix, own = path.suffix.lower(), modality_of(port).suffix
    if path.is_dir() or output.endswith((os.sep, "/")) or not suffix:
        if not own:
            raise UsageError(
                f"-o {output}: {modality_of(port).items} have no files of their own",
                hint="-o x.png, or x.npz",
                code="bad-output",
            )
        return Target("folder", path)
    if suffix == ".npz":
        return Target("arrays", path)
    if suffix == ".png":
        return Target("picture", path) if _makes_photos(port, feed) else _grid(path, feed)
    if suffix == ".webp":
        return replace(_grid(path, feed), kind="animation")
    if suffix == own:
        return Target("file", path)
    files = "" if own in {"", ".png"} else f"{modality_of(port).items} are written as {own}, "
    raise UsageError(
        f"-o {output}: {files}pictures as .png, numbers as .npz, the rounds of a loop as .webp, "
        "each row by itself into a folder",
        hint=f"-o {output}/ for a folder",
        code="bad-output",
    )


def _of_numbers(session: Session, output: str | None, own: str) -> Target:
    """Return where results go that are but numbers; `own` is the suffix of a table of them."""
    if output is None:
        return Target("json")
    if output == PIPE:
        return Target("arrays")
    path = Path(output)
    suffix = "" if path.is_dir() or output.endswith(os.sep) else path.suffix.lower()
    if suffix == ".npz":
        return Target("arrays", path)
    if suffix and suffix == own:
        return Target("table", path)
    raise UsageError(
        f"-o {output}: no pictures come out; {session.description.gives}",
        hint=f"-o codes.npz{own and f', -o codes{own}'}, or no -o for JSON",
        code="bad-output",
    )


def _usual(port: Port, stem: str, feed: Feed, *, piped: bool) -> Target:
    """Return where results go when no file is named; `stem` is never a name from inside a file."""
    modality = modality_of(port)
    if _makes_photos(port, feed):
        return Target("picture") if piped else Target("folder", Path(stem))
    if modality.suffix in {"", ".png"}:
        return _grid(None if piped else Path(f"{stem}.png"), feed)
    if piped:
        return Target("file")
    return Target("text") if modality.printed else Target("folder", Path(stem))


def _makes_photos(port: Port, feed: Feed) -> bool:
    """Whether pictures are made of pictures, each by its own name."""
    return bool(feed.pictures) and is_pictorial(port)


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


def _protect_inputs(feed: Feed, target: Target, suffix: str) -> None:
    if target.path is None:
        return
    written: Iterable[Path] = [target.path]
    if target.kind == "folder":
        written = (target.path / f"{picture.name}{suffix}" for picture in feed.pictures)
    inputs = {file.path.resolve() for file in feed.files if file.content is None}
    for path in written:
        if path.exists() and path.resolve() in inputs:
            raise UsageError(
                f"{path} is an input and would be overwritten", hint="another -o", code="bad-output"
            )


def _destination(output: str | None) -> str:
    return "standard output" if output == PIPE else str(output)
