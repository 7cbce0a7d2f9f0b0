"""What all benchmarks share: turns, medians, the table, and the record of machine and versions.

A part measures its contenders in turns, A B A B, so that a machine whose speed drifts treats all
alike, and compares the two values of a turn with each other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Contender = Callable[[], float]  # does its work once and returns the seconds that it took
Row = dict[str, Any]

RESULTS = Path(__file__).parent / "results"
PACKAGES = {"torch": "torch", "onnxruntime": "onnxruntime", "zoo": "zoo-core"}
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")


def in_turns(
    contenders: Mapping[str, Contender], turns: int, *, calls: Mapping[str, int] | None = None
) -> dict[str, list[float]]:
    """Return the seconds of each contender by turn; a first turn is not counted.

    `calls` is how often each is called in its turn, 1 where it says nothing; the seconds of a turn
    are then the median of these.
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns + 1):
        for name, contender in contenders.items():
            count = calls.get(name, 1) if calls and turn else 1
            seconds = statistics.median(contender() for _ in range(count))
            if turn:
                taken[name].append(seconds)
    return taken


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios of the values that were measured in one turn."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def timed(function: Callable[[], object]) -> Contender:
    """Return a contender that calls a function and measures wall time."""

    def run() -> float:
        began = time.perf_counter()
        function()
        return time.perf_counter() - began

    return run


def calls_within(contender: Contender, seconds: float, most: int = 10_000) -> int:
    """Return how often a contender can be called in so many seconds; at least once."""
    contender()
    return min(most, max(1, int(seconds / max(contender(), 1e-9))))


def wall_of(command: Sequence[str], **environment: str) -> Contender:
    """Return a contender that runs a process and measures wall time."""
    return timed(lambda: _run(command, environment))


def cpu_of(command: Sequence[str], **environment: str) -> Contender:
    """Return a contender that runs a process and measures its CPU seconds, user and system."""

    def run() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        _run(command, environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return run


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    quiet, variables = subprocess.DEVNULL, {**os.environ, **environment}
    subprocess.run(command, check=True, stdout=quiet, stderr=quiet, env=variables)


@contextmanager
def own_place() -> Iterator[Path]:
    """Work in a folder of its own, with a cache of its own, while the ``with`` block lasts."""
    before, home = Path.cwd(), os.environ.get("ZOO_HOME")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ["ZOO_HOME"] = str(Path(folder, "home"))
        try:
            yield Path(folder)
        finally:
            os.chdir(before)
            del os.environ["ZOO_HOME"]
            if home is not None:
                os.environ["ZOO_HOME"] = home


def machine() -> Row:
    """Return what the figures depend on: processor, cores, its flags, and memory in GiB."""
    facts: dict[str, str] = {}
    for line in _lines("/proc/cpuinfo"):
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    there = facts.get("flags", "").split()
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in there],
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS", "unset"),
        "memory_gib": round(pages / 2**30, 1),
        "load": round(os.getloadavg()[0], 2),  # of the last minute, at the end of the part
    }


def _lines(path: str) -> list[str]:
    """Return the lines of a file; none where this system has no such file."""
    file = Path(path)
    return file.read_text().splitlines() if file.is_file() else []


def versions() -> dict[str, str]:
    """Return the versions of Python and of what is measured; ``none`` for what is missing."""
    found = {"python": platform.python_version()}
    for name, package in PACKAGES.items():
        try:
            found[name] = version(package)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def record(part: str, figures: Mapping[str, Any], *, quick: bool) -> Row:
    """Return a part's figures with the machine, the versions and the date."""
    date = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"part": part, "date": date, "quick": quick}
    return {**about, "machine": machine(), "versions": versions(), "figures": figures}


def write(part: str, figures: Mapping[str, Any], *, quick: bool) -> Path:
    """Write ``PART.json``; quick figures go to a folder of their own, for they are no results."""
    folder = RESULTS / "quick" if quick else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part}.json"
    path.write_text(json.dumps(record(part, figures, quick=quick), indent=2) + "\n")
    return path


def table(rows: Sequence[Row]) -> str:
    """Return rows of the same columns as a table in Markdown."""
    names = list(rows[0])
    marks = ["--:" if isinstance(rows[0][name], int | float) else "---" for name in names]
    cells = [names, marks, *([shown(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def shown(value: object) -> str:
    """Return a value as a table shows it: a number with three or more digits."""
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3
    return f"{value:,.{digits}f}"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a part's options, with those that every part has."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--quick", action="store_true", help="short blocks, only to try the part")
    return found


def mnist_option(options: argparse.ArgumentParser) -> None:
    """Add ``--mnist``, whose default is ``mnist`` in the folder that ZOO_BENCH_DATA names."""
    usual = Path(os.environ.get("ZOO_BENCH_DATA", ""), "mnist").absolute()
    options.add_argument(
        "--mnist",
        type=lambda text: Path(text).absolute(),
        default=usual if "ZOO_BENCH_DATA" in os.environ and usual.is_dir() else None,
        metavar="FOLDER",
        help="MNIST's idx files [ZOO_BENCH_DATA/mnist]; without them, what needs them is left out",
    )


def report(part: str, figures: Mapping[str, Any], *, quick: bool) -> Path:
    """Print the tables of a part, one for each list of rows; write its file and return its path."""
    for name, rows in figures.items():
        if isinstance(rows, list) and rows:
            print(f"\n{part}: {name}\n\n{table(rows)}")
        elif rows:
            print(f"\n{part}: {name}: {rows}")
    path = write(part, figures, quick=quick)
    print(f"\nwritten to {path.relative_to(RESULTS.parents[1])}", flush=True)
    return path


def note(words: str) -> None:
    """Say on stderr what is being measured."""
    sys.stderr.write(f"… {words}\n")
    sys.stderr.flush()
