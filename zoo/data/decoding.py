"""A listing -> files of numbers in a folder: every item decoded, once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from zoo.catalog.dataset import SPLITS
from zoo.data.location import Listing
from zoo.errors import NotFoundError
from zoo.messages import Log
from zoo.modalities import modality_of
from zoo.modalities.base import Bad, Decoding, Indices, Side
from zoo.ports import DataSpec, Port

HELD_OUT = 0.05  # share of the training rows that is kept for validation …
MOST_HELD_OUT = 2000  # … and no more than these
LOG_SECONDS = 10.0  # between two lines on how far the decoding is


class Entry(TypedDict):
    """Where one array lies, as ``store.json`` says."""

    file: str
    offset: int
    dtype: str
    shape: list[int]


@dataclass
class Decoded:
    """What a decoding gave."""

    # by split and name, where each array lies
    splits: dict[str, dict[str, Entry]] = field(default_factory=dict)
    pairs: tuple[str, ...] = ()  # splits in which row i of both sides shows one thing
    total: int = 0  # items that there are
    bad: list[Bad] = field(default_factory=list)  # those that could not be read, and why
    seen: dict[str, Decoding] = field(default_factory=dict)  # by kind, what was seen of the items

    def of(self, port: Port) -> Decoding:
        """Return what was seen of the kind of a port."""
        return self.seen.setdefault(port.kind, Decoding())


def decode(listing: Listing, spec: DataSpec, folder: Path, log: Log) -> Decoded:
    """Decode all splits into `folder`; validation is taken from train, unless the data has its own.

    Raises:
        NotFoundError: fewer than two training items can be read.
        UnmeasuredError: something must be measured over the whole data set first.
        OSError: the files cannot be written.
    """
    decoded = Decoded()
    everything = [side for sides in listing.splits.values() for side in sides.values()]
    progress = _ProgressLog(sum(len(side.items) for side in everything), spec, log)
    for split in listing.splits:
        entries = _decode_split(listing, split, spec, folder, decoded, progress)
        if all(entry["shape"][0] for entry in entries.values()):
            decoded.splits[split] = entries
    _require_enough(decoded, spec)
    pairs = set(listing.pairs)
    if "validation" not in decoded.splits:
        _hold_out(decoded.splits, folder)
        pairs |= {"validation"} if "train" in pairs else set()
    decoded.splits = {split: decoded.splits[split] for split in SPLITS if split in decoded.splits}
    decoded.pairs = tuple(split for split in decoded.splits if split in pairs)
    return decoded


def _decode_split(
    listing: Listing,
    split: str,
    spec: DataSpec,
    folder: Path,
    decoded: Decoded,
    progress: _ProgressLog,
) -> dict[str, Entry]:
    """Decode the sides of a split; in pairs, an item that cannot be read takes its partner along.

    Returns:
        Where each array lies, by name.
    """
    sides, paired = listing.splits[split], split in listing.pairs
    kept: dict[str, Indices] = {}
    for name, side in sides.items():
        usual = _order(len(side.items), shuffle=split == "train")
        order = kept["a"] if paired and kept else usual
        if side.half != "right":  # counted with the left half
            decoded.total += len(side.items)
        file = folder / f"{split}-{name}"
        kept[name] = _write_items(file, side, order, spec[name], split, decoded, progress)
    if paired and len(kept["b"]) < len(kept["a"]):
        row = modality_of(spec["a"]).stored(spec["a"])
        _keep_rows(folder / f"{split}-a", np.isin(kept["a"], kept["b"]), np.dtype(row.dtype))
        kept["a"] = kept["b"]
    entries: dict[str, Entry] = {}
    for name, side in sides.items():
        row = modality_of(spec[name]).stored(spec[name])
        entries[name] = _entry(f"{split}-{name}", row.dtype, (len(kept[name]), *row.shape))
        beside = dict(side.beside)
        if side.labels is not None:
            beside["label"] = side.labels
        for other, rows in beside.items():
            chosen = np.ascontiguousarray(rows[kept[name]])
            _write(folder / f"{split}-{other}", [chosen.data])
            entries[other] = _entry(f"{split}-{other}", chosen.dtype.name, chosen.shape)
    return entries


def decode_rows(side: Side, rows: Indices, port: Port) -> tuple[Indices, NDArray[Any]]:
    """Decode some items of a side; those that cannot be read are left out.

    Returns:
        Which of the items could be read, and their rows as decoded data holds them.
    """
    modality = modality_of(port)
    found = list(modality.blocks(side, rows, port, "train", Decoding()))
    kept = np.concatenate([np.empty(0, np.int64), *(indices for indices, _, _ in found)])
    row = modality.stored(port)
    empty = np.empty((0, *row.shape), row.dtype)
    return kept, np.concatenate([empty, *(rows for _, rows, _ in found if len(rows))])


def validation_count(count: int) -> int:
    """Return how many of `count` training rows are the validation split."""
    return min(MOST_HELD_OUT, max(1, round(HELD_OUT * count)))


def _order(count: int, *, shuffle: bool) -> Indices:
    """Return the order of the items: for training, one that is always the same for a count."""
    if not shuffle:
        return np.arange(count)
    # The legacy generator, because its numbers never change from one numpy to the next.
    return np.random.RandomState(0).permutation(count).astype(np.int64)


def _write_items(
    file: Path,
    side: Side,
    order: Indices,
    port: Port,
    split: str,
    decoded: Decoded,
    progress: _ProgressLog,
) -> Indices:
    """Decode one side into a file; return which of its items are there, in order."""
    modality = modality_of(port)
    kept: list[Indices] = [np.empty(0, np.int64)]

    def contents() -> Iterator[memoryview]:
        for indices, rows, failures in modality.blocks(side, order, port, split, decoded.of(port)):
            kept.append(indices)
            decoded.bad.extend(failures)
            progress.advance(len(indices) + len(failures))
            yield np.ascontiguousarray(rows).data

    _write(file, contents())
    return np.concatenate(kept)


def _write(file: Path, contents: Iterable[memoryview]) -> None:
    with file.open("wb") as opened:
        for content in contents:
            opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _keep_rows(file: Path, keep: NDArray[np.bool_], dtype: np.dtype[Any]) -> None:
    """Take rows out of a file, all but those to keep."""
    rows = np.memmap(file, dtype, "r").reshape(len(keep), -1)
    shorter = file.with_name(f"{file.name}-shorter")
    _write(shorter, (rows[index].data for index in np.flatnonzero(keep)))
    del rows  # some systems replace no file that is mapped
    shorter.replace(file)


def _entry(file: str, dtype: str, shape: tuple[int, ...]) -> Entry:
    return {"file": file, "offset": 0, "dtype": np.dtype(dtype).name, "shape": list(shape)}


def _require_enough(decoded: Decoded, spec: DataSpec) -> None:
    for name, entry in decoded.splits.get("train", {}).items():
        if entry["shape"][0] < 2:
            side = f" on side {name}" if name in "ab" else ""
            item = _items(spec)[:-1]
            raise NotFoundError(
                f"{spec.name} has a single training {item}{side}; 2 is the least",
                code="too-few-rows",
            )
    if "train" not in decoded.splits:
        raise NotFoundError(
            f"{spec.name} has no training {_items(spec)[:-1]} that can be read",
            cause=f"{decoded.bad[0][0].name}: {decoded.bad[0][1]}" if decoded.bad else "",
            hint="zoo data check with the same path",
            code="too-few-rows",
        )


def _items(spec: DataSpec) -> str:
    """Return what the rows of the data are called: ``pictures``."""
    return modality_of(spec.ports[0]).items


def _hold_out(splits: dict[str, dict[str, Entry]], folder: Path) -> None:
    """Make the first few training rows, which are in no order, the validation split."""
    if "label" in splits["train"]:
        _keep_classes(splits["train"], folder)
    held: dict[str, Entry] = {}
    rest: dict[str, Entry] = {}
    for name, entry in splits["train"].items():
        count, *picture = entry["shape"]
        few = validation_count(count)
        size = np.dtype(entry["dtype"]).itemsize * int(np.prod(picture, dtype=np.int64))
        held[name] = {**entry, "shape": [few, *picture]}
        rest[name] = {**entry, "shape": [count - few, *picture], "offset": few * size}
    splits["train"], splits["validation"] = rest, held


def _keep_classes(train: Mapping[str, Entry], folder: Path) -> None:
    """Exchange rows, so that of each class one at least stands behind the first few.

    Where all classes are large, as nearly always, nothing is exchanged. Nothing can be done where
    every row behind is the only one of its class.
    """
    arrays = {
        name: np.memmap(folder / entry["file"], entry["dtype"], "r+", shape=tuple(entry["shape"]))
        for name, entry in train.items()
    }
    labels = arrays["label"]
    few = validation_count(len(labels))
    left = np.bincount(labels[few:], minlength=int(labels.max()) + 1)
    spare = iter(range(few, len(labels)))
    for number in np.unique(labels[:few]):
        if left[number]:
            continue
        place = next((row for row in spare if left[labels[row]] > 1), None)
        if place is None:
            break
        left[labels[place]] -= 1
        left[number] += 1
        rows = [int(np.flatnonzero(labels[:few] == number)[0]), place]
        for array in arrays.values():
            array[rows] = array[rows[::-1]]
    for array in arrays.values():
        array.flush()


class _ProgressLog:
    """Logs at the start, and every few seconds, how far the decoding is."""

    def __init__(self, total: int, spec: DataSpec, log: Log) -> None:
        self._done, self._total, self._log = 0, total, log
        self._last = time.monotonic()
        port = spec.ports[0]
        log(
            f"decoding {total:,} {_items(spec)} of {spec.name} to "
            f"{modality_of(port).describe(port)}; the next time they are ready"
        )

    def advance(self, count: int) -> None:
        """Count pictures that are done."""
        self._done += count
        if time.monotonic() - self._last > LOG_SECONDS:
            self._last = time.monotonic()
            self._log(f"decoded {self._done:,} of {self._total:,}")
