"""What pictures are decoded to by default, and what training would see of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.catalog.dataset import SPLITS
from zoo.data import layouts
from zoo.data.decoding import AT_ONCE, THREADS, Size, decode_picture, range_over, validation_count
from zoo.data.location import DataLocation, Half, Listing, Side, as_text, files_in
from zoo.errors import NotFoundError
from zoo.pictures import (
    USUAL_WHITES,
    VALUES,
    BadPictureError,
    ValueRange,
    describe_cut,
    extremes,
    peek,
    read_picture,
)
from zoo.ports import DataSpec, Fit

FEW = 10  # training pictures; a class of fewer is reported
SHOWN = 6  # classes of a note
LARGEST_KEPT = 256  # pixels; larger pictures are scaled down unless --size asks for more
USUAL: Size = (64, 64)
NEARLY_ALL = 0.95  # pictures of one size make it the size; a stray or damaged one changes nothing
# Path; height, width and mode; extremes where it has more than 8 bits; why it cannot be read.
_Reading = tuple[Path, tuple[int, int, str], ValueRange | None, str]


@dataclass(frozen=True)
class DecodeOptions:
    """What was asked of the decoded data."""

    size: Size | None = None  # height and width in pixels; chosen by `specify`, where it is None
    channels: int | None = None  # 1 for grey, 3 for RGB; likewise
    fit: Fit = "cover"  # how pictures of other proportions are brought to the size
    # the values that become black and white in pictures of more than 8 bits; measured, where it is
    # None
    value_range: ValueRange | None = None


def specify(
    location: DataLocation, listing: Listing, options: DecodeOptions
) -> tuple[DataSpec, tuple[str, ...]]:
    """Return what the decoded data will be, and sentences on choices that may surprise.

    The size is what was asked for, or else the catalogue's, or else the pictures' own if they are
    nearly all alike and small, or else 64x64. Channels are 1 if every picture is grey. The two
    domains of unpaired folders are the catalogue's, or else those of a name like ``horse2zebra``.

    Raises:
        NotFoundError: the labels are more than the catalogue's classes.
    """
    row, notes = location.dataset, []
    size = options.size or (row.size if row else None)
    channels = options.channels or (row.channels if row else None)
    if not (size and channels):
        sizes, grey = _survey(listing, sized=size is not None)
        channels = channels or (1 if grey else 3)
        if not size:
            size, note = _choose_size(sizes)
            notes += [note] if note else []
    domains, classes = _domains(location, listing), _classes(location, listing)
    licence = row.licence if row else ""
    spec = DataSpec.of_images(location.name, channels, *size, classes, domains, licence)
    if "train" in listing.pairs:
        spec = spec.with_images(order=0)
    return spec.with_images(fit=options.fit, value_range=options.value_range), tuple(notes)


def describe_range(spec: DataSpec, beyond: Mapping[str, int]) -> tuple[str, ...]:
    """Say which values become black and white, where that is not the usual range of a type.

    `beyond` counts, by split, the pictures that have values beyond the range.
    """
    if spec.pictures.value_range is None:
        return ()
    low, high = (f"{value:,.6g}" for value in spec.pictures.value_range)
    found = []
    if spec.pictures.value_range not in [(0.0, white) for white in USUAL_WHITES]:
        found.append(
            f"pictures of more than 8 bits: values from {low} to {high} become black to white"
        )
    for split, count in beyond.items():
        found.append(
            f"{count:,} {split} pictures have values beyond {low} to {high}; they are clipped"
        )
    return tuple(found)


def class_counts(labels: NDArray[np.int64] | None, spec: DataSpec) -> dict[str, int]:
    """Return how many pictures there are of each class; nothing without labels."""
    if labels is None:
        return {}
    counts = np.bincount(labels, minlength=len(spec.classes))
    return dict(zip(spec.classes, counts.tolist(), strict=True))


def describe_classes(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Say which classes have few pictures to train on, of the training pictures of each class."""
    few = {name: count for name, count in counts.items() if count < FEW}
    if not few:
        return ()
    named = [f"{name} {count}" for name, count in sorted(few.items(), key=lambda each: each[1])]
    shown = ", ".join(named[:SHOWN]) + (", …" if len(named) > SHOWN else "")
    whose = f"{len(few):,} of {len(counts):,} classes {'has' if len(few) == 1 else 'have'}"
    return (f"{whose} fewer than {FEW} training pictures: {shown}",)


