"""What the pictures of a listing are decoded to, when nobody says it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zoo.data.listing import Listing
from zoo.data.source import Source
from zoo.errors import NotFoundError
from zoo.pictures import BadPictureError, peek, read_picture
from zoo.ports import DataSpec

Size = tuple[int, int]  # height and width, in pixels

LARGEST_KEPT = 256  # pixels; larger pictures are scaled down unless somebody asks for them
USUAL: Size = (64, 64)
NEARLY_ALL = 0.95  # pictures of one size make it the size; a stray or damaged one changes nothing


def specify(
    source: Source, listing: Listing, size: Size | None, channels: int | None
) -> tuple[DataSpec, tuple[str, ...]]:
    """Return what the decoded data will be, and sentences on choices that may surprise.

    The size is what was asked for, or else the catalogue's, or else the pictures' own if they are
    nearly all alike and small, or else 64x64. Channels are 1 if every picture is grey. The two
    domains of unpaired folders are the catalogue's, or else those of a name like ``horse2zebra``.

    Raises:
        NotFoundError: the labels are more than the catalogue's classes.
    """
    row, notes = source.dataset, []
    size = size or (row.size if row else None)
    channels = channels or (row.channels if row else None)
    if not (size and channels):
        sizes, grey = _survey(listing, sized=size is not None)
        channels = channels or (1 if grey else 3)
        if not size:
            size, note = _choose_size(sizes)
            notes += [note] if note else []
    domains, classes = _domains(source, listing), _classes(source, listing)
    licence = row.licence if row else ""
    return DataSpec(source.name, channels, *size, classes, domains, licence), tuple(notes)


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
