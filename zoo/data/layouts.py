"""How the files of a data set lie: the named layouts, recognised and listed without decoding."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath

import numpy as np

from zoo.catalog.dataset import LAYOUTS, Layout
from zoo.data import arrays, tree
from zoo.data.archives import is_archive
from zoo.data.listing import Listing, Side
from zoo.errors import NotFoundError
from zoo.pictures import BadPictureError, peek, suffixes

Files = Sequence[PurePath]  # relative to the folder that they are in

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
SIDES = {f"{name}{side}": (split, side) for name, split in SPLITS.items() for side in "ab"}
IDX = re.compile(r"(.*?)(train|t10k|test)-(images|labels)[-.]idx\d-ubyte(\.gz)?", re.IGNORECASE)
CIFAR = re.compile(r"(data_batch_\d+|test_batch)\.bin", re.IGNORECASE)

EXPECTED: Mapping[Layout, str] = {
    "idx": "train-images-idx3-ubyte and train-labels-idx1-ubyte, gzipped or not,",
    "folder": "pictures",
    "class-folders": "a folder of pictures for each class",
    "unpaired-folders": "trainA and trainB, and perhaps testA and testB,",
    "paired-side-by-side": "pictures, each two side by side,",
    "cifar-batches": "data_batch_1.bin … of the binary version",
    "npz": "one .npz file",
}


def read(root: Path, layout: Layout | None = None, pairs: Sequence[str] = ()) -> Listing:
    """List a data set.

    Args:
        root: a folder, or an .npz file.
        layout: how the files lie; recognised, when not given.
        pairs: splits whose two sides hold pairs of one name.

    Raises:
        NotFoundError: nothing is there, it is not in that layout, or it is damaged.
    """
    base, files = _descend(root)
    hint = f"{root}:LAYOUT with one of {', '.join(LAYOUTS)}"
    archives = [path for path in files if is_archive(path)]
    if archives:
        hint = f"an archive itself: {base / archives[0]}"
    layout = layout or _recognise(base, files)
    if layout is None:
        raise NotFoundError(
            f"no data set recognised in {root}", cause=tree.describe(files), hint=hint
        )
    listing = READERS[layout](base, files)
    if "train" not in listing.splits:
        raise NotFoundError(
            f"{root} is not laid out as {layout}: {EXPECTED[layout]} expected",
            cause=tree.describe(files),
            hint=hint,
        )
    return listing.paired(pairs)


def _recognise(base: Path, files: Files) -> Layout | None:
    tops = {path.parts[0].lower() for path in files if len(path.parts) > 1}
    if any(IDX.fullmatch(path.name) for path in files):
        return "idx"
    if any(CIFAR.fullmatch(path.name) for path in files):
        return "cifar-batches"
    if [path.suffix.lower() for path in files] == [".npz"]:
        return "npz"
    if {"traina", "trainb"} <= tops:
        return "unpaired-folders"
    splits, depth = _by_split(files)
    if not splits:
        return None
    if len(_classes(splits["train"], depth)) > 1 and not _loose(splits["train"], depth):
        return "class-folders"
    if depth and _are_double([base / path for path in splits["train"]]):
        return "paired-side-by-side"
    return "folder"


def _read_folder(base: Path, files: Files) -> Listing:
    splits, _ = _by_split(files)
    return Listing(
        "folder", {name: {"image": Side([base / path for path in splits[name]])} for name in splits}
    )


def _read_class_folders(base: Path, files: Files) -> Listing:
    splits, depth = _by_split(files)
    classes = sorted(
        {each for paths in splits.values() for each in _classes(paths, depth)}, key=tree.natural
    )
    number = {name: label for label, name in enumerate(classes)}
    listed = {}
    for split, paths in splits.items():
        inside = [path for path in paths if len(path.parts) > depth + 1]
        labels = np.array([number[path.parts[depth]] for path in inside], np.int64)
        if inside:
            listed[split] = {"image": Side([base / path for path in inside], labels)}
    return Listing("class-folders", listed, tuple(map(tree.presentable, classes)))


def _read_unpaired(base: Path, files: Files) -> Listing:
    found: dict[str, dict[str, list[Path]]] = {}
    for path in _pictures(files):
        split, side = SIDES.get(path.parts[0].lower(), ("", ""))
        found.setdefault(split, {}).setdefault(side, []).append(base / path)
    listed = {
        split: {side: Side(sides[side]) for side in "ab"}
        for split, sides in found.items()
        if len(sides) == 2
    }
    return Listing("unpaired-folders", listed, domains=("a", "b"))


def _read_paired(base: Path, files: Files) -> Listing:
    splits, _ = _by_split(files)
    listed = {}
    for split, paths in splits.items():
        pictures = [base / path for path in paths]
        listed[split] = {"a": Side(pictures, half="left"), "b": Side(pictures, half="right")}
    return Listing("paired-side-by-side", listed, domains=("a", "b"), pairs=tuple(listed))


def _read_idx(base: Path, files: Files) -> Listing:
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
            )
    listed = {}
    for split in ("train", "test"):
        if (split, "images") in found:
            pixels, labels = arrays.read_idx(found[split, "images"], found.get((split, "labels")))
            listed[split] = {"image": Side(pixels, labels)}
    return Listing("idx", listed, _numbered(listed))


def _read_cifar(base: Path, files: Files) -> Listing:
    batches = {path.name.lower(): base / path for path in files if CIFAR.fullmatch(path.name)}
    test = batches.pop("test_batch.bin", None)
    listed = {}
    for split, paths in (("train", list(batches.values())), ("test", [test] if test else [])):
        if paths:
            listed[split] = {"image": Side(*arrays.read_cifar(paths))}
    return Listing("cifar-batches", listed, _numbered(listed))


def _read_npz(base: Path, files: Files) -> Listing:
    archives = [base / path for path in files if path.suffix.lower() == ".npz"]
    read = arrays.read_npz(archives[0]) if len(archives) == 1 else {}
    listed = {split: {"image": Side(*each)} for split, each in read.items()}
    return Listing("npz", listed, _numbered(listed))


READERS: Mapping[Layout, Callable[[Path, Files], Listing]] = {
    "idx": _read_idx,
    "folder": _read_folder,
    "class-folders": _read_class_folders,
    "unpaired-folders": _read_unpaired,
    "paired-side-by-side": _read_paired,
    "cifar-batches": _read_cifar,
    "npz": _read_npz,
}


def _descend(root: Path) -> tuple[Path, list[PurePath]]:
    """Return the folder where the data begins, below lone folders, and the files of data in it."""
    if root.is_file():
        return root.parent, [PurePath(root.name)]
    everything = tree.files_in(root)
    files = [path for path in everything if _is_data(path)]
    while len(tops := {path.parts[0] for path in files}) == 1:
        (top,) = tops
        if len(files[0].parts) == 1 or top.lower() in SPLITS or top.lower() in SIDES:
            break
        root, files = root / top, [path.relative_to(top) for path in files]
    return root, files or everything


def _by_split(files: Files) -> tuple[dict[str, list[PurePath]], int]:
    """Return the pictures by split, and the depth at which classes lie: 1 below ``train``."""
    pictures = _pictures(files)
    splits: dict[str, list[PurePath]] = {}
    for path in pictures:
        split = SPLITS.get(path.parts[0].lower())
        if split and len(path.parts) > 1:
            splits.setdefault(split, []).append(path)
    if "train" in splits:
        return splits, 1
    return ({"train": pictures} if pictures else {}), 0


def _classes(paths: Files, depth: int) -> set[str]:
    return {path.parts[depth] for path in paths if len(path.parts) > depth + 1}


def _loose(paths: Files, depth: int) -> bool:
    """Whether some picture lies in no class."""
    return any(len(path.parts) == depth + 1 for path in paths)


def _are_double(paths: Sequence[Path]) -> bool:
    """Whether a few of the pictures are all twice as wide as high."""
    for path in paths[:: max(1, len(paths) // 5)]:
        try:
            height, width, _ = peek(path)
        except BadPictureError:
            continue
        if width != 2 * height:
            return False
    return True


def _numbered(splits: Mapping[str, Mapping[str, Side]]) -> tuple[str, ...]:
    """Return the numbers of the classes as their names."""
    labels = [side.labels for sides in splits.values() for side in sides.values()]
    last = max((int(each.max()) for each in labels if each is not None and each.size), default=-1)
    return tuple(map(str, range(last + 1)))


def _pictures(files: Files) -> list[PurePath]:
    return [path for path in files if path.suffix.lower() in suffixes()]


def _is_data(path: PurePath) -> bool:
    ending = path.suffix.lower()
    named = IDX.fullmatch(path.name) or CIFAR.fullmatch(path.name)
    return ending == ".npz" or ending in suffixes() or named is not None
