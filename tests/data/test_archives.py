"""Archives of strangers: what is honest is unpacked, everything else is refused."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.errors import raises
from zoo.data import archives
from zoo.data.location import is_archive
from zoo.errors import NotFoundError, ZooError


def written(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "inner" / "target"
    folder.mkdir(parents=True)
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


KINDS = ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "A.ZIP"]


@pytest.mark.parametrize("name", KINDS)
def test_what_is_inside_comes_out(name, tmp_path, target):
    members = {"set/trainA/1.jpg": b"one", "set/trainA/2.jpg": b"two" * 50_000, "readme": b""}
    archive = written(tmp_path / name.lower(), members).rename(tmp_path / name)
    assert is_archive(archive)
    archives.unpack(archive, target)
    assert files_in(target) == members


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
@pytest.mark.parametrize(
    "name",
    ["../evil", "x/../../evil", "/tmp/evil-of-zoo", "..\\evil", "C:\\evil", "\\\\host\\evil"],
)
def test_no_member_leaves_the_folder(kind, name, tmp_path, target):
    archive = written(tmp_path / kind, {"good.txt": b"good", name: b"evil"})
    with raises(NotFoundError, "bad-archive", archive, "evil"):
        archives.unpack(archive, target)
    everything = files_in(tmp_path)
    assert set(everything) - {kind} <= {"inner/target/good.txt"}
    assert not Path("/tmp/evil-of-zoo").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(kind, tmp_path, target):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with raises(NotFoundError, "bad-archive", path, "'link'"):
        archives.unpack(path, target)
    assert not list(target.iterdir())


def test_links_in_a_zip_are_refused(tmp_path, target):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with raises(NotFoundError, "bad-archive", tmp_path / "a.zip", "'link'"):
        archives.unpack(tmp_path / "a.zip", target)


@pytest.mark.parametrize("kind", ["a.zip", "a.tar.gz"])
def test_bombs_are_refused_before_they_go_off(kind, tmp_path, target, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 2**20)
    archive = written(tmp_path / kind, {f"{i}.bin": bytes(2**20) for i in range(8)})
    assert archive.stat().st_size < 2**16
    with raises(NotFoundError, "bad-archive", archive):
        archives.unpack(archive, target)
    assert sum(map(len, files_in(target).values())) <= 2**20


def test_too_many_members_are_refused(tmp_path, target, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    archive = written(tmp_path / "a.zip", {str(i): b"" for i in range(11)})
    with raises(NotFoundError, "bad-archive", archive, 10):
        archives.unpack(archive, target)


def test_a_forged_header_takes_no_memory(tmp_path, target):
    info = tarfile.TarInfo("name")
    info.type, info.size = tarfile.XHDTYPE, 2**27  # a header of extended names: 128 MiB of zeros
    content = info.tobuf(tarfile.USTAR_FORMAT) + bytes(2**27)
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(content, 1))
    del content
    tracemalloc.start()
    with raises(NotFoundError, "bad-archive", path):
        archives.unpack(path, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25


def test_a_member_larger_than_the_disk_is_refused(tmp_path, target, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 2**63)
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo("huge")
    info.size = 2**55
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with raises(ZooError, "disk-full", path, target) as caught:
        archives.unpack(path, target)
    assert caught.value.exit_code == 1
    assert not list(target.iterdir())


def spoil_end(content: bytes) -> bytes:
    return content[: len(content) // 2]


def spoil_middle(content: bytes) -> bytes:
    place = len(content) // 2
    return (
        content[:place]
        + bytes(each ^ 255 for each in content[place : place + 40])
        + content[place + 40 :]
    )


def spoil_checksum(content: bytes) -> bytes:
    return content[:-8] + bytes(each ^ 255 for each in content[-8:])


def spoil_all(_: bytes) -> bytes:
    return b"<html>404</html>"


@pytest.mark.parametrize(
    ("kind", "spoil"),
    [(kind, spoil) for kind in ("a.zip", "a.tgz") for spoil in (spoil_end, spoil_middle, spoil_all)]
    + [
        ("a.tgz", spoil_checksum),
        ("a.tar", spoil_end),
        ("a.tar", spoil_all),
    ],  # a plain tar has no checksum of its contents
)
def test_damaged_archives_are_named(kind, spoil: Callable[[bytes], bytes], tmp_path, target):
    archive = written(tmp_path / kind, {"1.bin": bytes(range(256)) * 40, "2.bin": b"abc" * 999})
    archive.write_bytes(spoil(archive.read_bytes()))
    with raises(NotFoundError, "bad-archive", archive) as caught:
        archives.unpack(archive, target)
    assert caught.value.cause
    assert len(str(caught.value).splitlines()) <= 6


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path, target):
    archive = written(tmp_path / "a.tar", {"1.bin": b"1" * 512, "2.bin": b"2" * 512})
    content = archive.read_bytes()
    archive.write_bytes(
        content[:1024] + bytes(each ^ 1 for each in content[1024:1536]) + content[1536:]
    )
    with raises(NotFoundError, "bad-archive", archive):
        archives.unpack(archive, target)


def test_an_archive_that_is_not_there(tmp_path, target):
    with raises(NotFoundError, "bad-archive", tmp_path / "nowhere.zip"):
        archives.unpack(tmp_path / "nowhere.zip", target)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    kind=st.sampled_from(["a.zip", "a.tar", "a.tgz"]),
    place=st.integers(0, 700),
    noise=st.binary(max_size=60),
)
def test_arbitrary_bytes_end_in_files_or_in_our_error(kind, place, noise, tmp_path):
    content = bytearray(
        written(tmp_path / kind, {"x/1.bin": b"1" * 300, "2.bin": b""}).read_bytes()
    )
    content[place : place + len(noise)] = noise
    (tmp_path / kind).write_bytes(content)
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(ZooError):
        archives.unpack(tmp_path / kind, folder)
    outside = {path.name for path in tmp_path.iterdir()} - {"a.zip", "a.tar", "a.tgz", "work"}
    assert outside == {"deep"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["folder"]


def test_the_real_archive(shared_data: Path, target):
    archives.unpack(shared_data / "horse2zebra.zip", target)
    counts = {
        folder.name: len(list(folder.iterdir())) for folder in (target / "horse2zebra").iterdir()
    }
    assert counts == {"trainA": 1067, "trainB": 1334, "testA": 120, "testB": 140}


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
def test_damage_anywhere_is_damaged_data(kind, tmp_path):
    """Never an error of the machine's, and never one that names a folder of the cache."""
    content = random.Random(0).randbytes(300)
    archive = written(tmp_path / kind, {"x/1.png": content, "x/2.png": content * 3, "y": b"text"})
    whole = archive.read_bytes()
    draws = random.Random(1)
    for number in range(300):
        damaged = bytearray(whole)
        for _ in range(draws.choice((1, 1, 1, 4))):
            damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        if number % 10 == 0:
            del damaged[draws.randrange(len(damaged)) :]
        archive.write_bytes(damaged)
        folder = tmp_path / "into" / str(number)
        folder.mkdir(parents=True)
        try:
            archives.unpack(archive, folder)
        except ZooError as problem:
            assert problem.exit_code == 3, f"{number}: {problem}"
            assert str(folder) not in str(problem)


