"""Files that hold the same weights, as ranges of each other and what is new in each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK = 512  # bytes from one place to the next that is looked for in the files before
SHORTEST = 512  # bytes that are worth a range
KEY = 8  # bytes by which places are compared first
NEW = -1  # in the place of the number of a file


class Range(NamedTuple):
    """Bytes of a file: the number of the file that has them, where they begin there, how many."""

    file: int
    start: int
    length: int


def find_shared(contents: Sequence[bytes]) -> list[tuple[list[Range], bytes]]:
    """Return for each file the ranges that make it up, and its new bytes one after the other.

    A range is of a file before it or, with the number `NEW`, of its own new bytes.
    """
    found = []
    for number, content in enumerate(contents):
        ranges: list[Range] = []
        new = bytearray()
        done = 0
        for target, match in _matches(content, contents[:number]):
            if target > done:
                ranges.append(Range(NEW, len(new), target - done))
                new += content[done:target]
            ranges.append(match)
            done = target + match.length
        if done < len(content):
            ranges.append(Range(NEW, len(new), len(content) - done))
            new += content[done:]
        found.append((ranges, bytes(new)))
    return found


def join_shared(parts: Sequence[tuple[Sequence[Range], bytes]]) -> list[bytes]:
    """Return the files that `find_shared` took apart."""
    contents: list[bytes] = []
    for ranges, new in parts:
        sources = {NEW: new, **dict(enumerate(contents))}
        contents.append(b"".join(sources[file][start : start + length]
                                 for file, start, length in ranges))  # fmt: skip
    return contents


def _matches(content: bytes, earlier: Sequence[bytes]) -> list[tuple[int, Range]]:
    """Return places in a file, ascending and apart, where bytes of an earlier file stand."""
    places = range(0, len(content) - KEY + 1, BLOCK)
    keys = np.array([int.from_bytes(content[each : each + KEY], "little") for each in places],
                    np.uint64)  # fmt: skip
    positions = [_positions(source, keys) for source in earlier]
    found: list[tuple[int, Range]] = []
    done = 0
    for place, key in zip(places, keys.tolist(), strict=True):
        if place < done:
            continue
        matches = [
            _extended(content, place, done, source, number, positions[number][key])
            for number, source in enumerate(earlier)
            if key in positions[number]
        ]
        if not matches:
            continue
        target, best = max(matches, key=lambda each: each[1].length)
        if best.length >= SHORTEST:
            found.append((target, best))
            done = target + best.length
    return found


def _positions(source: bytes, keys: NDArray[np.uint64]) -> dict[int, int]:
    """Return where each key stands first in a file, at any byte."""
    found: dict[int, int] = {}
    for offset in range(KEY):
        count = (len(source) - offset) // KEY
        words = np.frombuffer(source, "<u8", count, offset) if count > 0 else keys[:0]
        for index in np.flatnonzero(np.isin(words, keys)).tolist():
            place = offset + KEY * index
            key = int(words[index])
            found[key] = min(place, found.get(key, place))
    return found


def _extended(
    content: bytes, place: int, done: int, source: bytes, number: int, start: int
) -> tuple[int, Range]:
    """Return the longest match around two places, not before `done`: its place and its range."""
    ahead = _alike(content, place, source, start)
    most = min(place - done, start)
    behind = _alike(content[place - most : place][::-1], 0, source[start - most : start][::-1], 0)
    return place - behind, Range(number, start - behind, behind + ahead)


def _alike(first: bytes, at: int, second: bytes, start: int) -> int:
    """Return how many bytes from two places on are the same."""
    length = min(len(first) - at, len(second) - start)
    differ = np.frombuffer(first, np.uint8, length, at) != np.frombuffer(
        second, np.uint8, length, start
    )
    return int(differ.argmax()) if differ.any() else length
