"""What `zoo explore` shows in rows of pictures: paths, sums, directions, planes and neighbours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.animations import there_and_back
from zoo.errors import UsageError
from zoo.exploration.directions import Plane, Surroundings
from zoo.exploration.geometry import (
    Array,
    Directions,
    angle_between,
    linear_path,
    moved,
    spherical_path,
)
from zoo.exploration.latent_space import Arrays, LatentSpace
from zoo.grids import grid
from zoo.pictures import Pixels

ACROSS = 1024  # pixels of a page
MOST_NUMBERS = 2**28  # of the pictures of a page
WAYS: Mapping[str, Callable[[Array, Array, Array], Array]] = {
    "linear": linear_path,
    "spherical": spherical_path,
}


@dataclass(frozen=True)
class Group:
    """Codes that one word stands for, and the pictures that they were made of."""

    name: str  # that can be written on a page
    codes: Array  # (N, D), at least one
    pictures: Pixels | None = None  # (N, H, W, C); None where the codes were drawn

    @property
    def mean(self) -> Array:
        """The mean of the codes, (D,)."""
        mean: Array = self.codes.mean(axis=0)
        return mean


@dataclass(frozen=True)
class View:
    """Pictures in rows, what is written beside and below them, and facts in numbers."""

    pictures: Pixels  # (rows · columns, H, W, C)
    columns: int
    labels: tuple[str, ...] = ()  # one a row
    captions: tuple[str, ...] = ()  # one a picture, or none
    facts: dict[str, Any] = field(default_factory=dict)

    def page(self) -> Pixels:
        """Return all on one page, (H, W, C)."""
        return grid(self.pictures, self.columns, self.labels, self.captions, across=ACROSS)

    def frames(self) -> list[Pixels]:
        """Return the columns as pages that follow one another, there and back."""
        pages = [grid(self.pictures[column :: self.columns], 1, self.labels)
                 for column in range(self.columns)]  # fmt: skip
        return there_and_back(pages)


def check_size(space: LatentSpace, count: int) -> None:
    """Raise a `UsageError` where so many pictures are too large for a page."""
    decoder = space.decoder
    if decoder is not None and count * decoder.picture.pixels > MOST_NUMBERS:
        height, width = decoder.picture.height, decoder.picture.width
        raise UsageError(
            f"{count:,} pictures of {height}x{width} are too many for a page",
            hint="a smaller -n",
            code="too-many",
        )


def interpolation(
    space: LatentSpace,
    ends: tuple[Group, Group],
    ways: Sequence[str],
    contexts: Sequence[Arrays],
    classes: Sequence[str],
    steps: int,
    *,
    with_given: bool,
) -> View:
    """Return a row a class and way, from the mean code of one group to that of the other.

    Args:
        space: with a decoder.
        ends: where it begins, and where it ends.
        ways: some of `WAYS`.
        contexts: of each class, as `LatentSpace.contexts` draws them.
        classes: name of each, or none.
        steps: pictures in a row, both ends included.
        with_given: whether a picture that was given stands outside of its end of each row.
    """
    check_size(space, steps * len(contexts) * len(ways))
    start, end = ends[0].mean, ends[1].mean
    shares = np.linspace(0, 1, steps)
    paths = {way: WAYS[way](start, end, shares) for way in ways}
    given = [each.pictures if with_given and each.pictures is not None
             and len(each.pictures) == 1 else None for each in ends]  # fmt: skip
    rows, labels = [], []
    for context, name in zip(contexts, classes or [""], strict=True):
        for way, codes in paths.items():
            row = [given[0], space.decode(codes, context), given[1]]
            rows.append(np.concatenate([each for each in row if each is not None]))
            labels.append(f"{name} {way}".strip() if len(ways) > 1 or not name else name)
    below = [f"{share:.2f}".rstrip("0").rstrip(".") for share in shares]
    below = [*(["given"] if given[0] is not None else []), *below,
             *(["given"] if given[1] is not None else [])]  # fmt: skip
    captions = ("",) * (len(below) * (len(rows) - 1)) + tuple(below)
    facts = {
        "from": ends[0].name,
        "to": ends[1].name,
        "pictures": steps,
        "distance": float(np.linalg.norm(end - start)),
        "angle": float(np.degrees(angle_between(start, end))),
        "paths": {way: {"norms": np.linalg.norm(codes, axis=1).tolist()}
                  for way, codes in paths.items()},
    }  # fmt: skip
    return View(np.concatenate(rows), len(below), tuple(labels), captions, facts)


def arithmetic(
    space: LatentSpace,
    groups: tuple[Group, Group, Group],
    context: Arrays,
    count: int,
    strength: float,
) -> View:
    """Return the means of groups a, b and c with that of a - b + c, and the same for pictures of c.

    The difference of the means of a and b, `strength` times, is added to the mean of c and to each
    of the first `count` codes of c. Above a result stand the picture that was given, if there is
    one, and what the decoder makes of its code.
    """
    check_size(space, 4 * count)
    first, second, third = groups
    difference = strength * (first.mean - second.mean)
    examples = third.codes[:count]
    means = np.stack([*(each.mean for each in groups), third.mean + difference])
    rows = {"means": space.decode(means, context)}
    if third.pictures is not None:
        rows["given"] = third.pictures[:count]
    rows["decoded"] = space.decode(examples, context)
    rows["a - b + c"] = space.decode(examples + difference, context)
    columns = max(len(means), len(examples))
    height, width, channels = rows["means"].shape[1:]
    pictures = np.full((len(rows), columns, height, width, channels), 255, np.uint8)
    for place, row in enumerate(rows.values()):
        pictures[place, : len(row)] = row
    captions = (f"a: {first.name}", f"b: {second.name}", f"c: {third.name}", "a - b + c")
    facts = {
        "groups": {letter: {"name": each.name, "pictures": len(each.codes)}
                   for letter, each in zip("abc", groups, strict=True)},
        "strength": strength,
        "distance": float(np.linalg.norm(first.mean - second.mean)),
        "examples": len(examples),
    }  # fmt: skip
    return View(
        pictures.reshape(-1, height, width, channels), columns, tuple(rows), captions, facts
    )


def traversal(
    space: LatentSpace,
    start: Array,
    directions: Directions,
    names: Sequence[str],
    offsets: Array,
    context: Arrays,
) -> View:
    """Return a row a direction: a code (D,) moved along it, by standard deviations (T,)."""
    check_size(space, len(names) * len(offsets))
    rows = []
    for axis, spread in zip(directions.axes, directions.spread, strict=True):
        codes = moved(start, directions.centre, axis, offsets * spread)
        rows.append(space.decode(codes, context))
    below = tuple(f"{offset:+.3g} sd" for offset in offsets)
    captions = ("",) * (len(offsets) * (len(rows) - 1)) + below
    facts = {
        "offsets": offsets.tolist(),
        "rows": [
            {"name": name, "standard_deviation": float(spread), "change": mean_change(row)}
            for name, spread, row in zip(names, directions.spread, rows, strict=True)
        ],
    }
    return View(np.concatenate(rows), len(offsets), tuple(names), captions, facts)


def filters(space: LatentSpace, codes: Array, count: int, context: Arrays) -> View:
    """Return what each unit of the code adds to the picture of the mean code, a square a unit.

    Grey is nothing, white brighter, black darker, on a scale of each unit's own. A unit is moved
    from two standard deviations below its mean to two above; one that never moves is grey. Where a
    code is maps, a unit is the middle of one. Of a linear decoder these are its weights.

    Args:
        space: with a decoder.
        codes: of data, (N, D).
        count: units, evenly from all of them.
        context: as `LatentSpace.contexts` draws it.
    """
    assert space.decoder is not None
    shape = [int(size) for size in space.decoder.code.shape[1:]]
    middle = np.ravel_multi_index([size // 2 for size in shape[1:]], shape[1:]) if shape[1:] else 0
    places = np.arange(shape[0]) * (space.size // shape[0]) + int(middle)
    places = places[np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)]
    check_size(space, 2 * len(places))
    centre, spread = codes.mean(axis=0), codes.std(axis=0)
    moves = np.zeros((len(places), space.size))
    moves[np.arange(len(places)), places] = 2 * spread[places]
    above, below = (space.decode(centre + sign * moves, context) for sign in (1, -1))
    change = above.astype(np.int16) - below
    greatest = np.abs(change).max(axis=(1, 2, 3), keepdims=True)
    shown = (127.5 + 127.5 * change / np.maximum(greatest, 1)).round().astype(np.uint8)
    columns = max(1, int(np.ceil(np.sqrt(len(places)))))
    still = int((greatest == 0).sum())
    return View(shown, columns, facts={"units": places.tolist(), "without_effect": still})


def mean_change(row: Pixels) -> float:
    """Return the mean difference of the first and last of some pictures, in grey levels of 255."""
    return float(np.abs(row[-1].astype(np.int16) - row[0]).mean())


def choose_directions(
    around: Surroundings, count: int, *, principal: bool, dims: Sequence[int] | None
) -> tuple[Directions, list[str], str]:
    """Return directions, a name for each, and what their shares of variance are of, if known.

    That is `count` principal directions, or the dimensions `dims` of a code, or all of them.
    """
    if principal:
        directions, what = around.principal(count)
        shares = enumerate(directions.shares, start=1)
        return directions, [f"{place}: {share:.1%}" for place, share in shares], what
    chosen = range(around.space.size) if dims is None else dims
    return around.single().some(chosen), [f"dimension {each}" for each in chosen], ""


def single_dimensions(
    space: LatentSpace,
    start: Array,
    about: Directions,
    count: int,
    span: float,
    context: Arrays,
) -> list[int]:
    """Return the `count` dimensions of a code that change its picture most, the greatest first.

    Each is moved from `span` standard deviations below its centre to as many above; `about` holds
    the centre and the standard deviation of all of them.
    """
    changes = []
    for dimension, spread in enumerate(about.spread):
        ends = np.stack([start, start])
        ends[:, dimension] = about.centre[dimension] + spread * np.array([-span, span])
        changes.append(mean_change(space.decode(ends, context)))
    order = np.argsort(-np.array(changes), kind="stable")
    return [int(each) for each in order[:count]]


def manifold(space: LatentSpace, plane: Plane, context: Arrays) -> View:
    """Return the pictures of a grid in a plane of the codes, its top row first."""
    check_size(space, len(plane.across) * len(plane.up))
    rows = []
    first, second = plane.directions.axes
    for place in plane.up[::-1]:
        code = moved(plane.code, plane.directions.centre, second, np.array([place]))[0]
        codes = moved(code, plane.directions.centre, first, plane.across)
        rows.append(space.decode(codes, context))
    side = len(plane.across)
    labels = tuple(f"{place:.2f}" for place in plane.up[::-1])
    captions = ("",) * (side * (len(plane.up) - 1)) + tuple(f"{each:.2f}" for each in plane.across)
    facts = {
        "plane": plane.words,
        "shares": plane.shares,
        "across": plane.across.tolist(),
        "up": plane.up.tolist(),
    }
    return View(np.concatenate(rows), side, labels, captions, facts)


def neighbours(
    queries: Pixels, names: Sequence[str], pictures: Pixels, places: Array, distances: Array
) -> View:
    """Return a row a query: the query itself, then its nearest pictures with their distances.

    Args:
        queries: (Q, H, W, C), as large as the pictures.
        names: one a query.
        pictures: those that were searched, (N, H, W, C).
        places: which of them are nearest to each query, (Q, K).
        distances: how far these are, (Q, K).
    """
    rows, captions = [], []
    for query, near, far in zip(queries, places, distances, strict=True):
        rows.append(np.concatenate([query[None], pictures[near]]))
        captions += ["query", *map(_distance, far.tolist())]
    return View(np.concatenate(rows), 1 + places.shape[1], tuple(names), tuple(captions))


def _distance(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:,.1f}"
