"""How long `zoo list` takes, beside the bare import of the libraries that it stands on.

The two commands run in turn, so that a machine whose speed drifts treats them alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 21
LIMIT = 3.0  # the project's own target for the ratio
BARE = [sys.executable, "-c", "import click, rich, pluggy"]
COMMANDS = {
    "zoo list": [sys.executable, "-m", "zoo", "list"],
    "zoo --help": [sys.executable, "-m", "zoo", "--help"],
    "zoo plugins list": [sys.executable, "-m", "zoo", "plugins", "list"],
}


def seconds(command: list[str]) -> float:
    """Return the wall time of one process."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Print one row a command: median, median of the bare import, median ratio of the pairs."""
    print(f"{'command':<18}{'ms':>8}{'bare ms':>10}{'ratio':>8}   (target: at most {LIMIT:g})")
    for name, command in COMMANDS.items():
        pairs = [(seconds(command), seconds(BARE)) for _ in range(ROUNDS + 1)][1:]
        ours = statistics.median(pair[0] for pair in pairs)
        bare = statistics.median(pair[1] for pair in pairs)
        ratio = statistics.median(pair[0] / pair[1] for pair in pairs)
        print(f"{name:<18}{ours * 1000:>8.0f}{bare * 1000:>10.0f}{ratio:>8.2f}")


if __name__ == "__main__":
    main()
