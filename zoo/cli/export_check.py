"""`zoo export --check`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from zoo.cli.output import print_json

if TYPE_CHECKING:
    from pathlib import Path


def verify_again(path: Path, *, as_json: bool) -> None:
    """Repeat the gate for a file, or for all that the manifest of a folder lists, without torch.

    Raises:
        NotFoundError: a file or its reference is missing, damaged or another one.
        ZooError: a file does not do here what it did when it was exported.
    """
    from zoo.export.recheck import files_in, recheck

    files = files_in(path) if path.is_dir() else [path]
    found = {click.format_filename(file): recheck(file) for file in files}
    if as_json:
        told = {
            file: {name: asdict(gap) for name, gap in gaps.items()} for file, gaps in found.items()
        }
        print_json({"files": told, "verified": True})
        return
    for file, gaps in found.items():
        words = ", ".join(f"{name} differs by {gap.greatest:.2g}" for name, gap in gaps.items())
        click.echo(f"verified {file}: {words}")
