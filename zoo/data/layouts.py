"""How the files of a data set lie: the named layouts, recognised and listed without decoding."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np

from zoo.catalog.dataset import LAYOUTS, Layout
from zoo.data import arrays
from zoo.data.archives import is_archive
from zoo.data.location import Listing, Side, describe_files, files_in, natural, presentable
from zoo.errors import NotFoundError
from zoo.pictures import BadPictureError, peek, suffixes

Files = Sequence[PurePath]  # relative to the folder that they are in

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
SIDES = {f"{name}{side}": (split, side) for name, split in SPLIT_WORDS.items() for side in "ab"}
LABELS_FILE = "dataset.json"  # of StyleGAN's data sets: {"labels": [["00000/0.png", 3], …]}
MAX_LABELS_BYTES = 2**27
DOUBLE = (1.9, 2.1)  # width by height of pictures that may be two side by side

# What is no part of a data set and yet may matter to the user, by the ending of its name.
OTHER_KINDS: Mapping[str, tuple[str, ...]] = {
    "tables, whose labels are not read": (".csv", ".tsv", ".jsonl", ".xlsx", ".parquet"),
    "videos, which are not read": (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"),
    "documents, which are not read": (".pdf", ".djvu", ".ps", ".eps", ".svg"),
    "camera raw files, which are not read": (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf"),
    "arrays, which are not read here": (".npy", ".npz", ".mat", ".h5", ".hdf5", ".pkl", ".pt"),
    "archives, which are not unpacked here": (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar"),
}
HEIC = (".heic", ".heif", ".hif")

EXPECTED: Mapping[Layout, str] = {
    "idx": "train-images-idx3-ubyte and train-labels-idx1-ubyte, gzipped or not,",
    "folder": "pictures",
    "class-folders": "a folder of pictures for each class",
    "unpaired-folders": "trainA and trainB, and perhaps testA and testB,",
    "paired-side-by-side": "pictures, each two side by side,",
    "cifar-batches": "data_batch_1.bin … of the binary version",
    "npz": "one .npz file, or one of images and one of labels for each split",
    "dataset-json": f"pictures and {LABELS_FILE} with their labels",
}


def read(
    root: Path,
    layout: Layout | None = None,
    pairs: Sequence[str] = (),
    *,
    two_domains: bool = False,
) -> Listing:
    """List a data set.

    Args:
        root: a folder, or an .npz file.
        layout: how the files lie; recognised, when not given.
        pairs: splits whose two sides hold pairs of one name.
        two_domains: whether two sets of images are wanted, which two folders of pictures are
            as well, and the halves of pictures that are twice as wide as high.

    Raises:
        NotFoundError: nothing is there, it is not in that layout, or it is damaged.
    """
    base, files, others = _descend(root)
    hint = f"{root}:LAYOUT with one of {', '.join(LAYOUTS)}"
    archives = [path for path in (*files, *others) if is_archive(path)]
    if archives and not _pictures(files):
        hint = f"an archive itself: {base / archives[0]}"
    asked = layout
    layout = layout or _recognise(base, files, two_domains=two_domains)
    if layout is None:
        raise NotFoundError(
            f"no data set recognised in {root}",
            cause=describe_files([*files, *others]),
            hint=hint,
        )
    listing = READERS[layout](base, files)
    if "train" not in listing.splits:
        raise NotFoundError(
            f"{root} is not laid out as {layout}: {EXPECTED[layout]} expected",
            cause=describe_files([*files, *others]),
            hint=hint,
        )
    if two_domains and layout == "class-folders" and len(listing.classes) == 2:
        listing = _as_domains(listing)
    notes = [*listing.notes, *_unused(base, listing, [*files, *others])]
    if asked is None:
        notes += _doubts(listing, files)
    return replace(listing, notes=tuple(notes)).paired(pairs)


def _recognise(base: Path, files: Files, *, two_domains: bool) -> Layout | None:
    tops = {path.parts[0].lower() for path in files if len(path.parts) > 1}
    if any(arrays.IDX.fullmatch(path.name) for path in files):
        return "idx"
    if any(arrays.CIFAR.fullmatch(path.name) for path in files):
        return "cifar-batches"
    if _holds_more_in_arrays(base, files):
        return "npz"
    if {"traina", "trainb"} <= tops:
        return "unpaired-folders"
    if _has_labels_file(base):
        return "dataset-json"
    return _recognise_folders(base, files, two_domains=two_domains)


def _recognise_folders(base: Path, files: Files, *, two_domains: bool) -> Layout | None:
    splits, depth = _by_split(files)
    if not splits:
        return None
    if len(_classes(splits["train"], depth)) > 1 and not _loose(splits["train"], depth):
        return "class-folders"
    if two_domains and _are_double([base / path for path in splits["train"]]):
        return "paired-side-by-side"
    return "folder"


def _holds_more_in_arrays(base: Path, files: Files) -> bool:
    """Whether .npz files hold more pictures than lie beside them as files."""
    archives = [base / path for path in files if path.suffix.lower() == ".npz"]
    if not archives:
        return False
    pictures = _pictures(files)
    return not pictures or arrays.count_npz(archives) > len(pictures)


def _read_folder(base: Path, files: Files) -> Listing:
    splits, _ = _by_split(files)
    return Listing(
        "folder", {name: {"image": Side([base / path for path in splits[name]])} for name in splits}
    )


def _read_class_folders(base: Path, files: Files) -> Listing:
    """Number the folders; a test or validation split without any folder has no labels."""
    splits, depth = _by_split(files)
    classes = sorted(
        {each for paths in splits.values() for each in _classes(paths, depth)}, key=natural
    )
    number = {name: label for label, name in enumerate(classes)}
    listed, notes = {}, []
    for split, paths in splits.items():
        inside = [path for path in paths if len(path.parts) > depth + 1]
        if inside:
            labels = np.array([number[path.parts[depth]] for path in inside], np.int64)
            listed[split] = {"image": Side([base / path for path in inside], labels)}
        elif split != "train":
            listed[split] = {"image": Side([base / path for path in paths])}
            notes.append(f"the {len(paths):,} pictures of the {split} split have no classes")
    names = tuple(map(presentable, classes))
    return Listing("class-folders", listed, names, notes=tuple(notes))


def _read_dataset_json(base: Path, files: Files) -> Listing:
    """Read the labels of pictures from the file beside them, which names them by path."""
    numbers = _labels_in(base / LABELS_FILE) if _has_labels_file(base) else {}
    if not numbers:
        return Listing("dataset-json", {})
    pictures = [path for path in _pictures(files) if path.as_posix() in numbers]
    labels = np.array([numbers[path.as_posix()] for path in pictures], np.int64)
    if not pictures:
        raise NotFoundError(
            f"{base / LABELS_FILE} has a label for none of the pictures",
            cause="it names other files",
            hint=f"{base}:folder takes the pictures without labels",
        )
    side = {"image": Side([base / path for path in pictures], labels)}
    classes = tuple(map(str, range(int(labels.max()) + 1)))
    note = f"the classes are the labels in {LABELS_FILE}"
    return Listing("dataset-json", {"train": side}, classes, notes=(note,))


def _has_labels_file(base: Path) -> bool:
    path = base / LABELS_FILE
    return path.is_file() and bool(_labels_in(path))


def _labels_in(path: Path) -> dict[str, int]:
    """Return the labels by path of a picture; nothing where the file holds none.

    Raises:
        NotFoundError: the file is damaged.
    """
    try:
        if path.stat().st_size > MAX_LABELS_BYTES:
            raise ValueError(f"it is larger than {MAX_LABELS_BYTES >> 20} MiB")
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content.get("labels") if isinstance(content, dict) else None
        if rows is None:
            return {}
        found = {str(name): label for name, label in rows}
        if not all(type(each) is int and 0 <= each < arrays.MAX_CLASSES for each in found.values()):
            raise ValueError("a label is no class number")
    except (OSError, ValueError, TypeError, RecursionError) as problem:
        raise NotFoundError(
            f"cannot read the labels in {path}",
            cause=" ".join(str(problem).split())[:200],
            hint=f"{path.parent}:folder takes the pictures without labels",
        ) from None
    return found


def _as_domains(listing: Listing) -> Listing:
    """Take two classes for two domains that are called by the folders."""
    splits = {}
    for split, sides in listing.splits.items():
        side = sides["image"]
        if side.labels is None:
            continue
        assert not isinstance(side.pictures, np.ndarray)
        both = [
            [path for path, label in zip(side.pictures, side.labels, strict=True) if label == each]
            for each in (0, 1)
        ]
        if all(both):
            splits[split] = {"a": Side(both[0]), "b": Side(both[1])}
    return replace(
        listing, layout="unpaired-folders", splits=splits, classes=(), domains=listing.classes
    )


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


READERS: Mapping[Layout, Callable[[Path, Files], Listing]] = {
    "idx": arrays.list_idx,
    "folder": _read_folder,
    "class-folders": _read_class_folders,
    "unpaired-folders": _read_unpaired,
    "paired-side-by-side": _read_paired,
    "cifar-batches": arrays.list_cifar,
    "npz": arrays.list_npz,
    "dataset-json": _read_dataset_json,
}


def _descend(root: Path) -> tuple[Path, list[PurePath], list[PurePath]]:
    """Return the folder where the data begins, below lone folders, its files, and the others."""
    if root.is_file():
        return root.parent, [PurePath(root.name)], []
    everything = files_in(root)
    files = [path for path in everything if _is_data(path)]
    others = [path for path in everything if not _is_data(path)]
    while len(tops := {path.parts[0] for path in files}) == 1:
        (top,) = tops
        if len(files[0].parts) == 1 or _split_of(top) or top.lower() in SIDES:
            break
        root, files = root / top, [path.relative_to(top) for path in files]
        others = [
            path.relative_to(top) if path.parts[0] == top else PurePath("..", path)
            for path in others
        ]
    return root, files, others


def _split_of(folder: str) -> str | None:
    """Return the split that the name of a folder means: ``training_set`` is ``train``."""
    word = re.sub(r"(?<=[a-z])[-_ ]?(set|split|data|images|imgs)$", "", folder.lower())
    return SPLIT_WORDS.get(word)


def _by_split(files: Files) -> tuple[dict[str, list[PurePath]], int]:
    """Return the pictures by split, and the depth at which classes lie: 1 below ``train``.

    A folder called ``train`` beside folders that are no splits is a class like these, unless a
    folder for testing is there too, or only it has folders of its own.
    """
    pictures = _pictures(files)
    splits: dict[str, list[PurePath]] = {}
    rest: list[PurePath] = []
    for path in pictures:
        split = _split_of(path.parts[0]) if len(path.parts) > 1 else None
        if split:
            splits.setdefault(split, []).append(path)
        elif len(path.parts) > 1:
            rest.append(path)
    deep = all(len(path.parts) > 2 for path in splits.get("train", ()))
    rest_is_deep = any(len(path.parts) > 2 for path in rest)
    is_split = not rest or len(splits) > 1 or (deep and not rest_is_deep)
    if "train" in splits and is_split:
        return splits, 1
    return ({"train": pictures} if pictures else {}), 0


def _classes(paths: Files, depth: int) -> set[str]:
    return {path.parts[depth] for path in paths if len(path.parts) > depth + 1}


def _loose(paths: Files, depth: int) -> bool:
    """Whether some picture lies in no class."""
    return any(len(path.parts) == depth + 1 for path in paths)


def _are_double(paths: Sequence[Path]) -> bool:
    """Whether a few of the pictures are all about twice as wide as high."""
    seen = False
    for path in paths[:: max(1, len(paths) // 5)]:
        try:
            height, width, _ = peek(path)
        except BadPictureError:
            continue
        seen = True
        if not DOUBLE[0] * height <= width <= DOUBLE[1] * height:
            return False
    return seen


def _doubts(listing: Listing, files: Files) -> Iterator[str]:
    """Yield a sentence for each choice of the recognised layout that may not be meant."""
    if listing.layout == "paired-side-by-side":
        yield (
            "the pictures are twice as wide as high: their left and right halves are taken for "
            "pairs (:folder takes them whole)"
        )
    elif listing.layout == "folder" and _by_split(files)[1]:
        side = listing.splits["train"]["image"]
        assert not isinstance(side.pictures, np.ndarray)
        if _are_double(side.pictures):
            yield (
                "the pictures are twice as wide as high and taken whole "
                "(:paired-side-by-side takes their halves for pairs)"
            )
    if listing.layout == "folder":
        splits, depth = _by_split(files)
        classes = _classes(splits["train"], depth)
        if len(classes) > 1 and _loose(splits["train"], depth):
            yield (
                f"{len(classes)} folders lie beside pictures in no folder, so that they are not "
                "taken for classes (:class-folders does)"
            )


def _unused(base: Path, listing: Listing, everything: Files) -> Iterator[str]:
    """Yield a sentence for each kind of file that the user may think is learnt from, and is not."""
    used: set[Path] = set()
    of_arrays = False
    for sides in listing.splits.values():
        for side in sides.values():
            if isinstance(side.pictures, np.ndarray):
                of_arrays = True
            else:
                used.update(side.pictures)
    left = [path for path in everything if base / path not in used]
    if of_arrays:
        left = [path for path in left if not _is_data(path) or path in _pictures([path])]
    pictures = _pictures(left)
    if pictures:
        folders = Counter(path.parent.as_posix() for path in pictures).most_common(3)
        where = ", ".join(f"{count:,} in {folder}" for folder, count in folders if folder != ".")
        yield f"{len(pictures):,} pictures are not used" + (f": {where}" if where else "")
    endings = Counter(path.suffix.lower() for path in left)
    heic = sum(endings[each] for each in HEIC if each not in suffixes())
    if heic:
        yield f"{heic:,} HEIC photos are not read: pip install pillow-heif reads them"
    for kind, kinds in OTHER_KINDS.items():
        count = sum(endings[each] for each in kinds)
        if count:
            examples = sorted({each for each in kinds if endings[each]})
            yield f"{count:,} files ({', '.join(examples)}) are {kind}"


def _pictures(files: Files) -> list[PurePath]:
    return [path for path in files if path.suffix.lower() in suffixes()]


def _is_data(path: PurePath) -> bool:
    ending = path.suffix.lower()
    named = arrays.IDX.fullmatch(path.name) or arrays.CIFAR.fullmatch(path.name)
    return ending == ".npz" or ending in suffixes() or named is not None
