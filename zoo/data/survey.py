"""What the pictures of a listing are decoded to, when nobody says it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.data.listing import Listing
from zoo.data.source import Source
from zoo.errors import NotFoundError
from zoo.pictures import (
    USUAL_WHITES,
    BadPictureError,
    ValueRange,
    peek,
    read_picture,
)
from zoo.ports import DataSpec, Fit

Size = tuple[int, int]  # height and width, in pixels

FEW = 10  # training pictures; a class of fewer is told
SHOWN = 6  # classes of a note
LARGEST_KEPT = 256  # pixels; larger pictures are scaled down unless somebody asks for them
USUAL: Size = (64, 64)
NEARLY_ALL = 0.95  # pictures of one size make it the size; a stray or damaged one changes nothing


@dataclass(frozen=True)
class DecodeOptions:
    """What somebody asks decoded data to be.

    Args:
        size: height and width in pixels; chosen by `specify`, where it is None.
        channels: 1 for grey, 3 for RGB; likewise.
        fit: how pictures of other proportions are brought to the size.
        value_range: the values that become black and white in pictures of more than 8 bits;
            measured, where it is None.
    """

    size: Size | None = None
    channels: int | None = None
    fit: Fit = "cover"
    value_range: ValueRange | None = None


def specify(
    source: Source, listing: Listing, options: DecodeOptions
) -> tuple[DataSpec, tuple[str, ...]]:
    """Return what the decoded data will be, and sentences on choices that may surprise.

    The size is what was asked for, or else the catalogue's, or else the pictures' own if they are
    nearly all alike and small, or else 64x64. Channels are 1 if every picture is grey. The two
    domains of unpaired folders are the catalogue's, or else those of a name like ``horse2zebra``.

    Raises:
        NotFoundError: the labels are more than the catalogue's classes.
    """
    row, notes = source.dataset, []
    size = options.size or (row.size if row else None)
    channels = options.channels or (row.channels if row else None)
    if not (size and channels):
        sizes, grey = _survey(listing, sized=size is not None)
        channels = channels or (1 if grey else 3)
        if not size:
            size, note = _choose_size(sizes)
            notes += [note] if note else []
    domains, classes = _domains(source, listing), _classes(source, listing)
    licence = row.licence if row else ""
    spec = DataSpec(
        source.name, channels, *size, classes, domains, licence, options.fit, options.value_range
    )
    return spec, tuple(notes)


def describe_range(spec: DataSpec, beyond: Mapping[str, int]) -> tuple[str, ...]:
    """Say which values become black and white, where that is not the usual range of a type.

    Args:
        spec: of the data.
        beyond: by split, how many pictures have values beyond the range.
    """
    if spec.value_range is None:
        return ()
    low, high = (f"{value:,.6g}" for value in spec.value_range)
    found = []
    if spec.value_range not in [(0.0, white) for white in USUAL_WHITES]:
        found.append(
            f"pictures of more than 8 bits: values from {low} to {high} become black to white"
        )
    for split, count in beyond.items():
        found.append(
            f"{count:,} {split} pictures have values beyond {low} to {high}; they are clipped"
        )
    return tuple(found)


def describe_classes(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Say which classes have few pictures to train on.

    Args:
        counts: training pictures of each class.
    """
    few = {name: count for name, count in counts.items() if count < FEW}
    if not few:
        return ()
    named = [f"{name} {count}" for name, count in sorted(few.items(), key=lambda each: each[1])]
    shown = ", ".join(named[:SHOWN]) + (", …" if len(named) > SHOWN else "")
    whose = f"{len(few):,} of {len(counts):,} classes {'has' if len(few) == 1 else 'have'}"
    return (f"{whose} fewer than {FEW} training pictures: {shown}",)


def widest(ranges: Sequence[ValueRange]) -> ValueRange:
    """Return the least and the greatest value of several ranges."""
    return min(low for low, _ in ranges), max(high for _, high in ranges)


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
                except BadPictureError:  # told when it is decoded
                    continue


def _choose_size(sizes: Counter[Size]) -> tuple[Size, str]:
    if not sizes:  # not one could be read, which decoding will tell
        return USUAL, ""
    usual, count = sizes.most_common(1)[0]
    if count >= NEARLY_ALL * sizes.total() and max(usual) <= LARGEST_KEPT:
        return usual, ""
    height, width = max(sizes)
    shown = f"{height}x{width}" + (" and other sizes" if len(sizes) > 1 else "")
    return USUAL, f"pictures of {shown} are decoded to 64x64 (--size asks for another)"


def _domains(source: Source, listing: Listing) -> tuple[str, ...]:
    if source.dataset and source.dataset.domains:
        return source.dataset.domains
    if listing.domains != ("a", "b"):  # the names of folders
        return listing.domains
    named = domains_in(source.name) if listing.layout == "unpaired-folders" else ()
    return named or listing.domains


def _classes(source: Source, listing: Listing) -> tuple[str, ...]:
    named = source.dataset.classes if source.dataset and listing.classes else ()
    if named and len(listing.classes) > len(named):
        raise NotFoundError(
            f"{source.name} has {len(listing.classes)} classes; {len(named)} are catalogued",
            cause="the files are others than those of the catalogue",
        )
    return named or listing.classes
