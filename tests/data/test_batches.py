"""Every image is used, in an order that only seed and epoch decide, also with two domains."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.data.pictures import save
from tests.errors import raises
from zoo.api.jobs import create_job
from zoo.data.batches import Batches, common_rows, in_order, length
from zoo.errors import UsageError
from zoo.modalities import register
from zoo.modalities.base import Modality, Stored
from zoo.ports import DataSpec, Port
from zoo.training import devices
from zoo.training.train import setup_training

CPU = torch.device("cpu")


def numbered(count: int) -> np.ndarray:
    """Return images of 1x2 pixels, each of which tells its number."""
    return np.arange(count, dtype="<u2").view(np.uint8).reshape(count, 1, 1, 2)


def numbers(images: torch.Tensor) -> list[int]:
    low, high = ((images[:, channel, 0, 0] + 1) * 127.5 for channel in (0, 1))
    return (low.round() + 256 * high.round()).int().tolist()


def data_of(split: dict, paired: bool = False) -> DataSpec:
    """Return the ports of a split of such images."""
    height, width, channels = next(iter(split.values())).shape[1:]
    domains = ("x", "y") if "a" in split else ()
    classes = [str(number) for number in range(100)] if "label" in split else []
    data = DataSpec.of_images("x", channels, height, width, classes, domains)
    return data.with_images(order=0) if paired else data


def shares(
    split: dict, epoch: int, batch_size: int, ranks: int, seed: int = 5, paired: bool = False
) -> list[dict]:
    """Return the numbers of every step's images, of all ranks together."""
    data = data_of(split, paired=paired)
    made = [
        Batches(split, data, batch_size, seed=seed, device=CPU, rank=rank, ranks=ranks)
        for rank in range(ranks)
    ]
    parts = [list(each.epoch(epoch)) for each in made]
    return [
        {
            name: interleaved([numbers(share[name]) for share in step])
            for name in step[0]
            if name != "label"
        }
        for step in zip(*parts, strict=True)
    ]


def interleaved(shares_of_ranks: list[list[int]]) -> list[int]:
    return [each for row in zip(*shares_of_ranks, strict=True) for each in row]


def stream(steps: list[dict], name: str) -> list[int]:
    return [number for step in steps for number in step[name]]


def test_the_order_of_images_is_the_one_that_runs_have_always_had():
    split = {"image": numbered(50), "label": np.arange(50) * 2}
    batches = Batches(split, data_of(split), 8, seed=7, device=CPU)
    for epoch in (0, 3):
        order = np.random.default_rng((7, epoch)).permutation(50)
        found = list(batches.epoch(epoch))
        assert [number for batch in found for number in numbers(batch["image"])] == [*order[:48]]
        assert [label for batch in found for label in batch["label"].tolist()] == [*order[:48] * 2]


sizes = st.integers(2, 90)


@given(a=sizes, b=sizes, per_rank=st.integers(1, 20), ranks=st.integers(1, 2), epoch=st.integers(0))
def test_two_domains_are_gone_through_evenly(a, b, per_rank, ranks, epoch):
    split = {"a": numbered(a), "b": numbered(b)}
    batches = Batches(split, data_of(split), per_rank * ranks, seed=5, device=CPU, ranks=ranks)
    assert batches.images == length(split) == max(a, b)
    assert common_rows(split) == min(a, b)
    assert batches.steps_per_epoch == max(a, b) // batches.batch_size >= 1
    steps = shares(split, epoch % 2**31, per_rank * ranks, ranks)
    assert len(steps) == batches.steps_per_epoch
    places = batches.steps_per_epoch * batches.batch_size
    for name, count in (("a", a), ("b", b)):
        used = stream(steps, name)
        assert len(used) == places
        for start in range(0, places, count):  # each round has everything once
            assert max(Counter(used[start : start + count]).values()) == 1
        if places >= count:
            assert set(used) == set(range(count))


@given(a=sizes, b=sizes, ranks=st.integers(2, 4))
def test_ranks_see_together_what_one_process_sees(a, b, ranks):
    split = {"a": numbered(max(a, 12)), "b": numbered(b)}
    assert shares(split, 2, 12, 1) == shares(split, 2, 12, ranks)


def test_orders_change_with_seed_epoch_domain_and_round():
    split = {"a": numbered(400), "b": numbered(200)}
    orders = []
    for seed, epoch in ((5, 0), (5, 1), (6, 0)):
        steps = shares(split, epoch, 10, 1, seed)
        assert steps == shares(split, epoch, 10, 1, seed)
        b = stream(steps, "b")
        orders += [[each for each in stream(steps, "a") if each < 200], b[:200], b[200:]]
    assert all(sorted(order) == [*range(200)] for order in orders)
    for index, order in enumerate(orders):
        for other in orders[:index]:
            assert sum(x == y for x, y in zip(order, other, strict=True)) < 12  # one by chance


