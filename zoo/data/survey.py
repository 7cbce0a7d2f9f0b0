"""What a data set is decoded to by default, and what training would see of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.catalog.dataset import SPLITS
from zoo.data import layouts
from zoo.data.decoding import Decoded, validation_count
from zoo.data.location import DataLocation, Listing, as_text, files_in
from zoo.errors import NotFoundError, UsageError
from zoo.modalities import modality_of
from zoo.modalities.base import AS_USUAL, DecodeOptions, Side
from zoo.ports import CLASSES_ARE, DataSpec, Port

FEW = 10  # training rows; a class of fewer is reported
SHOWN = 6  # classes of a note


@dataclass(frozen=True)
class Survey:
    """What the modalities make of a data set."""

    # by kind, the port that all its sides have, and sentences on choices that may surprise
    ports: Mapping[str, tuple[Port, tuple[str, ...]]]
    # kinds whose port is a guess, to be confirmed when the items were decoded
    guessed: tuple[str, ...] = ()


def survey(
    location: DataLocation, listing: Listing, options: DecodeOptions, *, guess: bool = False
) -> Survey:
    """Ask the modalities for the ports that the listing does not know.

    Args:
        location: where the data set is; what was not asked for is the catalogue's.
        listing: how its files lie.
        options: what was asked for.
        guess: whether a look at few items may do, where they are alike.
    """
    options = _catalogued(location, options)
    ports: dict[str, tuple[Port, tuple[str, ...]]] = {}
    guessed: list[str] = []
    for name, side in listing.splits["train"].items():
        if name in listing.ports or side.kind in ports:
            continue
        modality, sides = modality_of(side.kind), _sides_of(listing, side.kind)
        port = modality.guess(name, sides, options) if guess else None
        guessed += [side.kind] if port else []
        ports[side.kind] = (port, ()) if port else modality.survey(name, sides, options)
    return Survey(ports, tuple(guessed))


def confirm(
    found: Survey,
    location: DataLocation,
    listing: Listing,
    options: DecodeOptions,
    decoded: Decoded,
) -> Survey:
    """Return a survey without guesses, from what was seen while the items were decoded."""
    options = _catalogued(location, options)
    ports = dict(found.ports)
    for kind in found.guessed:
        port, sides = ports[kind][0], _sides_of(listing, kind)
        ports[kind] = modality_of(kind).confirm(port.name, sides, options, decoded.of(port))
    return Survey(ports)


def _catalogued(location: DataLocation, options: DecodeOptions) -> DecodeOptions:
    row = location.dataset
    if row is None:
        return options
    return replace(
        options, size=options.size or row.size, channels=options.channels or row.channels
    )


def _sides_of(listing: Listing, kind: str) -> list[Side]:
    return [
        side for sides in listing.splits.values() for side in sides.values() if side.kind == kind
    ]


def specify(
    location: DataLocation, listing: Listing, options: DecodeOptions, found: Survey | None = None
) -> tuple[DataSpec, tuple[str, ...]]:
    """Return what the decoded data will be, and sentences on choices that may surprise.

    What was not asked for is the catalogue's, or else what the modality chooses; `found` is what
    `survey` returned. The two domains of unpaired folders are the catalogue's, or else those of a
    name like ``horse2zebra``.

    Raises:
        NotFoundError: the labels are more than the catalogue's classes.
    """
    row = location.dataset
    train = listing.splits["train"]
    ports: list[Port] = []
    domains, classes = _domains(location, listing), _classes(location, listing)
    of_side = dict(zip("ab", domains, strict=False))
    surveyed = (found or survey(location, listing, options)).ports
    for name, side in train.items():
        port = listing.ports.get(name) or surveyed[side.kind][0]
        apart = bool(domains) and "train" not in listing.pairs
        order = len(ports) if apart else 0
        ports.append(replace(port, name=name, domain=of_side.get(name, ""), order=order))
    if any(side.labels is not None for side in train.values()):
        ports.append(Port.label("label", classes))
    ports += [listing.ports[name] for side in train.values() for name in side.beside]
    check_options(location, ports, _catalogued(location, options))
    notes = [note for _, notes in surveyed.values() for note in notes]
    return DataSpec(location.name, tuple(ports), row.licence if row else ""), tuple(notes)


def decode_options(spec: DataSpec) -> DecodeOptions:
    """Return the options that decode other data to the form of this one."""
    options = DecodeOptions()
    for port in spec.ports:
        options = modality_of(port).like(port, options)
    return options


def check_options(location: DataLocation, ports: Sequence[Port], options: DecodeOptions) -> None:
    """Raise a `UsageError` where something is asked for that no port of the data has."""
    used = {name for port in ports for name in modality_of(port).options}
    for name in ("size", "length", "rate"):
        if getattr(options, name) is not None and name not in used:
            raise UsageError(
                f"{location.name} holds {modality_of(ports[0]).items}, which have no {name}",
                hint=f"leave --{name} out",
                code="does-not-apply",
            )


def describe_change(before: Port, now: Port | None) -> str:
    """Return in what a port of data is another one than it was; empty where it is the same."""
    if now is None:
        return f"it has no {before.name}"
    if now.kind != before.kind:
        return f"{before.name} is {now.kind}, it was {before.kind}"
    if now.classes != before.classes:
        word = CLASSES_ARE.get(before.kind, "classes")
        parts = []
        for which, others, names in (("new", before, now), ("gone", now, before)):
            found = sorted({*names.classes} - {*others.classes})
            shown = ", ".join(map(repr, found[:SHOWN])) + (", …" if len(found) > SHOWN else "")
            parts += [f"{shown} {'is' if len(found) == 1 else 'are'} {which}"] if found else []
        return f"{word} of {before.name}: {' and '.join(parts) or 'in another order'}"
    if now.shape != before.shape:
        rows = (" × ".join(map(str, port.shape[1:])) or "a number" for port in (now, before))
        return f"{before.name} is {' in place of '.join(rows)}"
    return ""


def finished(spec: DataSpec, decoded: Decoded) -> tuple[DataSpec, tuple[str, ...]]:
    """Return what the data is after it was read, and sentences on what may surprise."""
    ports: list[Port] = []
    notes: dict[str, None] = {}
    for port in spec.ports:
        done, found = modality_of(port).decoded(port, decoded.of(port))
        ports.append(done)
        notes.update(dict.fromkeys(found))
    return replace(spec, ports=tuple(ports)), tuple(notes)


def class_counts(labels: NDArray[np.int64] | None, spec: DataSpec) -> dict[str, int]:
    """Return how many rows there are of each class; nothing without labels."""
    if labels is None:
        return {}
    counts = np.bincount(labels, minlength=len(spec.classes))
    return dict(zip(spec.classes, counts.tolist(), strict=True))


def describe_classes(counts: Mapping[str, int], spec: DataSpec) -> tuple[str, ...]:
    """Say which classes have few rows to train on, of the training rows of each class."""
    few = {name: count for name, count in counts.items() if count < FEW}
    if not few:
        return ()
    named = [f"{name} {count}" for name, count in sorted(few.items(), key=lambda each: each[1])]
    shown = ", ".join(named[:SHOWN]) + (", …" if len(named) > SHOWN else "")
    whose = f"{len(few):,} of {len(counts):,} classes {'has' if len(few) == 1 else 'have'}"
    items = modality_of(spec.ports[0]).items
    return (f"{whose} fewer than {FEW} training {items}: {shown}",)


def domains_in(name: str) -> tuple[str, ...]:
    """Return the two domains that a name like ``horse2zebra`` tells, or nothing.

    What follows a hyphen or an underscore is not read: ``summer2winter_yosemite``.
    """
    match = re.fullmatch(r"([^\W\d_]+)2([^\W\d_]+)([-_ ].*)?", name, re.DOTALL)
    return match.group(1, 2) if match and match[1] != match[2] else ()


def _domains(location: DataLocation, listing: Listing) -> tuple[str, ...]:
    if location.dataset and location.dataset.domains:
        called = {name.casefold(): name for name in location.dataset.domains}
        if called.keys() == {name.casefold() for name in listing.domains}:  # folders say which
            first, second = listing.domains
            return called[first.casefold()], called[second.casefold()]
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
    # items that can be read, by split and side, as the files have them
    splits: dict[str, dict[str, int]]
    # training items that would be held out, by side; none where the data has a validation split of
    # its own
    validation: dict[str, int]
    # properties of the files, such as sizes and modes of pictures: how many have each value, the
    # most frequent first
    counts: dict[str, dict[str, int]]
    classes: dict[str, int]  # training items of each class
    bad: list[dict[str, str]]  # path and reason of each item that cannot be read
    unused: int  # files that are no items of any split
    spec: DataSpec  # what training would decode to by default
    notes: tuple[str, ...] = ()  # sentences on choices that may surprise, and on what is not used
    pairs: tuple[str, ...] = ()  # splits whose two sides show the same things

    def to_json(self) -> dict[str, Any]:
        """Return the inspection as plain JSON values."""
        return asdict(self)


def inspect(location: DataLocation, options: DecodeOptions = AS_USUAL) -> Inspection:
    """Read every item of a data set and say what there is; nothing is stored.

    Raises:
        NotFoundError: there is no data set, or its layout is not known, or an archive is damaged.
    """
    with location.opened() as (root, names):
        listing = layouts.list_files(location, root, names, options)
        spec, notes = specify(location, listing, options)
        decoded = Decoded()
        splits = {
            split: {
                name: _inspect(side, split, spec[name], decoded) for name, side in sides.items()
            }
            for split in SPLITS
            if (sides := listing.splits.get(split))
        }
        spec, found = finished(spec, decoded)
        # items that cannot be read count as well
        labels = next((side.labels for side in listing.splits["train"].values()), None)
        classes = class_counts(labels, spec)
        return Inspection(
            name=location.name,
            path=as_text(location.path),
            layout=listing.layout,
            splits=splits,
            validation={}
            if "validation" in splits
            else {name: validation_count(count) for name, count in splits["train"].items()},
            counts={
                what: dict(counts.most_common())
                for seen in decoded.seen.values()
                for what, counts in seen.counts.items()
            },
            classes=classes,
            bad=[{"path": location.shown(path, root), "reason": why} for path, why in decoded.bad],
            unused=_unused(listing, root),
            spec=spec,
            notes=(*listing.notes, *notes, *found, *describe_classes(classes, spec)),
            pairs=listing.pairs,
        )


def _inspect(side: Side, split: str, port: Port, decoded: Decoded) -> int:
    """Read all items of one side of a split; return how many can be read."""
    good = 0
    for bad in modality_of(port).inspect(side, port, split, decoded.of(port)):
        if bad is None:
            good += 1
        elif side.half != "right":  # reported with the left half
            decoded.bad.append(bad)
    return good


def _unused(listing: Listing, root: Path) -> int:
    """Return how many files are no part of a data set of separate files."""
    used, holds_arrays = listing.files()
    return 0 if holds_arrays else len(files_in(root)) - len(used)
