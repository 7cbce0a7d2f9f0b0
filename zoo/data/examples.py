"""One picture of examples of a data set, as training would see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from zoo.catalog.dataset import SPLITS
from zoo.data import layouts
from zoo.data.decoding import Indices, decode_rows
from zoo.data.location import DataLocation, Side
from zoo.errors import NotFoundError
from zoo.pictures import Pixels, grid, legible
from zoo.ports import DataSpec

COLUMNS, PAIR_COLUMNS = 8, 4
ROWS = 2  # of a split without classes
MOST_CLASSES = 20  # rows of them
LARGEST = 256  # pixels of the longer side; larger pictures are scaled down

Row = tuple[str, Pixels]  # what it shows, and pictures (N, H, W, C)


def draw_examples(location: DataLocation, spec: DataSpec) -> Pixels:
    """Return a page of examples: what each row shows stands at its left.

    Classes have a row each, of training pictures. Pairs stand side by side, the first domain at
    the left. Other data has two rows for each split, and for each domain.

    Args:
        location: of the data set.
        spec: what `zoo.data.survey.inspect` found.

    Raises:
        NotFoundError: there is no data set, or none of the examples can be read.
    """
    channels, *sides = spec.pictures.image_shape
    scale = min(1.0, LARGEST / max(sides))
    height, width = (max(1, round(scale * size)) for size in sides)
    spec = spec.with_images(shape=("batch", channels, height, width))
    with location.opened() as (root, names):
        listing = layouts.list_files(location, root, names)
        labels = listing.splits["train"].get("image", Side([])).labels
        if labels is not None:
            rows = _class_rows(listing.splits["train"]["image"], labels, spec)
        else:
            rows = [
                row
                for split in SPLITS
                if (found := listing.splits.get(split))
                for row in _split_rows(split, found, spec, paired=split in listing.pairs)
            ]
    rows = [(name, pictures) for name, pictures in rows if len(pictures)]
    if not rows:
        raise NotFoundError(
            f"none of the examples of {location.name} can be read", code="bad-picture"
        )
    return _lay_out(rows, PAIR_COLUMNS if listing.pairs else COLUMNS)


def _class_rows(side: Side, labels: Indices, spec: DataSpec) -> list[Row]:
    return [
        (legible(name, str(number)), _some(side, np.flatnonzero(labels == number), COLUMNS, spec))
        for number, name in enumerate(spec.classes[:MOST_CLASSES])
    ]


def _split_rows(
    split: str, sides: Mapping[str, Side], spec: DataSpec, *, paired: bool
) -> list[Row]:
    if paired:
        rows = _spread(len(sides["a"].pictures), ROWS * PAIR_COLUMNS)
        kept_a, a = decode_rows(sides["a"], rows, spec)
        kept_b, b = decode_rows(sides["b"], rows, spec)
        both = np.concatenate([a[np.isin(kept_a, kept_b)], b[np.isin(kept_b, kept_a)]], axis=2)
        return [(split, both)]
    domains = dict(zip("ab", spec.domains, strict=False))
    return [
        (
            f"{split} {legible(domains[name], name)}" if name in domains else split,
            _some(side, np.arange(len(side.pictures)), ROWS * COLUMNS, spec),
        )
        for name, side in sides.items()
    ]


def _some(side: Side, rows: Indices, count: int, spec: DataSpec) -> Pixels:
    """Return some of the pictures, spread over all."""
    return decode_rows(side, rows[_spread(len(rows), count)], spec)[1]


def _spread(total: int, count: int) -> Indices:
    return np.unique(np.linspace(0, total - 1, min(total, count)).astype(np.int64))


def _lay_out(rows: Sequence[Row], columns: int) -> Pixels:
    """Return one page, whose rows are filled up with white; a long row goes on in the next."""
    columns = min(columns, max(len(pictures) for _, pictures in rows))
    pictures, labels = [], []
    for name, row in rows:
        lines = -(-len(row) // columns)
        blank = np.full((lines * columns - len(row), *row.shape[1:]), 255, np.uint8)
        pictures += [row, blank]
        labels += [name] + [""] * (lines - 1)
    return grid(np.concatenate(pictures), columns, labels)
