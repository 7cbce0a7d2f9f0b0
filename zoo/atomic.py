"""Files and folders that are whole or not there, and files as the manifest beside them says."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.errors import NotFoundError

MANIFEST = "manifest.json"  # of an export or of a checkpoint: its files with their sha256
MAX_MANIFEST_BYTES = 2**26
OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO})


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


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_listed(path: Path) -> None:
    """Compare a file with the manifest beside it, where there is one that lists it.

    Everything that opens weights or exported files calls this first.

    Raises:
        NotFoundError: the file is not the one that was listed, or the manifest is damaged.
    """
    expected = _listed_sha256(path)
    if expected is None or not path.is_file():
        return
    try:
        found = sha256_of(path)
    except OSError as problem:
        raise NotFoundError(f"cannot read {path}: {problem.strerror}") from None
    if found != expected:
        raise NotFoundError(
            f"{path} is not the file that {MANIFEST} beside it lists",
            cause=f"its sha256 is {found[:12]}…, not {expected[:12]}…: damaged, or exchanged",
            hint=_another_than(path),
        )


def _listed_sha256(path: Path) -> str | None:
    """Return the sha256 under which a manifest beside a file lists it; None where none does."""
    manifest = path.parent / MANIFEST
    try:
        status = manifest.stat()
    except OSError:
        return None
    try:
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_MANIFEST_BYTES:
            raise ValueError("it is no regular file, or too large")
        content = json.loads(manifest.read_text(encoding="utf-8"))
        listed = _listing(content).get(path.name)
        if listed is None and path.parent.name.startswith("step-"):
            raise ValueError(f"it does not list {path.name}")
    except (OSError, ValueError, RecursionError) as problem:
        raise NotFoundError(
            f"{manifest} is damaged, so that {path.name} cannot be compared with it",
            cause=" ".join(str(problem).split())[:200] or type(problem).__name__,
            hint=_another_than(path),
        ) from None
    return listed


def _listing(manifest: object) -> dict[str, str]:
    """Return the sha256 of each file that a manifest lists; nothing of another program's."""
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict):
        return {}
    assert isinstance(manifest, dict)
    entries = [*files.items(), ("", manifest.get("weights"))]
    return {
        str(facts.get("file", name)): facts["sha256"]
        for name, facts in entries
        if isinstance(facts, dict) and isinstance(facts.get("sha256"), str)
    }


def _another_than(path: Path) -> str:
    """Return what to use in place of a damaged file: another checkpoint, or a new export."""
    others = sorted(path.parent.parent.glob(f"step-*/{path.name}"), reverse=True)
    whole = next((other for other in others if other.parent != path.parent), None)
    if whole is not None:
        return f"another checkpoint of the run, {whole}"
    if path.parent.name.startswith("step-"):
        return f"zoo train --resume {path.parents[2].name}, which begins anew without a checkpoint"
    return "zoo export again, or the file alone in another folder"


def _umask() -> int:
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
