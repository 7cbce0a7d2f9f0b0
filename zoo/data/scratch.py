"""Private folders in the cache, for work that has no name yet."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.catalog.dataset import cache_home
from zoo.data.cache import make_folder

PREFIX = ".unfinished-"
ABANDONED = 24 * 3600  # seconds without a change after which a killed process must have left it


def store_home() -> Path:
    """Return the folder that holds the decoded stores; it need not exist yet."""
    return cache_home() / "store"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield an empty folder beside the stores; it goes with the block, unless it was renamed.

    What killed processes left behind long ago is removed first.

    Raises:
        ZooError: the cache cannot be written to.
    """
    home = store_home()
    make_folder(home)
    for leftover in home.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process may be tidying up as well
            newest = max(path.stat().st_mtime for path in (leftover, *leftover.iterdir()))
            if time.time() - newest > ABANDONED:
                shutil.rmtree(leftover, ignore_errors=True)
    # not by tempfile, whose folders nobody else may read; several users may share a cache
    folder = home / f"{PREFIX}{secrets.token_hex(8)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
