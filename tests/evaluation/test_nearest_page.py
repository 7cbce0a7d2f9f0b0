"""Samples beside the training pictures nearest to them: what a model has learnt by heart shows."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.evaluation.toys import store
from tests.process import error_of, zoo
from zoo import DataSpec
from zoo.evaluation import samples

SPEC = DataSpec.of_images("grey", 1, 8, 8)
WHITE = 255


def test_a_copied_picture_stands_below_its_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    training = generator.integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    drawn = training[24:8:-1]
    monkeypatch.setattr(samples, "picture_graph", lambda _: "decode")
    monkeypatch.setattr(samples, "draw_samples", lambda *_, count, seed: drawn[:count])
    trained = type("Trained", (), {"model": torch.nn.Identity()})()
    page = samples.nearest_page(trained, store(SPEC, train={"image": training}))  # type: ignore[arg-type]
    rows = [row for row in _rows(page) if row.size]
    assert len(rows) == 8
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[4], rows[5])
    assert not np.array_equal(rows[1], rows[2])


def _rows(page: np.ndarray) -> list[np.ndarray]:
    """Return the rows of pictures of a page, without the labels at its left."""
    pictures = page[:, 200:, 0]
    gaps = [-1, *np.flatnonzero((pictures == WHITE).all(axis=1)), len(pictures)]
    return [pictures[a + 1 : b] for a, b in itertools.pairwise(gaps)]


def test_the_command_writes_the_page() -> None:
    words = ("eval", "vae", "--data", "fashion-mnist-small", "--metrics", "model")
    zoo(*words, "--nearest", "page.png")
    with Image.open(Path("page.png")) as page:
        assert page.size[0] >= 512
    error_of(*words, "--nearest", "page.jpg", code=2, error="bad-value")
