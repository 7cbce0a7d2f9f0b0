"""Decoded once: uint8 arrays in the cache, mapped into memory ever after.

One folder a data set and settings: a file of bytes for each side of each split, and `store.json`
that says what they are. The training pictures lie in a fixed order of their own, so that the
first few of them are the validation split, whatever the seed of a run.

Which data set it is, a hash of all that its files hold says. Names, sizes and times alone do not
tell two data sets apart: files of a reproducible archive, of a container image, or replaced in
place may agree in all of them. So every byte is read the first time. Later it is enough that no
file was touched since, which the times of change and the numbers of the files tell: these cannot be
set at will. A few pieces of the files are read again all the same, because disk images may repeat
even these.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from zoo.atomic import write_json
from zoo.catalog.dataset import cache_home
from zoo.data.decoding import Decoded, Entry, Size, UnknownRangeError, decode, measure_range
from zoo.data.download import make_folder
from zoo.data.inventory import DESCRIPTION, FORMAT, mark_used, private_folder, store_home
from zoo.data.location import Listing, is_junk
from zoo.data.survey import (
    DecodeOptions,
    describe_classes,
    describe_range,
    domains_in,
    specify,
)
from zoo.errors import NotFoundError, ZooError
from zoo.pictures import MAX_PIXELS, ValueRange, describe_cut, max_pixels
from zoo.ports import DataSpec, Fit
from zoo.records import read_json, to_plain

KNOWN = "fingerprints.json"  # in the cache: hash of all bytes, by what tells it without reading
MOST_KNOWN = 256  # data sets; the oldest are forgotten, which costs a reading
SETTLED = 2.0  # seconds; what changed more recently may change again without a new time
SAMPLED_FILES, PIECE = 64, 4096  # that are looked into each time, and bytes of each piece
AT_ONCE = 256  # files that one thread reads in turn
THREADS = min(8, os.cpu_count() or 1)

_File = tuple[bytes, str, os.stat_result | None]  # name below the root; path; None: a broken link
FEW_BAD = 0.01  # share of pictures that may be bad without stopping anybody
MAX_EXAMPLES = 10
OnBadImage = Literal["auto", "skip", "fail"]
Report = Callable[[str], None]


def fingerprint(source: DataLocation) -> str:
    """Return what changes when any byte or any name of a data set does.

    Where a data set lies does not matter. The hashes of the catalogue are taken where it has them
    all, because a download was held against them.

    Raises:
        NotFoundError: a folder cannot be read.
    """
    row = source.dataset
    if row and not row.embedded and all(file.sha256 for file in row.files):
        return _hash(json.dumps([[file.name, file.sha256] for file in row.files]).encode())
    began = time.time()
    files = _files(source.path)
    identity = _identity(files)
    known = _read_known()
    if identity in known:
        return known[identity]
    found = _content(files)
    changes = [status.st_ctime for _, _, status in files if status]
    if max(changes, default=0.0) < began - SETTLED:
        with suppress(OSError, ZooError):  # a cache that others keep for us may be read-only
            make_folder(cache_home())
            latest = [*known.items(), (identity, found)][-MOST_KNOWN:]
            write_json(cache_home() / KNOWN, dict(latest))
    return found


def _files(root: Path) -> list[_File]:
    """Return all files of a data set, in an order that is always the same."""
    try:
        if not root.is_dir():  # the name says how it is read, and is not part of what it holds
            return [(root.suffix.lower().encode(), str(root), root.stat())]
        return sorted(_walk(str(root), b"", set()))
    except OSError as problem:
        raise NotFoundError(f"cannot read {problem.filename}: {problem.strerror}") from None


def _walk(folder: str, above: bytes, seen: set[tuple[int, int]]) -> Iterator[_File]:
    """Yield the files that `files_in` lists, with what the system knows of each."""
    status = os.stat(folder)  # noqa: PTH116 - a hundred thousand paths as objects take seconds
    if (status.st_dev, status.st_ino) in seen:  # links may lead in a circle
        return
    seen.add((status.st_dev, status.st_ino))
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_junk(entry.name):
                continue
            name = above + os.fsencode(entry.name)
            if entry.is_dir():
                yield from _walk(entry.path, name + b"/", seen)
                continue
            try:
                yield name, entry.path, entry.stat()
            except FileNotFoundError:
                yield name, entry.path, None


def _identity(files: list[_File]) -> str:
    """Return what changes when a file is touched, replaced, or another one of the same name."""
    digest = hashlib.sha256()
    for name, _, status in files:
        facts = status and (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        digest.update(b"%b\0%b\n" % (name, repr(facts).encode()))
    last = max(len(files) - 1, 0)
    chosen = {last * number // SAMPLED_FILES for number in range(SAMPLED_FILES + 1)}
    for place in sorted(chosen) if files else ():
        digest.update(_pieces(files[place]))
    return digest.hexdigest()


def _pieces(file: _File) -> bytes:
    """Return the beginning, the middle and the end of a file."""
    _, path, status = file
    if status is None:
        return b""
    found = []
    with suppress(OSError), Path(path).open("rb", buffering=0) as opened:
        for start in sorted({0, status.st_size // 2, max(0, status.st_size - PIECE)}):
            opened.seek(start)
            found.append(opened.read(PIECE))
    return _hash(b"".join(found)).encode()


def _content(files: list[_File]) -> str:
    """Return a hash of the names and all bytes of files."""
    digest = hashlib.sha256()
    groups = [files[start : start + AT_ONCE] for start in range(0, len(files), AT_ONCE)]
    with ThreadPoolExecutor(THREADS) as pool:
        for group, hashes in zip(groups, pool.map(_hash_all, groups), strict=True):
            for (name, _, _), each in zip(group, hashes, strict=True):
                digest.update(b"%b\0%b\n" % (name, each.encode()))
    return digest.hexdigest()


def _hash_all(files: list[_File]) -> list[str]:
    return [_hash_of_file(path) for _, path, _ in files]


def _hash_of_file(path: str) -> str:
    try:
        with Path(path).open("rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:  # decoding will say which picture it is
        return f"unreadable: {problem.errno}"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_known() -> dict[str, str]:
    """Return what was read before; a file that is missing or damaged only costs time."""
    try:
        known: Any = json.loads((cache_home() / KNOWN).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: each for key, each in known.items() if isinstance(each, str)}


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
    """A decoded data set.

    Args:
        spec: what the arrays hold.
        splits: by split (``train``, ``validation``, perhaps ``test``), arrays by name: ``image``
            uint8 (N, H, W, C) and perhaps ``label`` int64 (N,), or ``a`` and ``b`` of a
            translation. All are read-only and mapped into memory.
        pairs: splits in which row i of ``a`` and row i of ``b`` show one thing.
        total: pictures that there are.
        bad: how many of them could not be read.
        examples: the first few of those, with the reason.
        notes: sentences on choices that may surprise, and on what is not used.
        digest: sha256 of all arrays, which tells whether data are still the same.
    """

    spec: DataSpec
    splits: Mapping[str, Mapping[str, NDArray[Any]]]
    pairs: tuple[str, ...]
    total: int
    bad: int = 0
    examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    digest: str = ""


def open_store(
    source: DataLocation,
    *,
    size: Size | None = None,
    channels: int | None = None,
    fit: Fit = "cover",
    value_range: ValueRange | None = None,
    on_bad_image: OnBadImage = "auto",
    report: Report | None = None,
) -> Store:
    """Return a data set decoded; the first time decodes it.

    Args:
        source: where it is.
        size: height and width in pixels; chosen by `zoo.data.survey`, when not given.
        channels: 1 for grey, 3 for RGB; likewise.
        fit: how pictures of other proportions are brought to the size: ``"cover"`` cuts off what
            stands over, ``"contain"`` repeats edges around a picture, ``"stretch"`` distorts it.
        value_range: the values that become black and white in pictures of more than 8 bits;
            measured over all training pictures, when not given.
        on_bad_image: whether pictures that cannot be read are left out or are an error; ``"auto"``
            leaves them out up to 1 %.
        report: called with a line on what takes time or may surprise.

    Raises:
        NotFoundError: the data is damaged, too small, not laid out as said, or has bad pictures.
        ZooError: the cache cannot be written to.
    """
    log = report or (lambda _: None)
    content = fingerprint(source)
    options = DecodeOptions(size, channels, fit, value_range)
    folder = store_home() / _key(source, content, options, max_pixels())
    store = _open(folder, source) or _open_like(source, content, options)
    if store is None:
        _build(folder, source, options, log)
        store = _open(folder, source)
        if store is None:
            raise ZooError(f"the decoded data in {folder} cannot be read back")
    for note in store.notes:
        log(note)
    _check_bad_images(store, source, on_bad_image, log)
    return store


def _key(source: DataLocation, content: str, options: DecodeOptions, limit: int) -> str:
    row = source.dataset
    facts = (
        (row.size, row.channels, row.classes, row.domains, row.pairs, row.licence) if row else ()
    )
    settings = {
        "format": FORMAT,
        "content": content,
        "layout": source.layout,
        "two_domains": source.two_domains,
        "catalogue": facts or domains_in(source.name),
        "max_pixels": limit,
        **asdict(options),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]


def _open(folder: Path, source: DataLocation) -> Store | None:
    """Map a store into memory; None when there is none, or it is damaged."""
    try:
        description = read_json(folder / DESCRIPTION, _Description)
        splits = {
            split: {each: _map(folder, entry) for each, entry in entries.items()}
            for split, entries in description["splits"].items()
        }
        mark_used(folder, source.reference)
        return Store(
            replace(description["spec"], name=source.name),
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


def _open_like(source: DataLocation, content: str, options: DecodeOptions) -> Store | None:
    """Open a store for which less was asked, when it comes to what is asked for now."""
    unmeasured = replace(options, value_range=None)
    less = (
        options,
        unmeasured,
        replace(unmeasured, channels=None),
        replace(unmeasured, channels=None, size=None),
    )
    for asked, limit in itertools.product(less, dict.fromkeys((max_pixels(), MAX_PIXELS))):
        found = _open(store_home() / _key(source, content, asked, limit), source)
        if found is None or (found.bad and limit != max_pixels()):
            continue
        spec = found.spec
        if (
            options.size in {None, (spec.height, spec.width)}
            and options.channels in {None, spec.channels}
            # pictures of bytes have no range
            and (None in {options.value_range, spec.value_range}
                 or options.value_range == spec.value_range)
        ):  # fmt: skip
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


def _build(folder: Path, source: DataLocation, options: DecodeOptions, log: Report) -> None:
    try:
        with source.opened() as (root, names), private_folder() as temporary:
            listing = source.listed(root, names)
            spec, notes = specify(source, listing, options)
            spec, decoded = _decode(listing, spec, temporary, log)
            examples = [f"{source.shown(path, root)}: {why}" for path, why in decoded.bad]
            notes += (
                *describe_cut(decoded.sizes, spec.height, spec.width, spec.fit),
                *describe_range(spec, decoded.beyond),
                *describe_classes(_class_counts(temporary, decoded.splits["train"], spec)),
            )
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
            _publish(temporary, folder, source)
    except OSError as problem:
        raise ZooError(
            f"the decoded data cannot be written to {folder.parent}: {problem.strerror or problem}",
            hint="make room, or put the cache elsewhere with ZOO_HOME=/another/folder",
        ) from problem


def _class_counts(folder: Path, train: Mapping[str, Entry], spec: DataSpec) -> dict[str, int]:
    """Return the pictures of each class that are trained on; nothing without labels."""
    if "label" not in train:
        return {}
    counts = np.bincount(_map(folder, train["label"]), minlength=len(spec.classes))
    return dict(zip(spec.classes, counts.tolist(), strict=True))


def _decode(
    listing: Listing, spec: DataSpec, folder: Path, log: Report
) -> tuple[DataSpec, Decoded]:
    """Decode a data set; where pictures of more than 8 bits appear, with one range for all.

    Returns:
        What the data is, with the range of its values, and what decoding gave.
    """
    try:
        decoded = decode(listing, spec, folder, log)
    except UnknownRangeError:
        log("there are pictures of more than 8 bits; their values are measured first")
        spec = replace(spec, value_range=measure_range(listing))
        decoded = decode(listing, spec, folder, log)
    return (spec if decoded.deep else replace(spec, value_range=None)), decoded


def _publish(temporary: Path, folder: Path, source: DataLocation) -> None:
    """Give a finished store its name, unless another process was quicker."""
    try:
        temporary.rename(folder)
    except OSError:
        if _open(folder, source) is not None:
            return
        shutil.rmtree(folder)  # damaged
        temporary.rename(folder)


def _check_bad_images(store: Store, source: DataLocation, policy: OnBadImage, log: Report) -> None:
    if not store.bad:
        return
    unreadable = f"{store.bad:,} of {store.total:,} pictures of {source.name} cannot be read"
    few = "; ".join(store.examples[:3]) + ("; …" if store.bad > 3 else "")
    if policy == "fail" or (policy == "auto" and store.bad > FEW_BAD * store.total):
        raise NotFoundError(
            unreadable,
            cause=few,
            hint=f"zoo data check {source.name if source.dataset else source.path}, "
            "or --on-bad-image skip to leave them out",
        )
    log(f"{unreadable} and are left out: {few}")
