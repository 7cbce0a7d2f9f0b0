"""Where things stand: the file and line that a finding names."""

from __future__ import annotations

import inspect
import traceback
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn


def place_of(thing: Any) -> str:
    """Return file and line of a function, a method, a class or an object's class."""
    while isinstance(thing, partial):
        thing = thing.func
    if isinstance(thing, nn.Module):
        thing = type(thing)
    thing = inspect.unwrap(thing) if callable(thing) else type(thing)
    try:
        line = inspect.getsourcelines(thing)[1]
        return f"{inspect.getsourcefile(thing)}, line {line}"
    except (OSError, TypeError):  # built in, or its source is not there
        return ""


def line_with(path: Path, *words: str) -> str:
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


def blame(problem: BaseException, folder: Path | None) -> str:
    """Return the innermost line under a folder that an exception came through, or one behind it."""
    seen: BaseException | None = problem
    while seen is not None:
        for frame in reversed(traceback.extract_tb(seen.__traceback__)):
            if folder is not None and Path(frame.filename).is_relative_to(folder):
                return f"{frame.filename}, line {frame.lineno}"
        seen = seen.__cause__ or seen.__context__
    return ""


def assignment(attribute: str, kind: type) -> str:
    """Return file and line where a class last assigns to or changes one of its attributes."""
    try:
        lines, first = inspect.getsourcelines(kind)
    except (OSError, TypeError):
        return ""
    uses = [n for n, line in enumerate(lines, start=first) if f".{attribute}" in line]
    return f"{inspect.getsourcefile(kind)}, line {uses[-1]}" if uses else place_of(kind)
