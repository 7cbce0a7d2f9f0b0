"""Translators whose errors are known beforehand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from torch import Tensor

from tests.evaluation.toys import Measured, Toy, store, trained
from zoo import DataSpec, Graph, Port
from zoo.evaluation.evaluate import validation_metrics
from zoo.evaluation.pairs import Translation, measure_pairs, translators

SPEC = DataSpec.of_images("animals", 3, 8, 6, domains=("Horse", "Zebra"))
RANDOM = np.random.default_rng(0)
HORSES = RANDOM.integers(0, 256, (100, 8, 6, 3), np.uint8)  # more than are compared at once
ZEBRAS = 255 - HORSES
DATA = store(SPEC, ("test",), test={"a": HORSES, "b": ZEBRAS}, validation={"a": HORSES})

Function = Callable[[Tensor], Tensor]


def model(there: Function, back: Function) -> Toy:
    horse = Port.image("horse", SPEC.pictures, domain="horse", any_size=True)
    zebra = Port.image("zebra", SPEC.pictures, domain="zebra", any_size=True)
    return Toy(
        SPEC,
        {
            "zebra_to_horse": Graph(back, [zebra], [horse]),
            "horse_to_zebra": Graph(there, [horse], [zebra]),
            "again": Graph(lambda image: image, [horse], [horse]),
        },
    )


def measured(there: Function, back: Function) -> tuple[Translation, Translation]:
    """Return how well horses become zebras, and zebras horses."""
    ways = {way.source: way for way in measure_pairs(model(there, back), DATA, "test")}
    assert set(ways) == {"horse", "zebra"}
    return ways["horse"], ways["zebra"]


def same(image: Tensor) -> Tensor:
    return image


def invert(image: Tensor) -> Tensor:
    return -image


def test_copying_has_ratio_one_and_is_as_near_as_itself() -> None:
    for way in measured(same, same):
        assert way.ratio == 1
        assert way.error == way.copying > 0
        assert way.nearest == way.nearest_copying
        assert way.pairs == 100


def test_a_perfect_translation_has_no_error_and_is_always_nearest() -> None:
    for way in measured(invert, invert):
        assert way.error == way.ratio == 0
        assert way.nearest == 1


def test_the_ways_are_told_apart() -> None:
    there, back = measured(invert, same)
    assert (there.source, there.target, there.graph) == ("horse", "zebra", "horse_to_zebra")
    assert (back.source, back.target, back.graph) == ("zebra", "horse", "zebra_to_horse")
    assert there.ratio == 0
    assert back.ratio == 1


def test_figures_agree_with_a_plain_computation() -> None:
    def darker(image: Tensor) -> Tensor:
        return 0.3037 * (image + 1) - 1

    there, _ = measured(darker, same)
    made = np.rint(0.3037 * HORSES.astype(float))
    differences = np.abs(made[:, None] - ZEBRAS[None].astype(float)).mean(axis=(2, 3, 4)) / 255
    copies = np.abs(HORSES[:, None].astype(float) - ZEBRAS[None]).mean(axis=(2, 3, 4)) / 255
    assert there.error == pytest.approx(differences.diagonal().mean())
    assert there.copying == pytest.approx(copies.diagonal().mean())
    assert there.ratio == pytest.approx(differences.diagonal().mean() / copies.diagonal().mean())
    assert there.nearest == (differences.argmin(axis=1) == np.arange(100)).mean()
    assert there.nearest_copying == (copies.argmin(axis=1) == np.arange(100)).mean()


def test_of_partners_that_are_alike_each_is_nearest() -> None:
    grey = np.full((5, 8, 6, 3), 80, np.uint8)
    data = store(SPEC, ("test",), test={"a": HORSES[:5], "b": grey})
    (there, _) = sorted(measure_pairs(model(same, same), data, "test"), key=lambda way: way.source)
    assert there.nearest == 1


def test_where_both_domains_show_the_same_there_is_no_ratio() -> None:
    data = store(SPEC, ("test",), test={"a": HORSES[:5], "b": HORSES[:5]})
    for way in measure_pairs(model(same, same), data, "test"):
        assert way.copying == 0
        assert way.ratio is None


def test_without_pairs_or_without_a_translator_nothing_is_measured() -> None:
    assert measure_pairs(model(same, same), DATA, "validation") == []
    image = Port.image("image", SPEC.pictures)
    plain = Toy(SPEC, {"again": Graph(same, [image], [image])})
    assert not translators(plain)
    assert measure_pairs(plain, DATA, "test") == []


def test_metrics_of_two_domains_are_means_over_the_images_that_the_smaller_one_has() -> None:
    data = store(SPEC, test={"a": HORSES, "b": ZEBRAS[:70]})
    metrics, images = validation_metrics(trained(Measured(SPEC, {})), data, "test")
    assert images == 70
    wanted = HORSES[:70].mean() / 127.5 - 1
    assert metrics["a"] == pytest.approx(wanted, abs=1e-5)
    assert metrics["b"] == pytest.approx(-wanted, abs=1e-5)


def test_a_model_without_metrics_has_none() -> None:
    metrics, _ = validation_metrics(
        trained(Toy(SPEC, {})), store(SPEC, test={"a": HORSES, "b": ZEBRAS}), "test"
    )
    assert metrics == {}
