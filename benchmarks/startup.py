"""How long commands take, beside the bare import of the libraries that they stand on.

`zoo list` and the like by wall time, beside `import click, rich, pluggy`; `zoo train` for one step
and `--dry-run` by CPU time, beside `import torch`. Each command and its import take turns.
"""

from __future__ import annotations

import sys
from statistics import median
from typing import Any

from benchmarks.measuring import (
    Row,
    cpu_of,
    in_turns,
    median_ratio,
    note,
    own_place,
    parser,
    report,
    wall_of,
)

TURNS, QUICK_TURNS = 21, 3
TRAIN_TURNS, QUICK_TRAIN_TURNS = 11, 1
LIMIT = 3.0  # the project's own target for the ratio of a command that imports no torch
ZOO = [sys.executable, "-m", "zoo"]
BARE = [sys.executable, "-c", "import click, rich, pluggy"]
TORCH = [sys.executable, "-c", "import torch"]
COMMANDS = ("zoo list", "zoo --help", "zoo plugins list")
TRAININGS = ("zoo train dcgan --steps 1", "zoo train dcgan --dry-run")


def words(command: str) -> list[str]:
    """Return what starts a command of zoo's in this Python."""
    return [*ZOO, *command.split()[1:]]


def commands(turns: int) -> list[Row]:
    """Return the wall time of each command, and its ratio to the bare import."""
    note("startup: commands")
    runs = {command: wall_of(words(command)) for command in COMMANDS}
    taken = in_turns({"bare": wall_of(BARE)} | runs, turns)
    return [
        {
            "command": command,
            "ms": 1000 * median(taken[command]),
            "import, ms": 1000 * median(taken["bare"]),
            "ratio": median_ratio(taken[command], taken["bare"]),
            "target": LIMIT,
        }
        for command in COMMANDS
    ]


def trainings(turns: int) -> list[Row]:
    """Return the CPU time of each training, and its ratio to the import of torch."""
    note("startup: trainings")
    with own_place():
        runs = {command: cpu_of(words(command)) for command in TRAININGS}
        taken = in_turns({"import torch": cpu_of(TORCH)} | runs, turns)
    return [
        {
            "command": command,
            "CPU s": median(taken[command]),
            "import torch, CPU s": median(taken["import torch"]),
            "ratio": median_ratio(taken[command], taken["import torch"]),
        }
        for command in TRAININGS
    ]


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Return a row for each command."""
    return {
        "commands, wall time": commands(QUICK_TURNS if quick else TURNS),
        "trainings, CPU time": trainings(QUICK_TRAIN_TURNS if quick else TRAIN_TURNS),
    }


def main() -> None:
    """Measure, print and write the figures."""
    quick = parser(__doc__).parse_args().quick
    report("startup", measure(quick=quick), quick=quick)


if __name__ == "__main__":
    main()
