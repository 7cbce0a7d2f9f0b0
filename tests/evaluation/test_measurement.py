"""A number's spread is as wide as theory says."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.evaluation.measurement import bootstrap, mean_of_items, over_seeds
from zoo.measurements import Measurement


def test_the_bootstrap_interval_is_that_of_a_mean() -> None:
    values = np.random.default_rng(0).normal(3, 2, size=4000)
    spread = bootstrap(values)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert spread.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert spread.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert spread == bootstrap(values), "the same every time"
    assert bootstrap(np.full(10, 2.5)).low == bootstrap(np.full(10, 2.5)).high == 2.5


def test_numbers_of_several_seeds_have_their_mean_and_their_ends() -> None:
    (found,) = over_seeds(lambda seed: [Measurement("fid", 10.0 + seed, "lowest")], 3)
    assert (found.value, found.spread.low, found.spread.high) == (11, 10, 12)
    assert (found.spread.of, found.protocol["seeds"], found.better) == ("seeds", 3, "lowest")
    (alone,) = over_seeds(lambda seed: [Measurement("fid", 1.0)], 1)
    assert alone.spread is None


def test_a_mean_of_items_keeps_what_it_is_of() -> None:
    found = mean_of_items("psnr", np.arange(5.0), graph="reconstruct", unit="dB")
    assert (found.value, found.graph, found.unit, found.spread.of) == (
        2.0, "reconstruct", "dB", "bootstrap",
    )  # fmt: skip
