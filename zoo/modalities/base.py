"""What a kind of data is to the zoo: the interface that one file a kind fills in.

A modality says which files a kind is read from, how a data set of it is surveyed, how one item is
decoded to what the cache holds and turned into the numbers of a port and back, and how results are
written and shown. Nothing outside asks for a kind by name. All of it works without torch.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from zoo.atomic import SPECIAL, is_special
from zoo.errors import NotFoundError, UsageError
from zoo.grids import grid
from zoo.pictures import QUIET, Pixels, ValueRange
from zoo.ports import Fit, Port

Result = TypeVar("Result")
Array = NDArray[Any]
Indices = NDArray[np.int64]
Half = Literal["", "left", "right"]
Size = tuple[int, int]  # height and width, in pixels
Bad = tuple[Path, str]  # a file that cannot be read, and why
Block = tuple[Indices, Array, list[Bad]]  # which items were read, what they are, and which not

AT_ONCE = 16  # files that a thread decodes in turn
THREADS = min(8, os.cpu_count() or 1)


def in_order(work: Callable[[int], Result], numbers: Iterable[int]) -> Iterator[Result]:
    """Yield what `work` makes of numbers, in their order; threads are some numbers ahead."""
    pool = ThreadPoolExecutor(THREADS)
    try:
        ahead: deque[Future[Result]] = deque()
        for number in numbers:
            ahead.append(pool.submit(work, number))
            if len(ahead) > 2 * THREADS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class UnmeasuredError(Exception):
    """What must be known of the whole data set before it is decoded is not known; says what."""


@dataclass(frozen=True)
class DecodeOptions:
    """What was asked of the decoded data; None where the modality chooses."""

    size: Size | None = None  # of pictures: height and width in pixels
    channels: int | None = None  # 1 for grey or mono, 3 for RGB, 2 for stereo
    fit: Fit = "cover"  # how pictures of other proportions are brought to the size
    # the values that become black and white in pictures of more than 8 bits
    value_range: ValueRange | None = None
    length: int | None = None  # of a clip in samples, or of a window of text in symbols
    rate: int | None = None  # of sound, in samples a second
    alphabet: tuple[str, ...] | None = None  # of text: the symbols in the order of their numbers


AS_USUAL = DecodeOptions()


@dataclass(frozen=True)
class Side:
    """What one split has for one port."""

    # paths, to be read one by one, or the items themselves (N, …)
    items: Sequence[Path] | Array
    labels: NDArray[np.int64] | None = None  # class numbers (N,), or None
    half: Half = ""  # the part of each picture that counts, where two stand side by side
    kind: str = "image"  # the modality
    # more of each item, such as a caption, by name of the port: rows as decoded data holds them
    beside: Mapping[str, Array] = field(default_factory=dict)


@dataclass
class Decoding:
    """What was seen while data was decoded."""

    # how many items there are of each size, such as height and width
    sizes: Counter[tuple[int, ...]] = field(default_factory=Counter)
    # by split, pictures with values beyond the range that became black to white
    beyond: Counter[str] = field(default_factory=Counter)
    deep: bool = False  # whether there are pictures of more than 8 bits
    # by split, the extremes of each picture of more than 8 bits that was inspected
    ranges: dict[str, list[ValueRange]] = field(default_factory=dict)
    # what `zoo data check` counts, such as sizes and modes of files
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    # what was seen of each item of a side that was decoded, by `id` of its list of items and by
    # index: for pictures height, width and whether it is grey
    looks: dict[int, dict[int, tuple[Any, ...]]] = field(default_factory=dict)

    def count(self, what: str, value: str, number: int = 1) -> None:
        """Count a property of a file."""
        self.counts.setdefault(what, Counter())[value] += number


@dataclass(frozen=True)
class Stored:
    """How decoded data holds the rows of a port, and how they become its numbers.

    That is ``rows.transpose(axes) / divisor - offset`` in the port's dtype.
    """

    dtype: str
    shape: tuple[int, ...]  # of a row
    axes: tuple[int, ...] = ()  # dimensions in the order of the port, the batch first; as they are
    divisor: float = 1.0
    offset: float = 0.0


class Modality:
    """One kind of data. A plugin returns an instance of a subclass from ``zoo_modalities``.

    Attributes:
        kind: the word for it, as `Port.kind` has it.
        items: what messages call several of its items.
        files: in which files people have it, in a few words.
        suffix: of a file with results; empty where they go to ``.npz`` only.
        samples: how many are drawn when nobody says.
        hub_task: the word of Hugging Face's model cards for a model that draws this, or nothing.
        printed: whether results go to the terminal, by `to_text`, where nobody names a file.
        comparable: whether the distance of two rows says how different they are.
        options: fields of `DecodeOptions` that mean something for this kind.
        layout: how its files lie where one of them holds many rows, as those of a text do. Such
            files count as data only where there are no others.
    """

    kind: str = ""
    items: str = "rows"
    files: str = "no layout of files"
    suffix: str = ""
    samples: int = 64
    hub_task: str = ""
    printed: bool = False
    comparable: bool = True
    layout: Literal["", "text"] = ""
    options: frozenset[str] = frozenset()

    def suffixes(self) -> frozenset[str]:
        """Return the endings of file names, in small letters, that it is read from."""
        return frozenset()

    def survey(
        self, name: str, sides: Sequence[Side], options: DecodeOptions
    ) -> tuple[Port, tuple[str, ...]]:
        """Return the port that a data set offers, and sentences on choices that may surprise.

        Args:
            name: of the port.
            sides: all that the data set has of this kind.
            options: what was asked for.
        """
        del sides, options
        raise NotFoundError(f"{self.items} of {name} cannot be surveyed")

    def guess(self, name: str, sides: Sequence[Side], options: DecodeOptions) -> Port | None:
        """Return the port that `survey` very likely comes to, from a look at few items.

        Then items are decoded to it, and afterwards `confirm` is asked. None where it may well be
        another one, or `survey` does not take long.
        """
        del name, sides, options
        return None

    def confirm(
        self, name: str, sides: Sequence[Side], options: DecodeOptions, seen: Decoding
    ) -> tuple[Port, tuple[str, ...]]:
        """Return what `survey` does, from what was seen while items were decoded to a guess."""
        del seen
        return self.survey(name, sides, options)

    def stored(self, port: Port) -> Stored:
        """Return how decoded data holds the rows of a port."""
        return Stored(port.dtype, tuple(size for size in port.shape[1:] if isinstance(size, int)))

    def decode(self, path: Path, port: Port) -> tuple[Array, tuple[int, ...]]:
        """Read a file; return a row as decoded data holds it, and the size that the item had.

        Raises:
            NotFoundError: it cannot be read; its `cause` says why.
        """
        del port
        raise NotFoundError(f"cannot read {path}", cause=f"{self.items} are not read from files")

    def blocks(
        self, side: Side, order: Indices, port: Port, split: str, seen: Decoding
    ) -> Iterator[Block]:
        """Decode items in an order, some at a time; what cannot be read is left out.

        Raises:
            UnmeasuredError: `measured` must be called first.
        """
        del split
        if isinstance(side.items, np.ndarray):
            for start in range(0, len(order), 1024):
                chosen = order[start : start + 1024]
                yield chosen, side.items[chosen], []
            return
        paths = side.items

        def work(index: int) -> tuple[Array, tuple[int, ...]] | Bad:
            if is_special(paths[index]):
                return paths[index], SPECIAL
            try:
                return self.decode(paths[index], port)
            except NotFoundError as problem:
                return paths[index], problem.cause

        yield from self.in_threads(work, order, seen)

    def in_threads(
        self, work: Callable[[int], tuple[Array, tuple[int, ...]] | Bad], order: Indices,
        seen: Decoding,
    ) -> Iterator[Block]:  # fmt: skip
        """Yield what `work` makes of items, of several at once and in their order."""

        def block(start: int) -> tuple[Block, list[tuple[int, ...]]]:
            chosen = order[start : start + AT_ONCE]
            rows, sizes, bad, there = [], [], [], []
            with QUIET:
                results = [work(index) for index in chosen.tolist()]
            for first, second in results:
                there.append(not isinstance(first, Path))
                if isinstance(first, Path):
                    bad.append((first, str(second)))
                else:
                    rows.append(first)
                    sizes.append(tuple(map(int, second)))
            return (chosen[there], np.stack(rows) if rows else np.empty(0, np.uint8), bad), sizes

        for found, sizes in in_order(block, range(0, len(order), AT_ONCE)):
            seen.sizes.update(sizes)
            yield found

    def like(self, port: Port, options: DecodeOptions) -> DecodeOptions:
        """Return the options, with those that decode other data to the form of a port."""
        del port
        return options

    def is_as_asked(self, port: Port, options: DecodeOptions) -> bool:
        """Whether decoded data is what the options ask for."""
        own = self.like(port, DecodeOptions())
        return all(
            None in {asked := getattr(options, name), getattr(own, name)}
            or asked == getattr(own, name)
            for name in self.options
        )

    def measured(self, port: Port, sides: Sequence[Side]) -> Port:
        """Return the port with what is known once all training items were looked at."""
        del sides
        return port

    def decoded(self, port: Port, seen: Decoding) -> tuple[Port, tuple[str, ...]]:
        """Return the port after decoding, and sentences on what may surprise."""
        del seen
        return port, ()

    def to_numbers(self, rows: Array, port: Port) -> Array:
        """Return rows of decoded data as the numbers of the port."""
        stored = self.stored(port)
        if stored.axes:
            rows = rows.transpose(stored.axes)
        if stored.divisor == 1.0 and not stored.offset:
            return np.ascontiguousarray(rows, port.dtype)
        return np.ascontiguousarray(rows / np.float32(stored.divisor) - stored.offset, port.dtype)

    def from_numbers(self, numbers: Array, port: Port) -> Array:
        """Return the numbers of a port as decoded data holds them; those out of range are cut."""
        stored = self.stored(port)
        values = (numbers + stored.offset) * stored.divisor
        if np.issubdtype(stored.dtype, np.integer):
            limits = np.iinfo(stored.dtype)
            values = np.clip(np.rint(values), limits.min, limits.max)
        if stored.axes:
            values = values.transpose(np.argsort(stored.axes))
        return np.ascontiguousarray(values, stored.dtype)

    def presents(self, port: Port) -> bool:
        """Whether rows of a port are there to be seen, heard or read, so that they are sampled.

        That is where they have files or pictures of their own.
        """
        del port
        return bool(self.suffix) or type(self).cells is not Modality.cells

    def encode(self, rows: Array, port: Port) -> bytes:
        """Return rows, as decoded data holds them, as the content of one file named `suffix`."""
        raise NotImplementedError(f"{self.kind} has no files")

    def to_text(self, row: Array, port: Port) -> str:
        """Return a row, as decoded data holds it, as text for a terminal."""
        raise NotImplementedError(f"{self.kind} is not printed")

    def cells(self, rows: Array, port: Port) -> Pixels | None:
        """Return a picture (N, H, W, C) of each row of decoded data, for a grid of them.

        None where a row has no picture of its own; `page` may show several all the same.
        """
        del rows, port
        return None

    def page(
        self, rows: Array, port: Port, columns: int | None = None, labels: Sequence[str] = ()
    ) -> Pixels | None:
        """Return one picture of rows as decoded data holds them; None where nothing can be seen.

        Args:
            rows: (N, …).
            port: whose rows they are.
            columns: in a line of the picture; chosen, when not given.
            labels: one for each line.
        """
        cells = self.cells(rows, port)
        return None if cells is None else grid(cells, columns, labels)

    def preview_port(self, port: Port) -> Port:
        """Return the port that examples are decoded for: small enough for a page of them."""
        return port

    def join(self, rounds: Sequence[Array], port: Port) -> Array:
        """Return what rounds of a loop have made: of what is refined, that of the last one.

        The first of them may be what earlier rounds have made.
        """
        del port
        return rounds[-1]

    def read_text(self, text: str, port: Port) -> Array:
        """Return what a user wrote as one row of numbers for a port (1, …).

        Raises:
            UsageError: it cannot be read so.
        """
        raise UsageError(
            f"{port.name} cannot be given as text", cause=text[:40], code="does-not-apply"
        )

    def inspect(self, side: Side, port: Port, split: str, seen: Decoding) -> Iterator[Bad | None]:
        """Read all items and count what `zoo data check` tells; yield what cannot be read."""
        for indices, _, bad in self.blocks(side, np.arange(len(side.items)), port, split, seen):
            yield from bad
            yield from [None] * len(indices)

    def describe(self, port: Port) -> str:
        """Return in a few words what data is decoded to, such as ``28x28 grey``."""
        return "x".join(str(size) for size in port.shape[1:]) or "numbers"
