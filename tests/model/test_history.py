from __future__ import annotations

import torch

from zoo import DataSpec, ImagePool

SPEC = DataSpec.of_images("numbers", 1, 1, 1)


def numbered(first: int, last: int) -> torch.Tensor:
    """One-pixel images whose value is their number."""
    return torch.arange(first, last, dtype=torch.float32).reshape(-1, 1, 1, 1)


def test_a_pool_that_fills_gives_back_what_it_is_given() -> None:
    pool = ImagePool(6, SPEC.image)
    for first in (0, 3):
        given = numbered(first, first + 3)
        assert torch.equal(pool(given), given)
    assert torch.equal(pool.images, numbered(0, 6))


def test_a_full_pool_exchanges_half_of_the_images_and_loses_none() -> None:
    torch.manual_seed(0)
    pool = ImagePool(50, SPEC.image)
    pool(numbered(0, 50))
    given = numbered(50, 2050)
    back = pool(given)
    exchanged = (back != given).float().mean().item()
    assert 0.45 < exchanged < 0.55
    assert torch.equal(torch.cat([back, pool.images]).flatten().sort().values, torch.arange(2050.0))


def test_what_comes_back_is_a_copy_without_a_gradient() -> None:
    pool = ImagePool(1, SPEC.image)
    image = torch.ones(1, 1, 1, 1, requires_grad=True)
    back = pool(image * 2)
    assert not back.requires_grad
    back.zero_()
    assert pool.images.item() == 2


def test_without_a_pool_images_pass() -> None:
    given = numbered(0, 5)
    assert torch.equal(ImagePool(0, SPEC.image)(given), given)


def test_a_pool_keeps_its_images_out_of_the_weights() -> None:
    pool = ImagePool(3, SPEC.image)
    assert not pool.state_dict()
    assert [name for name, _ in pool.named_buffers()] == ["images", "filled"]
