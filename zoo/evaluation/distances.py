"""How far made items are from real ones, in the features of a network; each item is one row.

A Fréchet distance is called FID only in the features of the Inception network that its authors
took; in others it is no smaller or greater than an FID, but another number.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

NEIGHBOURS = 5  # k of precision, recall, density and coverage
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
AT_ONCE = 1024  # rows whose distances to all others are held at a time

Features = NDArray[np.float32]


class _AsTheyAre(nn.Module):
    """Takes features for images: torchmetrics asks a network for what is here already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet_distance(real: Features, made: Features) -> float:
    """Return ‖m − m'‖² + tr(C + C' − 2 (C C')^½) of means and covariances of features (N, D).

    Source: Heusel et al. 2017, arXiv:1706.08500, eq. 6. It is biased: few items make it greater.
    """
    metric = FrechetInceptionDistance(feature=_AsTheyAre(real.shape[1]))
    metric.update(torch.from_numpy(real).double(), real=True)
    metric.update(torch.from_numpy(made).double(), real=False)
    return float(metric.compute())


def kernel_distance(real: Features, made: Features, seed: int = 0) -> float:
    """Return the squared maximum mean discrepancy of features (N, D), with a cubic kernel.

    The unbiased estimate, mean of 100 subsets of 1,000 rows, or of all where there are fewer; about
    0, also below, where both are of one distribution. Source: Bińkowski et al. 2018,
    arXiv:1801.01401, eq. 4, k(x, y) = (x·y / D + 1)³.
    """
    size = min(KID_SUBSET_SIZE, len(real), len(made))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that it holds all features, as we do anyway
        metric = KernelInceptionDistance(
            feature=_AsTheyAre(real.shape[1]), subsets=KID_SUBSETS, subset_size=size
        )
    metric.update(torch.from_numpy(real).double(), real=True)
    metric.update(torch.from_numpy(made).double(), real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return float(metric.compute()[0])


@dataclass(frozen=True)
class Overlap:
    """How the sets of made and real items cover each other; each number is best at 1.

    Precision: share of made items within the reach of a real one. Recall: share of real items
    within the reach of a made one. Density: real items in whose reach a made one is, as a share of
    k; may exceed 1. Coverage: share of real items with a made one in their reach. The reach of an
    item is the distance to the k-th nearest of its own set.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def overlap(real: Features, made: Features, k: int = NEIGHBOURS) -> Overlap:
    """Return precision, recall, density and coverage of features (N, D).

    Sources: Kynkäänniemi et al. 2019, arXiv:1904.06991, eq. 1–2; Naeem et al. 2020,
    arXiv:2002.09797, eq. 4–5. Both sets have more than `k` rows, and should have as many as each
    other: recall depends on it.
    """
    ours, theirs = torch.from_numpy(made).double(), torch.from_numpy(real).double()
    real_reach, made_reach = _reach(theirs, k), _reach(ours, k)
    covered, recalled = torch.zeros(2, len(theirs), dtype=torch.bool)
    inside = balls = 0
    for some, reach in zip(
        torch.split(ours, AT_ONCE), torch.split(made_reach, AT_ONCE), strict=True
    ):
        apart = torch.cdist(some, theirs)  # (some, real)
        in_real = apart <= real_reach
        inside += int(in_real.any(dim=1).sum())
        balls += int(in_real.sum())
        covered |= in_real.any(dim=0)
        recalled |= (apart <= reach[:, None]).any(dim=0)
    return Overlap(
        precision=inside / len(ours),
        recall=float(recalled.double().mean()),
        density=balls / (k * len(ours)),
        coverage=float(covered.double().mean()),
    )


def _reach(rows: Tensor, k: int) -> Tensor:
    """Return the distance of each row to the k-th nearest of the others."""
    parts = [
        torch.cdist(some, rows).kthvalue(k + 1, dim=1).values for some in torch.split(rows, AT_ONCE)
    ]
    return torch.cat(parts)