def domains_in(name: str) -> tuple[str, ...]:
    """Return the two domains that a name like ``horse2zebra`` tells, or nothing.

    What follows a hyphen or an underscore is not read: ``summer2winter_yosemite``.
    """
    match = re.fullmatch(r"([^\W\d_]+)2([^\W\d_]+)([-_ ].*)?", name, re.DOTALL)
    return match.group(1, 2) if match and match[1] != match[2] else ()


def shape_of(path: Path, half: str) -> tuple[Size, bool]:
    """Return height and width of a picture, or of its half, and whether it is grey.

    Raises:
        BadPictureError: it cannot be read.
    """
    height, width, mode = peek(path)
    grey = mode in {"1", "L", "LA", "F"} or mode.startswith("I")
    if mode in {"P", "PA"}:
        grey = read_picture(path).mode == "L"
    return (height, width // 2 if half else width), grey


def _survey(listing: Listing, *, sized: bool) -> tuple[Counter[Size], bool]:
    """Return how often each size occurs and whether all is grey; stop when that cannot change."""
    sizes: Counter[Size] = Counter()
    all_grey = True
    for size, grey in _shapes(listing):
        sizes[size] += 1
        all_grey = all_grey and grey
        if sized and not all_grey:
            break
    return sizes, all_grey


def _shapes(listing: Listing) -> Iterator[tuple[Size, bool]]:
    for sides in listing.splits.values():
        for side in sides.values():
            if isinstance(side.pictures, np.ndarray):
                _, height, width, channels = side.pictures.shape
                yield (height, width), channels == 1
                continue
            for path in side.pictures:
                try:
                    yield shape_of(path, side.half)
                except BadPictureError:  # reported when it is decoded
                    continue


def _choose_size(sizes: Counter[Size]) -> tuple[Size, str]:
    if not sizes:  # not one could be read, which decoding will report
        return USUAL, ""
    usual, count = sizes.most_common(1)[0]
    if count >= NEARLY_ALL * sizes.total() and max(usual) <= LARGEST_KEPT:
        return usual, ""
    height, width = max(sizes)
    shown = f"{height}x{width}" + (" and other sizes" if len(sizes) > 1 else "")
    return USUAL, f"pictures of {shown} are decoded to 64x64 (--size asks for another)"


def _domains(location: DataLocation, listing: Listing) -> tuple[str, ...]:
    if location.dataset and location.dataset.domains:
        return location.dataset.domains
    if listing.domains != ("a", "b"):  # the names of folders
        return listing.domains
    named = domains_in(location.name) if listing.layout == "unpaired-folders" else ()
    return named or listing.domains


def _classes(location: DataLocation, listing: Listing) -> tuple[str, ...]:
    named = location.dataset.classes if location.dataset and listing.classes else ()
    if named and len(listing.classes) > len(named):
        raise NotFoundError(
            f"{location.name} has {len(listing.classes)} classes; {len(named)} are catalogued",
            cause="the files are others than those of the catalogue",
            code="bad-labels",
        )
    return named or listing.classes


@dataclass(frozen=True)
class Inspection:
    """A data set as training would see it."""

    name: str  # what it is called
    path: str  # where it is
    layout: str  # how its files lie
    # pictures that can be read, by split and side, as the files have them
    splits: dict[str, dict[str, int]]
    # training pictures that would be held out, by side; none where the data has a validation split
    # of its own
    validation: dict[str, int]
    sizes: dict[str, int]  # pictures of each size ``HEIGHTxWIDTH``, the most frequent first
    modes: dict[str, int]  # pictures of each of Pillow's modes
    classes: dict[str, int]  # training pictures of each class
    bad: list[dict[str, str]]  # path and reason of each picture that cannot be read
    unused: int  # files that are no pictures of any split
    spec: DataSpec  # what training would decode to by default
    notes: tuple[str, ...] = ()  # sentences on choices that may surprise, and on what is not used
    pairs: tuple[str, ...] = ()  # splits whose two sides show the same things

    def to_json(self) -> dict[str, Any]:
        """Return the inspection as plain JSON values."""
        return asdict(self)


def inspect(location: DataLocation, options: DecodeOptions = DecodeOptions()) -> Inspection:
    """Read every picture of a data set and say what there is; nothing is stored.

    Raises:
        NotFoundError: there is no data set, or its layout is not known, or an archive is damaged.
    """
    with location.opened() as (root, names):
        listing = layouts.list_files(location, root, names)
        spec, notes = specify(location, listing, options)
        statistics = _Statistics()
        splits = {
            split: {name: statistics.count(side, split) for name, side in sides.items()}
            for split in SPLITS
            if (sides := listing.splits.get(split))
        }
        spec = statistics.with_range(spec)
        images = spec.pictures
        sides = listing.splits["train"]  # pictures that cannot be read count as well
        classes = class_counts(sides["image"].labels if "image" in sides else None, spec)
        notes += (
            *describe_cut(statistics.shapes, images.height, images.width, images.fit),
            *describe_range(spec, statistics.beyond(spec)),
            *describe_classes(classes),
        )
        return Inspection(
            name=location.name,
            path=as_text(location.path),
            layout=listing.layout,
            splits=splits,
            validation={}
            if "validation" in splits
            else {name: validation_count(count) for name, count in splits["train"].items()},
            sizes=dict(statistics.sizes.most_common()),
            modes=dict(statistics.modes.most_common()),
            classes=classes,
            bad=[
                {"path": location.shown(path, root), "reason": why} for path, why in statistics.bad
            ],
            unused=_unused(listing, root),
            spec=spec,
            notes=(*listing.notes, *notes),
            pairs=listing.pairs,
        )


class _Statistics:
    """Sizes, modes and bad pictures, over all sides."""

    def __init__(self) -> None:
        self.sizes: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()
        self.bad: list[tuple[Path, str]] = []
        self.shapes: Counter[Size] = Counter()
        self._ranges: dict[str, list[ValueRange]] = {}

    def count(self, side: Side, split: str) -> int:
        """Count one side of a split; return how many of its pictures can be read."""
        ranges = self._ranges.setdefault(split, [])
        if isinstance(side.pictures, np.ndarray):
            count, height, width, channels = map(int, side.pictures.shape)
            self.sizes[f"{height}x{width}"] += count
            self.modes["L" if channels == 1 else "RGB"] += count
            self.shapes[height, width] += count
            if side.pictures.dtype != np.uint8:
                ranges += map(extremes, side.pictures)
            return count
        good = 0
        for path, (height, width, mode), values, reason in _read_all(side.pictures, side.half):
            if reason:
                if side.half != "right":  # reported with the left half
                    self.bad.append((path, reason))
                continue
            good += 1
            self.shapes[height, width // 2 if side.half else width] += 1
            ranges += [values] if values else []
            if side.half != "right":
                self.sizes[f"{height}x{width}"] += 1
                self.modes[mode] += 1
        return good

    def with_range(self, spec: DataSpec) -> DataSpec:
        """Return what the data is, with its value range where it is not of bytes."""
        deep = any(self._ranges.values())
        usual = range_over(self._ranges.get("train", ()))
        value_range = (spec.pictures.value_range or usual) if deep else None
        return spec.with_images(value_range=value_range)

    def beyond(self, spec: DataSpec) -> Counter[str]:
        """Return how many pictures of each split have values beyond the range."""
        if spec.pictures.value_range is None:
            return Counter()
        low, high = spec.pictures.value_range
        counts = {
            split: sum(least < low or greatest > high for least, greatest in ranges)
            for split, ranges in self._ranges.items()
        }
        return Counter({split: count for split, count in counts.items() if count})


def _read_all(paths: Sequence[Path], half: Half) -> Iterator[_Reading]:
    """Yield what is seen of each picture."""

    def read(path: Path) -> _Reading:
        try:
            values = decode_picture(path, half).info.get(VALUES)
            return path, peek(path), values, ""
        except BadPictureError as problem:
            return path, (0, 0, ""), None, problem.cause

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(paths), AT_ONCE):
            yield from pool.map(read, paths[start : start + AT_ONCE])


def _unused(listing: Listing, root: Path) -> int:
    """Return how many files are no part of a data set of picture files."""
    used, holds_arrays = listing.files()
    return 0 if holds_arrays else len(files_in(root)) - len(used)
