"""Data sets that come as arrays: idx, npz and CIFAR's binary batches.

Headers may be forged: what they promise is held against the size of the file before any memory
is taken.
"""

from __future__ import annotations

import functools
import gzip
import math
import re
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, BinaryIO, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from zoo.atomic import SPECIAL, is_special
from zoo.data.location import Listing, presentable
from zoo.errors import NotFoundError, ZooError
from zoo.modalities.base import Side

Pixels = NDArray[np.uint8]
Pictures = NDArray[Any]  # bytes, or other numbers that are yet to be brought to bytes
Labels = NDArray[np.int64]
Split = tuple[Pictures, Labels | None]
Result = TypeVar("Result")

MAX_DEFLATE = 1100  # bytes that one packed byte can stand for, rounded up
MAX_CLASSES = 100_000
CIFAR_ROW = 1 + 3 * 32 * 32  # a label, then a red, a green and a blue plane

# Names under which npz files keep their arrays: images and labels, by split.
NPZ_NAMES: Sequence[Mapping[str, tuple[str, str]]] = (
    {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")},
    {
        "train": ("train_images", "train_labels"),
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
    {"train": ("images", "labels")},
    {"train": ("imgs", "labels")},
    {"train": ("image", "label")},
    {"train": ("data", "labels")},
    {"train": ("data", "target")},
    {"train": ("X", "y")},
    {"train": ("x", "y")},
    {"train": ("arr_0", "arr_1")},  # as numpy calls arrays that were given no names
)
IDX = re.compile(r"(.*?)(train|t10k|test)-(images|labels)[-.]idx\d-ubyte(\.gz)?", re.IGNORECASE)
CIFAR = re.compile(r"(data_batch_\d+|test_batch)\.bin", re.IGNORECASE)
LABELS = ("label", "labels", "y", "target", "targets", "class", "classes")
NPZ = re.compile(r"(?:.*[-_])?(train|val|test|t10k)[-_](imgs|images|labels)\.npz", re.IGNORECASE)


def list_idx(base: Path, files: Sequence[PurePath]) -> Listing:
    """List idx files of images and labels, as MNIST has them."""
    found: dict[tuple[str, str], Path] = {}
    for path in files:
        match = IDX.fullmatch(path.name)
        if not match:
            continue
        split = "train" if match[2].lower() == "train" else "test"
        there = found.setdefault((split, match[3].lower()), base / path)
        if there.name.removesuffix(".gz") != path.name.removesuffix(".gz"):
            raise NotFoundError(
                f"{base} holds several sets: {there.name} and {path.name}",
                hint="put each into a folder of its own",
                code="bad-layout",
            )
    listed = {}
    for split in ("train", "test"):
        if (split, "images") in found:
            pixels, labels = _read_idx(found[split, "images"], found.get((split, "labels")))
            listed[split] = {"image": Side(pixels, labels)}
    return Listing("idx", listed, _numbered(listed))


def list_cifar(base: Path, files: Sequence[PurePath]) -> Listing:
    """List the binary version of CIFAR-10."""
    batches = {path.name.lower(): base / path for path in files if CIFAR.fullmatch(path.name)}
    test = batches.pop("test_batch.bin", None)
    listed = {}
    for split, paths in (("train", list(batches.values())), ("test", [test] if test else [])):
        if paths:
            listed[split] = {"image": Side(*_read_cifar(paths))}
    return Listing("cifar-batches", listed, _numbered(listed))


def list_npz(base: Path, files: Sequence[PurePath]) -> Listing:
    """List one npz file, or one of images and one of labels for each split."""
    archives = [base / path for path in files if path.suffix.lower() == ".npz"]
    named = {path: match for path in archives if (match := NPZ.fullmatch(path.name))}
    notes: list[str] = []
    if len(archives) == 1 and not named:
        others = _reading(archives[0], lambda: _read_other_kinds(archives[0]))
        if others:
            classes = _numbered(others)
            return Listing("npz", others, classes, notes=(_describe_kinds(others),))
        read = _reading(archives[0], lambda: _read_npz_splits(archives[0], notes))
    else:
        parts: dict[tuple[str, str], Path] = {}
        for path, match in named.items():
            split = {"t10k": "test", "val": "validation"}.get(match[1].lower(), match[1].lower())
            parts[split, "labels" if match[2].lower() == "labels" else "images"] = path
        read = {
            split: _read_npz_pair(path, parts.get((split, "labels")))
            for (split, what), path in parts.items()
            if what == "images"
        }
    listed = {split: {"image": Side(*each)} for split, each in read.items()}
    return Listing("npz", listed, _numbered(listed), notes=tuple(notes))


def _read_idx(images: Path, labels: Path | None) -> Split:
    """Read pictures (N, H, W[, C]) and labels (N,) from idx files, gzipped or plain."""
    pictures = _reading(images, lambda: _read_idx_file(images, (3, 4)))
    numbers = None if labels is None else _reading(labels, lambda: _read_idx_file(labels, (1,)))
    return _as_split(pictures, images, numbers, labels or images)


def _read_npz_pair(images: Path, labels: Path | None) -> Split:
    """Read pictures and labels from two npz files of one array each, as KMNIST has them."""
    pictures = _reading(images, lambda: _read_only_array(images))
    numbers = None if labels is None else _reading(labels, lambda: _read_only_array(labels))
    return _as_split(pictures, images, numbers, labels or images)


def count_npz(paths: Sequence[Path]) -> int:
    """Return how many rows the largest arrays of npz files have together; damaged ones have none.

    Only the headers of the arrays are read.
    """
    total = 0
    for path in paths:
        if is_special(path):
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                rows = [0]
                for name in archive.namelist():
                    with archive.open(name) as file:
                        rows.append(_read_identity(file, name)[0][0])
                total += max(rows)
        except Exception:  # readers of damaged bytes raise anything at all  # noqa: S112
            continue
    return total


def _read_cifar(batches: Sequence[Path]) -> Split:
    """Read CIFAR-10's binary batches, pixels (N, 32, 32, 3) and labels (N,)."""
    rows = []
    for path in batches:
        flat = _reading(path, functools.partial(np.fromfile, path, np.uint8))
        if not flat.size or flat.size % CIFAR_ROW:
            raise _damaged(path, f"{flat.size} bytes are no multiple of {CIFAR_ROW}")
        rows.append(flat.reshape(-1, CIFAR_ROW))
    joined = np.concatenate(rows)
    planes = joined[:, 1:].reshape(-1, 3, 32, 32)
    return planes.transpose(0, 2, 3, 1), joined[:, 0].astype(np.int64)


def _numbered(splits: Mapping[str, Mapping[str, Side]]) -> tuple[str, ...]:
    """Return the numbers of the classes as their names."""
    labels = [side.labels for sides in splits.values() for side in sides.values()]
    last = max((int(each.max()) for each in labels if each is not None and each.size), default=-1)
    return tuple(map(str, range(last + 1)))


def _read_idx_file(path: Path, dimensions: Sequence[int]) -> Pixels:
    packed = path.name.lower().endswith(".gz")
    limit = path.stat().st_size * (MAX_DEFLATE if packed else 1)
    with cast(BinaryIO, gzip.open(path)) if packed else path.open("rb") as file:
        magic = file.read(4)
        if magic[:3] != b"\0\0\x08" or magic[3:] not in [bytes([each]) for each in dimensions]:
            raise ValueError(f"an idx file of bytes was expected, it begins with {magic!r}")
        shape = struct.unpack(f">{magic[3]}I", file.read(4 * magic[3]))
        if math.prod(shape) > limit:
            raise ValueError(f"{shape} does not fit into a file of this size")
        content = file.read(math.prod(shape))
        if len(content) != math.prod(shape) or file.read(1):
            raise ValueError(f"its length is not that of its header, {shape}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_npz_splits(path: Path, notes: list[str]) -> dict[str, Split]:
    """Read the splits of an npz file, by the names of its arrays.

    What is not read is added to `notes`. Where no name is a usual one, the only array that can be
    pictures is taken.
    """
    with zipfile.ZipFile(path) as archive:
        files = [name for name in archive.namelist() if name.endswith(".npy")]
        there = {name.removesuffix(".npy") for name in files}
        names = _usual_names(there) or {"train": (_only_pictures(archive, there), "")}
        splits: dict[str, Split] = {}
        used: set[str] = set()
        for split, (images, labels) in names.items():
            if images not in there:
                continue
            pictures = _read_npz_array(archive, images)
            numbers = _read_npz_array(archive, labels) if labels in there else None
            splits[split] = _as_split(pictures, path, numbers, path)
            used |= {images, labels}
        left = sorted(there - used)
        if left:
            shown = ", ".join(presentable(name) for name in left[:8]) + (", …" if left[8:] else "")
            read = ", ".join(presentable(name) for name in sorted(there & used))
            notes.append(f"of the arrays in {presentable(path.name)}, {read} are read; not {shown}")
        return splits


def _read_other_kinds(path: Path) -> dict[str, dict[str, Side]]:
    """Read the arrays of an npz file that holds no pictures: volumes, and rows of numbers.

    A name may say the split: ``train_shapes`` or ``shapes_test``. Whole numbers that are called
    ``label`` or the like are classes.

    Returns:
        Sides by split and name; nothing where some array can be pictures.
    """
    with zipfile.ZipFile(path) as archive:
        there = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if _usual_names(set(there)):
            return {}
        shapes = {}
        for name in there:
            with archive.open(f"{name}.npy") as file:
                shapes[name] = _read_identity(file, name)[0]
        if any(_may_be_pictures(shape) for shape in shapes.values()):
            return {}
        found: dict[str, dict[str, Side]] = {}
        labels: dict[str, NDArray[Any]] = {}
        for name in there:
            split, word = _split_in(name)
            array = _read_npz_array(archive, name)
            if word.lower() in LABELS and array.ndim == 1:
                labels[split] = array
            elif word.isidentifier() and len(array) and array.ndim:
                is_volume = array.ndim in {4, 5}
                rows = array if is_volume else array.astype(np.float32)
                side = Side(rows, kind="volume" if is_volume else "values")
                found.setdefault(split, {})[word] = side
        for split, sides in found.items():
            if split in labels:
                first, side = next(iter(sides.items()))
                sides[first] = replace(
                    side, labels=_as_labels(labels[split], len(side.items), path)
                )
        return found


def _split_in(name: str) -> tuple[str, str]:
    """Return the split that the name of an array says, and the rest of it."""
    match = re.fullmatch(r"(train|val|test)_(\w+)|(\w+)_(train|val|test)", name, re.IGNORECASE)
    if not match:
        return "train", name
    split = (match[1] or match[4]).lower()
    return {"val": "validation"}.get(split, split), match[2] or match[3]


def _may_be_pictures(shape: Sequence[int]) -> bool:
    is_grey = len(shape) == 3
    return is_grey or (len(shape) == 4 and bool({shape[1], shape[3]} & {1, 3}))


def _describe_kinds(splits: Mapping[str, Mapping[str, Side]]) -> str:
    told = ", ".join(f"{name}: {side.kind}" for name, side in splits.get("train", {}).items())
    return f"the arrays are taken for {told}"


def _usual_names(there: set[str]) -> Mapping[str, tuple[str, str]] | None:
    """Return the usual set of names that most of the arrays have, if one has its pictures."""
    candidates = [names for names in NPZ_NAMES if names["train"][0] in there]
    return max(
        candidates,
        key=lambda names: sum(name in there for pair in names.values() for name in pair),
        default=None,
    )


def _only_pictures(archive: zipfile.ZipFile, there: set[str]) -> str:
    """Return the name of the only array whose shape is that of pictures.

    Raises:
        ValueError: there is none, or several.
    """
    found = []
    for name in sorted(there):
        with archive.open(f"{name}.npy") as file:
            shape, _, dtype = _read_identity(file, name)
        if dtype.kind in "iuf" and _may_be_pictures(shape):
            found.append(name)
    if len(found) != 1:
        several = (
            f"several may be pictures: {', '.join(found[:8])}" if found else "none are pictures"
        )
        expected = " or ".join(dict.fromkeys(names["train"][0] for names in NPZ_NAMES))
        shown = ", ".join(sorted(there)[:8])
        raise ValueError(f"it holds {shown}; {several}; {expected} was expected")
    return found[0]


def _read_only_array(path: Path) -> NDArray[Any]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise ValueError(f"it holds {len(names)} arrays; 1 was expected")
        return _read_npz_array(archive, names[0].removesuffix(".npy"))


def _read_identity(file: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, order and type of an array, whose file is then at its first number."""
    version = np.lib.format.read_magic(file)
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"{name} has an array header of an unknown kind")
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    return read(file)


def _read_npz_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        shape, fortran, dtype = _read_identity(file, name)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or dtype.kind not in "iuf":
            raise ValueError(f"{name} holds {dtype}; numbers were expected")
        honest = info.file_size <= MAX_DEFLATE * max(info.compress_size, 1)
        if size + file.tell() != info.file_size or not honest:
            raise ValueError(f"{name} has not the size of its header, {shape} of {dtype}")
        content = file.read(size + 1)
        if len(content) != size:
            raise ValueError(f"{name} is cut short")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")


def _as_split(
    pictures: NDArray[Any], images: Path, numbers: NDArray[Any] | None, labels: Path
) -> Split:
    """Return pictures and their labels, which come from these files, in their usual shapes."""
    pixels = _as_pictures(pictures, images)
    return pixels, None if numbers is None else _as_labels(numbers, len(pixels), labels)


def _as_pictures(pixels: NDArray[Any], path: Path) -> Pictures:
    """Return pictures as (N, H, W, C), whatever the order of their dimensions."""
    shape = pixels.shape
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    elif pixels.ndim == 4 and shape[3] not in {1, 3} and shape[1] in {1, 3}:
        pixels = pixels.transpose(0, 2, 3, 1)
    if pixels.ndim != 4 or pixels.shape[3] not in {1, 3} or 0 in pixels.shape[1:]:
        raise _damaged(path, f"pictures of shape {shape}; (N, H, W) or (N, H, W, 1 or 3) expected")
    return pixels


def _as_labels(labels: NDArray[Any], count: int, path: Path) -> Labels:
    if labels.dtype.kind not in "iu":
        raise _damaged(path, f"labels are {labels.dtype}; whole numbers were expected")
    if labels.size != count or max(labels.shape, default=0) != count:
        raise _damaged(path, f"labels of shape {labels.shape} for {count} pictures")
    if count and not 0 <= int(labels.min()) <= int(labels.max()) < MAX_CLASSES:
        raise _damaged(path, f"labels run from {labels.min()} to {labels.max()}")
    return labels.reshape(count).astype(np.int64)


def _reading(path: Path, read: Callable[[], Result]) -> Result:
    """Call a reader; whatever goes wrong becomes an error about `path`."""
    if is_special(path):
        raise _damaged(path, SPECIAL)
    try:
        return read()
    except ZooError:
        raise
    except Exception as problem:  # readers of damaged bytes raise anything at all
        cause = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
        raise _damaged(path, cause) from None


def _damaged(path: Path, cause: str) -> NotFoundError:
    return NotFoundError(
        f"cannot read {path}", cause=" ".join(cause.split())[:200], code="bad-data"
    )
