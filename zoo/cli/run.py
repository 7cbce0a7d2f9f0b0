"""`zoo run`: an exported file on pictures, on arrays, or on draws from its priors."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from zoo.cli.arguments import (
    FIT_HELP,
    SuggestingChoice,
    json_option,
    loop_options,
    session_options,
)
from zoo.cli.output import print_json, print_texts
from zoo.errors import UsageError
from zoo.messages import say
from zoo.ports import FITS

if TYPE_CHECKING:
    from zoo.pictures import BadPictureError
    from zoo.ports import Fit
    from zoo.runtime.inputs import Feed
    from zoo.runtime.loops import Loop
    from zoo.runtime.outputs import OriginalPicture, Result
    from zoo.runtime.session import Session
    from zoo.runtime.targets import Target

LONG = 200  # rows, or rounds of rows; what takes longer shows a bar on a terminal
INTERRUPTED = 130  # exit code
MAX_LOGGED = 5  # pictures left out that are named one by one


@click.command("run")
@click.argument("file")
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option("-n", "--count", type=click.IntRange(1),
              help="Rows to draw. [default: 16, of text 1; of several classes, 8 of each]"
              )  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws.")
@click.option("--class", "classes", metavar="CLASS",
              help="Name or number, several with commas, or all; the same noise for each."
              )  # fmt: skip
@loop_options
@click.option(
    "--to", metavar="DOMAIN", help="Where FILE is a folder of several graphs: what to translate to."
)
@click.option(
    "-o",
    "--output",
    help="x.png, x.webp, x.wav, x.txt, x.npz, x.csv, a folder, or - for standard output.",
)
@click.option("--batch-size", type=click.IntRange(1, 65536),
              help="Rows at once. [default: up to 64]")  # fmt: skip
@click.option("--fit", type=SuggestingChoice(FITS),
              help=f"Where FILE fixes the size: {FIT_HELP.lower()} [as in the training]."
              )  # fmt: skip
@click.option("--size", type=click.IntRange(8, 16384), metavar="N",
              help="Where FILE leaves the size open: compute with pictures of N pixels at the "
              "shorter side.")  # fmt: skip
@session_options
@json_option
def verb(file: str, output: str | None, as_json: bool, **options: Any) -> None:
    """Run an exported file; needs no torch and no plugin.

    FILE is an .onnx file that `zoo export` wrote, or the folder where that holds one graph, or one
    to the domain of --to; it says itself what it takes. INPUT is pictures, folders of pictures
    (with all below them), patterns in quotes, .npy and .npz files of numbers, or - for one of these
    from standard input; or .csv files of rows of numbers, by a heading that has the columns of the
    training, or else in the order of the columns. What is not given is drawn from its prior.

    Pictures that come out go to a folder, each by its own name, or in a grid. Sounds go to a folder
    of .wav files, into one x.wav or, as waveforms and spectrograms, into x.png; text is printed, or
    goes into x.txt or a folder. Of classes the likeliest are printed. Numbers go to an .npz file,
    or as JSON to stdout; rows of the first output alone also to x.csv. What comes of a picture has
    its size, unless parts were cut off to fit a size that FILE fixes, or --size asks for another
    one. A picture that cannot be read is an error when you name it, and left out with a word when a
    folder holds it. The folder for results is not read, unless what you name is in it.

    A file that is one step of a loop is run --rounds times. A .png shows the last round or, with
    --every N, every Nth round side by side; a .webp is an animation of them. Ctrl-C ends the loop
    and writes what there is.

    \b
    zoo run clothes.decode.onnx -n 16 --seed 0 -o grid.png
    zoo run clothes.reconstruct.onnx photo.png folder/ 'more/*.jpg' -o out/
    zoo run clothes.encode.onnx folder/ -o codes.npz
    zoo run clothes.decode.onnx codes.npz -o grid.png
    zoo run digits.generate.onnx --class all -o grid.png
    zoo run exports/horses photos/ --to zebra -o out/
    zoo run poems.next.onnx --set prompt="The sea" --set temperature=0.7 --rounds 500
    zoo run clothes.denoise.onnx -n 16 --rounds 50 --every 10 -o strip.png
    zoo run dream.step.onnx photo.png --rounds 100 --set strength=0.5 -o dream.webp
    cat photo.png | zoo run clothes.reconstruct.onnx - -o - > out.png
    """  # noqa: D301 - click takes a real backspace for "do not wrap"
    if output == "-":
        _check_standard_output(as_json)
    facts = _run(file, output, **options)
    if "texts" in facts and not as_json:
        several = len(facts["texts"]) > 1 and options["inputs"]
        print_texts(facts["texts"], facts["names"] if several else ())
    elif output != "-" and facts["outputs"] and not as_json:
        click.echo("\n".join(facts["outputs"]))
    elif output != "-":
        print_json(facts)
    if facts.get("stopped"):
        raise SystemExit(INTERRUPTED)


def _run(
    file: str,
    output: str | None,
    inputs: Sequence[str],
    to: str | None,
    batch_size: int | None,
    fit: Fit | None,
    size: int | None,
    count: int | None,
    seed: int,
    classes: str | None,
    assignments: Sequence[str],
    rounds: int | None,
    every: int | None,
    **session_options: Any,
) -> dict[str, Any]:
    """Write what comes out of a file, and return what ``--json`` prints."""
    from zoo.draws import read_values
    from zoo.loops import choose_rounds
    from zoo.runtime.bundles import open_graph
    from zoo.runtime.engine import bounded_memory
    from zoo.runtime.inputs import find_inputs, prepare_feed, with_sizing
    from zoo.runtime.loops import Loop
    from zoo.runtime.outputs import run_batches
    from zoo.runtime.session import open_session
    from zoo.runtime.targets import choose_target

    started = time.monotonic()
    bad: list[BadPictureError] = []
    done: list[Result] = []
    with bounded_memory():  # a file of a stranger may ask for any amount as soon as it is opened
        session = open_graph(Path(file), to, partial(open_session, **session_options))
        _log_other_version(session)
        signature = session.description.signature
        rounds = choose_rounds(signature, rounds, session.path.name)
        place = Path(output or session.path.stem)
        given = find_inputs(inputs, _standard_input(inputs), place)
        values = read_values(assignments, signature.inputs)
        feed = prepare_feed(session, given, count=count, seed=seed, classes=classes,
                            leave_out=place, values=values)  # fmt: skip
        feed = with_sizing(session, feed, fit, size)
        target = choose_target(session, feed, output, rounds, every)
        loop = None if rounds is None else Loop(rounds, seed, target.shown)
        _log_choices(session, feed)
        results = run_batches(session, feed, bad.append, batch_size, loop)
        paths, numbers = _write(_with_bar(results, feed, done, loop), session, target, feed)
    _log_skipped(bad, feed.count)
    _log_sizes([original for result in done for original in result.originals], session, feed)
    facts = _facts(session, paths, done, len(bad), started)
    return {**facts, **numbers, **_rounds_of(loop)}


def _facts(
    session: Session, outputs: Sequence[str], done: Sequence[Result], left_out: int, started: float
) -> dict[str, Any]:
    """Return which graph was run, and what came of it since `started`, for ``--json``."""
    return {
        "file": click.format_filename(session.path),
        "model": session.description.identity.model,
        "graph": session.description.graph,
        "provider": session.provider,
        "outputs": outputs,
        "count": sum(len(result.names) for result in done),
        "left_out": left_out,
        "seconds": round(time.monotonic() - started, 3),
    }


def _rounds_of(loop: Loop | None) -> dict[str, Any]:
    """Return what ``--json`` prints of a loop; say so where Ctrl-C has ended it."""
    if loop is None:
        return {}
    if loop.stopped is not None:
        say(f"stopped in round {loop.stopped + 1:,} of {loop.rounds:,}; what there was is written")
    stopped = loop.stopped is not None
    return {"rounds": loop.stopped if stopped else loop.rounds, "stopped": stopped}


def _log_other_version(session: Session) -> None:
    """Say so where another version of the plugin is installed than the one that wrote the file.

    The plugin is not imported: an export does not need it.
    """
    identity = session.description.identity
    name, version = identity.distribution, identity.version
    try:
        now = metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):  # ValueError: no name of a distribution
        return
    if now != version:
        say(f"note on {session.path.name}: it was written by {name} {version}; "
            f"{name} {now} is installed")  # fmt: skip


def _write(
    results: Iterable[Result], session: Session, target: Target, feed: Feed
) -> tuple[list[str], dict[str, Any]]:
    """Write results where they go; return the files, and the numbers that are to be printed."""
    from zoo.modalities import modality_of, to_rows
    from zoo.runtime.outputs import NAMES, join_results, keeps_size, write_results
    from zoo.runtime.targets import MAX_PRINTED

    signature = session.description.signature
    if target.kind in {"json", "text"}:
        names, values = join_results(results, MAX_PRINTED)
        named: dict[str, Any] = {NAMES: [click.format_filename(name) for name in names]}
        if target.kind == "json":
            return [], {**named, "values": {port: each.tolist() for port, each in values.items()}}
        port = signature.outputs[0]
        rows = to_rows(values[port.name], port)
        named["texts"] = [modality_of(port).to_text(row, port) for row in rows]
        if port.classes and port.dtype == "float32":  # numbers, which the text has in part
            named["classes"] = list(port.classes)
            return [], {**named, "values": {port.name: values[port.name].tolist()}}
        return [], named
    comes_back = feed.port is not None and keeps_size(signature, feed.port)
    fit = feed.fit if comes_back and feed.shorter_side is None else None
    written = write_results(results, signature.outputs[0], target, sys.stdout.buffer, fit)
    return [click.format_filename(path) for path in written], {}


def _log_choices(session: Session, feed: Feed) -> None:
    """Say what was chosen for the user; what large pictures need must fit into the memory."""
    from zoo.runtime.estimates import notes_on_sizes

    for note in (*session.notes, *feed.notes):
        say(note)
    if session.provider != "cpu":
        say(f"running on {session.provider}")
    for note in notes_on_sizes(session, feed):
        say(note)


def _log_sizes(originals: Sequence[OriginalPicture], session: Session, feed: Feed) -> None:
    """Say what pictures have lost, and where results have another size than they."""
    from zoo.pictures import describe_cut
    from zoo.runtime.outputs import keeps_size

    if feed.port is None or not originals:
        return
    height, width = feed.port.image_size
    if isinstance(height, int) and isinstance(width, int):
        sizes = Counter((each.height, each.width) for each in originals)
        cut = describe_cut(sizes, height, width, feed.fit)
        for note in cut:
            say(note)
        if cut and keeps_size(session.description.signature, feed.port):
            say(f"what comes of these is {height}x{width}, not of their own size")
    colours = sum(each.in_colour for each in originals)
    if feed.port.channels == 1 and colours:
        say(f"{colours:,} of {len(originals):,} pictures lose their colours: the file takes grey")


def _check_standard_output(as_json: bool) -> None:
    """Raise a `UsageError` where JSON is to be there too, or standard output is a terminal."""
    if as_json:
        raise UsageError(
            "-o - and --json both write to standard output",
            hint="-o x.png --json",
            code="conflicting-options",
        )
    if sys.stdout.isatty():
        raise UsageError(
            "-o - writes bytes, and standard output is a terminal",
            hint="-o x.png, or -o - > x.png",
            code="bad-output",
        )


def _standard_input(inputs: Sequence[str]) -> BinaryIO | None:
    """Return standard input where a word asks for it; a `UsageError` where it is a terminal."""
    if "-" not in inputs or sys.stdin is None:
        return None
    if sys.stdin.isatty():
        raise UsageError(
            "- is standard input, and that is a terminal",
            hint="cat photo.png | zoo run FILE -",
            code="missing-input",
        )
    return sys.stdin.buffer


def _with_bar(
    results: Iterable[Result], feed: Feed, done: list[Result], loop: Loop | None
) -> Iterator[Result]:
    """Pass results on and note them without their numbers; show how far a run is on a terminal."""
    from zoo.ports import has_dynamic_size

    photos = feed.port is not None and has_dynamic_size(feed.port)  # one may take minutes
    length = feed.count * (loop.rounds if loop else 1)
    hidden = not sys.stderr.isatty() or length < (2 if photos else LONG)
    with click.progressbar(length=length, file=sys.stderr, hidden=hidden) as bar:
        if loop:
            loop.tick = bar.update
        for result in results:
            done.append(replace(result, outputs={}, shown=()))
            yield result
            if not loop:
                bar.update(len(result.names))


def _log_skipped(bad: Sequence[BadPictureError], count: int) -> None:
    if not bad:
        return
    say(f"left out {len(bad)} of {count} pictures:")
    for problem in bad[:MAX_LOGGED]:
        say(f"  {problem.message}: {problem.cause}")
    if len(bad) > MAX_LOGGED:
        say(f"  and {len(bad) - MAX_LOGGED} more")
