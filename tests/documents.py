"""Documents whose commands are run: the blocks marked ``console``, in order, in one folder."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.nursery import nursery

BLOCK = re.compile(r"(?<=```console\n)(.*?)(?=```)", re.DOTALL)


def commands(block: str) -> list[tuple[str, str]]:
    """Return each command of a block with the output shown below it."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    pairs = [part.partition("\n") for part in parts]
    return [(command, output) for command, _, output in pairs]


def run(command: str, folder: Path, **environment: str) -> str:
    """Run a command as the reader does and return all that it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "120", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"$ {command}\n{done.stdout}"
    return done.stdout


def without_numbers(text: str) -> list[str]:
    """Return lines that do not depend on the machine: numbers and hashes as #, blanks as one."""
    text = re.sub(r"\b[0-9a-f]{64}\b", "#", text)
    text = re.sub(r"-?\d[\d.,:]*(e-?\d+)?", "#", text)
    text = re.sub(r"─+", "─", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def run_forked(command: str, folder: Path) -> str:
    """Do what `run` does for a plain ``zoo`` command, in a process that has imported everything."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(folder):
        printed = Path(place, "printed")
        words = shlex.split(command)[1:]
        code = nursery().wait(nursery().start(words, printed, printed, COLUMNS="120"))
        assert code == 0, f"$ {command}\n{printed.read_text()}"
        return printed.read_text()


def check(document: Path, folder: Path, **environment: str) -> None:
    """Run a document's commands and require that they print what it shows."""
    blocks = BLOCK.findall(document.read_text(encoding="utf-8"))
    shown = [pair for block in blocks for pair in commands(block)]
    assert len(shown) >= 4
    for command, output in shown:
        is_plain = not environment and re.fullmatch(r"zoo [\w./=, @-]+", command)
        printed = run_forked(command, folder) if is_plain else run(command, folder, **environment)
        assert without_numbers(printed) == without_numbers(output), command


def write_anew(document: Path, folder: Path, **environment: str) -> None:
    """Replace every output in a document by what its command prints now."""

    def fresh(match: re.Match[str]) -> str:
        pairs = commands(match[1])
        lines = [f"$ {command}\n{run(command, folder, **environment)}" for command, _ in pairs]
        return "\n".join(lines)

    text = document.read_text(encoding="utf-8")
    document.write_text(BLOCK.sub(fresh, text), encoding="utf-8")


def files(document: Path, folder: Path) -> list[Path]:
    """Write the files that a document shows, each named in its first line, into a folder."""
    shown = re.findall(
        r"```(?:python|toml|javascript|html)\n(?:#|//|<!--) ([\w./-]+)(?: -->)?\n(.*?)```",
        document.read_text(encoding="utf-8"),
        re.DOTALL,
    )
    written = []
    for name, text in shown:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
