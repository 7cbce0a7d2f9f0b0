"""Running the command as a user does: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.installing import SITE
from tests.nursery import nursery

# Words and variables that need a Python which has imported nothing yet.
FRESH_WORDS = {"--devices", "--retries"}
FRESH_VARIABLES = {"PYTHONPATH", "PYTHONIOENCODING", "PYTHONUTF8", "LC_ALL"}


def zoo(*words: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``zoo`` and require its exit code; an error must be short and no traceback."""
    done = (_fresh if _needs_fresh(words, environment) else _forked)(words, environment)
    assert done.returncode == code, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    if code:
        complaint = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert complaint or code == 130, done.stderr
        assert "Traceback" not in done.stderr
    return done


def _needs_fresh(words: tuple[str, ...], environment: dict[str, str]) -> bool:
    """Whether a command cannot be a fork of a process that has imported everything."""
    changed = FRESH_VARIABLES.intersection(environment)
    first = environment.get("PYTHONPATH", "").partition(os.pathsep)[0]
    if Path(first).name == SITE:
        changed -= {"PYTHONPATH"}  # the nursery adds plugins
    return bool(changed or FRESH_WORDS.intersection(words))


def _fresh(words: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zoo", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def _forked(
    words: tuple[str, ...], environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        code = nursery().wait(nursery().start(words, out, err, **environment))
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())


def error_of(*words: str, code: int, error: str = "", **environment: str) -> str:
    """Return what an unsuccessful ``zoo`` says from ``error:`` on, at most six lines.

    `code` is the exit code; with `error`, that must be the code that ``--json`` prints.
    """
    done = zoo(*words, *(["--json"] if error else []), code=code, **environment)
    assert not error or json.loads(done.stdout)["error"]["code"] == error, done.stdout
    stderr = done.stderr
    said = stderr[stderr.index("error: ") :].strip()
    assert len(said.splitlines()) <= 6, said
    return said


def zoo_json(*words: str, **environment: str) -> Any:
    """Run ``zoo … --json`` and return the one value on stdout."""
    return json.loads(zoo(*words, "--json", **environment).stdout)
