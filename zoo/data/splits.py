"""Which files are items, and for training, validation or testing, by the names of folders."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import PurePath

from zoo.modalities import modalities, modality_of

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


class FileList(list[PurePath]):
    """Files that do not change, so that what is often asked of them is found out once."""

    @cached_property
    def endings(self) -> list[str]:
        """The ending of each name, in small letters."""
        return _endings(list(self))

    @cached_property
    def kind(self) -> str:
        """The kind of data that most of them are of."""
        return _kind_of(self.endings)

    @cached_property
    def splits(self) -> tuple[dict[str, list[PurePath]], int]:
        """The items by split, and the depth at which classes lie."""
        return _by_split(items_among(self))


def split_of(folder: str) -> str | None:
    """Return the split that the name of a folder means: ``training_set`` is ``train``."""
    word = re.sub(r"(?<=[a-z])[-_ ]?(set|split|data|images|imgs)$", "", folder.lower())
    return SPLIT_WORDS.get(word)


def by_split(files: Files) -> tuple[dict[str, list[PurePath]], int]:
    """Return the items by split, and the depth at which classes lie: 1 below ``train``.

    A folder called ``train`` beside folders that are no splits is a class like these, unless a
    folder for testing is there too, or only it has folders of its own.
    """
    return files.splits if isinstance(files, FileList) else _by_split(items_among(files))


def _by_split(items: list[PurePath]) -> tuple[dict[str, list[PurePath]], int]:
    splits: dict[str, list[PurePath]] = {}
    rest: list[PurePath] = []
    for path in items:
        split = split_of(path.parts[0]) if len(path.parts) > 1 else None
        if split:
            splits.setdefault(split, []).append(path)
        elif len(path.parts) > 1:
            rest.append(path)
    deep = all(len(path.parts) > 2 for path in splits.get("train", ()))
    rest_is_deep = any(len(path.parts) > 2 for path in rest)
    is_split = not rest or len(splits) > 1 or (deep and not rest_is_deep)
    if "train" in splits and is_split:
        return splits, 1
    return ({"train": items} if items else {}), 0


def kind_of(files: Files) -> str:
    """Return the kind of data that most of the files are of, by the endings of their names."""
    return files.kind if isinstance(files, FileList) else _kind_of(_endings(files))


def _endings(files: Files) -> list[str]:
    if isinstance(files, FileList):
        return files.endings
    return [path.suffix.lower() for path in files]


def _kind_of(endings: Sequence[str]) -> str:
    frequency = Counter(endings)
    counts = {
        kind: sum(frequency[each] for each in modality.suffixes())
        for kind, modality in modalities().items()
    }
    # a text may only say something about the pictures that it lies beside
    usual = {kind: count for kind, count in counts.items() if not modality_of(kind).layout}
    if not any(usual.values()) and any(counts.values()):
        return max(counts, key=counts.__getitem__)
    return max(usual, key=usual.__getitem__)


def items_among(files: Files, kind: str = "") -> list[PurePath]:
    """Return the files whose names promise an item of a kind; of most of them, when not given."""
    wanted = modality_of(kind or kind_of(files)).suffixes()
    endings = _endings(files)
    return [path for path, ending in zip(files, endings, strict=True) if ending in wanted]
