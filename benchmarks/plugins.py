"""What fifty installed plugins add to the time of `zoo list`.

The plugins are as light as the API asks for and have a README as published ones have. Runs with
and without them take turns.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import in_turns, median_ratio, note, parser, report, wall_of

PLUGINS = 50
TURNS, QUICK_TURNS = 21, 3
LIMIT = 60.0  # milliseconds that the plugins may add; the project's own target
COMMAND = [sys.executable, "-m", "zoo", "list"]
PARAGRAPH = "What the model is, what it was trained on, and how good it became.\n" * 80

MODULE = '''"""A light plugin: cards, and nothing that is slow to import."""

from __future__ import annotations

from collections.abc import Sequence

from zoo import Card, Paper, hookimpl


@hookimpl
def zoo_models() -> Sequence[Card]:
    """Return the card of the one model."""
    return [
        Card(
            name="light-{number}",
            summary="a model whose card is light",
            task="generation",
            model="zoo_light_{number}.model:Light",
            paper=Paper("A Paper", "Somebody", 2026, "https://example.org"),
            presets={{"small": {{"size": 32, "features": 8}}}},
        )
    ]
'''

METADATA = """Metadata-Version: 2.4
Name: zoo-light-{number}
Version: 1.0.{number}
Summary: a plugin of the benchmark
License-Expression: Apache-2.0
Requires-Python: >=3.11
Requires-Dist: zoo-core[train]<0.2,>=0.1
Description-Content-Type: text/markdown

{readme}
"""


def build(site: Path, number: int) -> None:
    """Write one plugin as an installer leaves it: a package and its metadata."""
    name = f"zoo_light_{number}"
    package, about = site / name, site / f"{name}-1.0.{number}.dist-info"
    package.mkdir()
    about.mkdir()
    (package / "__init__.py").write_text(MODULE.format(number=number))
    (about / "METADATA").write_text(METADATA.format(number=number, readme=PARAGRAPH))
    (about / "entry_points.txt").write_text(f"[zoo]\nlight = {name}\n")
    (about / "INSTALLER").write_text("benchmark\n")


def measure(*, quick: bool = False) -> dict[str, Any]:
    """Return the medians, and the median difference and ratio of the turns."""
    note("plugins: zoo list")
    with tempfile.TemporaryDirectory() as folder:
        many = Path(folder)
        for number in range(PLUGINS):
            build(many, number)
        own = os.environ.get("PYTHONPATH", "")
        runs = {
            "without": wall_of(COMMAND),
            "with": wall_of(COMMAND, PYTHONPATH=f"{many}{os.pathsep}{own}".strip(os.pathsep)),
        }
        taken = in_turns(runs, QUICK_TURNS if quick else TURNS)
    added = [b - a for a, b in zip(taken["without"], taken["with"], strict=True)]
    row = {
        "command": "zoo list",
        "ms": 1000 * median(taken["without"]),
        f"with {PLUGINS} plugins, ms": 1000 * median(taken["with"]),
        "added, ms": 1000 * median(added),
        "ratio": median_ratio(taken["with"], taken["without"]),
        "target, added ms": LIMIT,
    }
    return {"commands": [row]}


def main() -> None:
    """Measure, print and write the figures."""
    quick = parser(__doc__).parse_args().quick
    report("plugins", measure(quick=quick), quick=quick)


if __name__ == "__main__":
    main()
