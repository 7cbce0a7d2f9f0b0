from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo_autoencoders.wta_ae import (
    WinnerTakeAllAutoencoder,
    WinnerTakeAllConfig,
    lifetime_winners,
    spatial_winners,
)

from tests.plugins.plain_loop import clothes, train
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)
NETWORKS = ["fully-connected", "convolutional"]


def build(**options: object) -> WinnerTakeAllAutoencoder:
    torch.manual_seed(0)
    options = {"hidden_units": 30, "features": 6, **options}
    return WinnerTakeAllAutoencoder(configure(WinnerTakeAllConfig, options), GREY)


@pytest.mark.parametrize(("share", "kept"), [(0.05, 2), (0.5, 20), (0.001, 1), (1.0, 40)])
def test_lifetime_sparsity_keeps_exactly_its_share_of_the_batch(share: float, kept: int) -> None:
    heights = torch.rand(40, 7)
    mask, least = lifetime_winners(heights, share)
    assert mask.sum(dim=0).tolist() == [kept] * 7
    for unit in range(7):
        order = np.argsort(heights[:, unit].numpy())[-kept:]
        assert set(order.tolist()) == set(mask[:, unit].nonzero()[:, 0].tolist())
        assert least[unit] == heights[order[0], unit]


def test_spatial_sparsity_keeps_the_greatest_of_each_map() -> None:
    maps = torch.rand(3, 4, 5, 6)
    kept = spatial_winners(maps)
    assert (kept != 0).sum(dim=(2, 3)).eq(1).all()
    assert torch.equal(kept.amax(dim=(2, 3)), maps.amax(dim=(2, 3)))
    assert torch.equal(kept[kept != 0], maps[kept != 0])


def test_of_equal_values_of_a_map_one_is_kept() -> None:
    assert spatial_winners(torch.ones(2, 3, 4, 4)).sum(dim=(2, 3)).eq(1).all()


def test_the_term_is_the_error_of_the_winners() -> None:
    model, image = build(lifetime_sparsity=0.1), clothes(20)
    (update,) = model.training_step({"image": image})
    linear, decoder = model.encoder[1], model.decoder[0]
    x = ((image + 1) / 2).flatten(1).double().numpy()
    a = np.maximum(x @ numbers(linear.weight).T + numbers(linear.bias), 0)
    kept = np.zeros_like(a)
    for unit in range(30):
        for winner in np.argsort(a[:, unit])[-2:]:
            kept[winner, unit] = a[winner, unit]
    output = kept @ numbers(decoder.weight).T + numbers(decoder.bias)
    wanted = ((x - output) ** 2).sum(axis=1).mean()
    assert update.terms["reconstruction"].item() == pytest.approx(wanted, rel=1e-4)


def numbers(tensor: object) -> np.ndarray:
    assert isinstance(tensor, Tensor)
    return tensor.detach().double().numpy()


def test_a_map_that_wins_for_no_image_of_the_batch_is_not_in_the_reconstruction() -> None:
    model, image = build(network="convolutional", lifetime_sparsity=0.25), clothes(8)
    seen = []
    model.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    list(model.training_step({"image": image}))
    (code,) = seen
    places = (code != 0).sum(dim=(2, 3))  # (N, maps)
    assert places.max() == 1
    assert places.sum(dim=0).max() <= 2


@pytest.mark.parametrize("network", NETWORKS)
def test_graphs_do_not_depend_on_the_other_images(network: str) -> None:
    model = build(network=network).eval()
    list(train(model, clothes(60), steps=30, batch_size=20))
    with torch.no_grad():
        for name in ("encode", "reconstruct", "features"):
            function = model.graphs()[name].function
            together, alone = function(clothes(10)), function(clothes(10)[3:4])
            torch.testing.assert_close(together[3:4], alone, rtol=1e-4, atol=1e-5)


def test_the_mask_of_the_batch_is_not_in_the_exported_graph() -> None:
    model = build().eval()
    for name in ("encode", "reconstruct", "features"):
        function = model.graphs()[name].function
        traced = torch.export.export(Wrapped(function), (clothes(4),))
        called = {str(node.target) for node in traced.graph.nodes}
        assert not any("topk" in each or "sort" in each for each in called)


class Wrapped(torch.nn.Module):
    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Tensor) -> Tensor:
        return self.function(image)


def test_thresholds_approach_the_least_winner() -> None:
    model, image = build(lifetime_sparsity=0.25), clothes(40)
    for _ in range(400):
        list(model.training_step({"image": image}))  # without a step of the optimiser
    _, least = lifetime_winners(model.activations((image + 1) / 2), 0.25)
    torch.testing.assert_close(model.thresholds, least, rtol=1e-2, atol=1e-4)
    model.thresholds.copy_(least)
    with torch.no_grad():
        active = (model.encode(image) > 0).float().mean(dim=0)
    fires = least > 0
    torch.testing.assert_close(active[fires], torch.full_like(active[fires], 0.25))


def test_features_of_maps_are_their_maxima() -> None:
    model = build(network="convolutional").eval()
    with torch.no_grad():
        maps, features = model.encoder((clothes(2) + 1) / 2), model.features(clothes(2))
    wanted = maps.unflatten(3, (4, 7)).unflatten(2, (4, 7)).amax(dim=(3, 5)).flatten(1)
    torch.testing.assert_close(features, wanted)
