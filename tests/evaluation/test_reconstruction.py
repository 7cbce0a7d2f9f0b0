"""Errors of reconstruction and figures of codes, on models whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.evaluation.toys import STRIPES, Toy, store, stripes, values
from zoo import Graph, Port
from zoo.evaluation.codes import encoders, measure_code, precision_of_search, probe
from zoo.evaluation.reconstruction import (
    likeness,
    mean_squares,
    measure_reconstruction,
    reconstructors,
    with_noise,
)

IMAGE = STRIPES.pictures
MADE = Port.image("made", IMAGE)


def reconstruct(function, *, image: Port = IMAGE) -> Toy:
    return Toy(STRIPES, {"reconstruct": Graph(function, [image], [MADE])})


def measured(function) -> dict[str, float]:
    found = measure_reconstruction(reconstruct(function), "reconstruct", stripes(40, 1)["image"])
    return {each.name: each.value for each in found}


def test_a_perfect_copy_has_no_error_and_removes_no_noise() -> None:
    found = measured(lambda image: image)
    assert found["mse"] == 0
    assert found["psnr"] == 100
    assert found["denoising_gain"] == 0


def test_the_error_is_that_of_pictures_in_zero_to_one() -> None:
    found = measured(lambda image: (image + 0.2).clamp(max=1))
    images = stripes(40, 1)["image"] / 255
    wanted = ((np.minimum(images + 0.1, 1) - images) ** 2).mean()
    assert found["mse"] == pytest.approx(wanted, rel=0.02)
    assert found["psnr"] == pytest.approx(20, abs=0.3)


def test_who_gives_the_clean_picture_removes_the_noise() -> None:
    images = stripes(40, 1)["image"]
    clean = values(images)
    gain = measured(lambda image: clean[: len(image)])["denoising_gain"]
    noise = -10 * np.log10(mean_squares(images, with_noise(images))).mean()
    assert gain == pytest.approx(100 - noise)


def test_likeness_falls_with_noise_and_is_one_of_the_same() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)
    assert likeness(images, images) == pytest.approx(np.ones(5))
    assert likeness(images, with_noise(images)).max() < 0.99


def test_only_graphs_that_give_back_their_input_reconstruct() -> None:
    def same(image: Tensor) -> Tensor:
        return image

    small = Port("small", "image", ("batch", 1, 4, 4), range=(-1.0, 1.0))
    model = Toy(
        STRIPES,
        {
            "reconstruct": Graph(same, [IMAGE], [MADE]),
            "enlarge": Graph(same, [small], [MADE]),
            "there": Graph(same, [IMAGE], [Port.image("made", IMAGE, domain="other")]),
        },
    )
    assert reconstructors(model) == ["reconstruct"]


def encoder(function, units: int) -> Toy:
    code = Port.latent("code", units, prior=None)
    return Toy(STRIPES, {"encode": Graph(function, [IMAGE], [code])})


def code_figures(function, units: int) -> dict[str, float]:
    data = store(STRIPES, train=stripes(300, 1), test=stripes(90, 2))
    return {
        each.name: each.value
        for each in measure_code(encoder(function, units), "encode", data, "test")
    }


def test_a_code_that_holds_the_class_is_read_by_the_probe() -> None:
    def features(image: Tensor) -> Tensor:
        rows = image.mean(dim=3).var(dim=2)  # of columns, rows and checks
        columns = image.mean(dim=2).var(dim=2)
        return torch.cat([rows, columns, torch.zeros_like(rows)], dim=1)

    found = code_figures(features, 3)
    assert found["linear_probe_accuracy"] > 0.95
    assert found["active_units"] == 2
    assert found["dead_units"] == 1
    assert found["active_share"] == pytest.approx(2 / 3)


def test_a_code_of_nothing_is_read_by_chance() -> None:
    found = code_figures(lambda image: 0 * image.flatten(1)[:, :4] + 1, 4)
    assert found["linear_probe_accuracy"] == pytest.approx(1 / 3, abs=0.01)
    assert found["active_units"] == 0
    assert "dead_units" not in found, "no unit of it is silent"


def test_the_probe_minimises_its_objective() -> None:
    generator = np.random.default_rng(0)
    codes = generator.normal(size=(200, 3)).astype(np.float32)
    labels = (codes[:, 0] + codes[:, 1] > 0).astype(np.int64)
    assert probe(codes, labels, codes, labels, 2).mean() > 0.97
    assert probe(codes, labels, codes * [-1, -1, 1], labels, 2).mean() < 0.03


@pytest.mark.parametrize("distance", ["hamming", "cosine"])
def test_a_search_finds_the_nearest_codes(distance: str) -> None:
    generator = np.random.default_rng(0)
    codes = generator.normal(size=(60, 8)).astype(np.float32)
    codes = (codes > 0).astype(np.float32) if distance == "hamming" else codes
    labels = generator.integers(0, 3, 60)
    queries, wanted = codes[:20], []
    for query, label in zip(queries, labels, strict=False):
        if distance == "hamming":
            far = [int((query != each).sum()) for each in codes]
        else:
            norms = np.linalg.norm(codes, axis=1) * np.linalg.norm(query)
            far = list(1 - codes @ query / norms)
        nearest = sorted(range(60), key=lambda place, far=far: (far[place], place))[:10]
        wanted.append(np.mean([labels[place] == label for place in nearest]))
    found = precision_of_search(codes, labels, queries, labels[:20], distance)
    np.testing.assert_allclose(found, wanted)


def test_codes_of_bits_are_searched_by_hamming_distance() -> None:
    def bits(image: Tensor) -> Tensor:
        return (image.flatten(1)[:, ::5] > 0).float()

    def distance_of(function, size: int) -> object:
        model = encoder(function, size)
        found = measure_code(
            model, "encode", store(STRIPES, train=stripes(60, 0), test=stripes(30, 1)), "test"
        )
        return {each.name: each.protocol for each in found}["precision_at_10"]["distance"]

    size = bits(torch.zeros(1, *IMAGE.image_shape)).shape[1]
    assert distance_of(bits, size) == "hamming"
    assert distance_of(lambda image: image.flatten(1), 64) == "cosine"


def test_encoders_give_one_row_of_numbers_a_picture() -> None:
    model = encoder(lambda image: image.flatten(1), 64)
    assert encoders(model) == {"encode": "code"}
    assert encoders(reconstruct(lambda image: image)) == {}