def zip_of_encoded_names(path: Path, names: list[bytes]) -> Path:
    """Write what programs of Windows write: the bytes of names without the flag for UTF-8."""

    class Info(zipfile.ZipInfo):
        def _encodeFilenameFlags(self):  # noqa: N802 - of the standard library
            return self.encoded, 0

    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            info = Info(str(number))
            info.encoded = name
            archive.writestr(info, b"content")
    return path


ENCODED = [
    ("gb18030", "楷书/一.png", "Chinese"),
    ("cp932", "ひらがな/ア.png", "Japanese"),
    ("cp949", "고양이/가.png", "Korean"),
    ("cp437", "écureuil/ä.png", "cp437"),
    ("utf-8", "楷书/é.png", ""),
]


@pytest.mark.parametrize(("codec", "name", "told"), ENCODED)
def test_names_in_other_encodings_are_guessed_and_told(codec, name, told, tmp_path, target):
    archive = zip_of_encoded_names(tmp_path / "a.zip", [name.encode(codec), b"plain.txt"])
    note = archives.unpack(archive, target)
    assert name in files_in(target)
    assert (told in note) if told else note == ""


def test_names_that_nobody_can_read_are_told_as_well(tmp_path, target):
    note = archives.unpack(zip_of_encoded_names(tmp_path / "a.zip", [b"\xff\xfe\x01.png"]), target)
    assert "not UTF-8" in note
    assert "not known" in note


def test_names_in_a_tar_are_guessed_as_well(tmp_path, target):
    with tarfile.open(tmp_path / "a.tar", "w", encoding="gb18030", format=tarfile.GNU_FORMAT) as t:
        t.addfile(tarfile.TarInfo("楷书/一.png"), io.BytesIO())
    assert "Chinese" in archives.unpack(tmp_path / "a.tar", target)
    assert "楷书/一.png" in files_in(target)


def test_a_zip_whose_members_begin_before_it_is_damaged_data(tmp_path, target):
    """The system's own word for that is an invalid argument, as for a bad path."""
    archive = written(tmp_path / "a.zip", {"x.png": b"content"})
    content = bytearray(archive.read_bytes())
    content[-6] += 5  # where the directory of the archive begins
    archive.write_bytes(content)
    with raises(NotFoundError, "bad-archive", archive):
        archives.unpack(archive, target)
