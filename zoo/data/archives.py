"""Archives of strangers, unpacked so that nothing leaves the folder, fills the disk or links."""

from __future__ import annotations

import errno
import functools
import gzip
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO

from zoo.errors import NotFoundError, ZooError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_MEMBERS = 500_000  # who has more pictures than that has unpacked them
TOO_MANY = f"it has more than {MAX_MEMBERS:,} entries"
MAX_RATIO = 100  # of unpacked to packed bytes, which pictures are far from
ALWAYS_ALLOWED = 2**30  # bytes that may be unpacked whatever the ratio
IMPOSSIBLE_NAMES = {  # a name of 5,000 letters; one of a file and of a folder
    errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ,
}  # fmt: skip
MAX_READ = 2**24  # bytes at once; a header that asks for more is a forgery


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


def is_archive(path: PurePath) -> bool:
    """Whether the name of a file is that of an archive that `unpack` reads."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .zip, .tar, .tar.gz or .tgz into an empty folder.

    Raises:
        NotFoundError: the archive is damaged, or holds what no honest one does: paths that lead
            out of the folder, links, devices, a decompression bomb.
        ZooError: the disk is full.
    """
    try:
        with archive.open("rb") as file:
            members = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
            _write(members(file), archive, folder)
    except ZooError:
        raise
    except Exception as problem:  # readers of damaged bytes raise anything at all
        if isinstance(problem, OSError) and problem.errno in IMPOSSIBLE_NAMES:
            raise _refusal(archive, f"names in it cannot be: {problem.strerror}") from None
        if isinstance(problem, OSError) and problem.errno is not None:
            where = "" if problem.filename == str(archive) else f" to {folder}"
            raise ZooError(f"cannot unpack {archive}{where}: {problem.strerror}") from None
        raise _refusal(archive, str(problem) or type(problem).__name__) from None


def _write(members: Iterator[_Member], archive: Path, folder: Path) -> None:
    allowed = max(ALWAYS_ALLOWED, MAX_RATIO * archive.stat().st_size)
    total = 0
    for count, member in enumerate(members):
        total += member.size
        if count >= MAX_MEMBERS:
            raise _refusal(archive, TOO_MANY)
        if total > allowed:
            raise _refusal(archive, f"it would unpack to more than {total} bytes: a bomb?")
        free = shutil.disk_usage(folder).free
        if member.size > free:
            raise ZooError(
                f"cannot unpack {archive}: {free >> 20} MiB are free in {folder}",
                hint="set ZOO_HOME to a folder on a larger disk",
            )
        path = folder / _inside(member.name, archive)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = member.open()
        assert content is not None
        with content, path.open("wb") as target:
            shutil.copyfileobj(content, target)


def _inside(name: str, archive: Path) -> PurePosixPath:
    """Return where a member goes, as a path that cannot leave the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive
    if outside or not path.parts:
        raise _refusal(archive, f"member {name[:100]!r} would lie outside of the folder")
    return path


def _zip_members(file: BinaryIO) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as opened:
        if len(opened.infolist()) > MAX_MEMBERS:
            raise zipfile.BadZipFile(TOO_MANY)
        for info in opened.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                raise zipfile.BadZipFile(f"member {info.filename[:100]!r} is a link")
            if not info.is_dir():
                yield _Member(info.filename, info.file_size, functools.partial(opened.open, info))


def _tar_members(file: BinaryIO) -> Iterator[_Member]:
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    plain = _Gzip(fileobj=file) if packed else file
    with tarfile.open(fileobj=plain, mode="r:", encoding="utf-8") as opened:
        for info in opened:
            if not (info.isreg() or info.isdir()):
                raise tarfile.TarError(f"member {info.name[:100]!r} is a link or a device")
            if info.isreg():
                yield _Member(info.name, info.size, functools.partial(opened.extractfile, info))
        # tarfile takes a damaged header for the end, and never sees the checksum after it
        plain.seek(opened.offset)
        end = plain.read(tarfile.BLOCKSIZE)
        if end != bytes(tarfile.BLOCKSIZE) or len(plain.read(MAX_READ)) == MAX_READ:
            raise tarfile.ReadError("it has no proper end")


class _Gzip(gzip.GzipFile):
    """A stream that gives small pieces only: tarfile would take a forged header's word for it."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_READ:
            raise tarfile.ReadError("a header of impossible length")
        return super().read(size)


def _refusal(archive: Path, cause: str) -> NotFoundError:
    return NotFoundError(
        f"cannot unpack {archive}",
        cause=" ".join(cause.split())[:200],
        hint="get the archive again, or unpack it yourself and give the folder",
    )
