"""What fifty installed plugins add to the time of `zoo list`.

The plugins are as light as the API asks for and have a README as published ones have. Runs with
and without them alternate, so that a machine whose speed drifts treats both alike.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLUGINS = 50
ROUNDS = 21
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


def seconds(site: Path) -> float:
    """Return the wall time of one `zoo list` that finds what is installed in a folder."""
    began = time.perf_counter()
    subprocess.run(
        COMMAND,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(site)},
    )
    return time.perf_counter() - began


def main() -> None:
    """Print the medians, and the median difference and ratio of the pairs."""
    with tempfile.TemporaryDirectory() as folder:
        none, many = Path(folder, "none"), Path(folder, "many")
        none.mkdir()
        many.mkdir()
        for number in range(PLUGINS):
            build(many, number)
        pairs = [(seconds(none), seconds(many)) for _ in range(ROUNDS + 1)][1:]
    without, given = (statistics.median(column) * 1000 for column in zip(*pairs, strict=True))
    added = statistics.median(b - a for a, b in pairs) * 1000
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"{'zoo list':<18}{'ms':>8}{'+' + str(PLUGINS):>8}{'added':>8}{'ratio':>8}", end="")
    print(f"   (target: at most {LIMIT:g} ms added)")
    print(f"{'':<18}{without:>8.0f}{given:>8.0f}{added:>8.0f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
