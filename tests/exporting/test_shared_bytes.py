"""Files are taken apart and put together again to the byte, and what they share is kept once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoo.exporting.shared_bytes import NEW, find_shared, join_shared

PIECES = [np.random.default_rng(seed).bytes(3000) for seed in range(4)] + [bytes(2000), b"ab", b""]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=5).map(b"".join), max_size=4))
def test_files_come_back_to_the_byte(files: list[bytes]) -> None:
    assert join_shared(find_shared(files)) == files


def test_what_two_files_share_is_kept_once_wherever_it_stands() -> None:
    first, second, third = (np.random.default_rng(seed).bytes(100_000) for seed in range(3))
    files = [b"abc" + first, b"x" + second, b"head" + second + b"middle!" + first, third]
    parts = find_shared(files)
    assert join_shared(parts) == files
    ranges, new = parts[2]
    assert new == b"headmiddle!"
    assert [(each.file, each.length) for each in ranges] == [
        (NEW, 4), (1, 100_000), (NEW, 7), (0, 100_000)
    ]  # fmt: skip
    assert [len(new) for _, new in parts] == [100_003, 100_001, 11, 100_000]


def test_zeros_are_no_trouble() -> None:
    files = [bytes(50_000), b"1" + bytes(40_000) + b"2", bytes(60_000)]
    parts = find_shared(files)
    assert join_shared(parts) == files
    assert sum(len(new) for _, new in parts) < 62_000
