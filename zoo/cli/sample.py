"""`zoo sample`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import arguments
from zoo.cli.output import print_json, say
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.model.weights import Trained
    from zoo.pictures import Pixels
    from zoo.ports import Fit

MOST_SAMPLES = 10_000
SAMPLES = 64
OF_A_CLASS = 8  # samples, where there is a row a class
SHOWN = 16  # images of the data
LONG = 1000  # rounds of samples; what takes longer shows a bar on a terminal
INTERRUPTED = 130  # exit code
SUFFIXES = (".png", ".webp")


@dataclass(frozen=True)
class Drawn:
    """Samples of the rounds that are shown, and how they are laid out."""

    rounds: list[Pixels]
    columns: int | None = None  # of a grid
    labels: tuple[str, ...] = ()  # one a row of the grid
    stopped: int | None = None  # the round that was done last when Ctrl-C came


@click.command("sample")
@arguments.target_argument
@click.option("-n", "count", type=click.IntRange(1, MOST_SAMPLES),
              help="How many [64; 8 of a class; 16 of the data].")  # fmt: skip
@click.option("--class", "classes", metavar="NAME", help="Of which class: name, number, or all.")
@arguments.data_option("Pictures for a model that needs some [what it was trained on].")
@arguments.fit_option()
@arguments.loop_options
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Of noise [0].")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("samples.png"),
              help="Picture to write, or .webp [samples.png].")  # fmt: skip
@arguments.json_option
def verb(
    target: str,
    data: str | None,
    fit: Fit | None,
    output: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw samples from TARGET: a run, @last, a model's latest run, or a .safetensors file.

    A model that makes pictures from noise draws some; --class all gives a row for each class, with
    its name, and the same noise in every row. A model that makes pictures of pictures shows test
    images, each above what becomes of it; where there is a way back, also that.

    A model whose graph is one step of a loop is run --rounds times. A .png shows the last round or,
    with --every N, every Nth round side by side; a .webp is an animation of them. Ctrl-C ends the
    loop and writes what there is.
    """
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{output} is no name for a picture", hint="-o grid.png", code="bad-output"
        )
    trained = arguments.load_target(target, data)
    from zoo.model.inference import mappers, samplers

    model = trained.identity.model
    if samplers(trained.model):
        if data is not None or fit is not None:
            raise UsageError(
                f"{model} draws from noise and needs no data",
                hint=f"zoo sample {target}",
                code="does-not-apply",
            )
        facts = _sample(trained, output, **options)
    elif mappers(trained.model):
        facts = _show_images(trained, output, data, fit, **options)
    else:
        raise _no_pictures(trained)
    written = click.format_filename(output)
    if as_json:
        print_json({"file": written, "seed": options["seed"], "model": model, **facts})
    else:
        click.echo(written)
    if facts.get("stopped"):
        say(f"stopped after {facts['rounds']:,} rounds; what there was is written")
        raise SystemExit(INTERRUPTED)


def _sample(
    trained: Trained,
    output: Path,
    count: int | None,
    classes: str | None,
    assignments: Sequence[str],
    rounds: int | None,
    every: int | None,
    seed: int,
) -> dict[str, Any]:
    """Write samples of the first graph that is drawn from noise; return what ``--json`` prints."""
    from zoo.loops import choose_rounds
    from zoo.model.inference import samplers

    name = samplers(trained.model)[0]
    rounds = choose_rounds(trained.model.graphs()[name].signature, rounds, name)
    shown = _shown(rounds, every, output)
    count = count or (OF_A_CLASS if classes else SAMPLES)
    drawn = _draw(trained, name, count, seed, classes, assignments, rounds, shown)
    _write(output, drawn, side_by_side=every is not None)
    facts: dict[str, Any] = {"count": len(drawn.rounds[0])}
    if rounds is None:
        return facts
    done = rounds if drawn.stopped is None else drawn.stopped
    return {**facts, "rounds": done, "stopped": drawn.stopped is not None}


def _show_images(
    trained: Trained,
    output: Path,
    data: str | None,
    fit: Fit | None,
    count: int | None,
    classes: str | None,
    assignments: Sequence[str],
    rounds: int | None,
    every: int | None,
    seed: int,
) -> dict[str, Any]:
    """Write test images and what becomes of them; return what ``--json`` prints."""
    del seed
    from zoo.loops import choose_rounds
    from zoo.model.inference import mappers

    if classes is not None:
        raise UsageError(
            f"{trained.identity.model} has no classes to choose from", code="does-not-apply"
        )
    if assignments or every is not None or output.suffix.lower() != ".png":
        raise UsageError(
            "--set, --every and .webp are for samples of noise",
            hint="zoo export, and zoo run, which takes them",
            code="does-not-apply",
        )
    graphs, names = trained.model.graphs(), mappers(trained.model)
    name = next((each for each in names if graphs[each].signature.is_step), names[0])
    rounds = choose_rounds(graphs[name].signature, rounds, name)
    count = count or SHOWN
    _write_png(output, _compare(trained, count, data, fit, rounds))
    return {"count": count} if rounds is None else {"count": count, "rounds": rounds}


