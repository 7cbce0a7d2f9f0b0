from __future__ import annotations

import pytest
import torch
from zoo_autoencoders.conv_ae import ConvAutoencoder, ConvAutoencoderConfig

from tests.errors import raises
from tests.plugins.plain_loop import clothes
from zoo import DataSpec, UsageError
from zoo.options import configure


def build(planes: int = 1, height: int = 28, width: int = 28, **options: object) -> ConvAutoencoder:
    torch.manual_seed(0)
    data = DataSpec.of_images("data", channels=planes, height=height, width=width)
    return ConvAutoencoder(configure(ConvAutoencoderConfig, options), data).eval()


def make_transparent(model: ConvAutoencoder) -> None:
    """Set every convolution to the identity, so that only pooling and unpooling remain."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("weight"):
                torch.nn.init.dirac_(parameter)
            else:
                parameter.zero_()


def test_unpooling_puts_maxima_back_where_they_stood() -> None:
    model = build(upsampling="unpool", channels="1", code_channels=1)
    make_transparent(model)
    image = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))  # no two alike
    blocks = image.unfold(2, 2, 2).unfold(3, 2, 2)  # (3, 1, 14, 14, 2, 2)
    greatest = blocks.amax(dim=(4, 5)).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    wanted = torch.where(image == greatest, 2 * image - 1, -1.0)
    assert torch.equal(model.reconstruct(image), wanted)


def test_switches_of_one_image_matter_to_its_reconstruction_alone() -> None:
    model = build(upsampling="unpool")
    with torch.no_grad():
        code, switches = model.encoder(clothes(2))
        swapped = model.decode(code, [places.flip(0) for places in switches])
        own = model.decode(code, switches)
    assert torch.equal(own, model.reconstruct(clothes(2)))
    assert not torch.equal(own, swapped)


def test_unpooling_exports_no_decoder_because_a_code_alone_does_not_decode() -> None:
    assert set(build(upsampling="unpool").graphs()) == {"encode", "reconstruct"}
    assert set(build().graphs()) == {"encode", "decode", "reconstruct"}


@pytest.mark.parametrize("downsampling", ["pool", "strided"])
@pytest.mark.parametrize(("height", "width"), [(5, 4), (27, 29), (30, 28), (33, 47)])
def test_any_size_is_padded_inside_and_cut_back(downsampling: str, height: int, width: int) -> None:
    model = build(3, height, width, downsampling=downsampling)
    image = torch.rand(2, 3, height, width) * 2 - 1
    with torch.no_grad():
        code = model.encode(image)
        assert model.decode(code).shape == image.shape
    assert code.shape == (2, 8, -(-height // 4), -(-width // 4))


def test_padding_keeps_pixels_in_their_place() -> None:
    model = build(1, 5, 7, upsampling="unpool", channels="1", code_channels=1)
    make_transparent(model)
    spot = torch.full((1, 1, 5, 7), -1.0)
    spot[0, 0, 2, 3] = 1.0
    assert torch.equal(model.reconstruct(spot), spot)


def test_deterministic_algorithms_allow_unpooling() -> None:
    model = build(upsampling="unpool")
    torch.use_deterministic_algorithms(True)
    try:
        for update in model.training_step({"image": clothes(2)}):
            update.terms["reconstruction"].backward()
    finally:
        torch.use_deterministic_algorithms(False)


def test_too_many_levels_are_refused_with_levels_that_fit() -> None:
    with raises(UsageError, "bad-value", "5 levels", "28×28", "--set channels=4,8,16,32"):
        build(1, 28, 28, channels="4,8,16,32,64")
    build(1, 28, 28, channels="4,8,16,32")


def test_no_levels_are_refused() -> None:
    with raises(UsageError, "bad-value", "0 levels", "--set channels="):
        build(channels="")


def test_unpooling_after_strides_is_refused() -> None:
    with raises(UsageError, "conflicting-options", "upsampling=unpool", "--set downsampling=pool"):
        build(downsampling="strided", upsampling="unpool")
