"""`zoo explore`: what lies in the codes of a model."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo.cli import arguments
from zoo.cli.command import Verbs
from zoo.cli.output import picture_or_movement, png_path, print_json
from zoo.errors import UsageError
from zoo.messages import say

if TYPE_CHECKING:
    from zoo.cli.exploring import Exploration
    from zoo.exploration.geometry import Array
    from zoo.exploration.views import View

VIEWS = {
    "map": ("Test pictures as points, in the colours of their classes.", "draw_map"),
    "manifold": ("The pictures of a grid in a plane of the codes.", "draw_manifold"),
    "interpolate": ("The way from one picture, seed or class to another.", "interpolate"),
    "arithmetic": ("A - B + C with groups of pictures, seeds or classes.", "arithmetic"),
    "traverse": ("Single dimensions of a code, or principal directions, a row each.", "traverse"),
    "filters": ("What each unit of the code adds to a picture.", "draw_filters"),
    "neighbours": ("Pictures whose codes are the nearest.", "neighbours"),
}
WAYS = ("linear", "spherical", "both")
STEPS = 10  # pictures of a strip
FRAMES = 24  # of a movement, one way
MOST_STEPS = 200
MOST_POINTS = 100_000  # of a map
MOST_SIDE = 64  # pictures along a side of a manifold

Verb = TypeVar("Verb", bound=Callable[..., Any])


class Views(Verbs):
    """The views, which come after TARGET; their help is there without one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the view; where TARGET and the view are exchanged, say so."""
        target = ctx.params["target"]
        if target in self.verbs and args[0] in {"-h", "--help"}:
            return target, self.get_command(ctx, target), args
        if target in self.verbs and args[0] not in self.verbs:
            raise UsageError(
                f"{target} comes after TARGET",
                hint=f"zoo explore {args[0]} {target}",
                code="unknown-verb",
            )
        if args[0].startswith("-"):
            raise _which_view(target)
        return super().resolve_command(ctx, args)


@click.group(
    "explore",
    cls=Views,
    verbs={name: (text, f"{__name__}:{own}") for name, (text, own) in VIEWS.items()},
    invoke_without_command=True,
    subcommand_metavar="|".join(VIEWS),
)
@arguments.target_argument
@click.pass_context
def verb(context: click.Context, target: str) -> None:
    """Look into the codes of TARGET.

    TARGET is a run, @last, a model, a .safetensors file; or an exported .onnx file, or a folder of
    these, which needs no torch. What makes codes of pictures, and pictures of codes, is told by the
    graphs' ports: an autoencoder has both, a GAN only pictures of codes.

    A word for codes is a picture, a folder or a pattern in quotes; a number, which is the seed of a
    draw, as `zoo sample -n 1 --seed N` makes it; or a class by name (class:3 where that is a
    number). Several with commas are one group, whose mean counts.

    \b
    zoo explore TARGET map -o map.png
    zoo explore TARGET interpolate 1 2 -o there-and-back.webp
    zoo explore TARGET arithmetic smiling/ serious/ face.png
    """  # noqa: D301 - click takes a real backspace for "do not wrap"
    if context.invoked_subcommand is None:
        raise _which_view(target)


def _which_view(target: str) -> UsageError:
    return UsageError(
        f"what of {target}?",
        hint=f"zoo explore {target} {'|'.join(VIEWS)}, and then options",
        code="missing-argument",
    )


def _options(movement: bool = False) -> Callable[[Verb], Verb]:
    """Declare the options of every view."""
    name = "x.png, or x.webp for a movement there and back" if movement else "x.png"
    options = (
        click.option("--data", metavar="NAME|PATH", shell_complete=arguments.complete_datasets,
                     help="Pictures that are encoded [what it was trained on]."),
        arguments.fit_option(),
        click.option("--class", "classes", metavar="NAME",
                     help="Of a model that takes one: name or number. [as the seed draws it]"),
        click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0,
                     help="Of draws, and of the choice of pictures [0]."),
        click.option("-o", "--output", type=click.Path(path_type=Path), help=f"{name}."),
        arguments.json_option,
    )  # fmt: skip

    def declare(verb: Verb) -> Verb:
        for option in reversed(options):
            verb = option(verb)
        return verb

    return declare


def _open(**options: Any) -> Exploration:
    """Open the TARGET that stands before the view."""
    from zoo.cli.exploring import open_exploration

    context = click.get_current_context().parent
    assert context is not None
    return open_exploration(context.params["target"], **options)


@click.command("map")
@click.option("-n", "count", type=click.IntRange(1, MOST_POINTS), default=2000,
              help="Pictures, at most [2000].")  # fmt: skip
@click.option("--split", help="Of the data [test, else validation].")
@_options()
def draw_map(
    count: int, split: str | None, output: Path | None, as_json: bool, **options: Any
) -> None:
    """Draw test pictures as points where their codes lie, in the colours of their classes.

    Codes of two dimensions are shown as they are, others by their two principal components, with
    the share of the variance of each.
    """
    from zoo.exploration.maps import latent_map, save_map
    from zoo.grids import legible

    output = png_path(output, "map.png")
    importlib.import_module("matplotlib")  # before anything is encoded
    found = _open(output=output, **options)
    graph = found.encoder("a map")
    split = split or found.held_out
    pictures, labels = found.some_pictures(split, count)
    drawn = latent_map(found.encode(pictures, labels), graph.code.name)
    data = found.store.spec
    classes = found.titles(range(len(data.classes)))
    title = f"{found.space.model}: codes of {len(pictures):,} {split} pictures of "
    title += legible(data.name, "the data")
    output.parent.mkdir(parents=True, exist_ok=True)
    save_map(output, drawn, labels, classes, title)
    facts = {
        "pictures": len(pictures),
        "data": data.name,
        "split": split,
        "axes": drawn.axes,
        "shares": drawn.shares,
    }
    if drawn.shares:
        say(f"two principal components hold {sum(drawn.shares):.0%} of the variance of the codes")
    _tell(found, output, as_json, facts)


@click.command("manifold")
@click.option("-n", "side", type=click.IntRange(2, MOST_SIDE), default=16,
              help="Pictures along a side [16].")  # fmt: skip
@_options()
def draw_manifold(side: int, output: Path | None, as_json: bool, **options: Any) -> None:
    """Draw the pictures of a grid in a plane of the codes.

    Two dimensions: at the quantiles of its prior, in parts of equal probability, or at those
    of the codes of data where it has none. Others: in the plane of the two principal components of
    the codes of data, at their quantiles; or, where nothing makes codes of pictures, of the two
    directions along which drawn pictures vary most, through the draw of --seed.
    """
    from zoo.exploration.directions import find_plane
    from zoo.exploration.views import manifold

    output = png_path(output, "manifold.png")
    found = _open(output=output, **options)
    found.decoder("a manifold")
    context = found.context()
    plane = find_plane(found.surroundings(), side)
    view = manifold(found.space, plane, context)
    say(f"the plane: {plane.words}")
    if plane.shares:
        say(f"two principal components hold {sum(plane.shares):.0%} of the variance of {plane.of}")
    _write(found, view, output, as_json)


@click.command("interpolate")
@click.argument("words", nargs=-1, metavar="[FROM TO]")
@click.option("--from", "start", metavar="WORD", help="Picture, seed or class [--seed].")
@click.option("--to", "end", metavar="WORD", help="Picture, seed or class [the seed after it].")
@click.option("-n", "steps", type=click.IntRange(2, MOST_STEPS),
              help="Pictures from one end to the other [10; of a .webp 24].")  # fmt: skip
@click.option("--path", "way", type=arguments.SuggestingChoice(WAYS),
              help="Straight, or on an arc around the origin, where a normal prior has its mass "
              "[both where the prior is normal; of several classes spherical].")  # fmt: skip
@_options(movement=True)
def interpolate(
    words: tuple[str, ...],
    start: str | None,
    end: str | None,
    steps: int | None,
    way: str | None,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw the pictures on the way from one picture, seed or class to another.

    Of a class or a folder the mean of its codes counts. A picture that is given stands beside what
    the model makes of its code. --class all gives a row a class, where the model takes one.
    """
    from zoo.cli.exploring import read_ends
    from zoo.exploration.views import interpolation

    output, is_movement = picture_or_movement(output, "interpolate.png")
    first, last = read_ends(words, start, end, options["seed"])
    found = _open(output=output, **options)
    port = found.decoder("a path").code
    if way is None:
        several = len(found.classes or ()) > 1
        way = "linear" if port.prior != "normal" else "spherical" if several else "both"
    ends = found.group(first), found.group(last)
    view = interpolation(
        found.space,
        ends,
        WAYS[:2] if way == "both" else (way,),
        found.contexts(),
        found.class_titles(),
        steps or (FRAMES if is_movement else STEPS),
        with_given=not is_movement,
    )
    _write(found, view, output, as_json, is_movement=is_movement)


