"""Ports and data specifications: JSON both ways, draws, and what they make possible."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.identity import check_signature
from zoo.modalities import can_sample
from zoo.ports import DIMENSIONS, DataSpec, Port, Signature
from zoo.records import to_plain, typed

SPEC = DataSpec.of_images("shirts", 1, 28, 28, ("shirt", "shoe"))
IMAGE = Port.image("image", SPEC.pictures)
LATENT = Port.latent("latent", 20)
CODE = Port.latent("code", 20, prior=None)
LABEL = Port.label("label", ["shirt", "shoe"])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("port", [IMAGE, LATENT, CODE, LABEL], ids=lambda port: port.name)
def test_a_port_survives_json(port: Port) -> None:
    assert typed(json.loads(json.dumps(to_plain(port))), Port) == port


def test_a_specification_and_a_signature_survive_json() -> None:
    signature = Signature((LATENT, LABEL), (IMAGE,))
    assert typed(json.loads(json.dumps(to_plain(SPEC))), DataSpec) == SPEC
    assert typed(json.loads(json.dumps(to_plain(signature))), Signature) == signature


def test_keys_of_the_future_are_passed_over() -> None:
    assert typed({**to_plain(IMAGE), "colour": "grey"}, Port) == IMAGE


@pytest.mark.parametrize("reader", [Port, DataSpec, Signature], ids=lambda each: each.__name__)
@given(value=json_values)
def test_foreign_json_is_refused_as_a_value_error(reader: Any, value: object) -> None:
    with pytest.raises(ValueError):
        typed(value, reader)


@pytest.mark.parametrize("field", ["name", "kind", "shape", "dtype", "range", "prior", "tolerance"])
@given(value=json_values)
def test_a_port_with_one_odd_field_is_a_port_or_a_value_error(field: str, value: object) -> None:
    try:
        port = typed({**to_plain(IMAGE), field: value}, Port)
    except ValueError:
        return
    assert isinstance(port.shape, tuple)
    assert port.tolerance > 0


def test_what_nobody_supplies_is_drawn_or_the_default() -> None:
    generator = np.random.default_rng(0)
    state = Port("state", "values", ("batch", 3), prior="zeros")
    strength = Port("strength", "values", ("batch",), default=0.5)
    code = Port("code", "values", ("batch", 3))
    assert not state.draw(2, generator).any()
    assert (strength.draw(2, generator) == 0.5).all()
    assert Signature((state, strength, code), (IMAGE,)).required == (code,)


def test_a_step_of_a_loop_is_told_by_its_ports() -> None:
    code = Port("code", "values", ("batch", 3), prior="zeros", next="code_after")
    after = Port("code_after", "values", ("batch", 3))
    step = Signature((code,), (after,), rounds=4)
    assert step.is_step
    assert not Signature((LATENT,), (IMAGE,)).is_step
    check_signature(step)
    begun = replace(code, prior=None)  # somebody supplies what the loop begins with
    check_signature(Signature((begun,), (after,)))
    assert Signature((begun,), (after,)).required == (begun,)
    wide = replace(after, shape=("batch", 4))
    for wrong in (
        Signature((code,), (wide,)),
        Signature((code,), (replace(after, name="other"),)),
        Signature((code,), (after,), rounds=0),
        Signature((LATENT,), (IMAGE,), rounds=3),
    ):
        with pytest.raises(ValueError, match="unusable"):
            check_signature(wrong)


def test_draws_follow_the_prior_and_the_seed() -> None:
    normal = LATENT.draw(5000, np.random.default_rng(0))
    assert normal.shape == (5000, 20)
    assert normal.dtype == np.float32
    assert abs(float(normal.mean())) < 0.02
    assert abs(float(normal.std()) - 1) < 0.02
    assert np.array_equal(normal, LATENT.draw(5000, np.random.default_rng(0)))
    labels = LABEL.draw(1000, np.random.default_rng(0))
    assert labels.dtype == np.int64
    assert set(labels.tolist()) == {0, 1}


def test_what_has_no_prior_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="code"):
        CODE.draw(1, np.random.default_rng(0))


def test_what_a_graph_can_do_is_read_off_its_ports() -> None:
    assert can_sample(Signature((LATENT,), (IMAGE,)))
    assert can_sample(Signature((LATENT, LABEL), (IMAGE,)))
    assert not can_sample(Signature((CODE,), (IMAGE,)))
    assert not can_sample(Signature((LATENT,), (CODE,)))
    assert Signature((IMAGE,), (IMAGE,)).maps_images
    assert Signature((IMAGE, LATENT), (IMAGE,)).maps_images
    assert not Signature((IMAGE,), (CODE,)).maps_images


@pytest.mark.parametrize(
    ("domains", "sides"),
    [
        (("horse", "zebra"), ("horse", "zebra")),
        (("Día", "Été d'hier"), ("dia", "ete-d-hier")),
        ((), ("a", "b")),
        (("夏", "冬"), ("a", "b")),
        (("x!", "X"), ("a", "b")),
        (("../../etc", "b\x00c"), ("etc", "b-c")),
    ],
)
def test_sides_are_words_that_files_can_be_called_by(
    domains: tuple[str, ...], sides: tuple[str, str]
) -> None:
    spec = DataSpec.of_images("x", 3, 8, 8, domains=domains)
    assert spec.sides == sides
    assert [spec.side_of(side) for side in sides] == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "rate"),
    [("audio", None), ("audio", 0), ("audio", float("inf")), ("audio", True), ("image", 44_100),
     ("values", float("inf"))],
)  # fmt: skip
def test_audio_alone_has_a_rate(kind: Any, rate: Any) -> None:
    shape = ("batch", *[4] * len(DIMENSIONS.get(kind, "x")))
    with pytest.raises(ValueError, match="rate of port 'x'"):
        Port("x", kind, shape, rate=rate)
    assert typed(to_plain(Port("x", "audio", ("batch", 1, 16), rate=44_100)), Port).rate == 44_100
