"""`zoo run`: an exported file on pictures, on arrays, or on draws from its priors."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from zoo.cli.output import Choice, json_option, print_json, say
from zoo.cli.sources import FIT_HELP, FITS
from zoo.errors import UsageError
from zoo.runtime.engine import AUTO, PROVIDERS

if TYPE_CHECKING:
    from zoo.pictures import BadPictureError
    from zoo.ports import Fit
    from zoo.runtime.bundles import Open
    from zoo.runtime.feed import Feed, OriginalPicture, Result
    from zoo.runtime.outputs import Target
    from zoo.runtime.session import Session

LONG = 200  # rows; what takes longer shows a bar on a terminal
MAX_LOGGED = 5  # pictures left out that are named one by one


Verb = TypeVar("Verb", bound=Callable[..., None])


def session_options(verb: Verb) -> Verb:
    """Add --provider, --threads, --memory-pattern and --spin, which `session_opener` takes."""
    options = (
        click.option(
            "--provider",
            type=Choice([AUTO, *PROVIDERS]),
            default=AUTO,
            show_default=True,
            help="What to compute on; auto: the first that is installed and works, or the CPU.",
        ),
        click.option(
            "--threads", type=click.IntRange(1, 1024), help="[default: one a CPU, up to 8]"
        ),
        click.option(
            "--memory-pattern/--no-memory-pattern",
            default=None,
            help="Lay memory out once for each size. "
            "[default: where FILE fixes all sizes but the batch]",
        ),
        click.option(
            "--spin/--no-spin",
            default=True,
            show_default=True,
            help="Let threads wait busily; --no-spin where other programs need the CPUs.",
        ),
    )
    for option in reversed(options):
        verb = option(verb)
    return verb


def session_opener(
    *, provider: str, threads: int | None, memory_pattern: bool | None, spin: bool
) -> Open:
    """Return a function that opens a file as the options say."""
    from zoo.runtime.session import open_session

    return partial(
        open_session, provider=provider, threads=threads, memory_pattern=memory_pattern, spin=spin
    )


@click.command("run")
@click.argument("file")
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1),
    help="Rows to draw. [default: 16; of several classes, 8 of each]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the draws.")
@click.option(
    "--class",
    "classes",
    metavar="CLASS",
    help="Name or number, several with commas, or all; the same noise for each.",
)
@click.option("--to", metavar="DOMAIN", help="Where FILE is a folder: what to translate to.")
@click.option("-o", "--output", help="x.png, x.npz, a folder, or - for standard output.")
@click.option(
    "--batch-size", type=click.IntRange(1, 65536), help="Rows at once. [default: up to 64]"
)
@click.option(
    "--fit",
    type=Choice(FITS),
    help=f"Where FILE fixes the size: {FIT_HELP.lower()} [as in the training].",
)
@click.option(
    "--size",
    type=click.IntRange(8, 16384),
    metavar="N",
    help="Where FILE leaves the size open: compute with pictures of N pixels at the shorter side.",
)
@session_options
@json_option
def verb(
    file: str,
    inputs: tuple[str, ...],
    count: int | None,
    seed: int,
    classes: str | None,
    to: str | None,
    output: str | None,
    batch_size: int | None,
    fit: Fit | None,
    size: int | None,
    provider: str,
    threads: int | None,
    memory_pattern: bool | None,
    spin: bool,
    as_json: bool,
) -> None:
    """Run an exported file; needs no torch and no plugin.

    FILE is an .onnx file that `zoo export` wrote, or the folder with --to; it says itself what it
    takes. INPUT is pictures, folders of pictures (with all below them), patterns in quotes, .npy
    and .npz files of numbers, or - for one of these from standard input. What is not given is
    drawn from its prior.

    Pictures that come out go to a folder, each by its own name, or in a grid; numbers go to an
    .npz file, or as JSON to stdout. What comes of a picture has its size, unless parts were cut off
    to fit a size that FILE fixes, or --size asks for another one. A picture that cannot be read is
    an error when you name it, and left out with a word when a folder holds it. The folder for
    results is not read, unless what you name is in it.

    \b
    zoo run clothes.decode.onnx -n 16 --seed 0 -o grid.png
    zoo run clothes.reconstruct.onnx photo.png folder/ 'more/*.jpg' -o out/
    zoo run clothes.encode.onnx folder/ -o codes.npz
    zoo run clothes.decode.onnx codes.npz -o grid.png
    zoo run digits.generate.onnx --class all -o grid.png
    zoo run exports/horses photos/ --to zebra -o out/
    cat photo.png | zoo run clothes.reconstruct.onnx - -o - > out.png
    """  # noqa: D301 - click takes a real backspace for "do not wrap"
    from zoo.cli.targets import tell_version
    from zoo.runtime.bundles import open_graph
    from zoo.runtime.feed import prepare_feed, run_batches, with_sizing
    from zoo.runtime.files import PIPE, find_sources
    from zoo.runtime.memory import bounded_memory
    from zoo.runtime.outputs import choose_target

    started = time.monotonic()
    bad: list[BadPictureError] = []
    if output == PIPE:
        _check_pipe(as_json)
    with bounded_memory():  # a file of a stranger may ask for any amount as soon as it is opened
        opened = session_opener(
            provider=provider, threads=threads, memory_pattern=memory_pattern, spin=spin
        )
        session = open_graph(Path(file), to, opened)
        of_model = session.description.identity
        tell_version(session.path, of_model.distribution, of_model.version)
        leave_out = Path(output or session.path.stem)
        given = find_sources(inputs, _standard_input(inputs), leave_out)
        feed = prepare_feed(
            session, given, count=count, seed=seed, classes=classes, leave_out=leave_out
        )
        feed = with_sizing(session, feed, fit, size)
        target = choose_target(session, feed, output)
        _log_choices(session, feed)
        originals: list[OriginalPicture] = []
        results = _keep_originals(run_batches(session, feed, bad.append, batch_size), originals)
        paths, numbers = _write(_with_bar(results, feed), session, target, feed)
    _log_skipped(bad, feed.count)
    _log_sizes(originals, session, feed)
    if output == PIPE:
        return
    if not as_json and paths:
        click.echo("\n".join(paths))
        return
    print_json(
        {
            "file": click.format_filename(session.path),
            "model": session.description.identity.model,
            "graph": session.description.graph,
            "provider": session.provider,
            "outputs": paths,
            "count": feed.count - len(bad),
            "left_out": len(bad),
            "seconds": round(time.monotonic() - started, 3),
            **numbers,
        }
    )


def _write(
    results: Iterable[Result], session: Session, target: Target, feed: Feed
) -> tuple[list[str], dict[str, Any]]:
    """Write results where they go; return the files, and the numbers that are to be printed."""
    from zoo.runtime.outputs import MAX_PRINTED, NAMES, join_results, keeps_size, write_results

    if target.kind == "json":
        names, values = join_results(results, MAX_PRINTED)
        return [], {
            NAMES: [click.format_filename(name) for name in names],
            "values": {port: array.tolist() for port, array in values.items()},
        }
    signature = session.description.signature
    comes_back = feed.port is not None and keeps_size(signature, feed.port)
    fit = feed.sizing.fit if comes_back and feed.sizing.shorter_side is None else None
    written = write_results(results, signature.outputs[0], target, sys.stdout.buffer, fit)
    return [click.format_filename(path) for path in written], {}


def _log_choices(session: Session, feed: Feed) -> None:
    """Say what was chosen for the user, and what large pictures will take.

    Raises:
        ZooError: that is more memory than there is.
    """
    from zoo.runtime.memory import estimate, far_from_training, picture_sizes

    for note in (*session.notes, *feed.notes):
        say(note)
    if session.provider != "cpu":
        say(f"running on {session.provider}")
    if sizes := picture_sizes(feed):
        for note in (far_from_training(session, sizes), estimate(session, sizes)):
            if note:
                say(note)


def _keep_originals(
    results: Iterable[Result], originals: list[OriginalPicture]
) -> Iterator[Result]:
    """Pass results on, and note what their pictures were before."""
    for result in results:
        originals += result.originals
        yield result


def _log_sizes(originals: Sequence[OriginalPicture], session: Session, feed: Feed) -> None:
    """Say what pictures have lost, and where results have another size than they."""
    from zoo.pictures import describe_cut
    from zoo.runtime.outputs import keeps_size

    if feed.port is None or not originals:
        return
    height, width = feed.port.image_size
    if isinstance(height, int) and isinstance(width, int):
        sizes = Counter((each.height, each.width) for each in originals)
        cut = describe_cut(sizes, height, width, feed.sizing.fit)
        for note in cut:
            say(note)
        if cut and keeps_size(session.description.signature, feed.port):
            say(f"what comes of these is {height}x{width}, not of their own size")
    colours = sum(each.in_colour for each in originals)
    if feed.port.channels == 1 and colours:
        say(f"{colours:,} of {len(originals):,} pictures lose their colours: the file takes grey")


def _check_pipe(as_json: bool) -> None:
    """Require a place for the bytes of a picture or of arrays.

    Raises:
        UsageError: JSON is to be there too, or standard output is a terminal.
    """
    if as_json:
        raise UsageError("-o - and --json both write to standard output", hint="-o x.png --json")
    if sys.stdout.isatty():
        raise UsageError(
            "-o - writes bytes, and standard output is a terminal", hint="-o x.png, or -o - > x.png"
        )


def _standard_input(words: Sequence[str]) -> BinaryIO | None:
    """Return standard input where a word asks for it, and something can come.

    Raises:
        UsageError: it is a terminal.
    """
    if "-" not in words or sys.stdin is None:
        return None
    if sys.stdin.isatty():
        raise UsageError(
            "- is standard input, and that is a terminal", hint="cat photo.png | zoo run FILE -"
        )
    return sys.stdin.buffer


def _with_bar(results: Iterable[Result], feed: Feed) -> Iterator[Result]:
    """Pass results on; on a terminal, show how far a long run is."""
    from zoo.ports import has_dynamic_size

    photos = feed.port is not None and has_dynamic_size(feed.port)  # one may take minutes
    hidden = not sys.stderr.isatty() or feed.count < (2 if photos else LONG)
    with click.progressbar(length=feed.count, file=sys.stderr, hidden=hidden) as bar:
        for result in results:
            yield result
            bar.update(len(result.names))


def _log_skipped(bad: Sequence[BadPictureError], count: int) -> None:
    if not bad:
        return
    say(f"left out {len(bad)} of {count} pictures:")
    for problem in bad[:MAX_LOGGED]:
        say(f"  {problem.message}: {problem.cause}")
    if len(bad) > MAX_LOGGED:
        say(f"  and {len(bad) - MAX_LOGGED} more")
