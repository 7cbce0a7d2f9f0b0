from __future__ import annotations

import pytest

from zoo import constant_then_linear


@pytest.mark.parametrize(("done", "factor"), [(0, 1), (0.5, 1), (0.75, 0.5), (0.9, 0.2), (1, 0)])
def test_the_rate_is_constant_for_half_of_the_training_and_then_falls_to_nothing(
    done: float, factor: float
) -> None:
    assert constant_then_linear(done) == pytest.approx(factor)
