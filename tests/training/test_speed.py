"""The FLOPs of a training step, against a count by hand; why `auto` takes a precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from zoo.api.jobs import create_job
from zoo.training import devices
from zoo.training.config import Settings
from zoo.training.speed import flop_per_image


def test_the_products_of_an_autoencoder_are_all_counted() -> None:
    job = create_job(model="ae", layers=[{"hidden": (16,), "code_size": 3}])
    weights = 784 * 16 + 16 * 3 + 3 * 16 + 16 * 784
    # forward, by the weights, by the inputs; nobody wants the gradient of the picture
    assert flop_per_image(job) == 2 * (3 * weights - 784 * 16)


def test_a_gradient_penalty_and_recurrent_layers_are_counted() -> None:
    assert flop_per_image(create_job(model="wgan-gp", layers=[{"features": 4}])) > 0
    job = create_job(model="char-lstm")
    model = job.build()
    weights = sum(each.numel() for each in model.parameters() if each.ndim == 2)
    symbols = job.store.spec.ports[0].shape[1]
    assert isinstance(symbols, int)
    assert flop_per_image(job) > 4 * symbols * weights  # oneDNN's layers would hide most of it


@pytest.mark.parametrize(
    ("has", "wanted"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16"),
        ({"avx512_bf16": False}, "32"),
        ({}, "32"),
    ],
)
def test_the_feature_of_the_cpu_that_decides_is_named(
    has: dict[str, bool], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def capabilities() -> dict[str, Any]:
        return has

    monkeypatch.setattr(torch.cpu, "get_capabilities", capabilities)
    precision, reason = devices.explain_precision(Settings(), "cpu")
    assert precision == wanted
    assert "avx512_bf16" in reason or not has
    assert ("amx_bf16" in reason) == (wanted == "32")
    assert devices.explain_precision(Settings(precision="32"), "cpu")[0] == "32"
