"""Run by `export/alone` in a process of its own: exported files, without what made them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path


class _Refusing(MetaPathFinder):
    """Lets packages be found no more."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = packages

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        del path, target
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)


def main(folder: Path) -> str:
    """Run every file of a folder on its reference; return what went wrong first, or nothing."""
    from zoo.runtime.reference import (  # noqa: PLC0415 - after the packages are gone
        compare_outputs,
        read_reference,
    )
    from zoo.runtime.session import open_session  # noqa: PLC0415 - as above

    for path in sorted(folder.glob("*.onnx")):
        try:
            session = open_session(path, threads=1)
            signature = session.description.signature
            reference = path.with_suffix(".npz")
            (example,) = read_reference(reference, signature.inputs, signature.outputs)
            found = session.run(example.inputs)
        except Exception as problem:  # whatever it is, it is the finding
            return f"{path.stem}: {' '.join(str(problem).split())}"
        for port in signature.outputs:
            pair = example.outputs[port.name], found[port.name]
            gap = compare_outputs(port, [pair]).greatest
            if gap > port.tolerance:
                return f"{path.stem}: {port.name} differs by {gap:.3g}, over {port.tolerance:g}"
    return ""


if __name__ == "__main__":
    sys.meta_path.insert(0, _Refusing(sys.argv[2:]))
    message = main(Path(sys.argv[1]))
    if message:
        sys.stdout.write(message + "\n")
        sys.exit(1)
