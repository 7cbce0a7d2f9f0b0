"""`zoo sample`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.api.data import choose_split, open_held_out, open_like_training, source_for
from zoo.api.targets import load_target
from zoo.atomic import write_bytes
from zoo.cli import arguments
from zoo.cli.output import print_json, print_texts
from zoo.errors import UsageError
from zoo.messages import say
from zoo.ports import MOST_SAMPLES

if TYPE_CHECKING:
    from zoo.modalities.base import Array
    from zoo.model.beginnings import Beginning
    from zoo.model.weights import Trained
    from zoo.pictures import Pixels
    from zoo.ports import Fit, Port

OF_A_CLASS = 8  # samples, where there is a row a class
SHOWN = 16  # images of the data
LONG = 1000  # rounds of samples; what takes longer shows a bar on a terminal
INTERRUPTED = 130  # exit code
SAMPLES = Path("samples.png")


@dataclass(frozen=True)
class Drawn:
    """Samples of the rounds that are shown, as decoded data has them, and how they are laid out."""

    port: Port  # that they come out of
    rounds: list[Array]
    columns: int | None = None  # of a grid
    labels: tuple[str, ...] = ()  # one a row of the grid
    stopped: int | None = None  # the round that was done last when Ctrl-C came
    page: Callable[[Array], Pixels] | None = None  # draws a round where that is no grid alone


@click.command("sample")
@arguments.target_argument
@click.option("-n", "count", type=click.IntRange(1, MOST_SAMPLES),
              help="How many [64; sounds 16; text 1; 8 of a class; at most 16 of the data]."
              )  # fmt: skip
@click.option("--class", "classes", metavar="NAME", help="Of which class: name, number, or all.")
@arguments.data_option(
    "For a model that needs some, and to begin a loop with [what it was trained on]."
)
@arguments.fit_option()
@arguments.loop_options
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Of noise [0].")
@click.option("-o", "--output", type=click.Path(path_type=Path),
              help="x.png, x.webp, x.wav, x.txt or a folder/ [samples.png; of sounds samples/ as "
              "well; text is printed].")  # fmt: skip
@arguments.json_option
def verb(
    target: str,
    data: str | None,
    fit: Fit | None,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw samples from TARGET: a run, @last, a model's latest run, or a .safetensors file.

    A model that makes pictures from noise draws some; --class all gives a row for each class, with
    its name, and the same noise in every row. A model that makes pictures of pictures shows test
    images, each above what becomes of it; where there is a way back, also that.

    Sounds are written to a folder of .wav files, or one after the other into x.wav; a .png shows
    their waveforms over their spectrograms. Text is printed, or goes into x.txt or a folder.

    A model whose graph is one step of a loop is run --rounds times. A .png shows the last round or,
    with --every N, every Nth round side by side; a .webp is an animation of them. Text and sounds
    that grow round by round are shown whole; --set prompt="..." is how they begin. Ctrl-C ends the
    loop and writes what there is.

    A loop that needs a picture or a text to begin takes -n that were held out; text and sounds are
    given in part, and go on. With --data, a loop that could begin with noise begins with data, too.
    """
    if output is not None:
        _check_name(output)
    trained = load_target(target, data)
    from zoo.model.beginnings import loops_from_data
    from zoo.model.inference import mappers, samplers

    model, source = trained.identity.model, (data, fit)
    asked = data is not None
    drawn, begun = samplers(trained.model), loops_from_data(trained.model, asked=asked)
    names = begun if asked and begun else drawn or begun
    if names:
        facts = _sample(trained, names[0], source, output, **options)
    elif mappers(trained.model):
        facts = _show_images(trained, output or SAMPLES, data, fit, **options)
    else:
        raise _no_pictures(trained)
    if as_json:
        print_json({**facts, "seed": options["seed"], "model": model})
    elif "texts" in facts:
        print_texts(facts["texts"])
    else:
        click.echo("\n".join(filter(None, (facts["file"], facts.get("folder")))))
    if facts.get("stopped"):
        say(f"stopped after {facts['rounds']:,} rounds; what there was is written")
        raise SystemExit(INTERRUPTED)


