"""Paths, directions, quantiles and neighbours, held against computations of another kind."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.exploration.geometry import (
    Metric,
    coordinates,
    linear_path,
    moved,
    nearest,
    picture_directions,
    principal_directions,
    prior_quantiles,
    prior_scale,
    spherical_path,
)
from zoo.ports import Port

GENERATOR = np.random.default_rng(0)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_an_arc_keeps_the_norm_and_has_equal_angles(seed: int, size: int) -> None:
    start, end = np.random.default_rng(seed).standard_normal((2, size))
    end *= np.linalg.norm(start) / np.linalg.norm(end)
    path = spherical_path(start, end, np.linspace(0, 1, 7))
    norms = np.linalg.norm(path, axis=1)
    np.testing.assert_allclose(norms, norms[0], rtol=1e-6)
    steps = (path[1:] * path[:-1]).sum(axis=1) / norms[0] ** 2
    np.testing.assert_allclose(steps, steps[0], atol=1e-6)
    np.testing.assert_allclose(path[[0, -1]], [start, end], atol=1e-9)


def test_an_arc_lies_in_the_plane_of_its_ends() -> None:
    path = spherical_path(np.array([3.0, 0, 0]), np.array([0, 3.0, 0]), np.array([0, 1 / 3, 0.5]))
    turned = [[3, 0, 0], [3 * np.cos(np.pi / 6), 1.5, 0], [3 / 2**0.5, 3 / 2**0.5, 0]]
    np.testing.assert_allclose(path, turned, atol=1e-12)


@pytest.mark.parametrize("end", [[2.0, 0], [-3.0, 0], [0, 0]])
def test_where_no_arc_is_determined_the_path_is_straight(end: list[float]) -> None:
    path = spherical_path(np.array([1.0, 0]), np.array(end), np.array([0, 0.25, 1]))
    np.testing.assert_allclose(path[:, 0], 1 + np.array([0, 0.25, 1]) * (end[0] - 1))
    assert not path[:, 1].any()


def test_a_straight_path_is_uniform() -> None:
    path = linear_path(np.array([0.0, 1]), np.array([4.0, -1]), np.linspace(0, 1, 5))
    np.testing.assert_allclose(path.T, [[0, 1, 2, 3, 4], [1, 0.5, 0, -0.5, -1]])


@pytest.mark.parametrize("shape", [(200, 6), (5, 30)])
def test_principal_directions_are_those_of_the_covariance(shape: tuple[int, int]) -> None:
    codes = GENERATOR.standard_normal(shape) @ GENERATOR.standard_normal((shape[1], shape[1])) + 3
    found = principal_directions(codes, 3)
    variances, axes = np.linalg.eigh(np.cov(codes, rowvar=False))
    np.testing.assert_allclose(found.spread**2, variances[:-4:-1])
    np.testing.assert_allclose(found.shares, variances[:-4:-1] / variances.sum())
    np.testing.assert_allclose(np.abs((found.axes * axes[:, :-4:-1].T).sum(axis=1)), 1)
    greatest = found.axes[range(3), np.abs(found.axes).argmax(axis=1)]
    assert (greatest > 0).all()
    places = coordinates(codes, found)
    np.testing.assert_allclose(places.std(axis=0, ddof=1), found.spread)
    np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-9)


def test_codes_that_are_all_alike_have_no_direction() -> None:
    found = principal_directions(np.ones((4, 3)), 2)
    assert not found.shares.any()
    assert not coordinates(np.ones((4, 3)), found).any()


def test_the_directions_of_pictures_are_those_that_change_them() -> None:
    """Pictures depend on two hidden directions, on the second one half as much."""
    hidden = np.linalg.qr(GENERATOR.standard_normal((12, 2)))[0].T
    patterns = np.linalg.qr(GENERATOR.standard_normal((64, 2)))[0].T * [[100], [50]]
    codes = GENERATOR.standard_normal((500, 12))
    found = picture_directions(codes, (codes @ hidden.T @ patterns).reshape(-1, 8, 8), 2)
    np.testing.assert_allclose(found.axes @ found.axes.T, np.eye(2), atol=1e-9)
    plane = found.axes @ hidden.T
    np.testing.assert_allclose(np.linalg.svd(plane)[1], 1, atol=1e-6)
    assert abs(plane[0, 0]) > 0.99
    assert found.shares.sum() == pytest.approx(1)
    assert found.shares[0] == pytest.approx(0.8, abs=0.05)


def test_a_code_is_moved_along_one_direction_only() -> None:
    axis = np.array([0.6, 0.8, 0])
    across = np.array([0.8, -0.6, 0])
    code, centre = np.array([1.0, 2, 3]), np.array([0.5, 0.5, 0.5])
    path = moved(code, centre, axis, np.array([-1.0, 0, 2]))
    np.testing.assert_allclose((path - centre) @ axis, [-1, 0, 2], atol=1e-9)
    np.testing.assert_allclose(path @ across, code @ across)
    np.testing.assert_allclose(path[:, 2], 3)


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_quantiles_cut_a_prior_into_equal_parts(count: int) -> None:
    expected = (np.arange(count) + 0.5) / count
    normal = prior_quantiles(Port.latent("z", 2), count)
    np.testing.assert_allclose([NormalDist().cdf(each) for each in normal], expected)
    uniform = Port("z", "latent", ("batch", 2), range=(-3.0, 1.0), prior="uniform")
    np.testing.assert_allclose((prior_quantiles(uniform, count) + 3) / 4, expected)


@pytest.mark.parametrize(
    "port",
    [
        Port.latent("z", 2),
        Port("z", "latent", ("batch", 2), range=(-3.0, 1.0), prior="uniform"),
    ],
)
def test_the_scale_of_a_prior_is_that_of_its_draws(port: Port) -> None:
    drawn = port.draw(50_000, np.random.default_rng(0))
    assert prior_scale(port) == (
        pytest.approx(float(drawn.mean()), abs=0.02),
        pytest.approx(float(drawn.std()), abs=0.02),
    )


@pytest.mark.parametrize("prior", [None, "zeros"])
def test_what_does_not_vary_has_no_quantiles(prior: None) -> None:
    port = Port.latent("z", 2, prior=prior)
    with pytest.raises(ValueError, match="'z'"):
        prior_quantiles(port, 3)
    with pytest.raises(ValueError, match="'z'"):
        prior_scale(port)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbours_are_those_of_a_search_one_by_one(metric: Metric) -> None:
    codes = GENERATOR.standard_normal((60, 5)) * GENERATOR.uniform(0.1, 4, (60, 1))
    queries = GENERATOR.standard_normal((4, 5))
    places, distances = nearest(queries, codes, 7, metric)
    for query, near, far in zip(queries, places, distances, strict=True):
        apart = {}
        for place, code in enumerate(codes):
            cosine = sum(query * code) / (sum(query**2) * sum(code**2)) ** 0.5
            apart[place] = 1 - cosine if metric == "cosine" else sum((query - code) ** 2) ** 0.5
        assert near.tolist() == sorted(apart, key=apart.__getitem__)[:7]
        np.testing.assert_allclose(far, [apart[place] for place in near.tolist()], atol=1e-9)


def test_of_equal_neighbours_the_first_comes_first_and_the_origin_is_no_direction() -> None:
    codes = np.array([[0.0, 0], [1, 0], [2, 0], [1, 0]])
    places, distances = nearest(codes[1:2], codes, 9)
    assert (places.tolist(), distances.tolist()) == ([[1, 3, 0, 2]], [[0, 0, 1, 1]])
    places, distances = nearest(np.array([[5.0, 0], [0, 0]]), codes, 4, "cosine")
    assert places.tolist() == [[1, 2, 3, 0], [0, 1, 2, 3]]
    np.testing.assert_allclose(distances, [[0, 0, 0, 1], [1, 1, 1, 1]])
