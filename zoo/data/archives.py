"""Unpacking of untrusted archives: nothing leaves the folder, fills the disk, or is a link."""

from __future__ import annotations

import errno
import functools
import gzip
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, BinaryIO

from zoo.errors import NotFoundError, ZooError

MAX_MEMBERS = 500_000  # who has more pictures than that has unpacked them
MAX_RATIO = 100  # of unpacked to packed bytes, which pictures are far from
ALWAYS_ALLOWED = 2**30  # bytes that may be unpacked whatever the ratio
IMPOSSIBLE_NAMES = {  # a name of 5,000 letters; one of a file and of a folder
    errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EILSEQ,
}  # fmt: skip
UTF8_FLAG = 0x800  # of a member of a zip file; without it, the standard says cp437
MAX_READ = 2**24  # bytes at once; a header that asks for more is a forgery


OF_THE_DISK = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EMFILE,
    errno.ENFILE,
}  # fmt: skip

# Encodings of names that are not UTF-8, each with what real names in it are like; the first that
# fits is taken. Korean syllables stand where Chinese has half of its characters, so several of
# them are needed to tell.
CODECS: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "cp932": ("Japanese", lambda text: bool(re.search("[\u3041-\u30fe]", text))),
    "cp949": ("Korean", lambda text: _encodes(text, "euc_kr") and bool(
        re.fullmatch(r"[\x00-~\uac00-\ud7a3]*", text) and len(re.findall(r"[^\x00-~]", text)) > 3)),
    "gb18030": ("Chinese", lambda text: _encodes(text, "gb2312")),
    "big5": ("Chinese", lambda text: all(
        b"\xa4" <= char.encode("big5") < b"\xc7" for char in text if char > "~")),
}  # fmt: skip
WESTERN = ("cp437", "cp1252")  # where none of these fits


@dataclass(frozen=True)
class _Member:
    name: str | bytes  # bytes, where the encoding is not given
    size: int
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path) -> str:
    """Unpack a .zip, .tar, .tar.gz or .tgz into an empty folder.

    Returns:
        A sentence on names that are not UTF-8 and had to be guessed; empty where all are.

    Raises:
        NotFoundError: the archive is damaged, or holds what no honest one does: paths that lead
            out of the folder, links, devices, a decompression bomb.
        ZooError: the disk is full.
    """
    try:
        with archive.open("rb") as file:
            members = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
            return _write(members(file), archive, folder)
    except ZooError:
        raise
    except Exception as problem:  # readers of damaged bytes raise anything at all
        if isinstance(problem, OSError) and problem.errno in IMPOSSIBLE_NAMES:
            raise _refusal(archive, f"names in it cannot be: {problem.strerror}") from None
        if isinstance(problem, OSError) and problem.errno in OF_THE_DISK:
            raise ZooError(
                f"cannot unpack {archive} into the cache: {problem.strerror}",
                hint="make room, or set ZOO_HOME to a folder on another disk",
                code="cache-unusable",
            ) from None
        raise _refusal(archive, str(problem) or type(problem).__name__) from None


def _write(members: Iterator[_Member], archive: Path, folder: Path) -> str:
    """Write the members; return a sentence on their names."""
    codecs = _Names()
    allowed = max(ALWAYS_ALLOWED, MAX_RATIO * archive.stat().st_size)
    total = 0
    for count, member in enumerate(members):
        total += member.size
        if count >= MAX_MEMBERS:
            raise _refusal(archive, f"it has more than {MAX_MEMBERS:,} entries")
        if total > allowed:
            raise _refusal(archive, f"it would unpack to more than {total} bytes: a bomb?")
        free = shutil.disk_usage(folder).free
        if member.size > free:
            raise ZooError(
                f"cannot unpack {archive}: {free >> 20} MiB are free in {folder}",
                hint="set ZOO_HOME to a folder on a larger disk",
                code="disk-full",
            )
        path = folder / _inside(codecs.decode(member.name), archive)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = member.open()
        assert content is not None
        with content, path.open("wb") as target:
            shutil.copyfileobj(content, target)
    return codecs.note(archive)


def _inside(name: str, archive: Path) -> PurePosixPath:
    """Return where a member goes, as a path that cannot leave the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive
    if outside or not path.parts:
        raise _refusal(archive, f"member {name[:100]!r} would lie outside of the folder")
    return path


class _Names:
    """Decodes the names of an archive, all of those that are not UTF-8 by one encoding."""

    def __init__(self) -> None:
        self._codec = ""
        self._guessed = False

    def decode(self, name: str | bytes) -> str:
        """Return a name as text."""
        if isinstance(name, str):
            return name
        with suppress(UnicodeDecodeError):
            return name.decode("utf-8")
        self._guessed = True
        self._codec = self._codec or _guess_codec(name)
        try:
            return name.decode(self._codec or "cp437")
        except UnicodeDecodeError:
            return name.decode("cp437")  # which has a character for every byte

    def note(self, archive: Path) -> str:
        """Return a sentence on how the names were read; empty where they are UTF-8."""
        if not self._guessed:
            return ""
        language = CODECS[self._codec][0] + " " if self._codec in CODECS else ""
        how = f"read as {language}{self._codec}" if self._codec else "their encoding is not known"
        return f"names in {archive.name} are not UTF-8; {how}"


def _guess_codec(name: bytes) -> str:
    """Return the encoding of a name that is not UTF-8, or nothing where it cannot be known."""
    usual = {codec: is_usual for codec, (_, is_usual) in CODECS.items()}
    usual |= dict.fromkeys(WESTERN, _is_latin)
    return next((codec for codec in usual if _fits(name, codec, usual[codec])), "")


def _fits(name: bytes, codec: str, is_usual: Callable[[str], bool]) -> bool:
    try:
        return is_usual(name.decode(codec))
    except UnicodeError:
        return False


def _encodes(text: str, codec: str) -> bool:
    return text.encode(codec) is not None  # raises UnicodeEncodeError


def _is_latin(text: str) -> bool:
    """Whether all characters beyond ASCII are letters, as in names of western languages."""
    return text.isprintable() and all(
        char.isalpha() and char < "\u0250" for char in text if char > "~"
    )


def _zip_members(file: BinaryIO) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as opened:
        if len(opened.infolist()) > MAX_MEMBERS:
            raise zipfile.BadZipFile(f"it has more than {MAX_MEMBERS:,} entries")
        for info in opened.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                raise zipfile.BadZipFile(f"member {info.filename[:100]!r} is a link")
            if not info.is_dir():
                is_known = info.flag_bits & UTF8_FLAG or info.filename.isascii()
                name = info.filename if is_known else info.filename.encode("cp437")
                yield _Member(name, info.file_size, functools.partial(opened.open, info))


def _tar_members(file: BinaryIO) -> Iterator[_Member]:
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    plain = _Gzip(fileobj=file) if packed else file
    with tarfile.open(fileobj=plain, mode="r:", encoding="utf-8") as opened:
        for info in opened:
            if not (info.isreg() or info.isdir()):
                raise tarfile.TarError(f"member {info.name[:100]!r} is a link or a device")
            if info.isreg():
                name = info.name.encode("utf-8", "surrogateescape")  # the bytes that stand there
                yield _Member(name, info.size, functools.partial(opened.extractfile, info))
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
        code="bad-archive",
    )
