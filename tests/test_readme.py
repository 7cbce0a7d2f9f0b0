"""The README's commands do what it says they do.

Every block marked ``console`` is run, in order, in one empty folder; what it prints must be what
the README shows, but for numbers and the widths of columns. ``make readme`` writes it anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installing import install
from tests.process import zoo

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"(?<=```console\n)(.*?)(?=```)", re.DOTALL)


def commands(block: str) -> list[tuple[str, str]]:
    """Return each command of a block with the output shown below it."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    pairs = [part.partition("\n") for part in parts]
    return [(command, output) for command, _, output in pairs]


def run(command: str, folder: Path) -> str:
    """Run a command as the README's reader does and return all that it prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "120"},
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
    """Return lines that do not depend on the machine: numbers as #, blanks as one."""
    text = re.sub(r"-?\d[\d.,:]*(e-?\d+)?", "#", text)
    text = re.sub(r"─+", "─", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def test_the_readme_shows_what_happens(tmp_path: Path) -> None:
    blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
    shown = [pair for block in blocks for pair in commands(block)]
    assert len(shown) >= 10
    for command, output in shown:
        assert without_numbers(run(command, tmp_path)) == without_numbers(output), command


def test_the_plugin_of_the_readme_works_as_a_plugin(tmp_path: Path) -> None:
    text = README.read_text(encoding="utf-8")
    files = re.findall(r"```python\n# my_package/(\w+\.py)\n(.*?)```", text, re.DOTALL)
    environment = install(tmp_path, {"my-package": dict(files)})
    assert "a first GAN" in zoo("list", **environment).stdout
    zoo("train", "my-gan", "--steps", "20", **environment)
    zoo("sample", "my-gan", "-n", "4", **environment)
    zoo("export", "my-gan", "--onnx", **environment)
    zoo("run", "exports/my-gan/generate.onnx", "-n", "4", "-o", "grid.png")  # without the plugin
    assert Path("grid.png").is_file()


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_readme_names_the_two_commands(target: str) -> None:
    assert f"make {target}" in README.read_text(encoding="utf-8")


def write_anew(folder: Path) -> None:
    """Replace every output in the README by what its command prints now."""

    def fresh(match: re.Match[str]) -> str:
        lines = [f"$ {command}\n{run(command, folder)}" for command, _ in commands(match[1])]
        return "\n".join(lines)

    text = README.read_text(encoding="utf-8")
    README.write_text(BLOCK.sub(fresh, text), encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as empty:
        write_anew(Path(empty))