def _sample(
    trained: Trained,
    name: str,
    source: tuple[str | None, Fit | None],
    output: Path | None,
    count: int | None,
    classes: str | None,
    assignments: Sequence[str],
    rounds: int | None,
    every: int | None,
    seed: int,
) -> dict[str, Any]:
    """Write samples of a graph, drawn or begun with data; return what ``--json`` prints."""
    from zoo.draws import read_classes, read_values
    from zoo.loops import choose_rounds
    from zoo.modalities import modality_of
    from zoo.model.previews import page_of_loop

    graph = trained.model.graphs()[name]
    port = graph.outputs[0]
    if output is not None:
        _check_kind(output, port)
    rounds = choose_rounds(graph.signature, rounds, name)
    shown = _shown(port, rounds, every, output)
    values = read_values(assignments, graph.inputs)
    free = [each for each in graph.inputs if each.name not in values]
    chosen = None if classes is None else read_classes(classes, free)
    ports = _ports_of_data(trained, name, source, {*values, *_labels(free, chosen)})
    usual = min(SHOWN, modality_of(port).samples) if ports else modality_of(port).samples
    count = count or (min(OF_A_CLASS, usual) if chosen else usual)
    begun = _begin(trained, name, ports, source, count, rounds) if ports else None
    if begun is not None:
        count, values = begun.count, {**values, **begun.arrays}
    drawn = _draw(trained, name, count, seed, chosen, values, rounds, shown)
    if begun is not None and drawn.columns is None:
        drawn = replace(drawn, page=partial(page_of_loop, trained.model, name, begun))
    facts = _write(output, drawn, side_by_side=every is not None)
    facts["count"] = len(drawn.rounds[0])
    if rounds is None:
        return facts
    done = rounds if drawn.stopped is None else drawn.stopped
    return {**facts, "rounds": done, "stopped": drawn.stopped is not None}


def _labels(ports: Sequence[Port], chosen: Sequence[int] | None) -> set[str]:
    """Return the labels that ``--class`` chooses, by name."""
    return set() if chosen is None else {port.name for port in ports if port.is_label}


def _ports_of_data(
    trained: Trained, name: str, source: tuple[str | None, Fit | None], given: Collection[str]
) -> dict[str, Port]:
    """Return the inputs of a graph that take rows of data, each with the port of the data.

    Raises:
        UsageError: an input is neither given nor drawn nor in the data, or data is named for none.
    """
    from zoo.model.beginnings import inputs_from_data
    from zoo.ports import describe_port

    data, fit = source
    ports = inputs_from_data(trained.model, name, asked=data is not None)
    found = {}
    for port in trained.model.graphs()[name].inputs:
        if port.name in given or port.name not in ports:
            continue
        of_data = ports[port.name]
        if of_data is None:
            raise UsageError(
                f"{name} needs {describe_port(port)}",
                cause=f"nothing draws it, and {trained.model.data.name} holds nothing like it",
                hint=f"--set {port.name}=VALUE for a number or a text; else zoo export, and zoo "
                "run, which takes .npz files",
                code="missing-input",
            )
        found[port.name] = of_data
    if not found and (data is not None or fit is not None):
        raise UsageError(
            f"{trained.identity.model} draws from noise and needs no data",
            hint="the same command without --data and --fit",
            code="does-not-apply",
        )
    return found


def _begin(
    trained: Trained,
    name: str,
    ports: dict[str, Port],
    source: tuple[str | None, Fit | None],
    count: int,
    rounds: int | None,
) -> Beginning:
    """Return held-out rows of data for the first round of a loop, and say which they are."""
    from zoo.model.beginnings import begin_with

    data, fit = source
    store, split = open_held_out(trained, source_for(trained, data), fit)
    begun = begin_with(trained.model, name, ports, store.splits[split], count, rounds)
    part = "" if begun.share == 1 else f", the first {begun.share:.0%} of each"
    say(f"starts from {begun.count:,} {split} {begun.items} of {store.spec.name}{part}")
    return begun


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
            "--set, --every and .webp are for samples of noise, and for loops",
            hint="zoo export, and zoo run, which takes them",
            code="does-not-apply",
        )
    name, *_ = mappers(trained.model)
    choose_rounds(trained.model.graphs()[name].signature, rounds, name)  # it is run once
    count = count or SHOWN
    _write_png(output, _compare(trained, count, data, fit))
    return {"file": click.format_filename(output), "count": count}


def _check_name(output: Path) -> None:
    """Raise a `UsageError` where no kind of sample goes into a file of that name."""
    from zoo.modalities import modalities

    suffixes = {".png", ".webp", *(each.suffix for each in modalities().values())}
    if output.suffix.lower() not in suffixes and not _is_folder(output):
        raise UsageError(
            f"{output} is no name for a picture", hint="-o grid.png", code="bad-output"
        )


def _is_folder(output: Path) -> bool:
    return output.is_dir() or not output.suffix


def _check_kind(output: Path, port: Port) -> None:
    """Raise a `UsageError` where samples of a port do not go into a file or a folder."""
    from zoo.modalities import modality_of

    modality = modality_of(port)
    suffix = output.suffix.lower()
    if (_is_folder(output) and modality.suffix) or suffix in {".png", ".webp", modality.suffix}:
        return
    raise UsageError(
        f"-o {output}: that is no file for {modality.items}",
        hint=f"-o x{modality.suffix or '.png'}",
        code="bad-output",
    )


