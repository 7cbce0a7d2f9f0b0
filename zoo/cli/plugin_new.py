"""`zoo plugins new`, apart from the other verbs because its help reads the kinds of templates."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from zoo.cli.output import Choice, json_option, print_json, say
from zoo.scaffold.project import kinds, names_of, write_project


@click.command("new")
@click.argument("name")
@click.option("--kind", type=Choice(list(kinds())), default="autoencoder", show_default=True,
              help="The model to start from; bare has one layer.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Folder to write [NAME].")  # fmt: skip
@json_option
def new(name: str, kind: str, output: Path | None, as_json: bool) -> None:
    """Write a plugin with one model, NAME, that trains as it stands.

    A whole distribution in a new folder: the model, its tests, and what publishing needs.
    """
    names = names_of(name)
    folder = output or Path(name)
    files = write_project(names, kind, folder)
    where = shlex.quote(click.format_filename(folder))
    commands = [
        f"pip install -e {where}",
        f"zoo train {name}",
        f"grep -rn TODO {where}",
        f"zoo plugins check {name}",
    ]
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "model": names.model,
                "distribution": names.distribution,
                "kind": kind,
                "files": files,
                "next": commands,
            }
        )
        return
    click.echo("\n".join(click.format_filename(folder / file) for file in files))
    say("next, and fill in what is marked TODO, such as the paper, before the check can pass:")
    say("\n".join(f"  {command}" for command in commands))
