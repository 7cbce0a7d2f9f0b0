"""How many files and functions of zoo a command passes through.

Counted are functions that are called, of `zoo` and of the installed plugins, not modules and
classes that are only imported. With `--list` the files are printed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.measuring import Row, note, own_place, parser, report

COMMANDS = {
    "train": "train dcgan --preset tiny --steps 1 --name measured",
    "export": "export measured --onnx -o exported",
    "run": "run exported/dcgan-fashion-mnist-small.generate.onnx -n 4 -o grid.png",
}

PROJECT = Path(__file__).parents[1]
FOLDERS = (PROJECT / "zoo", PROJECT / "plugins")

# What is run in a process of its own. Bodies of modules and of classes are code as well, but have
# no local variables; comprehensions are a part of their function.
TRACED = """
import json, sys, threading
called = set()
NEWLOCALS = 0x2
INLINE = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")

def note(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_flags & NEWLOCALS and code.co_name not in INLINE:
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
    return any(Path(file).is_relative_to(folder) for folder in FOLDERS)


def measure(*, listed: bool = False) -> dict[str, Any]:
    """Return a row for each command, and the functions of each file where they are to be listed."""
    rows: list[Row] = []
    files: dict[str, list[Row]] = {}
    with own_place() as place:
        for name, words in COMMANDS.items():
            note(f"call_paths: zoo {name}")
            counts = Counter(file for file, _ in passed(words.split(), place))
            rows.append({"command": name, "files": len(counts), "functions": counts.total()})
            files[f"files of zoo {name}"] = [
                {"file": str(Path(file).relative_to(PROJECT)), "functions": count}
                for file, count in sorted(counts.items())
            ]
    return {"commands": rows, **(files if listed else {})}


def main() -> None:
    """Count, print and write the figures."""
    options = parser(__doc__)
    options.add_argument("--list", action="store_true", help="list the files of each command")
    asked = options.parse_args()
    report("call_paths", measure(listed=asked.list), quick=asked.quick)


if __name__ == "__main__":
    main()
