"""A run belongs to one process at a time.

The lock is the operating system's: it goes with its process, however that ends, so that no lock is
ever stale. (On a disk that knows no locks, filelock's file stands in; it may have to be removed by
hand.) For those who look from another machine, where a shared disk may not tell of locks, the
time of ``run.json`` is that of the owner's last sign of life.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

FILE, SIGN = "lock", "run.json"
PATIENCE = 2.0  # seconds to wait for somebody who only looks whether the lock is taken
SIGN_EVERY = 30.0  # seconds between an owner's signs of life
SILENT = 300.0  # seconds without one, after which an owner elsewhere is taken for dead


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold the lock of a run's folder as long as the block lasts.

    Yields:
        Whether it could be had; False while another process has it.
    """
    lock = FileLock(folder / FILE)
    try:
        lock.acquire(timeout=PATIENCE, poll_interval=0.02)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process of this machine holds the lock."""
    lock = FileLock(folder / FILE)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def give_sign(folder: Path) -> None:
    """Say that the owner is alive, now and then."""
    if time.time() - (folder / SIGN).stat().st_mtime > SIGN_EVERY:
        os.utime(folder / SIGN)


def is_taken_for_dead(folder: Path) -> bool:
    """Whether the owner has given no sign for so long that it must be dead."""
    try:
        return time.time() - (folder / SIGN).stat().st_mtime > SILENT
    except FileNotFoundError:
        return True