@click.command("arithmetic")
@click.argument("a")
@click.argument("b")
@click.argument("c")
@click.option("-n", "count", type=click.IntRange(1, MOST_STEPS), default=8,
              help="Pictures of C that are changed, at most [8].")  # fmt: skip
@click.option("--strength", type=click.FloatRange(-100, 100), default=1.0,
              help="Of the difference of A and B [1].")  # fmt: skip
@_options()
def arithmetic(
    a: str,
    b: str,
    c: str,
    count: int,
    strength: float,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw A - B + C: the difference of two means of codes, added to those of a third group.

    A, B and C are classes, folders or pictures, or seeds with commas. The first row has the means
    and their sum; below it stand pictures of C, what the model makes of their codes, and the same
    with the difference added.
    """
    from zoo.exploration.views import arithmetic as calculate

    output = png_path(output, "arithmetic.png")
    found = _open(output=output, **options)
    found.decoder("arithmetic")
    groups = found.group(a), found.group(b), found.group(c)
    view = calculate(found.space, groups, found.context(), count, strength)
    _write(found, view, output, as_json)


@click.command("traverse")
@click.option("--dims", metavar="I,J,...",
              help="Which dimensions of the code, from 0 [those that change the picture most]."
              )  # fmt: skip
@click.option("--principal", is_flag=True,
              help="Principal directions: of the codes of data, or of drawn pictures.")  # fmt: skip
@click.option("--rows", type=click.IntRange(1, MOST_SIDE), default=8, help="At most [8].")
@click.option("-n", "steps", type=click.IntRange(2, MOST_STEPS),
              help="Pictures in a row [9; of a .webp 24].")  # fmt: skip
@click.option("--span", type=click.FloatRange(0, 100, min_open=True), default=3.0,
              help="Standard deviations to both sides [3].")  # fmt: skip
@click.option("--from", "start", metavar="WORD",
              help="Picture, seed or class to begin with [--seed; without a prior, the mean]."
              )  # fmt: skip
@_options(movement=True)
def traverse(
    dims: str | None,
    principal: bool,
    rows: int,
    steps: int | None,
    span: float,
    start: str | None,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Move a code along one dimension of it, or one direction, a row each; all else stays.

    Standard deviations are those of the prior, or else of the codes of data.
    """
    import numpy as np

    from zoo.cli.exploring import read_dims
    from zoo.exploration.views import choose_directions, single_dimensions, traversal

    output, is_movement = picture_or_movement(output, "traverse.png")
    if dims is not None and principal:
        raise UsageError("--dims or --principal, not both", code="conflicting-options")
    found = _open(output=output, **options)
    found.decoder("a traversal")
    context = found.context()
    around = found.surroundings()
    given = None if start is None else found.group(start).mean
    numbers = None if dims is None else read_dims(dims, found.space.size)
    directions, names, what = choose_directions(around, rows, principal=principal, dims=numbers)
    if given is None:
        given = around.drawn()[0] if found.space.has_prior else directions.centre
    if not (principal or dims):
        chosen = single_dimensions(found.space, given, directions, rows, span, context)
        directions, names = directions.some(chosen), [names[each] for each in chosen]
    if what:
        say(f"shares are of the variance of {what}")
    offsets = np.linspace(-span, span, steps or (FRAMES if is_movement else 9))
    view = traversal(found.space, given, directions, names, offsets, context)
    _write(found, view, output, as_json, is_movement=is_movement)


@click.command("filters")
@click.option("-n", "count", type=click.IntRange(1, MOST_SIDE**2), default=144,
              help="Units, evenly from all of them [144].")  # fmt: skip
@_options()
def draw_filters(count: int, output: Path | None, as_json: bool, **options: Any) -> None:
    """Draw what each unit of the code adds to a picture: the weights of a linear decoder.

    Grey is nothing, white brighter, black darker, on a scale of each unit's own.
    """
    from zoo.exploration.views import filters

    output = png_path(output, "filters.png")
    found = _open(output=output, **options)
    found.round_trip("a page of filters")
    view = filters(found.space, found.reference, count, found.context())
    if view.facts["without_effect"]:
        say(f"{view.facts['without_effect']} of these units change no picture of the data")
    _write(found, view, output, as_json)


@click.command("neighbours")
@click.argument("pictures", nargs=-1, metavar="[PICTURE]...")
@click.option("-n", "count", type=click.IntRange(1, MOST_STEPS), default=8,
              help="Neighbours of each [8].")  # fmt: skip
@click.option("--rows", type=click.IntRange(1, MOST_STEPS), default=6,
              help="Held-out pictures to ask for, where none are given [6].")  # fmt: skip
@click.option("--metric", type=arguments.SuggestingChoice(("euclidean", "cosine")),
              default="euclidean", help="Distance of two codes [euclidean].")  # fmt: skip
@click.option("--split", default="train", help="Of the data, in which is searched [train].")
@_options()
def neighbours(
    pictures: tuple[str, ...],
    count: int,
    rows: int,
    metric: Any,
    split: str,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Find the pictures of a data set whose codes are nearest to those of PICTURE, nearest first.

    Without PICTURE, held-out pictures are looked up. Below each picture stands its distance.
    """
    from zoo.exploration.geometry import nearest
    from zoo.exploration.views import neighbours as show
    from zoo.pictures import fit_all

    output = png_path(output, "neighbours.png")
    found = _open(output=output, **options)
    found.encoder("a search for neighbours")
    labels = None
    if pictures:
        names, queries = found.read_pictures(pictures)
    else:
        queries, labels = found.some_pictures(found.held_out, rows)
        names = [f"{number}" for number in range(1, len(queries) + 1)]
        names = names if labels is None else found.titles(labels.tolist())
    among, classes = found.pictures(split)
    codes = found.encode(among, classes)
    places, distances = nearest(found.encode(queries, labels), codes, count, metric)
    view = show(fit_all(queries, *among.shape[1:]), names, among, places, distances)
    facts = {"data": found.store.spec.name, "split": split, "searched": len(among),
             "metric": metric, "queries": _found(names, places, distances, classes)}  # fmt: skip
    if labels is not None and classes is not None:
        same = float((classes[places] == labels[:, None]).mean())
        facts["same_class"] = same
        say(f"{same:.0%} of the neighbours are of the class of their picture")
    _write(found, view, output, as_json, facts)


def _found(
    names: list[str], places: Array, distances: Array, classes: Array | None
) -> list[dict[str, Any]]:
    """Return what ``--json`` prints of each query: rows of the split, distances, class numbers."""
    rows: list[dict[str, Any]] = []
    for name, near, far in zip(names, places, distances, strict=True):
        rows.append({"name": name, "rows": near.tolist(), "distances": far.tolist()})
        if classes is not None:
            rows[-1]["classes"] = classes[near].tolist()
    return rows


def _write(
    found: Exploration,
    view: View,
    output: Path,
    as_json: bool,
    facts: dict[str, Any] | None = None,
    *,
    is_movement: bool = False,
) -> None:
    """Write rows of pictures, and print where they are."""
    from zoo.animations import FRAME, write_webp
    from zoo.pictures import write_png

    output.parent.mkdir(parents=True, exist_ok=True)
    if is_movement:
        write_webp(output, view.frames(), last=FRAME)
    else:
        write_png(output, view.page())
    _tell(found, output, as_json, {**view.facts, **(facts or {})})


def _tell(found: Exploration, output: Path, as_json: bool, facts: dict[str, Any]) -> None:
    """Print the file, or all facts as JSON."""
    file = click.format_filename(output)
    if as_json:
        print_json({"file": file, "model": found.space.model, **facts, "seed": found.seed})
    else:
        click.echo(file)
