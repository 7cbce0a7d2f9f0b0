"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from zoo.atomic import replacing, write_json, write_text


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_an_error_of_the_disk_names_the_file_that_was_to_be(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(OSError, match=r"a\.txt") as write, replacing(path):
        raise OSError(number, os.strerror(number))  # as a write does: no name
    assert write.value.filename == str(path)
    with pytest.raises(OSError, match=r"a\.txt") as opening, replacing(path) as temporary:
        raise OSError(number, os.strerror(number), str(temporary))
    assert opening.value.filename == str(path)
    with pytest.raises(OSError, match="another") as other, replacing(path):
        raise OSError(number, os.strerror(number), "another.txt")
    assert other.value.filename == "another.txt"
    assert list(tmp_path.iterdir()) == []


def test_the_umask_decides_who_may_read(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_not_a_number_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())
