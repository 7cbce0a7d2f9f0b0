"""A check: what must hold, in one sentence, and a function that finds out, with file and line."""

from __future__ import annotations

import ctypes
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from zoo.errors import ZooError
from zoo.model.checks import BREAKS_CONTRACT, source_line
from zoo.training.state import random_state, set_random_state

Kind = Literal["passed", "failed", "skipped", "expected failure"]
CPU = torch.device("cpu")
MOST_TOLD = 400  # characters of what was raised


def line_containing(path: Path, *words: str) -> str:
    """Return file and line of the first line that holds one of the words, the earlier ones first.

    Where none does, it is the file's first line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return str(path)
    for word in words:
        for number, line in enumerate(lines, start=1):
            if word in line:
                return f"{path}, line {number}"
    return f"{path}, line 1"


def innermost_line(problem: BaseException, folder: Path | None) -> str:
    """Return the innermost line under a folder that an exception came through, or one behind it."""
    seen: BaseException | None = problem
    while seen is not None:
        for frame in reversed(traceback.extract_tb(seen.__traceback__)):
            if folder is not None and Path(frame.filename).is_relative_to(folder):
                return f"{frame.filename}, line {frame.lineno}"
        seen = seen.__cause__ or seen.__context__
    return ""


def last_assignment(attribute: str, kind: type) -> str:
    """Return file and line where a class last assigns to or changes one of its attributes."""
    try:
        lines, first = inspect.getsourcelines(kind)
    except (OSError, TypeError):
        return ""
    uses = [n for n, line in enumerate(lines, start=first) if f".{attribute}" in line]
    return f"{inspect.getsourcefile(kind)}, line {uses[-1]}" if uses else source_line(kind)


class Finding(Exception):  # noqa: N818 - it is what a check has found
    """A promise that is not kept: what is wrong, and the file and line to look at."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(f"{message} ({where})" if where and where not in message else message)


class Skip(Exception):  # noqa: N818 - nothing went wrong
    """There is nothing to check, or no way to check it here; the message says why."""


class PrerequisiteFailed(Exception):  # noqa: N818 - it is another check's finding
    """What a check stands on failed; its cause is the finding of the check called `owner`."""

    def __init__(self, owner: str) -> None:
        super().__init__(owner)
        self.owner = owner


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    `function` takes a `Package` or a `ModelUnderTest`. It returns where the promise is kept, and
    raises `Finding` or `Skip` where not. Its docstring says what must hold.
    """

    group: str  # the first half of its name
    function: Callable[[Any], None]
    tasks: Collection[str] | None = None  # for which it fails if it is skipped; None: for all

    @property
    def name(self) -> str:
        """What it is called: ``group/name``."""
        return f"{self.group}/{self.function.__name__.replace('_', '-')}"

    @property
    def sentence(self) -> str:
        """What must hold."""
        return (self.function.__doc__ or "").strip()


@dataclass(frozen=True)
class Outcome:
    """What came of a check."""

    check: str  # its name
    subject: str  # the distribution or model that was checked
    kind: Kind
    message: str = ""  # the finding, or the reason for what is skipped or expected


def run(check: Check, thing: Any, expected: Mapping[str, str]) -> Outcome:
    """Run one check of a `Package` or `ModelUnderTest`; random generators are put back after it.

    `expected` are the names of checks that may fail, each with the reason.
    """
    kind, message = _try(check, thing, expected)
    if check.name in expected:
        if kind == "failed":
            kind, message = "expected failure", expected[check.name]
        elif kind == "passed":
            kind, message = "failed", f"it was expected to fail: {expected[check.name]}"
    return Outcome(check.name, thing.name, kind, message)


def _try(check: Check, thing: Any, expected: Mapping[str, str]) -> tuple[Kind, str]:
    before = random_state(CPU)
    try:
        with _printing_apart():
            check.function(thing)
    except Skip as reason:
        card = getattr(thing, "card", None)
        if card is not None and (check.tasks is None or card.task in check.tasks):
            why = f"not run, but a card of task {card.task!r} demands it: {reason}"
            return "failed", f"{why} ({thing.line_of_card()})"
        return "skipped", str(reason)
    except PrerequisiteFailed as obstacle:
        if obstacle.owner == check.name:
            return "failed", _explain(obstacle.__cause__ or obstacle, thing)
        if obstacle.owner in expected:
            return "failed", f"cannot be run, because {obstacle.owner} is expected to fail"
        return "skipped", f"needs {obstacle.owner}"
    except (Exception, SystemExit) as problem:  # a plugin may raise anything
        return "failed", _explain(problem, thing)
    finally:
        set_random_state(before, CPU)
    return "passed", ""


@contextmanager
def _printing_apart() -> Iterator[None]:
    """Send what a model prints, in Python or below it, to where it stands among no results."""
    _flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)


def _flush() -> None:
    """Flush what Python and the C library have buffered."""
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)


def _explain(problem: BaseException, thing: Any) -> str:
    """Return what was raised in one line, with the plugin's line that led there."""
    if isinstance(problem, Finding):
        return str(problem)
    where = innermost_line(problem, thing.folder)
    if isinstance(problem, ZooError):
        parts = [
            problem.message,
            problem.cause,
            problem.hint if problem.code == BREAKS_CONTRACT else "",
        ]
        message = "; ".join(filter(None, parts))
    else:
        message = f"{type(problem).__name__}: {problem}"
    if not where or where in message:
        return " ".join(message.split())[:MOST_TOLD]
    return f"{' '.join(message.split())[:MOST_TOLD]} ({where})"


def python_path() -> str:
    """Return the path on which a new process finds the modules that this one does."""
    return os.pathsep.join(str(Path(each or ".").absolute()) for each in sys.path)
