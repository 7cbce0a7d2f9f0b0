"""Decoded once: uint8 arrays in the cache, mapped into memory ever after.

One folder a data set and settings: a file of bytes for each side of each split, and `store.json`
that says what they are. The training pictures lie in a fixed order of their own, so that the
first few of them are the validation split, whatever the seed of a run.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from zoo.atomic import write_json
from zoo.data import layouts
from zoo.data.decoding import decode
from zoo.data.scratch import private_folder, store_home
from zoo.data.source import Source
from zoo.data.survey import Size, domains_in, specify
from zoo.errors import NotFoundError, ZooError
from zoo.ports import DataSpec
from zoo.records import read_json

FORMAT = 2  # of the files and of how they come about; data in another one is decoded anew
DESCRIPTION = "store.json"
FEW_BAD = 0.01  # share of pictures that may be bad without stopping anybody
MAX_EXAMPLES = 10


class _Entry(TypedDict):
    file: str
    offset: int
    dtype: str
    shape: list[int]


class _Description(TypedDict):
    """What ``store.json`` says."""

    splits: dict[str, dict[str, _Entry]]
    pairs: list[str]
    spec: DataSpec
    total: int
    bad: int
    examples: list[str]
    note: str


OnBadImage = Literal["auto", "skip", "fail"]
Report = Callable[[str], None]


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
        note: a word on choices that may surprise.
    """

    spec: DataSpec
    splits: Mapping[str, Mapping[str, NDArray[Any]]]
    pairs: tuple[str, ...]
    total: int
    bad: int = 0
    examples: tuple[str, ...] = ()
    note: str = ""


def prepare(
    source: Source,
    *,
    size: Size | None = None,
    channels: int | None = None,
    on_bad_image: OnBadImage = "auto",
    report: Report | None = None,
) -> Store:
    """Return a data set decoded; the first time decodes it.

    Args:
        source: where it is.
        size: height and width in pixels; chosen by `zoo.data.survey`, when not given.
        channels: 1 for grey, 3 for RGB; likewise.
        on_bad_image: whether pictures that cannot be read are left out or are an error; ``"auto"``
            leaves them out up to 1 %.
        report: told in a line what takes time or may surprise.

    Raises:
        NotFoundError: the data is damaged, too small, not laid out as said, or has bad pictures.
        ZooError: the cache cannot be written to.
    """
    tell = report or (lambda _: None)
    folder = store_home() / _key(source, size, channels)
    store = _open(folder, source.name) or _open_like(source, size, channels)
    if store is None:
        _build(folder, source, size, channels, tell)
        store = _open(folder, source.name)
        if store is None:
            raise ZooError(f"the decoded data in {folder} cannot be read back")
    if store.note:
        tell(store.note)
    _judge(store, source, on_bad_image, tell)
    return store


def _key(source: Source, size: Size | None, channels: int | None) -> str:
    row = source.dataset
    facts = (
        (row.size, row.channels, row.classes, row.domains, row.pairs, row.licence) if row else ()
    )
    settings = {
        "format": FORMAT,
        "content": source.fingerprint(),
        "layout": source.layout,
        "catalogue": facts or domains_in(source.name),
        "size": size,
        "channels": channels,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]


def _open(folder: Path, name: str) -> Store | None:
    """Map a store into memory; None when there is none, or it is damaged."""
    try:
        description = read_json(folder / DESCRIPTION, _Description)
        splits = {
            split: {each: _map(folder, entry) for each, entry in entries.items()}
            for split, entries in description["splits"].items()
        }
        return Store(
            replace(description["spec"], name=name),
            splits,
            tuple(description["pairs"]),
            description["total"],
            description["bad"],
            tuple(description["examples"]),
            description["note"],
        )
    except (OSError, ValueError, TypeError, OverflowError):  # of NumPy, about sizes and dtypes
        return None


def _open_like(source: Source, size: Size | None, channels: int | None) -> Store | None:
    """Open a store for which less was asked, when it comes to what is asked for now."""
    for less in ((size, None), (None, None)):
        found = _open(store_home() / _key(source, *less), source.name)
        if found is None:
            continue
        spec = found.spec
        if size in {None, (spec.height, spec.width)} and channels in {None, spec.channels}:
            return found
    return None


def _map(folder: Path, entry: _Entry) -> NDArray[Any]:
    shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
    mapped = np.memmap(folder / entry["file"], dtype, "r", entry["offset"], shape)
    return np.asarray(mapped)  # the same memory, without the subclass that slows down every index


def _build(
    folder: Path, source: Source, size: Size | None, channels: int | None, tell: Report
) -> None:
    try:
        with source.opened() as root, private_folder() as temporary:
            listing = layouts.read(root, source.layout, source.pairs)
            spec, note = specify(source, listing, size, channels)
            decoded = decode(listing, spec, temporary, tell)
            examples = [f"{source.shown(path, root)}: {why}" for path, why in decoded.bad]
            description = {
                "splits": decoded.splits,
                "pairs": decoded.pairs,
                "spec": spec.to_json(),
                "total": decoded.total,
                "bad": len(decoded.bad),
                "examples": examples[:MAX_EXAMPLES],
                "note": note,
            }
            write_json(temporary / DESCRIPTION, description)
            _publish(temporary, folder, source.name)
    except OSError as problem:
        raise ZooError(
            f"the decoded data cannot be written to {folder.parent}: {problem.strerror or problem}",
            hint="make room, or put the cache elsewhere with ZOO_HOME=/another/folder",
        ) from problem


def _publish(temporary: Path, folder: Path, name: str) -> None:
    """Give a finished store its name, unless another process was quicker."""
    try:
        temporary.rename(folder)
    except OSError:
        if _open(folder, name) is not None:
            return
        shutil.rmtree(folder)  # damaged
        temporary.rename(folder)


def _judge(store: Store, source: Source, policy: OnBadImage, tell: Report) -> None:
    if not store.bad:
        return
    told = f"{store.bad:,} of {store.total:,} pictures of {source.name} cannot be read"
    few = "; ".join(store.examples[:3]) + ("; …" if store.bad > 3 else "")
    if policy == "fail" or (policy == "auto" and store.bad > FEW_BAD * store.total):
        raise NotFoundError(
            told,
            cause=few,
            hint=f"zoo data check {source.name if source.dataset else source.path}, "
            "or --on-bad-image skip to leave them out",
        )
    tell(f"{told} and are left out: {few}")
