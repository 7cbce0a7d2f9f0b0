"""Run all benchmarks, or those that are named: `python -m benchmarks [--quick] [PART…]`.

Each part runs in a process of its own, and one that fails does not keep the next from running.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

from benchmarks.measuring import note, parser

PARTS = (
    "startup", "plugins", "call_paths", "data", "inference", "loop", "matmul", "whole_run",
    "growth", "peers",
)  # fmt: skip


def main() -> int:
    """Run the parts; return 1 where one failed."""
    options = parser(__doc__)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} [all]")
    asked = options.parse_args()
    if unknown := {*asked.parts} - {*PARTS}:
        options.error(f"no such part: {', '.join(sorted(unknown))}")
    failed = []
    for part in asked.parts or PARTS:
        if find_spec(f"benchmarks.{part}") is None:
            note(f"{part} is not there and left out")
        else:
            flags = ["--quick"] if asked.quick else []
            command = [sys.executable, "-m", f"benchmarks.{part}", *flags]
            if subprocess.run(command, check=False).returncode:
                failed.append(part)
    if failed:
        note(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
