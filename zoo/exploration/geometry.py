"""Paths between codes, directions among them, quantiles of a prior and nearest neighbours.

A code is a row of numbers, here of float64; several are an array (N, D).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.ports import Port

Array = NDArray[Any]
Metric = Literal["euclidean", "cosine"]

SMALLEST_SINE = 1e-6  # of the angle between two codes; below it their arc is not determined


def linear_path(start: Array, end: Array, shares: Array) -> Array:
    """Return codes (T, D) on the straight line, at shares (T,) of the way from 0 to 1."""
    path: Array = start + shares[:, None] * (end - start)
    return path


def spherical_path(start: Array, end: Array, shares: Array) -> Array:
    """Return codes (T, D) on the arc around the origin, at shares (T,) of its angle.

    Spherical linear interpolation (Shoemake 1985; for latent spaces White 2016, arXiv:1609.04468):
    sin((1 - t) Ω) / sin Ω · start + sin(t Ω) / sin Ω · end, with the angle Ω between the two. Codes
    of one norm keep it. Where both point in one direction, or in opposite ones, no arc is
    determined, and the path is the straight line.
    """
    angle = angle_between(start, end)
    sine = np.sin(angle)
    if sine < SMALLEST_SINE:
        return linear_path(start, end, shares)
    there, away = np.sin(shares * angle) / sine, np.sin((1 - shares) * angle) / sine
    path: Array = away[:, None] * start + there[:, None] * end
    return path


def angle_between(first: Array, second: Array) -> float:
    """Return the angle between two codes in radians; 0 where one of them is the origin."""
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.arccos(np.clip(first @ second / norms, -1, 1))) if norms else 0.0


@dataclass(frozen=True)
class Directions:
    """Orthogonal directions through a point."""

    centre: Array  # (D,)
    axes: Array  # (K, D), each of length 1
    spread: Array  # (K,), standard deviation of the codes along each
    # (K,), of the variance of the codes, or of the pictures that they become; empty where unknown
    shares: Array

    def some(self, chosen: Sequence[int]) -> Directions:
        """Return some of the directions, by their places."""
        places = list(chosen)
        shares = self.shares[places] if len(self.shares) else self.shares
        return Directions(self.centre, self.axes[places], self.spread[places], shares)


def principal_directions(codes: Array, count: int) -> Directions:
    """Return the `count` directions of the greatest variance of codes (N, D), or fewer.

    Principal component analysis by the singular value decomposition of the centred codes. The
    number that is greatest in size is positive in each direction, so that the sign is determined.
    """
    centre = codes.mean(axis=0)
    _, singular, axes = np.linalg.svd(codes - centre, full_matrices=False)
    variances = singular**2 / max(1, len(codes) - 1)
    shares = variances / (variances.sum() or 1.0)
    count = min(count, len(axes))
    return Directions(centre, _with_signs(axes[:count]), np.sqrt(variances[:count]), shares[:count])


def picture_directions(codes: Array, pictures: Array, count: int) -> Directions:
    """Return directions of codes (N, D) along which the pictures (N, …) of the codes vary most.

    The principal components of the pictures, and the directions of the codes that predict them by
    linear regression, made orthogonal in their order (as for BigGAN in Härkönen et al. 2020,
    "GANSpace", arXiv:2004.02546). Shares are those of the variance of the pictures.
    """
    centre = codes.mean(axis=0)
    rows = pictures.reshape(len(pictures), -1).astype(np.float32)
    rows -= rows.mean(axis=0)
    variances, components = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    variances, components = variances[::-1].clip(0), components[:, ::-1]
    count = min(count, *codes.shape)
    slopes = np.linalg.lstsq(codes - centre, components[:, :count], rcond=None)[0]  # (D, K)
    axes = _with_signs(np.linalg.qr(slopes)[0].T)
    spread = (codes - centre) @ axes.T
    return Directions(
        centre, axes, spread.std(axis=0), variances[:count] / (variances.sum() or 1.0)
    )


def _with_signs(axes: Array) -> Array:
    """Return directions (K, D), turned round where their greatest number in size is negative."""
    greatest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return axes * np.where(greatest < 0, -1.0, 1.0)


def coordinates(codes: Array, directions: Directions) -> Array:
    """Return how far codes (N, D) lie from the centre along each direction: (N, K)."""
    places: Array = (codes - directions.centre) @ directions.axes.T
    return places


def moved(code: Array, centre: Array, axis: Array, places: Array) -> Array:
    """Return a code (D,) put at places (T,) along one direction, counted from a centre: (T, D).

    What it has along the directions that are orthogonal to this one stays.
    """
    start = code - ((code - centre) @ axis) * axis
    path: Array = start + places[:, None] * axis
    return path


def prior_quantiles(port: Port, count: int) -> Array:
    """Return `count` values that cut the prior of a port into parts of equal probability: (T,).

    They lie in the middle of the parts: at (i + ½) / count.

    Raises:
        ValueError: the prior is neither normal nor uniform.
    """
    shares = (np.arange(count) + 0.5) / count
    if port.prior == "normal":
        return np.array([NormalDist().inv_cdf(share) for share in shares])
    if port.prior == "uniform" and port.range is not None:
        low, high = port.range
        return low + (high - low) * shares
    raise ValueError(f"port {port.name!r} has no prior that varies")


def prior_scale(port: Port) -> tuple[float, float]:
    """Return mean and standard deviation of one number of a port, by its prior.

    Raises:
        ValueError: as `prior_quantiles`.
    """
    if port.prior == "normal":
        return 0.0, 1.0
    if port.prior == "uniform" and port.range is not None:
        low, high = port.range
        return (low + high) / 2, (high - low) / 12**0.5
    raise ValueError(f"port {port.name!r} has no prior that varies")


def nearest(
    queries: Array, codes: Array, count: int, metric: Metric = "euclidean"
) -> tuple[Array, Array]:
    """Return which of the codes (N, D) are nearest to each query (Q, D), and how far: (Q, count).

    Nearest first; of equal ones, that which comes first. The cosine distance is 1 - cos, from 0 to
    2, and 1 from and to the origin.
    """
    count = min(count, len(codes))
    norms = np.linalg.norm(codes, axis=1)
    places, distances = [], []
    for query in queries:
        if metric == "cosine":
            product = norms * np.linalg.norm(query)
            alike = np.divide(codes @ query, product, out=np.zeros(len(codes)), where=product > 0)
            apart = 1 - alike.clip(-1, 1)
        else:
            apart = np.linalg.norm(codes - query, axis=1)
        order = np.argsort(apart, kind="stable")[:count]
        places.append(order)
        distances.append(apart[order])
    return np.stack(places), np.stack(distances)
