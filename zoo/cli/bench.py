"""`zoo bench`: how fast exported files are."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.api.data import read_size
from zoo.cli.arguments import json_option, session_options
from zoo.cli.output import print_json, print_table
from zoo.errors import UsageError
from zoo.messages import say

if TYPE_CHECKING:
    from zoo.runtime.session import Session
    from zoo.runtime.timing import Timing

    Measured = tuple[Session, Timing]

MOST_BATCH = 4096


def _batches(_: Any, __: Any, text: str | None) -> list[int | None]:
    """Read ``1,64``; one batch of no given size, when not given."""
    if text is None:
        return [None]
    words = text.split(",")
    if not all(word.isdecimal() and 0 < int(word) <= MOST_BATCH for word in words):
        raise UsageError(
            f"--batch {text[:40]}: numbers from 1 to {MOST_BATCH}, with commas",
            hint="--batch 1,64",
            code="bad-value",
        )
    return [int(word) for word in words]


@click.command("bench")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--batch", "batches", callback=_batches, metavar="N,...",
              help="Rows of a batch. [default: what a FILE fixes, else 1]")  # fmt: skip
@click.option("--size", metavar="N|HxW", help="Of pictures, where FILE leaves it open.")
@click.option("--repeat", type=click.IntRange(1, 100_000), default=100, show_default=True,
              help="Runs that are timed.")  # fmt: skip
@click.option("--warmup", type=click.IntRange(1, 1000), default=5, show_default=True,
              help="Runs before these.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the inputs.")
@session_options
@json_option
def verb(
    files: tuple[str, ...],
    batches: list[int | None],
    size: str | None,
    repeat: int,
    warmup: int,
    seed: int,
    as_json: bool,
    **session_options: Any,
) -> None:
    """Measure how fast exported files run; needs no torch and no plugin.

    Inputs are drawn. Printed are the milliseconds that 50, 90 and 99 of a hundred runs take at
    most, and rows (pictures) a second. Several files take 5 turns of a fifth of their runs each, so
    that they can be compared whatever else the machine does; the last column is their speed
    against the first. What one of them fixes, rows of a batch or the size of pictures, is taken for
    those that leave it open; where that still differs from the first file's, there is no speed.

    \b
    zoo bench clothes.decode.onnx --batch 1,64
    zoo bench faces.generate.onnx faces.generate.int8.onnx --batch 64 --threads 1
    zoo bench horses.horse_to_zebra.onnx --size 256x256 --repeat 20
    """  # noqa: D301 - click takes a real backspace for "do not wrap"
    from zoo.runtime.bundles import open_graph
    from zoo.runtime.engine import bounded_memory
    from zoo.runtime.session import open_session
    from zoo.runtime.timing import measure_speed

    opened = partial(open_session, **session_options)
    timed = partial(measure_speed, size=read_size(size), repeat=repeat, warmup=warmup, seed=seed)
    found: list[Measured] = []
    with bounded_memory():  # as in `zoo run`
        sessions = [open_graph(Path(file), None, opened) for file in files]
        for note in dict.fromkeys(note for session in sessions for note in session.notes):
            say(note)
        length = len(batches) * len(files) * (repeat + warmup)
        hidden = not sys.stderr.isatty()
        with click.progressbar(length=length, file=sys.stderr, hidden=hidden) as bar:
            for rows in batches:
                timings = timed(sessions, rows=rows, tick=partial(bar.update, 1))
                found += zip(sessions, timings, strict=True)
    labels = _labels(session.path for session, _ in found)
    _log_unlike(found, len(files), labels)
    if as_json:
        print_json([_facts(*measured) for measured in found])
    else:
        print_table(
            ["file", "on", "rows", "p50 ms", "p90 ms", "p99 ms", "rows/s", "speed"],
            [(labels[measured[0].path], *_row(*measured)) for measured in found],
        )


def _labels(found: Iterable[Path]) -> dict[Path, str]:
    """Return what files are called: by their names alone, where no two are alike."""
    paths = set(found)
    has_twins = len({path.name for path in paths}) < len(paths)
    return {path: click.format_filename(path if has_twins else path.name) for path in paths}


def _log_unlike(found: Sequence[Measured], files: int, labels: Mapping[Path, str]) -> None:
    """Say why a row has no speed: what it was measured on, and what the first file was."""
    for index, (session, timing) in enumerate(found):
        if timing.speed is None:
            first, base = found[index - index % files]  # of the same --batch
            say(
                f"no speed of {labels[session.path]}: it is measured on {_batch(timing)}, "
                f"{labels[first.path]} on {_batch(base)}"
            )


def _batch(timing: Timing) -> str:
    rows = f"{timing.rows} row{'s' if timing.rows > 1 else ''}"
    return rows if timing.size is None else f"{rows} of {'{}x{}'.format(*timing.size)}"


def _facts(session: Session, timing: Timing) -> dict[str, Any]:
    return {
        "file": click.format_filename(session.path),
        "model": session.description.identity.model,
        "graph": session.description.graph,
        "precision": session.description.precision,
        "provider": session.provider,
        **asdict(timing),
    }


def _row(session: Session, timing: Timing) -> tuple[object, ...]:
    return (
        session.provider,
        timing.rows,
        *map(_milliseconds, (timing.p50_ms, timing.p90_ms, timing.p99_ms)),
        f"{timing.rows_per_second:,.0f}",
        "-" if timing.speed is None else f"{timing.speed:.2f}",
    )


def _milliseconds(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
