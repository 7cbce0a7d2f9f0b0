"""Decoded once: arrays in the cache, mapped into memory ever after.

One folder a data set and settings: a file of bytes for each side of each split, and `store.json`
that says what they are. The training pictures lie in a fixed order of their own, so that the
first few of them are the validation split, whatever the seed of a run.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from zoo.atomic import write_json
from zoo.data import layouts
from zoo.data.decoding import Decoded, Entry, decode
from zoo.data.download import private_folder, store_home
from zoo.data.fingerprints import data_files, fingerprint
from zoo.data.inventory import DESCRIPTION, FORMAT, USED
from zoo.data.location import DataLocation, FoundFile, Listing
from zoo.data.survey import (
    check_options,
    class_counts,
    confirm,
    describe_classes,
    domains_in,
    finished,
    specify,
    survey,
)
from zoo.errors import NotFoundError, UsageError, ZooError, did_you_mean
from zoo.messages import Log
from zoo.modalities import modality_of
from zoo.modalities.base import DecodeOptions, UnmeasuredError
from zoo.pictures import MAX_PIXELS, max_pixels
from zoo.ports import DataSpec
from zoo.records import read_json, to_plain

REMEMBERED = 3600  # seconds; a use so soon after another one is not written down

FEW_BAD = 0.01  # share of pictures that may be bad without stopping anybody
MAX_EXAMPLES = 10
OnBadImage = Literal["auto", "skip", "fail"]


class _Description(TypedDict):
    """What ``store.json`` says."""

    splits: dict[str, dict[str, Entry]]
    pairs: list[str]
    spec: DataSpec
    total: int
    bad: int
    examples: list[str]
    notes: list[str]
    digest: str


@dataclass(frozen=True)
class Store:
    """A decoded data set."""

    spec: DataSpec  # what the arrays hold
    # by split (``train``, ``validation``, perhaps ``test``), arrays by name of the port, as its
    # modality stores them: ``image`` uint8 (N, H, W, C) and perhaps ``label`` int64 (N,), or ``a``
    # and ``b`` of a translation. All are read-only and mapped into memory.
    splits: Mapping[str, Mapping[str, NDArray[Any]]]
    pairs: tuple[str, ...]  # splits in which row i of ``a`` and row i of ``b`` show one thing
    total: int  # items that there are
    bad: int = 0  # how many of them could not be read
    examples: tuple[str, ...] = ()  # the first few of those, with the reason
    notes: tuple[str, ...] = ()  # sentences on choices that may surprise, and on what is not used
    digest: str = ""  # sha256 of all arrays, which tells whether data are still the same


def open_store(
    location: DataLocation,
    *,
    on_bad_image: OnBadImage = "auto",
    report: Log | None = None,
    **asked: Any,
) -> Store:
    """Return a data set decoded; the first time decodes it.

    Args:
        location: where it is.
        on_bad_image: whether pictures that cannot be read are left out or are an error; ``"auto"``
            leaves them out up to 1 %.
        report: called with a line on what takes time or may surprise.
        asked: fields of `DecodeOptions`; the modality chooses what is not given.

    Raises:
        NotFoundError: the data is damaged, too small, not laid out as said, or has bad pictures.
        ZooError: the cache cannot be written to.
    """
    log = report or (lambda _: None)
    files = data_files(location)
    content = fingerprint(location, files)
    options = DecodeOptions(**asked)
    folder = store_home() / _key(location, content, options, max_pixels())
    store = _open(folder, location) or _open_like(location, content, options)
    if store is None:
        _build(folder, location, files, options, log)
        store = _open(folder, location)
        if store is None:
            raise ZooError(
                f"the decoded data in {folder} cannot be read back", code="cache-unusable"
            )
    check_options(location, store.spec.ports, options)
    for note in store.notes:
        log(note)
    _check_bad_images(store, location, on_bad_image, log)
    return store


def with_names(store: Store, needs: Mapping[str, str], fields: Mapping[str, str]) -> Store:
    """Return a store whose ports have the names that a model knows them by.

    Args:
        store: decoded data.
        needs: kinds by name of the port, as the model has them.
        fields: names of ports of the data by the model's names. What is not named is the port of
            the model's name, or else the only one of its kind.

    Raises:
        UsageError: the data has no such port.
    """
    there = {port.name: port for port in store.spec.ports}
    for name, own in fields.items():
        if own not in there:
            raise UsageError(
                f"--field {name}={own}: {store.spec.name} has no {own}.{did_you_mean(own, there)}",
                hint=f"one of {', '.join(there)}",
                code="unknown-port",
            )
    chosen = dict(fields)
    missing = [kind for name, kind in needs.items() if name not in there and name not in chosen]
    for name, kind in needs.items():
        free = [each.name for each in there.values() if each.kind == kind
                and each.name not in {*needs, *chosen.values()}]  # fmt: skip
        unmet = name not in there and name not in chosen
        if unmet and len(free) == missing.count(kind) == 1:
            chosen[name] = free[0]
    if not chosen:
        return store
    called = {own: name for name, own in chosen.items()}
    kept = [port for port in there.values() if port.name in called or port.name not in chosen]
    names = {port.name: called.get(port.name, port.name) for port in kept}
    return replace(
        store,
        spec=replace(
            store.spec, ports=tuple(replace(port, name=names[port.name]) for port in kept)
        ),
        splits={
            split: {names[name]: rows for name, rows in arrays.items() if name in names}
            for split, arrays in store.splits.items()
        },
    )


def _key(location: DataLocation, content: str, options: DecodeOptions, limit: int) -> str:
    row = location.dataset
    facts = (
        (row.size, row.channels, row.classes, row.domains, row.pairs, row.licence) if row else ()
    )
    settings = {
        "format": FORMAT,
        "content": content,
        "layout": location.layout,
        "two_domains": location.two_domains,
        "catalogue": facts or domains_in(location.name),
        "max_pixels": limit,
        **asdict(options),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]


def _open(folder: Path, location: DataLocation) -> Store | None:
    """Map a store into memory; None when there is none, or it is damaged."""
    try:
        description = read_json(folder / DESCRIPTION, _Description)
        splits = {
            split: {each: _map(folder, entry) for each, entry in entries.items()}
            for split, entries in description["splits"].items()
        }
        _mark_used(folder, location.reference)
        return Store(
            replace(description["spec"], name=location.name),
            splits,
            tuple(description["pairs"]),
            description["total"],
            description["bad"],
            tuple(description["examples"]),
            tuple(description["notes"]),
            description["digest"],
        )
    except (OSError, ValueError, TypeError, OverflowError):  # of NumPy, about sizes and dtypes
        return None


def _mark_used(folder: Path, place: str) -> None:
    """Write down that decoded data is used now, and where it came from, if that can be written."""
    mark = folder / USED
    with suppress(OSError):
        known = mark.is_file() and mark.read_text("utf-8", "replace") == place
        if not known:
            mark.write_text(place, "utf-8")
        elif time.time() - mark.stat().st_mtime > REMEMBERED:
            os.utime(mark)


def _open_like(location: DataLocation, content: str, options: DecodeOptions) -> Store | None:
    """Open a store for which less was asked, when it comes to what is asked for now."""
    unmeasured = replace(options, value_range=None)
    less = (
        options,
        unmeasured,
        replace(unmeasured, channels=None),
        replace(unmeasured, channels=None, size=None),
        replace(unmeasured, channels=None, size=None, length=None, rate=None, alphabet=None),
    )
    for asked, limit in itertools.product(less, dict.fromkeys((max_pixels(), MAX_PIXELS))):
        found = _open(store_home() / _key(location, content, asked, limit), location)
        if found is None or (found.bad and limit != max_pixels()):
            continue
        if all(modality_of(port).is_as_asked(port, options) for port in found.spec.ports):
            return found
    return None


def _map(folder: Path, entry: Entry) -> NDArray[Any]:
    shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
    mapped = np.memmap(folder / entry["file"], dtype, "r", entry["offset"], shape)
    return np.asarray(mapped)  # the same memory, without the subclass that slows down every index


def _digest(folder: Path, splits: Mapping[str, Mapping[str, Entry]]) -> str:
    digest = hashlib.sha256()
    for split, entries in sorted(splits.items()):
        for name, entry in sorted(entries.items()):
            array = _map(folder, entry)
            digest.update(f"{split} {name} {array.shape} {array.dtype}".encode())
            digest.update(array.data)
    return digest.hexdigest()


def _build(
    folder: Path,
    location: DataLocation,
    files: Sequence[FoundFile] | None,
    options: DecodeOptions,
    log: Log,
) -> None:
    try:
        with location.opened() as (root, names), private_folder() as temporary:
            listing = layouts.list_files(location, root, names, options, files)
            spec, notes, decoded = _decode(location, listing, options, temporary, log)
            spec, found = finished(spec, decoded)
            labelled = decoded.splits["train"].get("label")
            labels = _map(temporary, labelled) if labelled else None
            examples = [f"{location.shown(path, root)}: {why}" for path, why in decoded.bad]
            notes += (*found, *describe_classes(class_counts(labels, spec), spec))
            description = {
                "format": FORMAT,
                "splits": decoded.splits,
                "pairs": decoded.pairs,
                "spec": to_plain(spec),
                "total": decoded.total,
                "bad": len(decoded.bad),
                "examples": examples[:MAX_EXAMPLES],
                "notes": [*listing.notes, *notes],
                "digest": _digest(temporary, decoded.splits),
            }
            write_json(temporary / DESCRIPTION, description)
            _publish(temporary, folder, location)
    except OSError as problem:
        raise ZooError(
            f"the decoded data cannot be written to {folder.parent}: {problem.strerror or problem}",
            hint="make room, or put the cache elsewhere with ZOO_HOME=/another/folder",
            code="cache-unusable",
        ) from problem


def _decode(
    location: DataLocation, listing: Listing, options: DecodeOptions, folder: Path, log: Log
) -> tuple[DataSpec, tuple[str, ...], Decoded]:
    """Decode a data set, to what a look at few of its items promises if that proves right.

    Returns:
        What the data is, sentences on choices that may surprise, and what decoding gave.
    """
    found = survey(location, listing, options, guess=True)
    guess, notes = specify(location, listing, options, found)
    spec, decoded = _decode_as(listing, guess, folder, log)
    if found.guessed:
        exact = confirm(found, location, listing, options, decoded)
        right, notes = specify(location, listing, options, exact)
        if right != guess:
            spec, decoded = _decode_as(listing, right, folder, log)
    return spec, notes, decoded


def _decode_as(
    listing: Listing, spec: DataSpec, folder: Path, log: Log
) -> tuple[DataSpec, Decoded]:
    """Decode a data set; what must be known of all of it first is measured.

    Returns:
        What the data is, and what decoding gave.
    """
    try:
        return spec, decode(listing, spec, folder, log)
    except UnmeasuredError as reason:
        log(str(reason))
    train = listing.splits["train"].values()
    ports = tuple(
        modality_of(port).measured(port, [side for side in train if side.kind == port.kind])
        for port in spec.ports
    )
    spec = replace(spec, ports=ports)
    return spec, decode(listing, spec, folder, log)


def _publish(temporary: Path, folder: Path, location: DataLocation) -> None:
    """Give a finished store its name, unless another process was quicker."""
    try:
        temporary.rename(folder)
    except OSError:
        if _open(folder, location) is not None:
            return
        shutil.rmtree(folder)  # damaged
        temporary.rename(folder)


def _check_bad_images(store: Store, location: DataLocation, policy: OnBadImage, log: Log) -> None:
    if not store.bad:
        return
    items = modality_of(store.spec.ports[0]).items
    unreadable = f"{store.bad:,} of {store.total:,} {items} of {location.name} cannot be read"
    few = "; ".join(store.examples[:3]) + ("; …" if store.bad > 3 else "")
    if policy == "fail" or (policy == "auto" and store.bad > FEW_BAD * store.total):
        raise NotFoundError(
            unreadable,
            cause=few,
            hint=f"zoo data check {location.name if location.dataset else location.path}, "
            "or --on-bad-image skip to leave them out",
            code="bad-picture",
        )
    log(f"{unreadable} and are left out: {few}")
