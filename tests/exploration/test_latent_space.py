"""Ports alone say which graph makes codes of pictures, and which makes pictures of codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.errors import raises
from zoo.errors import UsageError
from zoo.exploration.latent_space import Arrays, LatentSpace, find_latent_space
from zoo.ports import DataSpec, Port, Signature

DATA = DataSpec.of_images("squares", 1, 8, 8)
IMAGE = Port.image("image", DATA.pictures)
CODE = Port.latent("code", 6)
MEAN, SPREAD = (Port.latent(name, 6, prior=None) for name in ("mu", "logvar"))
LABEL = Port.label("label", ["cat", "dog"])
NOISE = Port("noise", "values", ("batch", 3), prior="normal")
ENCODE = Signature((IMAGE,), (MEAN, SPREAD))
DECODE = Signature((CODE,), (IMAGE,))


def find(**graphs: Signature) -> LatentSpace:
    return find_latent_space("toy", lambda graph, inputs: {}, graphs, DATA)


def names(space: LatentSpace) -> tuple[str, str]:
    there, back = space.encoder, space.decoder
    return there.name if there else "", back.name if back else ""


def test_the_first_code_of_a_picture_is_taken_and_noise_beside_a_picture_is_none() -> None:
    sample = Signature((IMAGE, CODE), (IMAGE,))
    space = find(sample=sample, decode=DECODE, reconstruct=Signature((IMAGE,), (IMAGE,)), e=ENCODE)
    assert names(space) == ("e", "decode")
    assert space.encoder is not None
    assert space.encoder.code == MEAN
    assert (space.size, space.has_prior, space.round_trip) == (6, True, True)


def test_a_generator_has_pictures_of_codes_alone() -> None:
    space = find(generate=Signature((CODE, LABEL, NOISE), (IMAGE,)))
    assert names(space) == ("", "generate")
    assert space.decoder is not None
    assert space.decoder.label == LABEL
    assert not space.round_trip


def test_a_code_without_a_prior_is_a_code() -> None:
    space = find(decode=Signature((MEAN,), (IMAGE,)), encode=ENCODE)
    assert (names(space), space.has_prior) == (("encode", "decode"), False)


def test_graphs_whose_codes_have_one_shape_go_together() -> None:
    other = Signature((IMAGE,), (Port.latent("features", 9, prior=None),))
    assert names(find(features=other, decode=DECODE, encode=ENCODE)) == ("encode", "decode")
    space = find(features=other, decode=DECODE)
    assert (names(space), space.round_trip) == (("features", "decode"), False)


def test_pictures_of_any_size_have_that_of_the_data() -> None:
    image = Port.image("image", DATA.pictures, any_size=True)
    space = find(encode=Signature((image,), (MEAN,)))
    assert space.encoder is not None
    assert space.encoder.picture.image_shape == (1, 8, 8)


STEP = Signature((replace(CODE, next="after"),), (IMAGE, replace(MEAN, name="after")))


@pytest.mark.parametrize(
    "graphs",
    [
        {"translate": Signature((IMAGE,), (IMAGE,))},
        {"denoise": STEP},
        {"speak": Signature((CODE,), (Port("sound", "audio", ("batch", 1, 9), rate=8000),))},
        {"grow": Signature((Port("code", "latent", ("batch", "size")),), (IMAGE,))},
        {"mix": Signature((MEAN, replace(MEAN, name="other")), (IMAGE,))},
    ],
    ids=lambda graphs: next(iter(graphs)),
)
def test_what_has_no_codes_is_told(graphs: dict[str, Signature]) -> None:
    with raises(UsageError, "does-not-apply", "toy", next(iter(graphs))):
        find(**graphs)


def test_rows_go_through_in_parts_in_their_order_and_in_the_shape_of_the_port() -> None:
    image = replace(IMAGE, range=(0.0, 1.0))
    code = Port("code", "latent", ("batch", 2, 3), prior="normal")
    seen = []

    def run(graph: str, inputs: Arrays) -> Arrays:
        seen.append({name: array.shape for name, array in inputs.items()})
        if graph == "encode":
            return {"code": np.repeat(inputs["image"][:, 0, 0, :1], 6, axis=1).reshape(-1, 2, 3)}
        return {
            "image": np.broadcast_to(
                inputs["code"][:, :1, :1, None], (len(inputs["code"]), 1, 8, 8)
            )
        }

    graphs = {
        "encode": Signature((image,), (replace(code, prior=None),)),
        "decode": Signature((code, LABEL), (image,)),
    }
    space = find_latent_space("toy", run, graphs, DATA)
    pictures = np.arange(150, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
    done = []
    codes = space.encode(pictures, tick=done.append)
    assert codes.shape == (150, 6)
    np.testing.assert_allclose(codes[:, 5] * 255, np.arange(150), atol=1e-4)
    assert sum(done) == 150
    back = space.decode(codes, space.contexts(0, [1])[0])
    np.testing.assert_array_equal(back, pictures)
    assert max(shapes["label"][0] for shapes in seen if "label" in shapes) < 150


def test_draws_are_those_of_the_ports_in_their_order() -> None:
    space = find(generate=Signature((CODE, LABEL, NOISE), (IMAGE,)))
    generator = np.random.default_rng(5)
    code, label, noise = (port.draw(1, generator) for port in (CODE, LABEL, NOISE))
    np.testing.assert_array_equal(space.draw_codes(1, 5), code)
    (context,) = space.contexts(5)
    assert context.keys() == {"label", "noise"}
    np.testing.assert_array_equal(context["label"], label)
    np.testing.assert_array_equal(context["noise"], noise)
    cat, dog = space.contexts(5, [0, 1])
    assert (cat["label"].tolist(), dog["label"].tolist()) == ([0], [1])
    np.testing.assert_array_equal(cat["noise"], dog["noise"])


def test_an_encoder_that_takes_a_class_needs_one() -> None:
    space = find(encode=Signature((IMAGE, LABEL), (MEAN,)))
    with raises(UsageError, "missing-input", "encode"):
        space.encode(np.zeros((1, 8, 8, 1), np.uint8))
