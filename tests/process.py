"""Running the command as a user does: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any


def zoo(*words: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``zoo`` and require its exit code; an error must be short and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "zoo", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    if code:
        complaint = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert complaint or code == 130, done.stderr
        assert "Traceback" not in done.stderr
    return done


def error_of(*words: str, code: int, **environment: str) -> str:
    """Return what an unsuccessful ``zoo`` says from ``error:`` on, at most six lines."""
    stderr = zoo(*words, code=code, **environment).stderr
    said = stderr[stderr.index("error: ") :].strip()
    assert len(said.splitlines()) <= 6, said
    return said


def zoo_json(*words: str, **environment: str) -> Any:
    """Run ``zoo … --json`` and return the one value on stdout."""
    return json.loads(zoo(*words, "--json", **environment).stdout)
