"""What single units of a code add to a picture."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.exploration.latent_space import Arrays, find_latent_space
from zoo.exploration.views import filters
from zoo.ports import DataSpec, Port, Signature

DATA = DataSpec.of_images("squares", 1, 4, 4)
IMAGE = Port.image("image", DATA.pictures)
CODE = Port.latent("code", 3, prior=None)
WEIGHTS = np.zeros((3, 4, 4), np.float32)
WEIGHTS[0, 0], WEIGHTS[0, 3], WEIGHTS[1, 1, 1] = 0.1, -0.05, -0.02


def linear(graph: str, inputs: Arrays) -> Arrays:
    """decode: the sum of the units' weights; encode is not called."""
    return {"image": np.tensordot(inputs["code"], WEIGHTS, 1)[:, None].astype(np.float32)}


def test_of_a_linear_decoder_they_are_its_weights_each_on_its_own_scale() -> None:
    space = find_latent_space(
        "toy",
        linear,
        {"encode": Signature((IMAGE,), (CODE,)), "decode": Signature((CODE,), (IMAGE,))},
        DATA,
    )
    codes = np.array([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])  # of standard deviation 1
    view = filters(space, codes, 10, {})
    assert view.facts == {"units": [0, 1, 2], "without_effect": 1}
    shown = view.pictures[..., 0] / 127.5 - 1
    for unit in (0, 1):
        wanted = WEIGHTS[unit] / np.abs(WEIGHTS[unit]).max()
        np.testing.assert_allclose(shown[unit], wanted, atol=0.1)  # of whole grey levels
    assert shown[2] == pytest.approx(0, abs=0.01)


def test_of_maps_the_middle_is_moved() -> None:
    maps = Port("code", "latent", ("batch", 2, 4, 4))
    moved: list[tuple[int, ...]] = []

    def decode(graph: str, inputs: Arrays) -> Arrays:
        moved.extend(map(tuple, np.argwhere(inputs["code"])))
        return {"image": inputs["code"].sum(axis=1, keepdims=True) / 100}

    space = find_latent_space(
        "toy",
        decode,
        {"encode": Signature((IMAGE,), (maps,)), "decode": Signature((maps,), (IMAGE,))},
        DATA,
    )
    codes = np.stack([np.ones(32), -np.ones(32)])
    assert filters(space, codes, 2, {}).facts["units"] == [10, 26]
    assert {each[1:] for each in moved} == {(0, 2, 2), (1, 2, 2)}
