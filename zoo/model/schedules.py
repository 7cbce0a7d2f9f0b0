"""Factors of the learning rate as pure functions of the share of the training that is done.

A function of the share, not of a count of steps, fits a budget given in epochs, steps or minutes
alike, and has no state that a checkpoint could lose.
"""

from __future__ import annotations

import math


def constant(done: float) -> float:
    """Return 1 throughout."""
    del done
    return 1.0


def constant_then_linear(done: float, *, fall_from: float = 0.5) -> float:
    """Return 1, and from a share of the training on a straight line down to 0 at its end.

    Source: Zhu et al. 2017, arXiv:1703.10593, section 4.

    Args:
        done: share of the training that is done, in [0, 1].
        fall_from: share of the training after which the rate falls, below 1.
    """
    return min(1.0, (1 - done) / (1 - fall_from))


def one_cycle(done: float, *, rise: float = 0.3) -> float:
    """Return the cosine one-cycle factor: from 1/25 up to 1, then down to 1/10,000 of the start.

    Source: Smith & Topin 2018, "Super-Convergence", arXiv:1708.07120, with cosine annealing.

    Args:
        done: share of the training that is done, in [0, 1].
        rise: share of the training in which the rate rises.
    """
    start, end = 1 / 25, 1 / 250_000
    if done < rise:
        return _cosine(start, 1.0, done / rise)
    return _cosine(1.0, end, (done - rise) / (1 - rise))


def _cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(share, 1.0))) / 2
