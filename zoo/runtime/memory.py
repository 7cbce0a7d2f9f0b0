"""How much memory there is, and how much a large picture will take."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ZooError
from zoo.pictures import MEGAPIXEL, BadPictureError
from zoo.ports import has_dynamic_size
from zoo.runtime.session import draw_examples

if TYPE_CHECKING:
    from zoo.runtime.feed import Feed
    from zoo.runtime.session import Session

STATUS = Path("/proc/self/status")
MEMORY = Path("/proc/meminfo")
PEAK = Path("/proc/self/clear_refs")
GROUP_LIMITS = (  # of a container, as both versions of control groups show it
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)

LARGE = 2 * MEGAPIXEL  # pixels of a picture from which an estimate is worth its time
TRIAL = 512  # pixels a side, of the picture that is tried
FAR = 3  # times as large as the pictures of the training, or as small, along a side


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let the process take most of the memory that is free now and no more, while the block runs.

    What asks for more inside is refused, and says so. Where a system does not tell how much is
    free, or is not Linux, there is no bound.

    Raises:
        ZooError: Python was refused memory.
    """
    try:
        with _limited():
            yield
    except MemoryError:
        raise ZooError(
            "out of memory", hint="fewer or smaller inputs, or a machine with more memory"
        ) from None


@contextmanager
def _limited() -> Iterator[None]:
    bound = _bound()
    if sys.platform != "linux" or bound is None:
        yield
        return
    import resource  # noqa: PLC0415 - not on every system

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    ends = [end for end in (bound, soft, hard) if end != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(ends), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def free_memory() -> int | None:
    """Return the bytes that are free for this process, or None where the system does not tell."""
    try:
        free = _kilobytes(MEMORY, "MemAvailable:") + _kilobytes(MEMORY, "SwapFree:")
        resident = _kilobytes(STATUS, "VmRSS:")
    except (OSError, ValueError):
        return None
    for file in GROUP_LIMITS:
        with suppress(OSError, ValueError):  # not there, or "max" where there is no limit
            free = min(free, int(file.read_text()) - resident)
    free = max(free, 0) * 9 // 10  # the rest is for everybody else
    import resource  # noqa: PLC0415 - not on every system

    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if limit != resource.RLIM_INFINITY:
        free = min(free, max(0, limit - _kilobytes(STATUS, "VmData:")))
    return free


def peak_memory(work: Callable[[], object]) -> int | None:
    """Do some work; return how many bytes more the process held then than before, at most.

    None where the system does not tell.
    """
    try:
        PEAK.write_text("5")  # VmHWM begins anew, see proc_pid_clear_refs(5)
        before = _kilobytes(STATUS, "VmRSS:")
    except (OSError, ValueError):
        work()
        return None
    work()
    return _kilobytes(STATUS, "VmHWM:") - before


def _bound() -> int | None:
    """Return the bytes that the process may have: what it has and what is free.

    Counted is private memory that can be written to, not reserved addresses nor mapped files.
    """
    free = free_memory()
    try:
        return None if free is None else _kilobytes(STATUS, "VmData:") + free
    except (OSError, ValueError):
        return None


def _kilobytes(file: Path, key: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{file} holds no {key}")


@dataclass(frozen=True)
class Sizes:
    """How large the pictures are with which a graph computes.

    Args:
        largest: height and width of the largest, in pixels.
        smallest: height and width of the smallest.
        name: of the largest.
        named: whether the user named it, not a folder that holds it.
    """

    largest: tuple[int, int]
    smallest: tuple[int, int]
    name: str
    named: bool


def picture_sizes(feed: Feed) -> Sizes | None:
    """Return the sizes of the pictures, read from their headers; None where the port fixes them."""
    if feed.port is None or not has_dynamic_size(feed.port):
        return None
    found = []
    for picture in feed.pictures:
        try:
            size = picture.source.picture_size()
        except BadPictureError:  # reported when it is read
            continue
        found.append((feed.sizing.size_for(feed.port, *size), picture))
    if not found:
        return None
    largest, picture = max(found, key=lambda each: each[0][0] * each[0][1])
    smallest, _ = min(found, key=lambda each: each[0][0] * each[0][1])
    return Sizes(largest, smallest, str(picture.source), picture.named)


def far_from_training(session: Session, sizes: Sizes) -> str:
    """Return a note if pictures are far larger or smaller than in the training; else nothing."""
    data = session.description.identity.data
    usual = min(data.height, data.width)
    most, least = min(sizes.largest) / usual, min(sizes.smallest) / usual
    if most < FAR and least > 1 / FAR:
        return ""
    far = f"{most:.0f} times as large" if most >= FAR else f"{1 / least:.0f} times as small"
    return (
        f"pictures are up to {far} as those of the training, {data.height}x{data.width}, "
        f"where results may be poor; --size {usual} scales them to that size"
    )


def estimate(session: Session, sizes: Sizes) -> str:
    """Return a note on memory and time for the largest picture, if it is large; else nothing.

    A small picture is run to find out. Where the system does not tell how much memory a process
    holds, only the time is said.

    Raises:
        ZooError: there is less memory than that for a picture that the user named.
        RunError: the graph fails on the small picture.
    """
    height, width = sizes.largest
    if height * width < LARGE:
        return ""
    inputs = draw_examples(session.description, rows=1, size=(TRIAL, TRIAL))
    times = height * width / TRIAL**2
    started = time.perf_counter()
    peak = peak_memory(lambda: session.run(inputs))
    seconds = (time.perf_counter() - started) * times
    note = f"{sizes.name}, {height}x{width}, takes about {seconds:,.0f} s"
    if peak is None:
        return note
    needed, free = peak * times, free_memory()
    note += f" and {needed / 2**30:.1f} GiB of memory"
    if free is None or needed <= free:
        return f"{note}; --size N computes with smaller pictures"
    note += f"; {free / 2**30:.1f} GiB are free"
    if not sizes.named:  # it is left out when its turn comes, and holds up no other
        return note
    fitting = int((0.5 * free / needed) ** 0.5 * min(height, width))
    raise ZooError(note, hint=f"--size {max(8, fitting // 8 * 8)} computes with smaller pictures")
