"""How many files and functions of zoo a command passes through: `python benchmarks/call_paths.py`.

Counted are functions that are called, of `zoo` and of the installed plugins, not modules and
classes that are only imported. With `--list` the files are printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = {
    "train": "train dcgan --preset tiny --steps 1 --name measured",
    "export": "export measured --onnx -o exported",
    "run": "run exported/dcgan-fashion-mnist-small.generate.onnx -n 4 -o grid.png",
}

# What is run in a process of its own. A code object says its file and, in Python 3.11, its name
# with the class that it is in; bodies of modules and of classes are no functions.
TRACED = """
import json, sys, threading
called = set()
NO_FUNCTION = 0x2  # CO_NEWLOCALS: functions have it, and bodies of modules and classes do not

def note(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_flags & NO_FUNCTION:
        called.add((code.co_filename, code.co_qualname, code.co_firstlineno))

from zoo.cli import main
threading.setprofile(note)
sys.setprofile(note)
try:
    main(json.loads(sys.argv[1]))
except SystemExit as end:
    sys.setprofile(None)
    threading.setprofile(None)
    assert not end.code, end.code
with open(sys.argv[2], "w") as file:
    json.dump(sorted(called), file)
"""


def passed(words: list[str], folder: Path) -> list[tuple[str, str]]:
    """Run a command; return the file and the name of each function of zoo that it called."""
    found = folder / "called.json"
    line = [sys.executable, "-c", TRACED, json.dumps(words), str(found)]
    subprocess.run(line, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    rows = json.loads(found.read_text())
    return [(file, name) for file, name, _ in rows if is_ours(file)]


def is_ours(file: str) -> bool:
    """Whether a file is of zoo or of one of its plugins."""
    return any(part.startswith("zoo") and part != "zoo-home" for part in Path(file).parts) and (
        "site-packages" not in file or "/zoo" in file
    )


def main() -> None:
    """Print a line for each command, with the files where asked."""
    with tempfile.TemporaryDirectory() as place:
        os.environ["ZOO_HOME"] = str(Path(place, "home"))
        for name, words in COMMANDS.items():
            functions = passed(words.split(), Path(place))
            files = sorted({file for file, _ in functions})
            print(f"{name:<8} {len(files):>3} files  {len(functions):>4} functions")
            if "--list" in sys.argv:
                for file in files:
                    count = sum(file == each for each, _ in functions)
                    print(f"  {count:>3}  {'/'.join(Path(file).parts[-3:])}")


if __name__ == "__main__":
    main()