def test_domains_of_one_size_are_not_gone_through_in_pairs():
    (step,) = shares({"a": numbered(200), "b": numbered(200)}, 0, 200, 1)
    assert sorted(step["a"]) == sorted(step["b"]) == [*range(200)]
    assert sum(a == b for a, b in zip(step["a"], step["b"], strict=True)) < 12  # one by chance


@given(count=st.integers(12, 90), ranks=st.integers(1, 4), epoch=st.integers(0, 2**31))
def test_pairs_stay_pairs_on_every_rank(count, ranks, epoch):
    split = {"a": numbered(count), "b": numbered(count)}
    steps = shares(split, epoch, 12, ranks, paired=True)
    assert steps == shares(split, epoch, 12, 1, paired=True)
    assert all(step["a"] == step["b"] for step in steps)
    seen = stream(steps, "a")
    assert len(set(seen)) == len(seen) == count // 12 * 12
    assert seen != sorted(seen)


@pytest.mark.parametrize("bad", ["train/7.png", "train/input/7.png", "train/target/7.png"])
def test_a_training_gets_its_pairs_as_pairs_beside_bad_ones(bad):
    for number in range(40):
        pair = Image.new("RGB", (32, 16), (number * 6, 0, 0))
        pair.paste((number * 6, 255, 0), (16, 0, 32, 16))
        if bad == "train/7.png":  # side by side
            save(Path("pairs/train") / f"{number}.png", pair)
        else:
            save(Path("pairs/train/input") / f"{number}.png", pair.crop((0, 0, 16, 16)))
            save(Path("pairs/train/target") / f"{number}.png", pair.crop((16, 0, 32, 16)))
    Path("pairs", bad).write_bytes(b"broken")
    options = {
        "features": 4,
        "blocks": 1,
        "patch_levels": 1,
        "batch_size": 4,
        "device": "cpu",
        "on_bad_image": "skip",
    }
    job = create_job(model="cyclegan", data="pairs", layers=[options])
    _, batches = setup_training(job, devices.start_ranks(job.settings))
    reds = []
    for batch in batches.epoch(3):
        assert torch.equal(batch["a"][:, 0], batch["b"][:, 0])
        assert (batch["a"][:, 1] == -1).all()
        assert (batch["b"][:, 1] == 1).all()
        reds += batch["a"][:, 0, 0, 0].tolist()
    assert len(set(reds)) == 36
    assert reds != sorted(reds)


def test_images_left_out_of_an_epoch_come_in_another():
    split = {"a": numbered(11), "b": numbered(10)}
    missing = [set(range(11)) - set(stream(shares(split, epoch, 4, 1), "a")) for epoch in range(20)]
    assert all(len(each) == 3 for each in missing)
    assert len(set.union(*missing)) > 6


def test_in_order_goes_side_by_side_as_far_as_both_go():
    split = {"a": numbered(7), "b": numbered(10)}
    split["a"].flags.writeable = False  # as a store has them
    found = list(in_order(split, data_of(split), 3, CPU))
    assert [numbers(batch["a"]) for batch in found] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [numbers(batch["b"]) for batch in found] == [[0, 1, 2], [3, 4, 5], [6]]
    labelled = {"image": numbered(4), "label": np.arange(4)}
    found = list(in_order(labelled, data_of(labelled), 3, CPU))
    assert [batch["label"].tolist() for batch in found] == [[0, 1, 2], [3]]


def test_images_are_scaled_and_keep_channels_last():
    image = np.array([0, 255, 51], np.uint8).reshape(1, 1, 1, 3).repeat(4, 0).repeat(5, 1)
    (batch,) = in_order({"image": image}, data_of({"image": image}), 4, CPU)
    assert batch["image"].shape == (4, 3, 5, 1)
    assert batch["image"][0, :, 2, 0].tolist() == pytest.approx([-1, 1, -0.6])
    assert batch["image"].stride()[1] == 1


def test_what_cannot_be_shared_is_told():
    split = {"a": numbered(2), "b": numbered(1)}
    with raises(UsageError, "bad-batch-size", 3, "2 devices") as caught:
        Batches(split, data_of(split), 3, seed=0, device=CPU, ranks=2)
    assert caught.value.hint == "--batch-size 4"
    with raises(UsageError, "too-many-devices", 2, "3 devices"):
        Batches(split, data_of(split), 3, seed=0, device=CPU, ranks=3)


class Bits(Modality):
    """A kind that keeps in bytes what is float32 in a port, as it is."""

    kind = "bits"

    def stored(self, port: Port) -> Stored:
        return Stored("uint8", (3,))


def test_a_batch_has_the_dtype_of_its_port_whatever_lies_in_the_cache() -> None:
    register(Bits())
    rows = np.array([[0, 1, 1], [1, 0, 1]], np.uint8)
    spec = DataSpec("bits", (Port("bits", "bits", ("batch", 3)),))
    (batch,) = in_order({"bits": rows}, spec, 2, CPU)
    assert batch["bits"].dtype == torch.float32
    assert np.array_equal(batch["bits"].numpy(), rows)
