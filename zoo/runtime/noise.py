"""What is drawn for a graph: how many rows of noise, of which classes, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.draws import class_labels, class_name, draw, read_classes
from zoo.errors import UsageError
from zoo.ports import Port
from zoo.runtime.description import describe_port, is_pictorial, numbers_in_a_row
from zoo.runtime.files import file_word, unlike
from zoo.runtime.session import Arrays, Session

MOST_DRAWN = 2**27  # numbers that are drawn at once, half a gigabyte
DEFAULT_COUNT = 16
DEFAULT_COLUMNS = 8  # of each class, where there are several


@dataclass(frozen=True)
class Drawn:
    """Rows for the ports that nothing was given for.

    Args:
        count: rows.
        arrays: by port name, `count` rows each.
        classes: words for the names of files, one a class, each for as many rows; or none.
        labels: what to write beside the rows of each class in a grid; or none.
    """

    count: int
    arrays: Arrays
    classes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def draw_rows(
    session: Session,
    ports: Sequence[Port],
    *,
    rows: int | None,
    count: int | None,
    seed: int,
    classes: str | None,
) -> Drawn:
    """Draw what was not given.

    Args:
        session: the graph.
        ports: those of its inputs that are to be drawn.
        rows: of what was given; None, where nothing was.
        count: rows that the user wants; None for 16, or for 8 of each of several classes.
        seed: of the draws.
        classes: of the label among the ports, as the user writes them; None draws them too.

    Raises:
        UsageError: a port has no prior, the classes do not fit, or it is too much at once.
    """
    for port in ports:
        if port.prior is None:
            wanted = "a picture or a folder" if is_pictorial(port) else "an .npy or .npz file"
            example = "photo.png folder/ -o out/" if is_pictorial(port) else "codes.npz"
            raise UsageError(
                f"{session.description.graph} needs {describe_port(port)}: give {wanted}",
                hint=f"zoo run {session.path} {example}",
            )
    chosen = None if classes is None else read_classes(classes, ports)
    several = chosen is not None and len(chosen) > 1
    if rows is not None and several:
        raise UsageError(
            "--class: inputs are given, and each goes with one class", hint="--class with one class"
        )
    each = rows or count or (DEFAULT_COLUMNS if several else DEFAULT_COUNT)
    total = each * len(chosen or [None])
    if total * sum(map(numbers_in_a_row, ports)) > MOST_DRAWN:
        raise UsageError(f"{total:,} rows are too many to draw at once", hint="a smaller -n")
    try:
        arrays = draw(ports, each, seed, chosen)
    except ValueError as problem:
        raise UsageError(f"{session.path}: {problem}") from None
    if chosen is None:
        return Drawn(total, arrays)
    return Drawn(total, arrays, _words(chosen, ports), class_labels(chosen, ports))


def _words(classes: Sequence[int], ports: Sequence[Port]) -> tuple[str, ...]:
    """Return what files of each class are called; no two alike, and none of them a path."""
    words: dict[str, str] = {}
    for number in classes:
        word = file_word(class_name(number, ports)) or f"class-{number}"
        if word.casefold() in words:
            word = unlike(f"{word}-{number}", words)
        words[word.casefold()] = word
    return tuple(words.values())
