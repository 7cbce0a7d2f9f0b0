from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.test_trainer import SPEC, Dots, DotsConfig
from zoo.training.trainer import WeightAverage


class WithStatistics(Dots):
    def __init__(self, config: DotsConfig) -> None:
        super().__init__(config, SPEC)
        self.norm = nn.BatchNorm2d(2)


def test_an_average_follows_the_weights_by_its_decay() -> None:
    model = WithStatistics(DotsConfig())
    average = WeightAverage(model, 0.9)
    weight, mean = model.discriminator.weight, model.norm.running_mean
    assert mean is not None
    expected, expected_mean = weight.detach().double().clone(), mean.double().clone()
    for step in range(1, 200):
        with torch.no_grad():
            weight.normal_()
            mean.normal_()
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.detach()
        expected_mean = decay * expected_mean + (1 - decay) * mean
    with average.in_place():
        torch.testing.assert_close(weight.double(), expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(mean.double(), expected_mean, rtol=1e-4, atol=1e-6)


def test_the_model_has_its_own_weights_again_to_the_bit() -> None:
    model = WithStatistics(DotsConfig())
    average = WeightAverage(model, 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    average.update(1)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    with pytest.raises(ZeroDivisionError), average.in_place():
        inside = {name: each.clone() for name, each in model.state_dict().items()}
        assert any(not torch.equal(inside[name], before[name]) for name in before)
        for name, tensor in average.raw_weights.items():
            assert torch.equal(tensor, before[name])
        raise ZeroDivisionError
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
