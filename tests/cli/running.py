"""Running `zoo run`: in this process, in one of its own, and in the middle of a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zoo.cli


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Zoo:
    """The command, in this process for speed; `apart` runs it as users do."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self.capfd = capfd

    def run(self, *words: object) -> Outcome:
        with pytest.raises(SystemExit) as left:
            zoo.cli.main(["run", *map(str, words)])
        captured = self.capfd.readouterr()
        assert isinstance(left.value.code, int)
        assert "Traceback" not in captured.err
        assert len(captured.err.splitlines()) <= 7
        return Outcome(left.value.code, captured.out, captured.err)

    def refused(self, *words: object, code: int, error: str) -> str:
        """Run what must fail, with an exit code and the code of ``--json``; return what it says."""
        done = self.run(*words, "--json")
        told = json.loads(done.out)["error"]
        assert (done.code, told["code"]) == (code, error), done.err
        return done.err

    def apart(self, *words: object, **environment: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "zoo", "run", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        return Outcome(done.returncode, done.stdout, done.stderr)


def piped(*words: object, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run ``zoo`` with bytes on standard input."""
    line = [sys.executable, "-m", "zoo", *map(str, words)]
    return subprocess.run(line, input=content, capture_output=True, check=False, timeout=60)


def photo(path: Path, shade: int, size: tuple[int, int] = (48, 32)) -> Path:
    """A picture of one shade; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, 0)).save(path)
    return path


def pixels(path: Path | str) -> np.ndarray[Any, Any]:
    with Image.open(path) as picture:
        return np.asarray(picture)
