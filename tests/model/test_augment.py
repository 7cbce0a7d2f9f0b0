from __future__ import annotations

import torch
from torch.nn.functional import interpolate

from zoo import resize_crop_flip


def test_without_enlarging_images_are_kept_or_mirrored() -> None:
    torch.manual_seed(0)
    images = torch.rand(400, 3, 5, 4) * 2 - 1
    changed = resize_crop_flip(images, enlarge=1)
    kept = (changed == images).flatten(1).all(dim=1)
    mirrored = (changed == images.flip(3)).flatten(1).all(dim=1)
    assert (kept ^ mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_each_image_is_a_part_of_itself_enlarged_at_a_place_of_its_own() -> None:
    torch.manual_seed(0)
    images = torch.rand(60, 2, 8, 10) * 2 - 1
    changed = resize_crop_flip(images, enlarge=1.25)
    assert changed.shape == images.shape
    larger = interpolate(images, (10, 12), mode="bicubic", align_corners=False).clamp(-1, 1)
    places = set()
    for one, whole in zip(changed, larger, strict=True):
        found = [
            (top, left, flip)
            for top in range(3)
            for left in range(3)
            for flip in (False, True)
            if torch.equal(
                one,
                whole[:, top : top + 8, left : left + 10].flip(2)
                if flip
                else whole[:, top : top + 8, left : left + 10],
            )
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 12  # of 18


def test_where_left_and_right_differ_nothing_is_mirrored() -> None:
    images = torch.rand(50, 3, 5, 4) * 2 - 1
    assert torch.equal(resize_crop_flip(images, enlarge=1, flip=False), images)


def test_the_seed_decides() -> None:
    images = torch.rand(8, 3, 16, 16)
    torch.manual_seed(1)
    first = resize_crop_flip(images, enlarge=1.12)
    second = resize_crop_flip(images, enlarge=1.12)
    torch.manual_seed(1)
    assert torch.equal(resize_crop_flip(images, enlarge=1.12), first)
    assert not torch.equal(second, first)


def test_batches_stay_channels_last() -> None:
    changed = resize_crop_flip(torch.rand(2, 3, 8, 8), enlarge=1.12)
    assert changed.is_contiguous(memory_format=torch.channels_last)