def _shown(
    port: Port, rounds: int | None, every: int | None, output: Path | None
) -> tuple[int, ...]:
    """Return the rounds that are shown; `UsageError` where there are none to choose from."""
    from zoo.loops import is_sequence, shown_rounds

    is_animation = output is not None and output.suffix.lower() == ".webp"
    if (every is not None or is_animation) and rounds is not None and is_sequence(port):
        raise UsageError(
            f"--every and .webp show what each round makes better; the rounds of {port.name} "
            "follow one another",
            code="does-not-apply",
        )
    if every is not None and output is not None and output.suffix.lower() not in {".png", ".webp"}:
        raise UsageError(
            "--every shows rounds in a .png, side by side, or in a .webp, one after the other",
            hint="-o rounds.png, or -o rounds.webp",
            code="bad-output",
        )
    if rounds is None:
        if every is None and not is_animation:
            return (1,)
        raise UsageError(
            "--every and .webp show the rounds of a loop, and this model has none",
            code="does-not-apply",
        )
    return shown_rounds(rounds, every) if is_animation or every else (rounds,)


def _write(output: Path | None, drawn: Drawn, *, side_by_side: bool) -> dict[str, Any]:
    """Write samples where they go; return the files, or the texts that are to be printed."""
    from zoo.animations import strip, write_webp
    from zoo.modalities import draw_cells, draw_page, modality_of

    port, last = drawn.port, drawn.rounds[-1]
    modality = modality_of(port)
    if output is None and modality.printed:
        return {"texts": [modality.to_text(row, port) for row in last]}
    facts = {}
    if output is None and modality.suffix not in {"", ".png"}:
        folder = SAMPLES.with_suffix("")
        _write_files(folder, drawn)
        facts["folder"] = click.format_filename(folder)
    output = output or SAMPLES
    suffix = output.suffix.lower()
    output.parent.mkdir(parents=True, exist_ok=True)
    if _is_folder(output):
        _write_files(output, drawn)
    elif suffix == ".webp":
        pages = [draw_page(each, port, drawn.columns, drawn.labels) for each in drawn.rounds]
        write_webp(output, pages)
    elif side_by_side:
        labels = [label for label in drawn.labels for _ in range(drawn.columns or 1)]
        _write_png(output, strip([draw_cells(each, port) for each in drawn.rounds], labels))
    elif suffix == ".png":
        page = drawn.page or partial(
            draw_page, port=port, columns=drawn.columns, labels=drawn.labels
        )
        _write_png(output, page(last))
    else:
        write_bytes(output, modality.encode(last, port))
    return {"file": click.format_filename(output), **facts}


def _write_files(folder: Path, drawn: Drawn) -> None:
    """Write each sample into a file of its own: ``01.wav``, ``02.wav``."""
    from zoo.modalities import modality_of

    modality, rows = modality_of(drawn.port), drawn.rounds[-1]
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows, start=1):
        name = f"{number:0{len(str(len(rows)))}}{modality.suffix}"
        write_bytes(folder / name, modality.encode(row[None], drawn.port))


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
        f"{trained.identity.model} makes nothing of noise, and no pictures of pictures, alone",
        cause="; ".join(needs),
        hint="zoo export, and zoo run FILE with pictures, or with numbers from .npz files",
        code="does-not-apply",
    )


def _draw(
    trained: Trained,
    name: str,
    count: int,
    seed: int,
    chosen: Sequence[int] | None,
    given: Mapping[str, Array],
    rounds: int | None,
    shown: Sequence[int],
) -> Drawn:
    """Return samples of a graph, `count` of each class where some are chosen.

    Ctrl-C in a loop ends it with what there is, if there is anything.
    """
    from zoo.draws import class_labels
    from zoo.model.inference import sample_rounds
    from zoo.sampling import check_count

    graph = trained.model.graphs()[name]
    check_count(count, chosen)
    kept: list[Array] = []
    done, stopped = 0, None
    driven = sample_rounds(
        trained.model, name, count=count, seed=seed, classes=chosen, given=given, rounds=rounds
    )
    hidden = not sys.stderr.isatty() or (rounds or 1) * count < LONG
    try:
        with click.progressbar(driven, length=rounds or 1, file=sys.stderr, hidden=hidden) as bar:
            for done, rows in enumerate(bar, start=1):
                if done in shown:
                    kept.append(rows)
    except KeyboardInterrupt:
        if done == 0:
            raise
        stopped = done
        kept += [] if done in shown else [rows]
    several = chosen is not None and len(chosen) > 1
    labels = class_labels(chosen, graph.inputs) if chosen and several else ()
    return Drawn(graph.outputs[0], kept, count if several else None, labels, stopped)


def _compare(trained: Trained, count: int, data: str | None, fit: Fit | None) -> Pixels:
    """Return test images of the data and what all graphs from image to image make of them."""
    from zoo.model.inference import mappers
    from zoo.model.previews import comparison

    store = open_like_training(trained, source_for(trained, data), fit)
    images = store.splits[choose_split(store)]
    return comparison(trained.model, mappers(trained.model), images, count)
