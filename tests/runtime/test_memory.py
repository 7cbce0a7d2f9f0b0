"""The bound on memory: refused as an error inside, gone afterwards."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.errors import raises
from zoo.errors import ZooError
from zoo.runtime.engine import bounded_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the bound is Linux's")


def nearly_all() -> int:
    """Bytes beyond the bound, which Linux would promise without one as long as they are unused."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    return (free["MemAvailable"] + free["SwapFree"]) * 95 // 100


def test_more_than_is_free_is_refused_inside_and_promised_again_after() -> None:
    with raises(ZooError, "out-of-memory"), bounded_memory():
        np.empty(nearly_all(), np.uint8)
    assert np.empty(nearly_all(), np.uint8).size


def test_what_is_free_can_be_had() -> None:
    with bounded_memory():
        assert np.zeros(2**24, np.uint8).sum() == 0
