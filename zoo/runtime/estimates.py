"""What pictures of a size that the graph leaves open will take, before it is run on them."""

from __future__ import annotations

import math
import time

from zoo.errors import ZooError
from zoo.pictures import MEGAPIXEL, BadPictureError
from zoo.ports import has_dynamic_size
from zoo.runtime.engine import free_memory, peak_memory
from zoo.runtime.inputs import Feed, Picture
from zoo.runtime.session import Session, draw_examples

LARGE = 2 * MEGAPIXEL  # pixels of a picture from which an estimate is worth its time
TRIAL = 512  # pixels a side, of the picture that is tried
FAR = 3  # times as large as the pictures of the training, or as small, along a side


def notes_on_sizes(session: Session, feed: Feed) -> list[str]:
    """Return notes on pictures whose size is open: unlike the training's, and what they will take.

    Their sizes are read from their headers.

    Raises:
        ZooError: there is less memory than the largest picture takes, which the user named.
        RunError: the graph fails on a small picture.
    """
    if feed.port is None or not has_dynamic_size(feed.port):
        return []
    sizes = []
    for picture in feed.pictures:
        try:
            size = picture.file.picture_size()
        except BadPictureError:  # reported when it is read
            continue
        sizes.append((feed.size_for(*size), picture))
    if not sizes:
        return []
    largest, picture = max(sizes, key=lambda each: math.prod(each[0]))
    smallest, _ = min(sizes, key=lambda each: math.prod(each[0]))
    notes = [_far_from_training(session, largest, smallest), _estimate(session, picture, *largest)]
    return [note for note in notes if note]


def _far_from_training(
    session: Session, largest: tuple[int, int], smallest: tuple[int, int]
) -> str:
    """Return a note if pictures are far larger or smaller than in the training; else nothing."""
    learnt = session.description.identity.data.sizes
    if "height" not in learnt:
        return ""
    usual = min(learnt["height"], learnt["width"])
    most, least = min(largest) / usual, min(smallest) / usual
    if most < FAR and least > 1 / FAR:
        return ""
    far = f"{most:.0f} times as large" if most >= FAR else f"{1 / least:.0f} times as small"
    return (
        f"pictures are up to {far} as those of the training, {learnt['height']}x{learnt['width']}, "
        f"where results may be poor; --size {usual} scales them to that size"
    )


def _estimate(session: Session, picture: Picture, height: int, width: int) -> str:
    """Return a note on memory and time for the largest picture, if it is large; else nothing.

    A small picture is run to find out. Where the system does not tell how much memory a process
    holds, only the time is said.
    """
    if height * width < LARGE:
        return ""
    inputs = draw_examples(session.description, rows=1, size=(TRIAL, TRIAL))
    times = height * width / TRIAL**2
    started = time.perf_counter()
    peak = peak_memory(lambda: session.run(inputs))
    seconds = (time.perf_counter() - started) * times
    note = f"{picture.file}, {height}x{width}, takes about {seconds:,.0f} s"
    if peak is None:
        return note
    needed, free = peak * times, free_memory()
    note += f" and {needed / 2**30:.1f} GiB of memory"
    if free is None or needed <= free:
        return f"{note}; --size N computes with smaller pictures"
    note += f"; {free / 2**30:.1f} GiB are free"
    if not picture.named:  # it is left out when its turn comes, and holds up no other
        return note
    fitting = int((0.5 * free / needed) ** 0.5 * min(height, width))
    raise ZooError(note, hint=f"--size {max(8, fitting // 8 * 8)} computes with smaller pictures")
