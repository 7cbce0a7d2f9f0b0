"""The bounds of a linear Gaussian model, whose log p(x) is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from tests.evaluation.toys import Toy, store
from tests.process import error_of, zoo_json
from zoo import DataSpec
from zoo.evaluation import likelihood
from zoo.evaluation.likelihood import binarised, bounds, has_likelihood, measure_likelihood

SPEC = DataSpec.of_images("grey", 1, 2, 2)
PIXELS = np.random.default_rng(0).integers(0, 256, (7, 2, 2, 1)).astype(np.uint8)
DATA = store(SPEC, test={"image": PIXELS})
WEIGHT = torch.tensor([[1.0, 0.5], [0.0, 1.0], [0.3, -0.4], [0.2, 0.1]], dtype=torch.float64)
SIGMA = 0.5


class Linear(Toy):
    """x = W z + σ ε; q(z|x) is the true posterior, widened by a factor."""

    def __init__(self, widened: float) -> None:
        super().__init__(SPEC, {})
        self.widened = widened

    def log_importance_weights(self, batch: Mapping[str, Tensor], samples: int) -> Tensor:
        x = batch["image"].flatten(1).double()
        precision = torch.eye(2, dtype=torch.float64) + WEIGHT.T @ WEIGHT / SIGMA**2
        mean = torch.linalg.solve(precision, WEIGHT.T @ x.T / SIGMA**2).T
        q = MultivariateNormal(mean, precision.inverse() * self.widened)
        z = q.sample((samples,))
        log_likelihood = Normal(z @ WEIGHT.T, SIGMA).log_prob(x).sum(dim=-1)
        return log_likelihood + Normal(0.0, 1.0).log_prob(z).sum(dim=-1) - q.log_prob(z)


def log_p() -> np.ndarray:
    x = torch.from_numpy(PIXELS.reshape(7, 4).copy()).double() / 127.5 - 1
    covariance = WEIGHT @ WEIGHT.T + SIGMA**2 * torch.eye(4, dtype=torch.float64)
    return MultivariateNormal(torch.zeros(4, dtype=torch.float64), covariance).log_prob(x).numpy()


def test_with_the_true_posterior_both_bounds_are_the_likelihood() -> None:
    for found in bounds(Linear(1.0), DATA, "test", k=3):
        assert found == pytest.approx(log_p(), rel=1e-5)


def test_more_samples_bring_the_bound_nearer_and_leave_the_elbo() -> None:
    # KL(q ‖ posterior) of two Gaussians of two dimensions, one 4 times as wide
    gap = 0.5 * 2 * (4 - 1 - np.log(4))
    elbo, nearer = bounds(Linear(4.0), DATA, "test", k=4000)
    assert elbo == pytest.approx(log_p() - gap, abs=0.2)
    assert nearer == pytest.approx(log_p(), abs=0.1)
    _, coarse = bounds(Linear(4.0), DATA, "test", k=5)
    assert elbo.mean() < coarse.mean() < nearer.mean()


def test_portions_of_samples_make_the_same_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bounds(Linear(2.0), DATA, "test", k=400)[1]
    monkeypatch.setattr(likelihood, "MOST_NUMBERS", 4 * 7 * 64)  # 64 samples at a time
    assert bounds(Linear(2.0), DATA, "test", k=400)[1] == pytest.approx(whole, abs=0.15)


def test_bits_are_the_bound_by_dimension() -> None:
    assert has_likelihood(Linear(1.0))
    assert not has_likelihood(Toy(SPEC, {}))
    found = {each.name: each for each in measure_likelihood(Linear(1.0), DATA, "test", k=2)}
    bound = found["importance_weighted_bound"]
    assert found["bits_per_dimension"].value == pytest.approx(-bound.value / (4 * np.log(2)))
    assert bound.protocol["samples"] == 2
    assert bound.spread.low < bound.value < bound.spread.high


def test_pixels_are_drawn_black_or_white_once_with_their_value_as_probability() -> None:
    grey = np.repeat(np.uint8([0, 51, 204, 255]), 4000).reshape(40, 20, 20, 1)
    data = store(DataSpec.of_images("grey", 1, 20, 20), test={"image": grey})
    first, again = (binarised(data, "test").splits["test"]["image"] for _ in range(2))
    assert np.array_equal(first, again)
    assert set(np.unique(first)) == {0, 255}
    shares = (first == 255).reshape(4, -1).mean(axis=1)
    assert shares[0] == 0
    assert shares[3] == 1
    assert abs(shares[1] - 0.2) < 4 * (0.2 * 0.8 / 4000) ** 0.5
    assert abs(shares[2] - 0.8) < 4 * (0.2 * 0.8 / 4000) ** 0.5
    drawn = store(data.spec, test={"image": first})
    assert np.array_equal(binarised(drawn, "test").splits["test"]["image"], first)


def test_figures_of_binary_and_of_grey_values_say_which_they_are() -> None:
    words = ("eval", "vae", "--data", "fashion-mnist-small", "--metrics", "likelihood",
             "--importance-samples", "2")  # fmt: skip
    grey, binary = (zoo_json(*words, *more)["measurements"] for more in ([], ["--binarise"]))
    assert grey[0]["protocol"]["values"] != binary[0]["protocol"]["values"]
    assert grey[0]["value"] != binary[0]["value"]


def test_a_model_without_a_likelihood_is_not_measured_on_binary_pixels() -> None:
    words = ("eval", "ae", "--data", "fashion-mnist-small", "--binarise")
    assert "ae has no likelihood" in error_of(*words, code=2, error="does-not-apply")
