"""Messages for the user: on stderr, or where a program that calls `zoo` wants them."""

from __future__ import annotations

import os
from collections.abc import Callable

import click

Log = Callable[[str], object]  # takes a line, or several


def say(message: str) -> None:
    """Print a message on stderr, where it disturbs no pipe; of several ranks, one speaks.

    A message may quote a registry, a server or a plugin: what could steer the terminal becomes
    a question mark.
    """
    if is_first_rank():
        shown = (char if char.isprintable() or char == "\n" else "?" for char in message)
        click.echo("".join(shown), err=True)


def silent(message: str) -> None:
    """Take a message and do nothing with it."""
    del message


def is_first_rank() -> bool:
    """Whether this process is the only one of a training, or the first of several.

    What the environment announces is not checked here, so that the first rank can report errors.
    """
    if "RANK" in os.environ:
        return os.environ["RANK"] == "0"
    # the first as zoo sets it, then those of srun and mpirun
    others = ("LOCAL_RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
    return all(os.environ.get(name, "0") == "0" for name in others)
