"""One picture of examples of a data set, as training would see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from zoo.catalog.dataset import SPLITS
from zoo.data import layouts
from zoo.data.decoding import decode_rows
from zoo.data.location import DataLocation
from zoo.errors import NotFoundError
from zoo.grids import grid, legible
from zoo.modalities import modality_of
from zoo.modalities.base import DecodeOptions, Indices, Side
from zoo.pictures import Pixels
from zoo.ports import DataSpec, Port

COLUMNS, PAIR_COLUMNS = 8, 4
ROWS = 2  # of a split without classes
MOST_CLASSES = 20  # rows of them

Row = tuple[str, Pixels]  # what it shows, and pictures (N, H, W, C)


def draw_examples(location: DataLocation, spec: DataSpec, options: DecodeOptions) -> Pixels:
    """Return a page of examples: what each row shows stands at its left.

    Classes have a row each, of training items. Pairs stand side by side, the first domain at the
    left. Other data has two rows for each split, and for each domain.

    Args:
        location: of the data set.
        spec: what `zoo.data.survey.inspect` found.
        options: what it was asked.

    Raises:
        NotFoundError: there is no data set, or none of the examples can be read or seen.
    """
    ports = tuple(modality_of(port).preview_port(port) for port in spec.ports)
    spec = replace(spec, ports=ports)
    with location.opened() as (root, names):
        listing = layouts.list_files(location, root, names, options)
        name, side = next(iter(listing.splits["train"].items()))
        first = spec[name]
        if modality_of(first).cells(decode_rows(side, np.arange(1), first)[1], first) is None:
            return _as_one(location, side, first)
        if side.labels is not None:
            rows = _class_rows(side, side.labels, first, spec.classes)
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


def _as_one(location: DataLocation, side: Side, port: Port) -> Pixels:
    """Return one page of rows that have no pictures of their own, such as texts."""
    _, rows = decode_rows(side, _spread(len(side.items), ROWS * COLUMNS), port)
    page = modality_of(port).page(rows, port) if len(rows) else None
    if page is None:
        raise NotFoundError(f"no picture shows the {modality_of(port).items} of {location.name}")
    return page


def _class_rows(side: Side, labels: Indices, port: Port, classes: Sequence[str]) -> list[Row]:
    return [
        (legible(name, str(number)), _some(side, np.flatnonzero(labels == number), COLUMNS, port))
        for number, name in enumerate(classes[:MOST_CLASSES])
    ]


def _split_rows(
    split: str, sides: Mapping[str, Side], spec: DataSpec, *, paired: bool
) -> list[Row]:
    if paired:
        chosen = _spread(len(sides["a"].items), ROWS * PAIR_COLUMNS)
        kept, cells = zip(
            *(_cells(sides[side], chosen, spec[side]) for side in ("a", "b")), strict=True
        )
        both = [cells[0][np.isin(kept[0], kept[1])], cells[1][np.isin(kept[1], kept[0])]]
        return [(split, np.concatenate(both, axis=2))]
    return [
        (
            f"{split} {legible(spec[name].domain, name)}" if spec[name].domain else split,
            _some(side, np.arange(len(side.items)), ROWS * COLUMNS, spec[name]),
        )
        for name, side in sides.items()
    ]


def _some(side: Side, rows: Indices, count: int, port: Port) -> Pixels:
    """Return pictures of some of the items, spread over all."""
    return _cells(side, rows[_spread(len(rows), count)], port)[1]


def _cells(side: Side, rows: Indices, port: Port) -> tuple[Indices, Pixels]:
    """Return which of the items could be read, and a picture of each."""
    kept, found = decode_rows(side, rows, port)
    cells = modality_of(port).cells(found, port) if len(found) else None
    return kept, np.empty((0, 1, 1, 1), np.uint8) if cells is None else cells


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
