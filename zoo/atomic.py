"""Files and folders that are written whole or not at all, and what is no plain file."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

UMASK = threading.Lock()  # held while the umask is another one, which is how it is read
OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO})
SPECIAL = "it is a pipe, a socket or a device"  # why a file is not read


def is_special(path: Path) -> bool:
    """Whether a path leads to a pipe, a socket or a device: a reader might wait for ever."""
    with suppress(OSError, ValueError):
        mode = path.stat().st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of the disk inside the block name `path`, which is what is being written.

    Such an error names no file where a write failed, and a temporary one beside `path` where that
    could not be made.
    """
    try:
        yield
    except OSError as problem:
        if problem.errno in OF_THE_DISK:
            at = problem.filename2 or problem.filename
            final = _final(Path(os.fsdecode(at)), path) if isinstance(at, str | bytes) else path
            problem.filename, problem.filename2 = str(final), None
        raise


def _final(found: Path, path: Path) -> Path:
    """Return the name that a file gets when the temporary one beside `path` becomes `path`."""
    for each in (found, *found.parents):
        is_beside = each.parent == path.parent and each.suffix == ".part"
        if is_beside and each.name.startswith(f".{path.name[:80]}."):
            return path / found.relative_to(each)
    return found


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, it becomes `path`.

    The bytes are on the disk before the name is, and the file has the mode that the umask asks
    for. When the block raises, nothing is left behind and an older file at `path` stays.
    """
    prefix = f".{path.name[:80]}."
    with naming(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".part")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            flush(temporary)
            temporary.replace(path)
            flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def building(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; when the block ends well, it becomes `path`.

    Files that were written with `replacing` are on the disk before the name is. When the block
    raises, nothing is left behind.

    Raises:
        OSError: there is something at `path`.
    """
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        flush(temporary)
        temporary.rename(path)
        flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one piece."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file in one piece; not-a-number is refused."""
    write_text(path, as_json(value))


def as_json(value: Any) -> str:
    """Return the text that `write_json` writes."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _umask() -> int:
    with UMASK:
        mask = os.umask(0o077)
        os.umask(mask)
    return mask


def flush(path: Path) -> None:
    """Ask the disk to hold a file or a folder; a file system that cannot do folders is let off."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
