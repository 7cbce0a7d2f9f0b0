"""Which pictures are for training, validation and testing, by the names of folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from zoo.pictures import suffixes

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


def split_of(folder: str) -> str | None:
    """Return the split that the name of a folder means: ``training_set`` is ``train``."""
    word = re.sub(r"(?<=[a-z])[-_ ]?(set|split|data|images|imgs)$", "", folder.lower())
    return SPLIT_WORDS.get(word)


def by_split(files: Files) -> tuple[dict[str, list[PurePath]], int]:
    """Return the pictures by split, and the depth at which classes lie: 1 below ``train``.

    A folder called ``train`` beside folders that are no splits is a class like these, unless a
    folder for testing is there too, or only it has folders of its own.
    """
    pictures = pictures_among(files)
    splits: dict[str, list[PurePath]] = {}
    rest: list[PurePath] = []
    for path in pictures:
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
    return ({"train": pictures} if pictures else {}), 0


def pictures_among(files: Files) -> list[PurePath]:
    """Return the files whose names promise a picture."""
    return [path for path in files if path.suffix.lower() in suffixes()]