def _shown(rounds: int | None, every: int | None, output: Path) -> tuple[int, ...]:
    """Return the rounds that are shown; `UsageError` where there are none to choose from."""
    from zoo.loops import shown_rounds

    is_animation = output.suffix.lower() == ".webp"
    if rounds is None:
        if every is None and not is_animation:
            return (1,)
        raise UsageError(
            "--every and .webp show the rounds of a loop, and this model has none",
            code="does-not-apply",
        )
    return shown_rounds(rounds, every) if is_animation or every else (rounds,)


def _write(output: Path, drawn: Drawn, *, side_by_side: bool) -> None:
    """Write an animation, a strip, or a grid of the last round."""
    from zoo import animations, pictures

    if output.suffix.lower() == ".webp":
        output.parent.mkdir(parents=True, exist_ok=True)
        pages = [pictures.grid(each, drawn.columns, drawn.labels) for each in drawn.rounds]
        animations.write_webp(output, pages)
    elif side_by_side:
        labels = [label for label in drawn.labels for _ in range(drawn.columns or 1)]
        _write_png(output, animations.strip(drawn.rounds, labels))
    else:
        _write_png(output, pictures.grid(drawn.rounds[-1], drawn.columns, drawn.labels))


def _write_png(output: Path, page: Pixels) -> None:
    from zoo import pictures

    output.parent.mkdir(parents=True, exist_ok=True)
    pictures.write_png(output, page)


def _no_pictures(trained: Trained) -> UsageError:
    needs = [
        f"{name} needs {', '.join(port.name for port in graph.signature.required)}"
        for name, graph in trained.model.graphs().items()
        if graph.signature.required
    ]
    return UsageError(
        f"{trained.identity.model} makes no pictures of noise, or of pictures, alone",
        cause="; ".join(needs),
        hint="zoo export and zoo run, which takes numbers from .npz files",
        code="does-not-apply",
    )


def _draw(
    trained: Trained,
    name: str,
    count: int,
    seed: int,
    classes: str | None,
    assignments: Sequence[str],
    rounds: int | None,
    shown: Sequence[int],
) -> Drawn:
    """Return samples of a graph, `count` of each class where some are chosen.

    Ctrl-C in a loop ends it with what there is, if there is anything.
    """
    from zoo.draws import class_labels, read_classes, read_values
    from zoo.model.inference import sample_rounds

    ports = trained.model.graphs()[name].inputs
    values = read_values(assignments, ports)
    drawn = [port for port in ports if port.name not in values]
    chosen = None if classes is None else read_classes(classes, drawn)
    if len(chosen or [None]) * count > MOST_SAMPLES:
        raise UsageError(
            f"{count} of each of {len(chosen or [])} classes are too many",
            hint="fewer, or fewer classes",
            code="too-many",
        )
    kept: list[Pixels] = []
    done, stopped = 0, None
    driven = sample_rounds(
        trained.model, name, count=count, seed=seed, classes=chosen, values=values, rounds=rounds
    )
    hidden = not sys.stderr.isatty() or (rounds or 1) * count < LONG
    try:
        with click.progressbar(driven, length=rounds or 1, file=sys.stderr, hidden=hidden) as bar:
            for done, pixels in enumerate(bar, start=1):
                if done in shown:
                    kept.append(pixels)
    except KeyboardInterrupt:
        if done == 0:
            raise
        stopped = done
        kept += [] if done in shown else [pixels]
    several = chosen is not None and len(chosen) > 1
    labels = class_labels(chosen, ports) if chosen and several else ()
    return Drawn(kept, count if several else None, labels, stopped)


def _compare(
    trained: Trained, count: int, data: str | None, fit: Fit | None, rounds: int | None
) -> Pixels:
    """Return test images of the data and what all graphs from image to image make of them."""
    from zoo.model.inference import comparison, mappers

    store = arguments.open_like_training(trained, arguments.source_for(trained, data), fit)
    images = store.splits.get("test", store.splits["validation"])
    return comparison(trained.model, mappers(trained.model), images, count, rounds=rounds)
