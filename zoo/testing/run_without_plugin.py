"""Run by `export/alone` in a process of its own: exported files, without what made them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any


class _Refusing(MetaPathFinder):
    """Lets packages be found no more."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = packages

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        del path, target
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)


def main(task: dict[str, Any]) -> str:
    """Run every file of a folder; return what went wrong first, or nothing."""
    sys.meta_path.insert(0, _Refusing(task["without"]))
    import numpy as np  # noqa: PLC0415 - after the packages are gone

    from zoo.runtime.session import open_session  # noqa: PLC0415 - as above

    for name, tolerances in task["tolerances"].items():
        folder = Path(task["folder"])
        try:
            with np.load(folder / f"{name}.in.npz") as inputs:
                found = open_session(folder / f"{name}.onnx", threads=1).run(dict(inputs))
        except Exception as problem:  # whatever it is, it is the finding
            return f"{name}: {' '.join(str(problem).split())}"
        with np.load(folder / f"{name}.out.npz") as wanted:
            for port, tolerance in tolerances.items():
                gap = np.abs(found[port].astype(np.float64) - wanted[port]).max()
                if not gap <= tolerance:
                    return f"{name}: {port} differs by {gap:.3g}, more than {tolerance:g}"
    return ""


if __name__ == "__main__":
    message = main(json.loads(sys.argv[1]))
    if message:
        sys.stdout.write(message + "\n")
        sys.exit(1)
