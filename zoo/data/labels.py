"""What tables say of the files beside them: labels, texts, numbers; and dataset.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data import arrays
from zoo.data.location import Listing, natural, presentable
from zoo.data.splits import Files, by_split, items_among, kind_of, split_of
from zoo.data.tables import Table, is_number, is_table, open_table
from zoo.errors import NotFoundError
from zoo.modalities import modalities, modality_of, text
from zoo.modalities.base import DecodeOptions, Side
from zoo.ports import Port, slugify

METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl")
FILE_COLUMNS = (
    "file_name", "filename", "file", "image", "image_name", "image_id", "image_file", "image_path",
    "img", "img_name", "img_path", "picture", "photo", "audio", "sound", "path", "filepath",
    "file_path", "id", "name",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "labels", "class", "class_name", "class_id", "category", "target", "species", "breed",
)  # fmt: skip
NO_LABELS = ("split", "set", "subset", "fold", "usage")  # columns of words that say something else
MAX_TABLES = 100  # that are looked into; more of them are a table a picture
PROBED_ROWS = 200  # of a table, half of which must name pictures
FEW_WORDS = 100  # different words of a column that is taken for labels without being called so
SHOWN = 5  # names in a note
LONGEST_TEXT = 256  # symbols of a caption, unless --length says otherwise

LABELS_FILE = "dataset.json"  # of StyleGAN's data sets: {"labels": [["00000/0.png", 3], …]}
MAX_LABELS_BYTES = 2**27


@dataclass(frozen=True)
class LabelTable:
    """A table that names items: pictures, or files of another kind."""

    table: Table
    file: str  # the column with the names of the items
    label: str  # the column with their labels; empty where there is none
    index: _Index  # finds the items

    @property
    def others(self) -> list[str]:
        """The columns of texts and numbers that lie beside the items."""
        left = {self.file, self.label, ""}
        return [each for each in self.table.columns
                if each not in left and each.lower() not in NO_LABELS]  # fmt: skip

    @property
    def is_metadata(self) -> bool:
        """Whether it is called as the table of a folder of pictures usually is."""
        return _is_metadata(self.table.path)


@dataclass
class _Found:
    """What tables say of the pictures."""

    labels: dict[Path, str] = field(default_factory=dict)  # empty where a picture has none
    several: set[Path] = field(default_factory=set)  # pictures with more than one label
    missing: list[str] = field(default_factory=list)  # names of no picture, or of several
    beside: dict[Path, dict[str, str]] = field(default_factory=dict)  # more, by column


def find_tables(root: Path, files: Files) -> list[LabelTable]:
    """Return the tables under `root` that name pictures and have labels, or are called metadata.

    Raises:
        NotFoundError: a table that is called metadata is damaged.
    """
    pictures = items_among(files)
    paths = [root / path for path in files if is_table(path)] if pictures else []
    if len(paths) > MAX_TABLES:
        paths = [path for path in paths if _is_metadata(path)]
    chosen = [columns for path in paths if (columns := _choose_columns(path))]
    splits = _splits(root, pictures) if chosen else {}
    tables = [LabelTable(*columns, _Index(columns[0].path, splits)) for columns in chosen]
    return [each for each in tables if each.is_metadata or _names_pictures(each)]


def list_metadata(root: Path, tables: Sequence[LabelTable], options: DecodeOptions) -> Listing:
    """List the items under `root` with the labels, texts and numbers that tables have for them.

    Raises:
        NotFoundError: a table is damaged or names files outside of its folder, or there are no
            labels, or too many.
    """
    if not tables:
        return Listing("metadata", {})
    split_by_path = tables[0].index.splits
    found = _Found()
    notes: list[str] = []
    for each in tables:
        _read_table(each, found)
        notes += _describe_table(each)
    classes = _classes(found)
    kind = kind_of([*split_by_path])
    chosen = _labelled_sides(split_by_path, found, classes, kind)
    if classes:
        bare = [split for split, side in chosen.items() if side.labels is None]
        items = modality_of(kind).items
        notes += [f"the {items} of the {split} split have no labels" for split in bare]
    used = {path for side in chosen.values() for path in side.items}
    left_out = [path for path in split_by_path if path not in used]
    notes += _describe_rest(found, left_out)
    if "train" not in chosen:
        raise NotFoundError(
            f"no training {modality_of(kind).items[:-1]} has a label in {tables[0].table.path}",
            cause="; ".join(notes)[:300],
            hint=f"{root}:folder takes the pictures without labels",
            code="bad-labels",
        )
    names = tuple(map(presentable, classes))
    read = tuple(each.table.path for each in tables)
    columns = list(dict.fromkeys(name for each in tables for name in each.others))
    chosen, ports, more = _with_columns(chosen, columns, found, options)
    return Listing(
        "metadata", {split: {kind: side} for split, side in chosen.items()}, names, ports=ports,
        notes=(*notes, *more), tables=read, left_out=tuple(left_out),
    )  # fmt: skip


def _with_columns(
    sides: Mapping[str, Side], columns: Sequence[str], found: _Found, options: DecodeOptions
) -> tuple[dict[str, Side], dict[str, Port], list[str]]:
    """Return the sides with further columns beside them, a port for each, and notes.

    A column of numbers alone becomes a port of one number a row, any other one of text.
    """
    words: dict[str, dict[str, list[str]]] = {
        name: {
            split: [found.beside.get(path, {}).get(name, "") for path in side.items]
            for split, side in sides.items()
        }
        for name in columns
    }
    ports: dict[str, Port] = {}
    rows: dict[str, dict[str, NDArray[Any]]] = {split: {} for split in sides}
    notes: list[str] = []
    for name, of_split in words.items():
        key = slugify(name).replace("-", "_")
        train = of_split["train"]
        if not key.isidentifier() or key in {*ports, "label"} or not any(train):
            notes.append(f"the column {presentable(name)} is not used")
        elif all(map(is_number, (each for texts in of_split.values() for each in texts))):
            numbers = [float(each) for each in train]
            ports[key] = Port(key, "values", ("batch",), range=(min(numbers), max(numbers)))
            for split, texts in of_split.items():
                rows[split][key] = np.array(texts, np.float32)
        else:
            length = options.length or min(LONGEST_TEXT, max(map(len, train)))
            alphabet = tuple(sorted({text.PADDING, *text.alphabet_of("".join(train))}))
            ports[key] = text.port_of(key, length, alphabet)
            for split, texts in of_split.items():
                rows[split][key] = text.padded(texts, alphabet, length)
            cut = sum(len(each) > length for texts in of_split.values() for each in texts)
            notes += [f"{cut:,} texts of {presentable(name)} are cut to {length} symbols"] * bool(
                cut
            )
    if ports:
        notes.append(f"further columns are ports: {', '.join(ports)}")
    listed = {split: replace(side, beside=rows[split]) for split, side in sides.items()}
    return listed, ports, notes


def _labelled_sides(
    split_by_path: Mapping[Path, str], found: _Found, classes: Sequence[str], kind: str
) -> dict[str, Side]:
    """Return the items with labels; of a split for testing without any, all of them."""
    number = {name: label for label, name in enumerate(classes)}
    of_split: dict[str, list[Path]] = {}
    for path, split in split_by_path.items():
        of_split.setdefault(split, []).append(path)
    listed: dict[str, Side] = {}
    for split, pictures in of_split.items():
        named = [path for path in pictures if path in found.labels and path not in found.several]
        labelled = [path for path in named if found.labels[path] in number]
        if labelled:
            labels = np.array([number[found.labels[path]] for path in labelled], np.int64)
            listed[split] = Side(labelled, labels, kind=kind)
        elif split != "train":
            listed[split] = Side(named or pictures, kind=kind)
        elif named and not classes:
            listed[split] = Side(named, kind=kind)
    return listed


def _choose_columns(path: Path) -> tuple[Table, str, str] | None:
    """Return a table with its columns of files and labels; None where they are not so called."""
    if "submission" in path.name.lower():  # Kaggle's example of an answer
        return None
    try:
        table = open_table(path)
        file = _first(table, FILE_COLUMNS)
        label = _first(table, LABEL_COLUMNS) or (_column_of_words(table, file) if file else "")
    except NotFoundError:
        if _is_metadata(path):
            raise
        return None
    return (table, file, label) if file and (label or _is_metadata(path)) else None


def _is_metadata(path: Path) -> bool:
    return path.name.lower() in METADATA


def _first(table: Table, names: Sequence[str]) -> str:
    """Return the column that is called by the first of the names that there is."""
    called = {re.sub(r"[\s-]+", "_", each.strip().lower()): each for each in table.columns}
    return next((called[name] for name in names if name in called), "")


def _column_of_words(table: Table, file: str) -> str:
    """Return the only column of few different words, each of which stands several times."""
    columns = [each for each in table.columns if each != file and each.lower() not in NO_LABELS]
    words: dict[str, set[str]] = {each: set() for each in columns}
    count = 0
    for row in table.rows(columns):
        count += 1
        for column, value in zip(columns, row, strict=True):
            if len(words[column]) <= FEW_WORDS:
                words[column].add(value)
    few = [
        column
        for column, values in words.items()
        if 2 <= len(values) <= min(FEW_WORDS, count // 2) and not any(map(is_number, values))
    ]
    return few[0] if len(few) == 1 else ""


def _names_pictures(each: LabelTable) -> bool:
    """Whether the first rows of a table name pictures that are there."""
    try:
        names = [name for (name,) in islice(each.table.rows([each.file]), PROBED_ROWS)]
    except NotFoundError:
        return False
    found = sum(each.index.find(name) is not None for name in names)
    return bool(names) and 2 * found >= len(names)


def _read_table(each: LabelTable, found: _Found) -> None:
    others = each.others
    for row in each.table.rows([each.file, *others, *([each.label] if each.label else [])]):
        name, label = row[0], row[-1] if each.label else ""
        path = each.index.find(name)
        if path is None:
            _check_inside(name, each.table.path)
            found.missing.append(name)
        elif found.labels.setdefault(path, label) != label:
            found.several.add(path)
        else:
            found.beside[path] = dict(zip(others, row[1:], strict=False))


class _Index:
    """Finds pictures by what a table calls them.

    A table calls them by the path below its own folder, or below the folder of its split
    (``train.csv``), or by the end of the path where only one picture has that; with or without the
    suffix, whose case does not matter.
    """

    def __init__(self, table: Path, splits: Mapping[Path, str]) -> None:
        self.splits = splits  # of all pictures, by path
        word = split_of(re.split(r"[-_. ]", table.stem)[0])
        ours = [path for path, split in splits.items() if split == word] if word else []
        self._exact: dict[str, Path] = {}
        self._ends: dict[str, Path | None] = {}  # None where several pictures have that end
        for path in ours or splits:
            try:
                parts = path.relative_to(table.parent).parts
            except ValueError:
                continue
            self._exact["/".join(parts)] = path
            for start in range(len(parts)):
                end = "/".join(parts[start:])
                for name in {end, _without_suffix(end)}:
                    self._ends[name] = None if name in self._ends else path

    def find(self, name: str) -> Path | None:
        """Return the picture of a name; None where there is none, or where it may be several."""
        if name in self._exact:
            return self._exact[name]
        name = "/".join(part for part in name.replace("\\", "/").split("/") if part != ".")
        for known in (self._exact, self._ends):
            if known.get(name):
                return known[name]
        return self._ends.get(_without_suffix(name))


def _without_suffix(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return stem if dot and _is_item(ending) else name


def _is_item(ending: str) -> bool:
    """Whether the ending of a file name, without its dot, promises an item of any kind."""
    return any(f".{ending.lower()}" in each.suffixes() for each in modalities().values())


def _check_inside(name: str, table: Path) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive:
        raise NotFoundError(
            f"{table} names a file outside of its folder: {presentable(name)[:100]}",
            cause="paths are relative to the folder of the table, and stay below it",
            hint=f"{table.parent}:folder takes the pictures without labels",
            code="bad-labels",
        )


def _splits(root: Path, pictures: Files) -> dict[Path, str]:
    """Return the split of each picture, by the folders below those that hold all pictures."""
    depth = 0
    while (
        len({path.parts[: depth + 1] for path in pictures}) == 1
        and len(pictures[0].parts) > depth + 1
        and not split_of(pictures[0].parts[depth])
    ):
        depth += 1
    top = PurePath(*pictures[0].parts[:depth]) if pictures else PurePath()
    splits, _ = by_split([path.relative_to(top) for path in pictures])
    return {root / top / path: split for split, paths in splits.items() for path in paths}


def _classes(found: _Found) -> list[str]:
    """Return the different labels in order; whole numbers without fraction; none of fractions."""
    sure = found.labels.keys() - found.several
    words = {found.labels[path] for path in sure} - {"", "nan", "NaN"}
    if words and all(map(is_number, words)):
        if not all(float(word).is_integer() for word in words):
            return []
        whole = {word: str(int(float(word))) for word in words}
        found.labels = {path: whole.get(label, "") for path, label in found.labels.items()}
        words = set(whole.values())
    if len(words) > arrays.MAX_CLASSES:
        raise NotFoundError(f"the tables have {len(words):,} different labels", code="bad-labels")
    return sorted(words, key=natural)


def _describe_table(each: LabelTable) -> Iterator[str]:
    """Yield how a table is read, and what of it is not used."""
    name = presentable(each.table.path.name)
    if each.table.encoding == "cp1252":
        yield f"{name} is not UTF-8; read as cp1252, the usual one of western languages"
    if each.label:
        yield f"the classes are the column {presentable(each.label)} of {name}"


def _describe_rest(found: _Found, left_out: Sequence[Path]) -> Iterator[str]:
    """Yield what of tables and pictures does not go together."""
    if found.missing:
        shown = ", ".join(presentable(name) for name in found.missing[:SHOWN])
        shown += ", …" if len(found.missing) > SHOWN else ""
        yield f"{len(found.missing):,} rows name no picture that is there, or several: {shown}"
    if found.several:
        yield f"{len(found.several):,} pictures have more than one label and are left out"
    alone = [path for path in left_out if path not in found.several]
    if alone:
        shown = ", ".join(presentable(path.name) for path in alone[:SHOWN])
        shown += ", …" if len(alone) > SHOWN else ""
        yield f"{len(alone):,} pictures have no label and are left out: {shown}"


def list_dataset_json(base: Path, files: Files) -> Listing:
    """Read the labels of pictures from the file beside them, which names them by path."""
    numbers = _labels_in(base / LABELS_FILE) if has_labels_file(base) else {}
    if not numbers:
        return Listing("dataset-json", {})
    pictures = [path for path in items_among(files) if path.as_posix() in numbers]
    labels = np.array([numbers[path.as_posix()] for path in pictures], np.int64)
    if not pictures:
        raise NotFoundError(
            f"{base / LABELS_FILE} has a label for none of the pictures",
            cause="it names other files",
            hint=f"{base}:folder takes the pictures without labels",
            code="bad-labels",
        )
    side = {"image": Side([base / path for path in pictures], labels)}
    classes = tuple(map(str, range(int(labels.max()) + 1)))
    note = f"the classes are the labels in {LABELS_FILE}"
    return Listing("dataset-json", {"train": side}, classes, notes=(note,))


def has_labels_file(base: Path) -> bool:
    """Whether there is such a file with labels in it."""
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
            code="bad-labels",
        ) from None
    return found
