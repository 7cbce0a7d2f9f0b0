"""A listing -> files of bytes in a folder: every picture decoded, once."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.catalog.dataset import SPLITS
from zoo.data.location import Half, Listing, Side
from zoo.errors import NotFoundError
from zoo.pictures import (
    VALUES,
    BadPictureError,
    Pixels,
    ValueRange,
    choose_range,
    extremes,
    fit,
    read_picture,
    to_eight_bits,
)
from zoo.ports import DataSpec

HELD_OUT = 0.05  # share of the training pictures that is kept for validation …
MOST_HELD_OUT = 2000  # … and no more than these
AT_ONCE = 64  # files being decoded
BLOCK = 1024  # pictures of an array handled together
THREADS = min(8, os.cpu_count() or 1)
LOG_SECONDS = 10.0  # between two lines on how far the decoding is

Size = tuple[int, int]  # height and width, in pixels
Indices = NDArray[np.int64]
Bad = tuple[Path, str]  # a picture that cannot be read, and why
Block = tuple[Indices, Pixels, list[Bad]]  # what could be read, and what not


class UnknownRangeError(Exception):
    """A picture has more than 8 bits, and the range of values is not known."""


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
    total: int = 0  # pictures that there are
    bad: list[Bad] = field(default_factory=list)  # those that could not be read, and why
    # how many pictures there are of each height and width
    sizes: Counter[Size] = field(default_factory=Counter)
    # by split, pictures with values beyond the range that became black to white
    beyond: Counter[str] = field(default_factory=Counter)
    deep: bool = False  # whether there are pictures of more than 8 bits


def decode(listing: Listing, spec: DataSpec, folder: Path, log: Callable[[str], None]) -> Decoded:
    """Decode all splits into `folder`; validation is taken from train, unless the data has its own.

    Raises:
        NotFoundError: fewer than two training pictures can be read.
        UnknownRangeError: there are pictures of more than 8 bits, and `spec` has no value range.
        OSError: the files cannot be written.
    """
    decoded = Decoded()
    everything = [side for sides in listing.splits.values() for side in sides.values()]
    progress = _ProgressLog(sum(len(side.pictures) for side in everything), spec, log)
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
    """Decode the sides of a split; in pairs, a picture that cannot be read takes its partner along.

    Returns:
        Where each array lies, by name.
    """
    sides, paired = listing.splits[split], split in listing.pairs
    kept: dict[str, Indices] = {}
    for name, side in sides.items():
        usual = _order(len(side.pictures), shuffle=split == "train")
        order = kept["a"] if paired and kept else usual
        if side.half != "right":  # counted with the left half
            decoded.total += len(side.pictures)
        file = folder / f"{split}-{name}"
        kept[name] = _write_pictures(file, side, order, spec, split, decoded, progress)
    if paired and len(kept["b"]) < len(kept["a"]):
        _keep_rows(folder / f"{split}-a", np.isin(kept["a"], kept["b"]))
        kept["a"] = kept["b"]
    entries: dict[str, Entry] = {}
    for name, side in sides.items():
        shape = (len(kept[name]), spec.pictures.height, spec.pictures.width, spec.pictures.channels)
        entries[name] = _entry(f"{split}-{name}", np.uint8, shape)
        if side.labels is not None:
            _write(folder / f"{split}-label", [side.labels[kept[name]].data])
            entries["label"] = _entry(f"{split}-label", np.int64, kept[name].shape)
    return entries


def measure_range(listing: Listing) -> ValueRange:
    """Return which values become black and white in training pictures of more than 8 bits.

    One range serves the whole data set, so that what is bright in one picture is bright in all.
    """
    found: list[ValueRange] = []

    def measure(path: Path) -> ValueRange | None:
        try:
            return read_picture(path).info.get(VALUES)
        except BadPictureError:  # reported when it is decoded
            return None

    with ThreadPoolExecutor(THREADS) as pool:
        for side in listing.splits["train"].values():
            if isinstance(side.pictures, np.ndarray):
                found += [extremes(side.pictures)] if side.pictures.dtype != np.uint8 else []
                continue
            for start in range(0, len(side.pictures), AT_ONCE):
                measured = pool.map(measure, side.pictures[start : start + AT_ONCE])
                found += [each for each in measured if each is not None]
    return range_over(found)


def range_over(ranges: Sequence[ValueRange]) -> ValueRange:
    """Return the range of values that holds the extremes of several pictures."""
    if not ranges:
        return 0.0, 65535.0
    return choose_range(min(low for low, _ in ranges), max(high for _, high in ranges))


def decode_picture(path: Path, half: Half, value_range: ValueRange | None = None) -> Image.Image:
    """Read a picture, or the half of it that counts.

    Raises:
        BadPictureError: it cannot be read, or is too narrow to have halves.
    """
    picture = read_picture(path, value_range=value_range)
    if not half:
        return picture
    middle = picture.width // 2
    if not middle:
        raise BadPictureError(f"cannot read {path}", cause="one pixel wide, so it has no halves")
    start = 0 if half == "left" else picture.width - middle
    return picture.crop((start, 0, start + middle, picture.height))


def decode_rows(side: Side, rows: Indices, spec: DataSpec) -> tuple[Indices, Pixels]:
    """Decode some pictures of a side; those that cannot be read are left out.

    Returns:
        Which of the rows could be read, and their pixels (N, H, W, C).
    """
    blocks = _from_array if isinstance(side.pictures, np.ndarray) else _from_files
    found = list(blocks(side, rows, spec, "train", Decoded()))
    kept = np.concatenate([np.empty(0, np.int64), *(indices for indices, _, _ in found)])
    images = spec.pictures
    empty = np.empty((0, images.height, images.width, images.channels), np.uint8)
    return kept, np.concatenate([empty, *(pixels for _, pixels, _ in found if len(pixels))])


def validation_count(count: int) -> int:
    """Return how many of `count` training pictures are the validation split."""
    return min(MOST_HELD_OUT, max(1, round(HELD_OUT * count)))


def _order(count: int, *, shuffle: bool) -> Indices:
    """Return the order of the pictures: for training, one that is always the same for a count."""
    if not shuffle:
        return np.arange(count)
    # The legacy generator, because its numbers never change from one numpy to the next.
    return np.random.RandomState(0).permutation(count).astype(np.int64)


def _write_pictures(
    file: Path,
    side: Side,
    order: Indices,
    spec: DataSpec,
    split: str,
    decoded: Decoded,
    progress: _ProgressLog,
) -> Indices:
    """Decode one side into a file; return which of its pictures are there, in order."""
    blocks = _from_array if isinstance(side.pictures, np.ndarray) else _from_files
    kept: list[Indices] = [np.empty(0, np.int64)]

    def contents() -> Iterator[memoryview]:
        for indices, pixels, failures in blocks(side, order, spec, split, decoded):
            kept.append(indices)
            decoded.bad.extend(failures)
            progress.advance(len(indices) + len(failures))
            yield np.ascontiguousarray(pixels).data

    _write(file, contents())
    return np.concatenate(kept)


def _from_array(
    side: Side, order: Indices, spec: DataSpec, split: str, decoded: Decoded
) -> Iterator[Block]:
    assert isinstance(side.pictures, np.ndarray)
    size = spec.pictures.height, spec.pictures.width, spec.pictures.channels
    decoded.sizes[side.pictures.shape[1], side.pictures.shape[2]] += len(order)
    for start in range(0, len(order), BLOCK):
        chosen = order[start : start + BLOCK]
        pixels = side.pictures[chosen]
        if pixels.dtype != np.uint8:
            for each in pixels:
                _note_range(extremes(each), spec, split, decoded)
            assert spec.pictures.value_range is not None
            pixels = to_eight_bits(pixels, spec.pictures.value_range)
        if pixels.shape[1:] != size:
            grey = pixels.shape[3] == 1
            images = (Image.fromarray(each[:, :, 0] if grey else each) for each in pixels)
            pixels = np.stack([fit(image, *size, spec.pictures.fit) for image in images])
        yield chosen, pixels, []


def _from_files(
    side: Side, order: Indices, spec: DataSpec, split: str, decoded: Decoded
) -> Iterator[Block]:
    size = spec.pictures.height, spec.pictures.width, spec.pictures.channels

    def work(index: int) -> tuple[Pixels, Size, ValueRange | None] | Bad:
        path = side.pictures[index]
        try:
            picture = decode_picture(path, side.half, spec.pictures.value_range)
        except BadPictureError as problem:
            return path, problem.cause
        own = picture.height, picture.width
        return fit(picture, *size, spec.pictures.fit), own, picture.info.get(VALUES)

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(order), AT_ONCE):
            chosen = order[start : start + AT_ONCE]
            good, bad, there = [], [], []
            for result in pool.map(work, chosen.tolist()):
                there.append(len(result) == 3)
                if len(result) == 2:
                    bad.append(result)
                    continue
                pixels, own, values = result
                good.append(pixels)
                decoded.sizes[own] += 1
                if values and side.half != "right":  # noted with the left half
                    _note_range(values, spec, split, decoded)
            yield chosen[there], np.stack(good) if good else np.empty(0, np.uint8), bad


def _note_range(values: ValueRange, spec: DataSpec, split: str, decoded: Decoded) -> None:
    """Take note of a picture of more than 8 bits whose values have these extremes."""
    if spec.pictures.value_range is None:
        raise UnknownRangeError
    decoded.deep = True
    if values[0] < spec.pictures.value_range[0] or values[1] > spec.pictures.value_range[1]:
        decoded.beyond[split] += 1


def _write(file: Path, contents: Iterable[memoryview]) -> None:
    with file.open("wb") as opened:
        for content in contents:
            opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def _keep_rows(file: Path, keep: NDArray[np.bool_]) -> None:
    """Take pictures out of a file, all but those to keep."""
    rows = np.memmap(file, np.uint8, "r").reshape(len(keep), -1)
    shorter = file.with_name(f"{file.name}-shorter")
    _write(shorter, (rows[index].data for index in np.flatnonzero(keep)))
    del rows  # some systems replace no file that is mapped
    shorter.replace(file)


def _entry(file: str, dtype: type, shape: tuple[int, ...]) -> Entry:
    return {"file": file, "offset": 0, "dtype": np.dtype(dtype).name, "shape": list(shape)}


def _require_enough(decoded: Decoded, spec: DataSpec) -> None:
    for name, entry in decoded.splits.get("train", {}).items():
        if entry["shape"][0] < 2:
            side = f" on side {name}" if name in "ab" else ""
            raise NotFoundError(
                f"{spec.name} has a single training picture{side}; 2 is the least",
                code="too-few-pictures",
            )
    if "train" not in decoded.splits:
        raise NotFoundError(
            f"{spec.name} has no training picture that can be read",
            cause=f"{decoded.bad[0][0].name}: {decoded.bad[0][1]}" if decoded.bad else "",
            hint="zoo data check with the same path",
            code="too-few-pictures",
        )


def _hold_out(splits: dict[str, dict[str, Entry]], folder: Path) -> None:
    """Make the first few training pictures, which are in no order, the validation split."""
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
    """Exchange rows, so that of each class one picture at least stands behind the first few.

    Where all classes are large, as nearly always, nothing is exchanged. Nothing can be done where
    every picture behind is the only one of its class.
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

    def __init__(self, total: int, spec: DataSpec, log: Callable[[str], None]) -> None:
        self._done, self._total, self._log = 0, total, log
        self._last = time.monotonic()
        images = spec.pictures
        log(
            f"decoding {total:,} pictures of {spec.name} to {images.height}x{images.width} "
            f"{images.colours}; "
            "the next time they are ready"
        )

    def advance(self, count: int) -> None:
        """Count pictures that are done."""
        self._done += count
        if time.monotonic() - self._last > LOG_SECONDS:
            self._last = time.monotonic()
            self._log(f"decoded {self._done:,} of {self._total:,}")
