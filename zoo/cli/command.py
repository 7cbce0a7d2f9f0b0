"""The verbs, the options that every verb has, and how errors and signals leave the command."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import click

import zoo
from zoo.cli.output import print_json
from zoo.errors import PluginError, UsageError, ZooError, did_you_mean
from zoo.messages import is_first_rank, say

# Name of a verb -> its line of help and where it is, in the order in which a newcomer needs them.
VERBS = {
    "list": ("Show the models that are installed.", "zoo.cli.show:list_models"),
    "show": ("Show a model, or what an exported file says of itself.", "zoo.cli.show:verb"),
    "train": ("Train a model.", "zoo.cli.train:verb"),
    "sample": ("Draw pictures from a trained model.", "zoo.cli.sample:verb"),
    "eval": ("Measure a trained model on held-out images.", "zoo.cli.eval:verb"),
    "explore": (
        "Look into the codes of a model: maps, paths, sums, neighbours.",
        "zoo.cli.explore:verb",
    ),
    "export": ("Export a trained model to ONNX and verify it.", "zoo.cli.export:verb"),
    "run": ("Run an exported file; needs no torch and no plugin.", "zoo.cli.run:verb"),
    "bench": ("Measure how fast exported files run.", "zoo.cli.bench:verb"),
    "runs": ("List, show, animate or remove runs.", "zoo.cli.runs:verb"),
    "compare": ("Compare runs: figures in a table, curves in a picture.", "zoo.cli.compare:verb"),
    "doctor": (
        "Explain how a run is doing, or what this installation can do.",
        "zoo.cli.doctor:verb",
    ),
    "data": ("List, download or check data sets.", "zoo.cli.data:verb"),
    "plugins": ("List, write, check, find or install plugins.", "zoo.cli.plugins:verb"),
}
# What other tools call it -> what to type here.
ELSEWHERE = {
    "benchmark": "zoo bench FILE.onnx",
    "convert": "zoo export MODEL --onnx",
    "download": "zoo data get NAME",
    "evaluate": "zoo eval MODEL",
    "fit": "zoo train MODEL",
    "generate": "zoo sample MODEL",
    "help": "zoo -h, or zoo VERB -h",
    "infer": "zoo run FILE.onnx [INPUT]..., or zoo sample MODEL",
    "info": "zoo show MODEL|FILE, or zoo doctor",
    "install": "zoo plugins install NAME",
    "interpolate": "zoo explore TARGET interpolate",
    "models": "zoo list",
    "predict": "zoo run FILE.onnx [INPUT]..., or zoo sample MODEL",
    "resume": "zoo train --resume [RUN]",
    "tensorboard": "zoo compare RUN..., or zoo train MODEL --tensorboard",
    "test": "zoo eval MODEL",
    "val": "zoo eval MODEL",
    "validate": "zoo eval MODEL",
    "version": "zoo --version",
}

MOST_LINES = 6  # of an error
FULL = {errno.ENOSPC: "is full", errno.EDQUOT: "has no more room for this user (its quota)"}
LONGEST_LINE = 1000  # characters; a list of what to fetch by hand takes some hundreds


class Verbs(click.Group):
    """A group that imports a verb when it is used, so that its help is quick.

    `verbs` are like `VERBS`, `elsewhere` is like `ELSEWHERE`, and `click.Group` takes the rest.
    """

    def __init__(
        self,
        *,
        verbs: Mapping[str, tuple[str, str]],
        elsewhere: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(**attributes)
        self.verbs = verbs
        self.elsewhere = elsewhere or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in their order."""
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb."""
        if cmd_name not in self.verbs:
            return None
        module, _, attribute = self.verbs[cmd_name][1].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or name the nearest one."""
        word = args[0] if args else "-"
        if word in self.elsewhere:
            raise UsageError(f"no verb {word!r}", hint=self.elsewhere[word], code="unknown-verb")
        if word not in self.verbs and not word.startswith("-"):
            raise UsageError(
                f"no verb {word[:40]!r}.{did_you_mean(word, self.verbs)}",
                hint=f"{ctx.command_path} -h",
                code="unknown-verb",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs without importing any of them."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, row[0]) for name, row in self.verbs.items()])


@click.group(
    cls=Verbs,
    verbs=VERBS,
    elsewhere=ELSEWHERE,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(zoo.__version__, prog_name="zoo")
def group() -> None:
    """A model zoo: train generative models, sample them, export them to ONNX.

    Every verb takes -h, --debug (tracebacks), --no-color and --no-plugins.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave with its exit code.

    0 ok, 1 could not be done, 2 usage, 3 not found or damaged, 4 plugin or extra, 5 unhealthy
    training, 130 interrupted.
    """
    for stream in ("stdout", "stderr"):  # closed by the caller, as `zoo list >&-` does
        if getattr(sys, stream) is None:
            nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until we end
            setattr(sys, stream, nowhere)
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = _take(words, "--debug")
    if _take(words, "--no-color"):
        os.environ["NO_COLOR"] = "1"
    if _take(words, "--no-plugins"):
        os.environ["ZOO_PLUGINS"] = ""  # also for the processes that a verb starts
    try:
        code = _run(words, debug)
    except KeyboardInterrupt:  # a key that is held down repeats itself
        code = 130
    ignore_interrupts()
    _leave_threads(code)
    sys.exit(code)


def _run(words: list[str], debug: bool) -> int:
    """Run a verb, say what went wrong, and return the exit code."""
    printed: list[Any] = []  # by `print_json`
    try:
        answer: Any = group.main(words, prog_name="zoo", standalone_mode=False, obj=printed)
        sys.stdout.flush()
        return answer if isinstance(answer, int) else 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except click.exceptions.NoArgsIsHelpError as help_wanted:
        click.echo(help_wanted.format_message())
        return 0
    except (KeyboardInterrupt, click.Abort):
        ignore_interrupts()
        error = ZooError("interrupted", code="interrupted")
        error.exit_code = 130
        say(error.message)
    except Exception as problem:
        if debug:
            traceback.print_exc()
        error = _as_zoo_error(problem)
        first, *rest = _lines(error)
        say("\n".join([f"error: {first}", *(f"  {line}" for line in rest)]))
    if "--json" in words and not printed and is_first_rank():
        parts = {
            name: getattr(error, name) for name in ("code", "message", "cause", "hint", "exit_code")
        }
        print_json({"error": parts})
    return error.exit_code


def ignore_interrupts() -> None:
    """Ignore Ctrl-C from now on: the command is at its end, and has said so."""
    if threading.current_thread() is not threading.main_thread():
        return
    while True:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        except KeyboardInterrupt:  # just before
            continue
        return


def _leave_threads(code: int) -> None:
    """End the process here where something runs on that Python, or its end, would wait for.

    That is a thread of a plugin, or ONNX Runtime at work on what nobody waits for any more.
    """
    left: list[threading.Thread] = []
    for name in ("zoo.catalog.discovery", "zoo.runtime.engine"):
        left += getattr(sys.modules.get(name), "left_running", [])
    if any(thread.is_alive() for thread in left):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _as_zoo_error(problem: Exception) -> ZooError:
    """Return what happened as an error that can be shown in a few lines."""
    if isinstance(problem, ZooError):
        return problem
    if isinstance(problem, click.ClickException):
        context = getattr(problem, "ctx", None)
        return UsageError(
            problem.format_message(),
            hint=f"{context.command_path} -h" if context else "",
            code="unknown-option" if isinstance(problem, click.NoSuchOption) else "",
        )
    if isinstance(problem, OSError):
        return _from_system(problem)
    if isinstance(problem, ModuleNotFoundError):
        from zoo.catalog.lookup import extra_with, missing_package

        if extra_with(problem.name):
            return missing_package(str(problem.name))
    words = str(problem).lower()
    if isinstance(problem, MemoryError) or "allocate memory" in words or "out of memory" in words:
        return ZooError(
            "out of memory", hint="a smaller model, --size or --batch-size", code="out-of-memory"
        )
    if "does not have a deterministic implementation" in words:
        return UsageError(
            "the model has an operation whose result may vary on this device",
            cause=" ".join(str(problem).split())[:120],
            hint="the same command without --deterministic",
        )
    plugin = _plugin_at_fault(problem)
    told = f"{type(problem).__name__}: {' '.join(str(problem).split())[:300]}"
    if plugin:
        return PluginError(
            f"{plugin} failed: {told}", hint="the same command with --debug", code="plugin-failed"
        )
    return ZooError(
        f"{told} (a bug of zoo's)",
        hint="the same command with --debug, and report what it prints",
        code="bug",
    )


def _lines(error: ZooError) -> list[str]:
    """Return what is told of an error: a few lines that are not too long."""
    told = str(error).splitlines()[:MOST_LINES] or [type(error).__name__]
    return [line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…" for line in told]


def _from_system(problem: OSError) -> ZooError:
    """Return an error of the operating system without the names of temporary files."""
    if problem.errno in {errno.ENAMETOOLONG, errno.EILSEQ}:  # nobody's disk has such a name
        name = os.fsdecode(problem.filename2 or problem.filename or "")
        return UsageError(f"{name[:60]!r} cannot be a path: {problem.strerror}", code="bad-path")
    path = Path(os.fsdecode(problem.filename2 or problem.filename or ""))
    while path.name.endswith(".part") or any(part.endswith(".part") for part in path.parts):
        path = path.parent
    if full := FULL.get(problem.errno or 0):
        where = f"of {path.parent.absolute()}" if path.name else "for temporary or standard output"
        return ZooError(
            f"{path if path.name else 'a file'} cannot be written: {problem.strerror}",
            cause=f"the disk {where} {full}",
            hint="make room there, or write to another place",
            code="disk-full",
        )
    where = f"{path}: " if path.name else ""
    return ZooError(
        f"{where}{problem.strerror or problem}",
        hint="another place for what is written, or its rights",
        code="cannot-write",
    )


def _plugin_at_fault(problem: Exception) -> str:
    """Return the file and line of the plugin that raised, or nothing when none took part."""
    from zoo.catalog.plugins import installed_plugins

    packages: set[str] = set()
    with suppress(Exception):  # where the plugins cannot be told, none is at fault
        packages = {
            plugin.module.partition(".")[0] for plugin in installed_plugins() if plugin.module
        }
    found = ""
    for frame, line in traceback.walk_tb(problem.__traceback__):
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in packages:
            found = f"{frame.f_code.co_filename}, line {line}"
    return found


def _take(words: list[str], flag: str) -> bool:
    """Remove a flag that may stand anywhere before ``--``; say whether it was there."""
    end = words.index("--") if "--" in words else len(words)
    there = flag in words[:end]
    if there:
        words.remove(flag)
    return there
