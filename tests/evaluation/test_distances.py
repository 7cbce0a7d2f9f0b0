"""Distances between sets of features agree with closed forms, and grow as sets move apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from zoo.evaluation.distances import Overlap, frechet_distance, kernel_distance, overlap

Features = NDArray[np.float32]


def gaussian(count: int, size: int, seed: int) -> Features:
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)


def with_moments(mean: NDArray[np.float64], root: NDArray[np.float64], seed: int) -> Features:
    """Rows whose mean and covariance are exactly `mean` and root·rootᵀ."""
    rows = np.random.default_rng(seed).normal(size=(500, len(mean)))
    rows -= rows.mean(axis=0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T
    return (rows @ root.T + mean).astype(np.float32)


def test_the_frechet_distance_is_that_of_two_gaussians() -> None:
    generator = np.random.default_rng(0)
    roots = generator.normal(size=(2, 5, 5)) / 2 + np.eye(5)
    means = generator.normal(size=(2, 5))
    first, second = (with_moments(*each, seed=3) for each in zip(means, roots, strict=True))
    covariances = [root @ root.T for root in roots]
    values, vectors = np.linalg.eigh(covariances[0])
    half = vectors @ np.diag(np.sqrt(values)) @ vectors.T
    crossed = np.sqrt(np.linalg.eigvalsh(half @ covariances[1] @ half)).sum()
    expected = ((means[0] - means[1]) ** 2).sum() - 2 * crossed
    expected += sum(np.trace(each) for each in covariances)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-4)


def test_the_kernel_distance_is_the_unbiased_discrepancy() -> None:
    real, made = gaussian(60, 4, 1), gaussian(60, 4, 2) * 1.5 + 0.5

    def kernel(a: Features, b: Features) -> NDArray[np.float64]:
        return (a.astype(np.float64) @ b.T / 4 + 1) ** 3

    def mean_off_diagonal(matrix: NDArray[np.float64]) -> float:
        return (matrix.sum() - np.trace(matrix)) / (60 * 59)

    expected = mean_off_diagonal(kernel(real, real)) + mean_off_diagonal(kernel(made, made))
    expected -= 2 * kernel(real, made).mean()
    assert kernel_distance(real, made) == pytest.approx(expected, rel=1e-5)


def overlap_by_loops(real: Features, made: Features, k: int) -> Overlap:
    def reach(rows: Features) -> list[float]:
        return [sorted(float(np.linalg.norm(row - each)) for each in rows)[k] for row in rows]

    real_reach, made_reach = reach(real), reach(made)
    apart = [[float(np.linalg.norm(one - other)) for other in real] for one in made]
    rows, columns = range(len(made)), range(len(real))
    inside = [[apart[i][j] <= real_reach[j] for j in columns] for i in rows]
    recalled = [any(apart[i][j] <= made_reach[i] for i in rows) for j in columns]
    return Overlap(
        precision=sum(map(any, inside)) / len(made),
        recall=sum(recalled) / len(real),
        density=sum(map(sum, inside)) / (k * len(made)),
        coverage=sum(any(inside[i][j] for i in rows) for j in columns) / len(real),
    )


@pytest.mark.parametrize("k", [1, 5])
def test_the_overlap_is_that_of_its_definition(k: int) -> None:
    real, made = gaussian(40, 3, 1), gaussian(50, 3, 2) * 0.8 + 0.3
    found, expected = overlap(real, made, k), overlap_by_loops(real, made, k)
    assert vars(found) == pytest.approx(vars(expected))


REAL = gaussian(600, 8, 1)
SPOILERS: dict[str, Callable[[Features, float], Features]] = {
    "moved": lambda rows, level: rows + level,
    "noisy": lambda rows, level: rows + level * gaussian(*rows.shape, 7),
    "blurred": lambda rows, level: rows * (1 - 0.3 * level),
    "of fewer modes": lambda rows, level: rows[: max(8, int(len(rows) * (1 - 0.32 * level)))][
        np.arange(len(rows)) % max(8, int(len(rows) * (1 - 0.32 * level)))
    ],
}


@pytest.mark.parametrize("how", SPOILERS)
def test_distances_grow_with_what_is_wrong(how: str) -> None:
    made = gaussian(600, 8, 2)
    if how == "of fewer modes":  # modes are runs of neighbours
        made = made[np.argsort(made[:, 0])]
    levels = [SPOILERS[how](made, level) for level in (0.0, 1.0, 2.0, 3.0)]
    for distance in (frechet_distance, kernel_distance):
        found = [distance(REAL, each) for each in levels]
        assert found == sorted(found), distance.__name__
    coverage = [overlap(REAL, each).coverage for each in levels]
    assert coverage == sorted(coverage, reverse=True)
