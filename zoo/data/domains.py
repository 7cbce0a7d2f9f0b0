"""Two folders of pictures: the two domains of a translation, unpaired or in pairs by file name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np

from zoo.data.location import Listing, natural, presentable
from zoo.data.splits import SPLIT_WORDS, Files, items_among, kind_of, split_of
from zoo.errors import NotFoundError
from zoo.modalities.base import Side

# What people call the two folders of pairs, without hyphens and the like. The folder ``train``
# beside ``train_cleaned`` has no word of its own.
INPUTS = frozenset(
    {"", "a", "input", "inputs", "source", "sources", "x", "image", "images", "img", "imgs",
     "photo", "photos", "noisy", "dirty", "blurry", "blur", "low", "lr", "grey", "gray"}
)  # fmt: skip
TARGETS = frozenset(
    {"b", "target", "targets", "output", "outputs", "y", "label", "labels", "mask", "masks",
     "annotation", "annotations", "segmentation", "segmentations", "groundtruth", "gt", "clean",
     "cleaned", "sharp", "high", "hr", "color", "colour", "sketch", "sketches"}
)  # fmt: skip
SIDES = {f"{word}{side}": (split, side) for word, split in SPLIT_WORDS.items() for side in "ab"}
SHOWN = 5  # names in a note

Arrangement = Callable[[Sequence[str]], tuple[str, str, int] | None]


@dataclass(frozen=True)
class _Domains:
    """Two sides of a data set, as folders are called."""

    sides: tuple[str, str]
    folders: int  # that there are; of more than two, these have the usual names
    # by split and side, files by their name below the side's folder, without suffix; more than one
    # where names are alike but for the suffix
    splits: Mapping[str, Mapping[str, Mapping[str, list[PurePath]]]]

    @property
    def names(self) -> tuple[str, str]:
        """What the domains are called."""
        words = tuple(map(_plain, self.sides))
        if not _are_usual(words):
            words = tuple(map(presentable, self.sides))
        return words[0] or "input", words[1] or "input"

    def common(self, split: str) -> list[str]:
        """Return the names that stand once on either side of a split, in natural order."""
        a, b = (self.splits.get(split, {}).get(side, {}) for side in self.sides)
        return sorted(
            (name for name in a.keys() & b.keys() if len(a[name]) == len(b[name]) == 1), key=natural
        )


def looks_paired(files: Files) -> bool:
    """Whether there are two folders whose names are usual for pairs, and most files have partners.

    More than two folders are classes rather: letters, or low, middle and high.
    """
    for domains in _candidates(files):
        if domains.folders == 2 and _are_usual(tuple(map(_plain, domains.sides))):
            least = min(len(domains.splits["train"][side]) for side in domains.sides)
            if 2 * len(domains.common("train")) >= least:
                return True
    return False


def list_paired(base: Path, files: Files) -> Listing:
    """List pairs of two folders by file name; what has no partner is left out and told."""
    found = max(_candidates(files), key=lambda each: len(each.common("train")), default=None)
    if found is None:
        return Listing("paired-folders", {})
    listed, alone, kind = {}, [], kind_of(files)
    for split, sides in found.splits.items():
        common = found.common(split)
        if common:
            a, b = (
                Side([base / sides[side][name][0] for name in common], kind=kind)
                for side in found.sides
            )
            listed[split] = {"a": a, "b": b}
        known = set(common)
        for side in sides.values():
            alone += [path for name in side.keys() - known for path in side[name]]
    return Listing(
        "paired-folders",
        listed,
        domains=found.names,
        pairs=tuple(listed),
        notes=tuple(_describe_alone(alone)),
        left_out=tuple(base / path for path in alone),
    )


def list_unpaired(base: Path, files: Files) -> Listing:
    """List two folders of pictures, trainA and trainB or any others, that are not in pairs."""
    found = next(_candidates(files), None)
    if found is None:
        return Listing("unpaired-folders", {})
    kind = kind_of(files)
    listed = {
        split: {
            name: Side([base / path for paths in sides[side].values() for path in paths], kind=kind)
            for name, side in zip("ab", found.sides, strict=True)
        }
        for split, sides in found.splits.items()
        if len(sides) == 2
    }
    return Listing("unpaired-folders", listed, domains=found.names)


def by_side(files: Files) -> dict[str, list[PurePath]]:
    """Return what lies in ``trainA``, ``trainB``, ``testA`` … by split, both sides together.

    Nothing, where ``trainA`` or ``trainB`` is missing.
    """
    splits: dict[str, list[PurePath]] = {}
    sides = set()
    for path in items_among(files):
        folder = path.parts[0].lower()
        if len(path.parts) > 1 and folder in SIDES:
            sides.add(SIDES[folder])
            splits.setdefault(SIDES[folder][0], []).append(path)
    return splits if {("train", "a"), ("train", "b")} <= sides else {}


def in_pairs(listing: Listing, splits: Sequence[str]) -> Listing:
    """Return a listing with those of `splits` that it has brought into pairs, by file name.

    Raises:
        NotFoundError: a picture has no partner.
    """
    splits = [split for split in splits if {"a", "b"} == set(listing.splits.get(split, ()))]
    matched = {split: _matched(split, listing.splits[split]) for split in splits}
    return replace(listing, splits={**listing.splits, **matched}, pairs=(*listing.pairs, *splits))


def have_same_names(listing: Listing) -> bool:
    """Whether most training pictures of two unpaired domains have partners of their name."""
    stems = []
    for side in listing.splits["train"].values():
        assert not isinstance(side.items, np.ndarray)
        stems.append({path.stem for path in side.items})
    return 2 * len(stems[0] & stems[1]) >= min(map(len, stems))


def _candidates(files: Files) -> Iterator[_Domains]:
    """Yield the ways in which the pictures lie in two folders."""
    items = items_among(files)
    for arrangement in (_side_first, _split_first, _in_one_name):
        splits: dict[str, dict[str, dict[str, list[PurePath]]]] = {}
        for path in items:
            place = arrangement(path.parts[:-1])
            if place:
                split, side, depth = place
                name = "/".join(path.with_suffix("").parts[depth:])
                sides = splits.setdefault(split, {})
                sides.setdefault(side, {}).setdefault(name, []).append(path)
        sides_there = {side for sides in splits.values() for side in sides}
        chosen = _two_of(sides_there)
        if chosen and len(splits.get("train", {}).keys() & set(chosen)) == 2:
            yield _Domains(chosen, len(sides_there), _with_plain_names(splits, chosen))


def _two_of(sides: set[str]) -> tuple[str, str] | None:
    """Return the two folders of usual names among several, or all where they are two."""
    inputs = [side for side in sides if _plain(side) in INPUTS]
    targets = [side for side in sides if _plain(side) in TARGETS]
    if len(inputs) == len(targets) == 1:
        return inputs[0], targets[0]
    if len(sides) != 2:
        return None
    first, second = sorted(sides, key=natural)
    return first, second


def _with_plain_names(
    splits: Mapping[str, Mapping[str, Mapping[str, list[PurePath]]]], chosen: tuple[str, str]
) -> dict[str, dict[str, dict[str, list[PurePath]]]]:
    """Return the chosen sides, and names without what all of a side end in: ``…_mask``."""
    result: dict[str, dict[str, dict[str, list[PurePath]]]] = {}
    for side in chosen:
        names = [name for sides in splits.values() for name in sides.get(side, ())]
        endings = {re.sub(r"^.*?([-_][A-Za-z]+)?$", r"\1", name, flags=re.DOTALL) for name in names}
        ending = endings.pop() if len(endings) == 1 else ""
        for split, sides in splits.items():
            if side in sides:
                shorter = {name.removesuffix(ending): path for name, path in sides[side].items()}
                result.setdefault(split, {})[side] = shorter
    return result


def _side_first(folders: Sequence[str]) -> tuple[str, str, int] | None:
    """Read ``input/…`` and ``input/train/…``; return split, side and how many folders they are."""
    if not folders or split_of(folders[0]) or folders[0].lower() in SIDES:
        return None
    split = split_of(folders[1]) if len(folders) > 1 else None
    return (split, folders[0], 2) if split else ("train", folders[0], 1)


def _split_first(folders: Sequence[str]) -> tuple[str, str, int] | None:
    """Read ``train/input/…``."""
    split = split_of(folders[0]) if len(folders) > 1 else None
    return (split, folders[1], 2) if split else None


def _in_one_name(folders: Sequence[str]) -> tuple[str, str, int] | None:
    """Read ``trainA/…``, ``train_cleaned/…`` and ``train/…``, which is then the input."""
    if not folders:
        return None
    name = re.sub("[- ]", "_", folders[0].lower())
    if name in SIDES:
        return *SIDES[name], 1
    word, _, side = name.partition("_")
    if word in SPLIT_WORDS and side not in {"set", "split", "data"}:
        return SPLIT_WORDS[word], side, 1
    return None


def _plain(folder: str) -> str:
    return re.sub(r"[-_ ]", "", folder.lower())


def _are_usual(words: tuple[str, ...]) -> bool:
    return words[0] in INPUTS and words[1] in TARGETS


def _describe_alone(alone: Sequence[PurePath]) -> Iterator[str]:
    if alone:
        names = sorted((path.as_posix() for path in alone), key=natural)
        shown = presentable(", ".join(names[:SHOWN])) + (", …" if len(names) > SHOWN else "")
        yield f"{len(alone):,} pictures have no partner, or several, and are left out: {shown}"


def _matched(split: str, sides: Mapping[str, Side]) -> dict[str, Side]:
    """Return both sides in the order of their pictures' names."""
    named: dict[str, dict[str, Path]] = {}
    for name, side in sides.items():
        assert not isinstance(side.items, np.ndarray)
        named[name] = {path.stem: path for path in side.items}
        if len(named[name]) < len(side.items):
            raise NotFoundError(
                f"the {split} split should hold pairs; a name stands twice in {name}",
                code="unpaired",
            )
    alone = sorted(named["a"].keys() ^ named["b"].keys())
    if alone:
        raise NotFoundError(
            f"the {split} split should hold pairs of one name, but {len(alone)} have no partner",
            cause=", ".join(alone[:5]),
            code="unpaired",
        )
    return {
        name: replace(sides[name], items=[paths[stem] for stem in named["a"]])
        for name, paths in named.items()
    }
