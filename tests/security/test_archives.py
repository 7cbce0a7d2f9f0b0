"""Archives of strangers as data sets: refused by the command, and nothing of them is left."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security.inside import listing, nothing_left, refused
from zoo.catalog.dataset import cache_home
from zoo.data import archives

ENTRIES = 1_000_000


def tar(path: Path, *members: tuple[str, bytes, bytes]) -> None:
    """Write a tar of names, kinds, and contents or targets of links."""
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = content.decode() if kind != tarfile.REGTYPE else ""
            info.size = 0 if info.linkname else len(content)
            archive.addfile(info, io.BytesIO(content))


def packed(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("good/1.png", b"")
        archive.writestr(name, content)


def link(path: Path, kind: bytes) -> None:
    tar(path, ("set/a.png", kind, b"/etc/passwd"), ("set/a.png", tarfile.REGTYPE, b"evil"))


EVIL: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a way up": ("a.zip", lambda path: packed(path, "../../evil.png", b"x"), "outside"),
    "a way up in a tar": (
        "a.tgz", lambda path: tar(path, ("x/../../../evil.png", tarfile.REGTYPE, b"x")), "outside"
    ),
    "an absolute path": ("a.zip", lambda path: packed(path, "/evil-of-zoo.png", b"x"), "outside"),
    "a link": ("a.tar", lambda path: link(path, tarfile.SYMTYPE), "is a link"),
    "a hard link": ("a.tar", lambda path: link(path, tarfile.LNKTYPE), "is a link"),
    "a device": ("a.tar", lambda path: link(path, tarfile.CHRTYPE), "a device"),
    "a bomb": ("a.zip", lambda path: packed(path, "1.png", bytes(2**24)), "a bomb"),
    "a member that is a file and a folder": (
        "a.tar",
        lambda path: tar(path, ("a", tarfile.REGTYPE, b"x"), ("a/b", tarfile.REGTYPE, b"x")),
        "names in it cannot be",
    ),
    "a name of 5,000 letters": (
        "a.zip", lambda path: packed(path, "x" * 5000 + ".png", b"x"), "names in it cannot be"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "write", "says"), EVIL.values(), ids=EVIL)
def test_an_archive_that_does_harm_is_refused(
    name: str, write: Callable[[Path], object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 2**20)
    write(Path(name))
    with nothing_left(Path.cwd().parent / "work"):
        assert says in refused("data", "check", name, code=3)
        assert says in refused("train", "vae", "--data", name, "--steps", "1", code=3)
    assert not [path for path in listing(Path.cwd().parent) if "evil" in path]
    assert not Path("/evil-of-zoo.png").exists()
    assert listing(cache_home() / "store") == {}


@pytest.mark.slow
def test_a_million_entries_are_refused_before_one_is_written() -> None:
    directory = io.BytesIO()
    for number in range(ENTRIES):
        name = b"%d.png" % number
        directory.write(b"PK\x01\x02" + struct.pack(
            "<6H3L5H2L", 20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0
        ) + name)  # fmt: skip
    size = directory.tell()
    end = b"PK\x06\x06" + struct.pack("<Q2H2L4Q", 44, 45, 45, 0, 0, ENTRIES, ENTRIES, size, 0)
    where = b"PK\x06\x07" + struct.pack("<LQL", 0, size, 1)
    last = b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    Path("a.zip").write_bytes(directory.getvalue() + end + where + last)
    assert "more than 500,000 entries" in refused("data", "check", "a.zip", code=3)
    assert listing(cache_home() / "store") == {}
