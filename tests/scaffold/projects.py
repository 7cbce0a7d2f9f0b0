"""Plugins as `zoo plugins new` writes them, installed where a test can use them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.process import zoo

KINDS = (
    "autoencoder", "gan", "diffusion", "translation", "pairs", "restoration", "sequence", "sound",
    "table", "bare",
)  # fmt: skip
DATA = {"pairs": "shapes.zip", "sequence": "sums.txt", "sound": "tones.zip",
        "table": "cylinders.csv"}  # fmt: skip


def write(folder: Path, kind: str, name: str, *words: str, **environment: str) -> Path:
    """Write a plugin of a kind into a folder; return its project."""
    project = folder / name
    zoo("plugins", "new", name, "--kind", kind, "-o", str(project), *words, **environment)
    return project


def install(site: Path, projects: Iterable[Path]) -> dict[str, str]:
    """Build and install a wheel of each project; return what Python needs to find them."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    paths = [str(project) for project in projects]
    subprocess.run([*pip, "--target", str(site), *paths], check=True, timeout=120)
    return {"PYTHONPATH": str(site)}


def python(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder and require that it ends well."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done
