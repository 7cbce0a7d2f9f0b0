"""How much memory there is and is used; too little is an error before Linux kills the process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.errors import ZooError

STATUS = Path("/proc/self/status")
MEMORY = Path("/proc/meminfo")
PEAK = Path("/proc/self/clear_refs")
GROUP_LIMITS = (  # of a container, as both versions of control groups show it
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


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
