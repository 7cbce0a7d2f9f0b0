"""Errors that a user can act on, each kind with the exit code of the command."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Something could not be done; shown to the user without a traceback.

    Args:
        message: what happened, and where.
        cause: the likely cause, when the message does not already say it.
        hint: what to do next, best a command that can be typed as it stands.
        code: names the kind of error, for programs; that of the class, when not given.
    """

    exit_code = 1
    code = "failed"

    def __init__(self, message: str, *, cause: str = "", hint: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = hint
        self.code = code or self.code

    def __str__(self) -> str:
        lines = [self.message]
        if self.cause:
            lines.append(f"cause: {self.cause}")
        if self.hint:
            lines.append(f"try:   {self.hint}")
        return "\n".join(lines)


class UsageError(ZooError):
    """The command line or a configuration is wrong."""

    exit_code = 2
    code = "usage"


class NotFoundError(ZooError):
    """Data, a run or a model is missing or damaged."""

    exit_code = 3
    code = "not-found"


class PluginError(ZooError):
    """A plugin is broken, or an extra that is needed is not installed."""

    exit_code = 4
    code = "plugin"


class UnhealthyError(ZooError):
    """Training went wrong in a way that going on cannot mend."""

    exit_code = 5
    code = "unhealthy"


class InterruptedRunError(ZooError):
    """The user stopped a run; its checkpoint is saved."""

    exit_code = 130
    code = "interrupted"


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the candidate nearest to `word`, or an empty string."""
    near = difflib.get_close_matches(word.lower(), list(candidates), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
