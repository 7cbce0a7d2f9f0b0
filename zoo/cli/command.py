"""The group of verbs, the options that every verb has, and how errors leave the command."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

import zoo
from zoo.errors import UsageError, ZooError, did_you_mean

VERBS = {
    "list": "Show the models that are installed.",
    "show": "Show one model: paper, ports, options, weights.",
    "train": "Train a model.",
    "sample": "Draw pictures from a trained model.",
    "eval": "Measure a trained model on held-out images.",
    "export": "Export a trained model to ONNX and verify it.",
    "run": "Run an exported file; needs no torch and no plugin.",
    "runs": "List, show or remove runs.",
    "data": "List, download or check data sets.",
    "plugins": "List the plugins and what ails them.",
}


class Verbs(click.Group):
    """Verbs that are imported when they are used, so that `zoo --help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order in which a newcomer needs them."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        del ctx
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"zoo.cli.{cmd_name}")
        command = module.verb
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or name the nearest one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise UsageError(
                f"no verb {args[0][:40]!r}.{did_you_mean(args[0], VERBS)}", hint="zoo -h"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs without importing any of them."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(zoo.__version__, prog_name="zoo")
def group() -> None:
    """A model zoo: train generative models, sample them, export them to ONNX.

    Every verb takes -h, --debug (tracebacks) and --no-color.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit code.

    0 ok, 1 could not be done, 2 usage, 3 not found or damaged, 4 plugin or extra, 5 unhealthy
    training, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    options_end = words.index("--") if "--" in words else len(words)
    debug = _take(words, "--debug", options_end)
    if _take(words, "--no-color", options_end):
        os.environ["NO_COLOR"] = "1"
    try:
        answer: Any = group.main(words, prog_name="zoo", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(answer if isinstance(answer, int) else 0)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(130)
    except Exception as problem:
        if debug:
            traceback.print_exc()
        sys.exit(report(problem))


def report(problem: Exception) -> int:
    """Tell the user what happened, in at most six lines on stderr, and return the exit code."""
    if isinstance(problem, click.ClickException):
        context = getattr(problem, "ctx", None)
        click.echo(f"error: {problem.format_message()}", err=True)
        if context is not None:
            click.echo(f"try:   {context.command_path} -h", err=True)
        return 2
    if isinstance(problem, ZooError):
        lines = str(problem).splitlines()[:6]
        click.echo(
            "\n".join(["error: " + lines[0], *("  " + line for line in lines[1:])]), err=True
        )
        return problem.exit_code
    if isinstance(problem, OSError):
        click.echo(f"error: {problem}", err=True)
        return 1
    click.echo(f"error: {type(problem).__name__}: {problem} (a bug of zoo's)", err=True)
    click.echo("try:   the same command with --debug, and report what it prints", err=True)
    return 1


def _take(words: list[str], flag: str, end: int) -> bool:
    """Remove a flag that may stand anywhere before ``--``; say whether it was there."""
    there = flag in words[:end]
    if there:
        words.remove(flag)
    return there
