"""Looking at a model changes neither the model nor what is drawn afterwards."""

from __future__ import annotations

import random

import numpy as np
import torch

from tests.training.test_trainer import SPEC, Dots, DotsConfig
from zoo.model.inference import evaluating


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_evaluation_draws_the_same_every_time_and_disturbs_nothing() -> None:
    model = Dots(DotsConfig(), SPEC)
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    undisturbed = [draws() for _ in range(2)]
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    found = [draws()]
    with evaluating(model):
        first = draws()
    with evaluating(model):
        assert draws() == first
    assert [*found, draws()] == undisturbed
    assert model.training
