"""How much of a picture is left after a graph from picture to picture of the same kind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.image import structural_similarity_index_measure

from zoo.evaluation.measurement import Values, mean_of_items
from zoo.measurements import Measurement
from zoo.model.contract import Model
from zoo.model.inference import domains_of, map_images, mappers
from zoo.ports import Port

NOISE = 0.25  # standard deviation, of grey values in [0, 1], of what a denoiser is to remove
AT_ONCE = 500  # images
SEED = 0
SMALLEST = 11  # pixels of a side that SSIM's window needs

Pixels = NDArray[np.uint8]


def reconstructors(model: Model) -> list[str]:
    """Return the graphs that give back what they are given, as the model's data has it."""
    graphs = model.graphs()
    found = []
    for name in mappers(model):
        (given,), made = graphs[name].signature.required, graphs[name].outputs[0]
        alike = _size(given) == _size(made) == _size(model.data.pictures)
        if alike and not any(domains_of(graphs[name])) and not graphs[name].signature.is_step:
            found.append(name)
    return found


def measure_reconstruction(model: Model, graph: str, images: Pixels) -> Iterator[Measurement]:
    """Measure error and likeness of what a graph makes of images, uint8 (N, H, W, C).

    Also how many decibels nearer it brings noisy images to clean ones; below 0 for a graph that
    does not remove noise.
    """
    made = _apply(model, graph, images)
    errors = mean_squares(images, made)
    pixels = {"pixels": "in [0, 1], rounded to 256 levels"}
    yield mean_of_items("mse", errors, better="lowest", graph=graph, protocol=pixels)
    yield mean_of_items(
        "psnr", decibels(errors), better="highest", graph=graph, unit="dB",
        protocol={**pixels, "averaged": "over images"},
    )  # fmt: skip
    if min(images.shape[1:3]) >= SMALLEST:
        window = {"window": "Gaussian, 11 pixels, sigma 1.5"}
        yield mean_of_items(
            "ssim", likeness(images, made), better="highest", graph=graph, protocol=window
        )
    noisy = with_noise(images)
    gain = decibels(mean_squares(images, _apply(model, graph, noisy)))
    gain -= decibels(mean_squares(images, noisy))
    yield mean_of_items(
        "denoising_gain", gain, better="highest", graph=graph, unit="dB",
        protocol={"noise": f"Gaussian, {NOISE} of the grey range, clipped, seed {SEED}"},
    )  # fmt: skip


def mean_squares(images: Pixels, others: Pixels) -> Values:
    """Return the mean squared difference of each image (N, H, W, C) from another, in [0, 1]."""
    parts = []
    for start in range(0, len(images), AT_ONCE):
        first, second = (each[start : start + AT_ONCE] / 255.0 for each in (images, others))
        parts.append(np.square(first - second).reshape(len(first), -1).mean(axis=1))
    return np.concatenate(parts)


def decibels(errors: Values) -> Values:
    """Return the peak signal-to-noise ratio of mean squared errors, −10 log₁₀ e, at most 100 dB."""
    return -10 * np.log10(np.maximum(errors, 1e-10))


def likeness(images: Pixels, others: Pixels) -> Values:
    """Return the structural similarity of each image (N, H, W, C) to another, in [−1, 1].

    Source: Wang et al. 2004, eq. 13, by torchmetrics.
    """
    parts = []
    for start in range(0, len(images), AT_ONCE):
        first, second = (
            torch.from_numpy(each[start : start + AT_ONCE].copy()).permute(0, 3, 1, 2) / 255
            for each in (images, others)
        )
        found = structural_similarity_index_measure(first, second, data_range=1.0, reduction="none")
        parts.append(np.atleast_1d(found.double().numpy()))  # type: ignore[union-attr]
    return np.concatenate(parts)


def with_noise(images: Pixels) -> Pixels:
    """Return images with Gaussian noise, every time the same."""
    generator = np.random.default_rng(SEED)
    noisy = images + generator.normal(0, 255 * NOISE, images.shape)
    rounded: Pixels = np.rint(noisy.clip(0, 255)).astype(np.uint8)
    return rounded


def _apply(model: Model, graph: str, images: Pixels) -> Pixels:
    parts = [
        map_images(model, graph, images[start : start + AT_ONCE])
        for start in range(0, len(images), AT_ONCE)
    ]
    return np.concatenate(parts)


def _size(port: Port) -> tuple[int | str, ...]:
    return port.shape[1:]
