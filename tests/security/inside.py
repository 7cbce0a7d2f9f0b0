"""Running the command in this process, and looking at what it leaves behind.

A start of Python with torch takes seconds; hundreds of commands need to share one.
"""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from zoo.cli import main

UNFINISHED = (".part", ".rest", ".tmp", ".saving")  # ends of names of what is not whole


@dataclass(frozen=True)
class Done:
    """A command that has ended, and what it said."""

    code: int
    out: str
    err: str


def command(*words: str) -> Done:
    """Run ``zoo`` with these words; an error must be short, of one of the kinds, no traceback."""
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True)
        for errors in ("strict", "backslashreplace")  # as Python opens the streams of a process
    )
    code: object = "no exit at all"
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    done = Done(
        code if isinstance(code, int) else -1,
        *(stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err)),
    )
    where = f"zoo {shlex.join(words)[:2000]}\nexit {code}\n{done.err[-3000:]}"
    assert isinstance(code, int), where
    assert "Traceback" not in done.err, where
    assert "a bug of zoo's" not in done.err, where
    if code:
        lines = done.err.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        assert starts or code == 130 or words == (), where
        assert len(lines) - (starts or [len(lines)])[0] <= 6, where
    return done


def refused(*words: str, code: int) -> str:
    """Return what an unsuccessful ``zoo`` says from ``error:`` on, and require its exit code."""
    done = command(*words)
    assert done.code == code, f"{words}\nexit {done.code}\n{done.err}"
    return done.err[done.err.index("error: ") :].strip()


def listing(*places: Path) -> dict[str, tuple[int, int]]:
    """Return every file under the places with its size and time, and every folder."""
    found: dict[str, tuple[int, int]] = {}
    for place in places:
        for path in sorted(place.rglob("*")):
            status = path.lstat()
            facts = (0, 0) if path.is_dir() else (status.st_size, status.st_mtime_ns)
            found[str(path)] = facts
    return found


def unfinished(*places: Path) -> list[str]:
    """Return what lies there and was never finished."""
    return [
        path
        for path in listing(*places)
        if path.endswith(UNFINISHED) or Path(path).name.startswith(".unfinished-")
    ]


def no_network(patch: pytest.MonkeyPatch) -> None:
    """Let every download fail at once."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        place = "" if name == "NO_PROXY" else "http://127.0.0.1:9"  # nothing listens there
        patch.setenv(name, place)
        patch.setenv(name.lower(), place)


@contextmanager
def nothing_left(*places: Path) -> Iterator[None]:
    """Require that the block leaves the files under the places as they were."""
    before = listing(*places)
    yield
    after = listing(*places)
    assert after == before, {
        path for path in {*before, *after} if before.get(path) != after.get(path)
    }
