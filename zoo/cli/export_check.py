"""`zoo export --check`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from zoo.cli.output import print_json, say

if TYPE_CHECKING:
    from pathlib import Path


def verify_again(path: Path, *, as_json: bool) -> None:
    """Repeat the gate for a file, or for all that the manifest of a folder lists, without torch.

    Raises:
        NotFoundError: a file or its reference is missing, damaged or another one.
        ZooError: a file does not do here what it did when it was exported.
    """
    from zoo.errors import ZooError
    from zoo.export.recheck import check_weights, files_in, in_words, recheck
    from zoo.runtime.memory import bounded_memory

    told = {}
    problems = []
    with bounded_memory():  # a file of a stranger may ask for any amount
        for file in files_in(path) if path.is_dir() else [path]:
            name = click.format_filename(file)
            try:
                gaps = recheck(file)
            except ZooError as problem:
                problems.append(problem)
                continue
            told[name] = {output: asdict(gap) for output, gap in gaps.items()}
            if not as_json:
                click.echo(f"verified {name}: {in_words(file, gaps)}")
        if path.is_dir():
            try:
                note = check_weights(path)
            except ZooError as problem:
                problems.append(problem)
            else:
                if note:
                    say(note)
    if problems:
        for other in problems[1:]:
            say(other.message)
        raise problems[0]
    if as_json:
        print_json({"files": told, "verified": True})
