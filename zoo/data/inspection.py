"""What would be read of a data set, told before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.catalog.dataset import SPLITS
from zoo.data import tree
from zoo.data.decoding import AT_ONCE, THREADS, decode_picture, held_out
from zoo.data.listing import Half, Listing, Side
from zoo.data.source import Source
from zoo.data.survey import (
    DecodeOptions,
    Size,
    describe_classes,
    describe_range,
    specify,
    widest,
)
from zoo.pictures import (
    VALUES,
    BadPictureError,
    ValueRange,
    choose_range,
    describe_cut,
    extremes,
    peek,
)
from zoo.ports import DataSpec

# Path; height, width and mode; extremes where it has more than 8 bits; why it cannot be read.
_Look = tuple[Path, tuple[int, int, str], ValueRange | None, str]


@dataclass(frozen=True)
class Inspection:
    """A data set as training would see it.

    Args:
        name: what it is called.
        path: where it is.
        layout: how its files lie.
        splits: pictures that can be read, by split and side, as the files have them.
        validation: training pictures that would be held out, by side; none where the data has a
            validation split of its own.
        sizes: pictures of each size ``HEIGHTxWIDTH``, the most frequent first.
        modes: pictures of each of Pillow's modes.
        classes: training pictures of each class.
        bad: path and reason of each picture that cannot be read.
        unused: files that are no pictures of any split.
        spec: what training would decode to when told nothing.
        notes: sentences on choices that may surprise, and on what is not used.
        pairs: splits whose two sides show the same things.
    """

    name: str
    path: str
    layout: str
    splits: dict[str, dict[str, int]]
    validation: dict[str, int]
    sizes: dict[str, int]
    modes: dict[str, int]
    classes: dict[str, int]
    bad: list[dict[str, str]]
    unused: int
    spec: DataSpec
    notes: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the inspection as plain JSON values."""
        return asdict(self)


def inspect(source: Source, options: DecodeOptions = DecodeOptions()) -> Inspection:  # noqa: B008 - frozen
    """Read every picture of a data set and say what there is; nothing is stored.

    Args:
        source: where it is.
        options: what training would ask for.

    Raises:
        NotFoundError: there is no data set, or its layout is not known, or an archive is damaged.
    """
    with source.opened() as (root, names):
        listing = source.listed(root, names)
        spec, notes = specify(source, listing, options)
        census = _Census()
        splits = {
            split: {name: census.count(side, split) for name, side in sides.items()}
            for split in SPLITS
            if (sides := listing.splits.get(split))
        }
        spec = census.with_range(spec)
        classes = _class_counts(listing, spec)
        notes += (
            *census.describe_cut(spec),
            *describe_range(spec, census.beyond(spec)),
            *describe_classes(classes),
        )
        return Inspection(
            name=source.name,
            path=tree.as_text(source.path),
            layout=listing.layout,
            splits=splits,
            validation={}
            if "validation" in splits
            else {name: held_out(count) for name, count in splits["train"].items()},
            sizes=dict(census.sizes.most_common()),
            modes=dict(census.modes.most_common()),
            classes=classes,
            bad=[{"path": source.shown(path, root), "reason": why} for path, why in census.bad],
            unused=_unused(listing, root),
            spec=spec,
            notes=(*listing.notes, *notes),
            pairs=listing.pairs,
        )


class _Census:
    """Sizes, modes and bad pictures, over all sides."""

    def __init__(self) -> None:
        self.sizes: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()
        self.bad: list[tuple[Path, str]] = []
        self._shapes: Counter[Size] = Counter()
        self._ranges: dict[str, list[ValueRange]] = {}

    def count(self, side: Side, split: str) -> int:
        """Count one side of a split; return how many of its pictures can be read."""
        ranges = self._ranges.setdefault(split, [])
        if isinstance(side.pictures, np.ndarray):
            count, height, width, channels = map(int, side.pictures.shape)
            self.sizes[f"{height}x{width}"] += count
            self.modes["L" if channels == 1 else "RGB"] += count
            self._shapes[height, width] += count
            if side.pictures.dtype != np.uint8:
                ranges += map(extremes, side.pictures)
            return count
        good = 0
        for path, (height, width, mode), values, reason in _looks(side.pictures, side.half):
            if reason:
                if side.half != "right":  # told with the left half
                    self.bad.append((path, reason))
                continue
            good += 1
            self._shapes[height, width // 2 if side.half else width] += 1
            ranges += [values] if values else []
            if side.half != "right":
                self.sizes[f"{height}x{width}"] += 1
                self.modes[mode] += 1
        return good

    def with_range(self, spec: DataSpec) -> DataSpec:
        """Return what the data is, with its value range where it is not of bytes."""
        deep = any(self._ranges.values())
        measured = self._ranges.get("train")
        usual = choose_range(*widest(measured)) if measured else (0.0, 65535.0)
        return replace(spec, value_range=(spec.value_range or usual) if deep else None)

    def beyond(self, spec: DataSpec) -> Counter[str]:
        """Return how many pictures of each split have values beyond the range."""
        if spec.value_range is None:
            return Counter()
        low, high = spec.value_range
        counts = {
            split: sum(least < low or greatest > high for least, greatest in ranges)
            for split, ranges in self._ranges.items()
        }
        return Counter({split: count for split, count in counts.items() if count})

    def describe_cut(self, spec: DataSpec) -> tuple[str, ...]:
        """Say how much is cut off the pictures to fit the size."""
        return describe_cut(self._shapes, spec.height, spec.width, spec.fit)


def _looks(paths: Sequence[Path], half: Half) -> Iterator[_Look]:
    """Yield what is seen of each picture."""

    def look(path: Path) -> _Look:
        try:
            values = decode_picture(path, half).info.get(VALUES)
            return path, peek(path), values, ""
        except BadPictureError as problem:
            return path, (0, 0, ""), None, problem.cause

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(paths), AT_ONCE):
            yield from pool.map(look, paths[start : start + AT_ONCE])


def _class_counts(listing: Listing, spec: DataSpec) -> dict[str, int]:
    """Return the training pictures of each class; those that cannot be read count as well."""
    labels = [side.labels for side in listing.splits["train"].values() if side.labels is not None]
    if not labels:
        return {}
    counts = np.bincount(labels[0], minlength=len(spec.classes))
    return dict(zip(spec.classes, counts.tolist(), strict=True))


def _unused(listing: Listing, root: Path) -> int:
    """Return how many files are no part of a data set of picture files."""
    used: set[Path] = set()
    for sides in listing.splits.values():
        for side in sides.values():
            if isinstance(side.pictures, np.ndarray):
                return 0
            used.update(side.pictures)
    return len(tree.files_in(root)) - len(used)
