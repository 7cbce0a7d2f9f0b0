"""How the files of a data set lie: the named layouts, recognised and listed without decoding."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np

from zoo.catalog.dataset import LAYOUTS, Layout
from zoo.data import arrays, domains, labels, tables, texts
from zoo.data.location import (
    DataLocation,
    FoundFile,
    Listing,
    describe_files,
    files_in,
    is_archive,
    natural,
    presentable,
)
from zoo.data.splits import FileList, Files, by_split, items_among, kind_of, split_of
from zoo.errors import NotFoundError
from zoo.modalities import modalities, modality_of
from zoo.modalities.base import AS_USUAL, DecodeOptions, Side
from zoo.pictures import BadPictureError, peek, suffixes

DOUBLE = (1.9, 2.1)  # width by height of pictures that may be two side by side

# What is no part of a data set and yet may matter to the user, by the ending of its name.
OTHER_KINDS: Mapping[str, tuple[str, ...]] = {
    "tables, which are not read here": (".csv", ".tsv", ".jsonl", ".xlsx", ".parquet"),
    "videos, which are not read": (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"),
    "documents, which are not read": (".pdf", ".djvu", ".ps", ".eps", ".svg"),
    "camera raw files, which are not read": (".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf"),
    "arrays, which are not read here": (".npy", ".npz", ".mat", ".h5", ".hdf5", ".pkl", ".pt"),
    "archives, which are not unpacked here": (".zip", ".tar", ".tgz", ".gz", ".7z", ".rar"),
}
HEIC = (".heic", ".heif", ".hif")

EXPECTED: Mapping[Layout, str] = {
    "idx": "train-images-idx3-ubyte and train-labels-idx1-ubyte, gzipped or not,",
    "folder": "pictures, or sounds,",
    "class-folders": "a folder of pictures, or of sounds, for each class",
    "unpaired-folders": "two folders of pictures, or trainA and trainB,",
    "paired-folders": "two folders with pictures of the same names, such as input and target,",
    "paired-side-by-side": "pictures, each two side by side,",
    "cifar-batches": "data_batch_1.bin … of the binary version",
    "npz": "one .npz file, or one of images and one of labels for each split",
    "dataset-json": f"pictures and {labels.LABELS_FILE} with their labels",
    "metadata": "pictures or sounds, and metadata.csv with file_name and more columns,",
    "text": "files of plain text",
    "table": "a table in CSV with columns of numbers",
}


def list_files(
    location: DataLocation,
    root: Path,
    notes: tuple[str, ...],
    options: DecodeOptions,
    found: Sequence[FoundFile] | None = None,
) -> Listing:
    """List a data set at `root`, where it was opened with `notes` on its archives.

    `found` is what lies at the location, where that was listed before.

    Raises:
        NotFoundError: there is no data set, or its layout is not known.
    """
    two_domains = location.two_domains
    found = found if root == location.path and root.is_dir() else None
    listing = read(root, location.layout, location.pairs, options, found, two_domains=two_domains)
    return replace(listing, notes=(*notes, *listing.notes))


def read(
    root: Path,
    layout: Layout | None = None,
    pairs: Sequence[str] = (),
    options: DecodeOptions = AS_USUAL,
    found: Sequence[FoundFile] | None = None,
    *,
    two_domains: bool = False,
) -> Listing:
    """List a data set: a folder, or one file. The layout is recognised, when not given.

    Where two sets of images are wanted (`two_domains`), two folders of pictures are these, and the
    halves of pictures that are twice as wide as high. `pairs` are splits whose two sides hold
    pictures of one name. `found` is what lies at `root`, where that was listed before.

    Raises:
        NotFoundError: nothing is there, it is not in that layout, or it is damaged.
    """
    everything = FileList([PurePath(root.name)] if root.is_file() else files_in(root, found))
    kind = kind_of(everything)
    if modality_of(kind).layout not in {"", layout or modality_of(kind).layout}:
        kind = next(iter(modalities()))  # the files beside are text, and something else is wanted
    base, files, others = _descend(root, everything, kind)
    labelled = labels.find_tables(root, everything) if layout in {None, "metadata"} else []
    asked = layout
    layout = layout or _recognise(base, files, labelled, two_domains=two_domains)
    if layout is None and any(map(tables.is_table, others)):
        layout = "table"
    if layout == "metadata":
        listing = labels.list_metadata(root, labelled, options)
    elif layout == "text":
        listing = texts.list_text(base, files, options)
    elif layout == "table":
        listing = tables.list_table(base, [path for path in others if tables.is_table(path)])
    elif layout:
        listing = READERS[layout](base, files)
    if layout is None or "train" not in listing.splits:
        raise _not_laid_out(root, layout, base, [*files, *others], alone=not items_among(files))
    if two_domains and layout == "class-folders" and len(listing.classes) == 2:
        unpaired = domains.list_unpaired(base, files)
        listing = unpaired if "train" in unpaired.splits else listing
    notes = [*listing.notes, *_unused(base, listing, [*files, *others], kind)]
    if asked is None:
        notes += _doubts(listing, files, labelled)
    return domains.in_pairs(replace(listing, notes=tuple(notes)), pairs)


def _not_laid_out(
    root: Path, layout: Layout | None, base: Path, files: Files, *, alone: bool
) -> NotFoundError:
    """Return the error where files are not in the layout, or in none; `alone` of no items."""
    archives = [path for path in files if is_archive(path)]
    hint = f"{root}:LAYOUT with one of {', '.join(LAYOUTS)}"
    if archives and alone:
        hint = f"an archive itself: {base / archives[0]}"
    return NotFoundError(
        f"{root} is not laid out as {layout}: {EXPECTED[layout]} expected"
        if layout
        else f"no data set recognised in {root}",
        cause=describe_files(files),
        hint=hint,
        code="bad-layout",
    )


def _recognise(
    base: Path, files: Files, tables: Sequence[labels.LabelTable], *, two_domains: bool
) -> Layout | None:
    tops = {path.parts[0].lower() for path in files if len(path.parts) > 1}
    if any(arrays.IDX.fullmatch(path.name) for path in files):
        return "idx"
    if any(arrays.CIFAR.fullmatch(path.name) for path in files):
        return "cifar-batches"
    if _holds_more_in_arrays(base, files):
        return "npz"
    if {"traina", "trainb"} <= tops:
        return "unpaired-folders"
    if labels.has_labels_file(base):
        return "dataset-json"
    if not two_domains and any(each.label and each.is_metadata for each in tables):
        return "metadata"
    if domains.looks_paired(files):
        return "paired-folders"
    layout = _recognise_folders(base, files, two_domains=two_domains)
    return "metadata" if layout == "folder" and tables else layout


def _recognise_folders(base: Path, files: Files, *, two_domains: bool) -> Layout | None:
    splits, depth = by_split(files)
    if not splits:
        return None
    if own := modality_of(kind_of(files)).layout:
        return own
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
    items = items_among(files)
    return not items or arrays.count_npz(archives) > len(items)


def _read_folder(base: Path, files: Files) -> Listing:
    splits = domains.by_side(files) or by_split(files)[0]
    kind = kind_of(files)
    return Listing(
        "folder",
        {
            name: {kind: Side([base / path for path in paths], kind=kind)}
            for name, paths in splits.items()
        },
    )


def _read_class_folders(base: Path, files: Files) -> Listing:
    """Number the folders; a test or validation split without any folder has no labels."""
    splits, depth = by_split(files)
    classes = sorted(
        {each for paths in splits.values() for each in _classes(paths, depth)}, key=natural
    )
    number = {name: label for label, name in enumerate(classes)}
    kind = kind_of(files)
    items = modality_of(kind).items
    listed, notes = {}, []
    for split, paths in splits.items():
        inside = [path for path in paths if len(path.parts) > depth + 1]
        if inside:
            labels = np.array([number[path.parts[depth]] for path in inside], np.int64)
            listed[split] = {kind: Side([base / path for path in inside], labels, kind=kind)}
        elif split != "train":
            listed[split] = {kind: Side([base / path for path in paths], kind=kind)}
            notes.append(f"the {len(paths):,} {items} of the {split} split have no classes")
    names = tuple(map(presentable, classes))
    return Listing("class-folders", listed, names, notes=tuple(notes))


def _read_side_by_side(base: Path, files: Files) -> Listing:
    splits, _ = by_split(files)
    listed = {}
    for split, paths in splits.items():
        pictures = [base / path for path in paths]
        listed[split] = {"a": Side(pictures, half="left"), "b": Side(pictures, half="right")}
    return Listing("paired-side-by-side", listed, domains=("a", "b"), pairs=tuple(listed))


READERS: Mapping[Layout, Callable[[Path, Files], Listing]] = {
    "idx": arrays.list_idx,
    "folder": _read_folder,
    "class-folders": _read_class_folders,
    "unpaired-folders": domains.list_unpaired,
    "paired-folders": domains.list_paired,
    "paired-side-by-side": _read_side_by_side,
    "cifar-batches": arrays.list_cifar,
    "npz": arrays.list_npz,
    "dataset-json": labels.list_dataset_json,
}


def _descend(root: Path, everything: Files, kind: str) -> tuple[Path, FileList, list[PurePath]]:
    """Return the folder where the data begins, below lone folders, its files, and the others."""
    files: list[PurePath] = []
    others: list[PurePath] = []
    for path in everything:
        (files if _is_data(path, kind) else others).append(path)
    if root.is_file():
        return root.parent, FileList(files), others
    while len(tops := {path.parts[0] for path in files}) == 1:
        (top,) = tops
        if len(files[0].parts) == 1 or split_of(top) or top.lower() in domains.SIDES:
            break
        root, files = root / top, [path.relative_to(top) for path in files]
        others = [
            path.relative_to(top) if path.parts[0] == top else PurePath("..", path)
            for path in others
        ]
    return root, FileList(files), others


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


def _doubts(listing: Listing, files: Files, tables: Sequence[labels.LabelTable]) -> Iterator[str]:
    """Yield a sentence for each choice of the recognised layout that may not be meant."""
    if listing.layout == "paired-side-by-side":
        yield (
            "the pictures are twice as wide as high: their left and right halves are taken for "
            "pairs (:folder takes them whole)"
        )
    elif listing.layout == "folder" and by_split(files)[1]:
        (side,) = listing.splits["train"].values()
        assert not isinstance(side.items, np.ndarray)
        if _are_double(side.items):
            yield (
                "the pictures are twice as wide as high and taken whole "
                "(:paired-side-by-side takes their halves for pairs)"
            )
    if listing.layout == "paired-folders":
        yield (
            f"pictures of one name in {' and '.join(listing.domains)} are taken for pairs "
            "(:unpaired-folders does not pair them)"
        )
    if listing.layout == "unpaired-folders" and domains.have_same_names(listing):
        yield (
            "the two folders have pictures of the same names, which are not taken for pairs "
            "(:paired-folders does)"
        )
    if listing.layout != "metadata" and any(each.label for each in tables):
        yield "a table has labels for the pictures, which are not used (:metadata uses them)"
    if listing.layout == "folder":
        splits, depth = by_split(files)
        classes = _classes(splits["train"], depth)
        if len(classes) > 1 and _loose(splits["train"], depth):
            yield (
                f"{len(classes)} folders lie beside pictures in no folder, so that they are not "
                "taken for classes (:class-folders does)"
            )


def _unused(base: Path, listing: Listing, everything: Files, kind: str) -> Iterator[str]:
    """Yield a sentence for each kind of file that the user may think is learnt from, and is not."""
    used, holds_arrays = listing.files()
    told = {str(path) for path in (*used, *listing.left_out)}
    left = [path for path in everything if f"{base}{os.sep}{path}" not in told]
    if left:  # some of them may be called by another path
        told = set(map(os.path.normpath, told))
        left = [path for path in left if os.path.normpath(base / path) not in told]
    if holds_arrays:
        left = [path for path in left if not _is_data(path, kind) or items_among([path], kind)]
    items = items_among(left, kind)
    if items:
        folders = Counter(path.parent.as_posix() for path in items).most_common(3)
        where = ", ".join(f"{count:,} in {folder}" for folder, count in folders if folder != ".")
        what = f"{len(items):,} {modality_of(kind).items} are not used"
        yield what + (f": {where}" if where else "")
    endings = Counter(path.suffix.lower() for path in left)
    heic = sum(endings[each] for each in HEIC if each not in suffixes())
    if heic:
        yield f"{heic:,} HEIC photos are not read: pip install pillow-heif reads them"
    for words, kinds in OTHER_KINDS.items():
        count = sum(endings[each] for each in kinds)
        if count:
            examples = sorted({each for each in kinds if endings[each]})
            yield f"{count:,} files ({', '.join(examples)}) are {words}"


def _is_data(path: PurePath, kind: str) -> bool:
    ending = path.suffix.lower()
    if ending == ".npz" or ending in modality_of(kind).suffixes():
        return True
    return bool(arrays.IDX.fullmatch(path.name) or arrays.CIFAR.fullmatch(path.name))
