from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d
from zoo_autoencoders.ae import Autoencoder, AutoencoderConfig

from tests.plugins.plain_loop import clothes, train
from zoo import DataSpec
from zoo.options import configure

GREY = DataSpec.of_images("grey", channels=1, height=28, width=28)
SMALL = DataSpec.of_images("small", channels=1, height=14, width=14)


def build(data: DataSpec = GREY, **options: object) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(configure(AutoencoderConfig, options), data)


def small_clothes(count: int) -> Tensor:
    return avg_pool2d(clothes(count), 2)


def error_of_pca(images: Tensor, components: int) -> float:
    """Squared error on [0, 1], summed over pixels, mean over images: the spectrum's rest."""
    x = ((images + 1) / 2).flatten(1).numpy().astype("float64")
    spectrum = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)
    return float((spectrum[components:] ** 2).sum() / len(x))


def test_one_linear_layer_reaches_the_error_of_pca() -> None:
    images, size = small_clothes(200), 4
    model = build(SMALL, loss="mse", activation="linear", hidden="", code_size=size, lr=0.05)
    list(train(model, images, steps=1000, batch_size=200))
    with torch.no_grad():
        output = model.decoder(model.encoder(images))
        reached = model.loss(images, output).mean().item()
    best = error_of_pca(images, size)
    assert best < 0.9 * error_of_pca(images, size - 1)  # a missing direction would be noticed
    assert best * 0.999 < reached < best * 1.005


def test_hidden_layers_beat_pca_of_the_same_code_size() -> None:
    images, size = small_clothes(200), 4
    model = build(SMALL, loss="mse", hidden="64", code_size=size, lr=0.01)
    list(train(model, images, steps=400, batch_size=50))
    with torch.no_grad():
        mse = model.eval().validation_step({"image": images})["mse"].item()
    assert mse * SMALL.pictures.pixels < 0.8 * error_of_pca(images, size)


def test_losses_are_their_equations_summed_over_pixels() -> None:
    image = clothes(4)
    x = ((image + 1) / 2).double().numpy()
    output = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    g = output.double().numpy()
    p = 1 / (1 + np.exp(-g))
    bce = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=(1, 2, 3))
    mse = ((x - g) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(build(loss="bce").loss(image, output), bce, rtol=1e-5)
    np.testing.assert_allclose(build(loss="mse").loss(image, output), mse, rtol=1e-5)


def test_hidden_layers_are_mirrored() -> None:
    model = build(hidden="60,50,40", code_size=7)
    widths = [
        [layer.out_features for layer in network if isinstance(layer, torch.nn.Linear)]
        for network in (model.encoder, model.decoder)
    ]
    assert widths == [[60, 50, 40, 7], [40, 50, 60, 784]]


def test_a_linear_model_is_linear_through_all_its_layers() -> None:
    model = build(SMALL, loss="mse", activation="linear", hidden="40,30")
    one, other = small_clothes(2)[:1], small_clothes(2)[1:]

    def raw(image: Tensor) -> Tensor:
        with torch.no_grad():
            output: Tensor = model.decoder(model.encoder(image))
        return output

    middle = raw((one + other) / 2)
    torch.testing.assert_close(middle, (raw(one) + raw(other)) / 2)
