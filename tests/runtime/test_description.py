"""What a file says of itself: whole after a round trip, and refused when it cannot be true."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.graphs import CLOTHES, describe
from zoo.ports import Port
from zoo.runtime.description import MAX_TEXT, Description, describe_port

DESCRIPTION = describe(
    "generate",
    [Port.latent("latent", 20), Port.label("label", ["shirt", "boot"])],
    [Port.image("image", CLOTHES, domain="horse")],
)

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
any_json = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, the whole included."""
    children: Any = ()
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = enumerate(value)
    return [path, *(place for key, each in children for place in places(each, (*path, key)))]


PLAIN = json.loads(DESCRIPTION.to_text())
PLACES = [place for place in places(PLAIN) if place]


def test_a_description_survives_the_way_through_a_file() -> None:
    again = Description.from_text(DESCRIPTION.to_text())
    assert again == DESCRIPTION
    assert again.signature.inputs[1].classes == ("shirt", "boot")


def test_keys_of_a_later_zoo_are_left_alone() -> None:
    assert Description.from_json({**PLAIN, "later": [1], "schema": 1}) == DESCRIPTION


def test_a_newer_schema_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"schema 2.*update zoo-core"):
        Description.from_json({**PLAIN, "schema": 2})


def test_it_says_in_words_what_a_graph_takes_and_gives() -> None:
    assert DESCRIPTION.takes == (
        "generate takes latent (batch, 20), standard normal; "
        "label (batch), uniform in [0, 1], 2 classes"
    )
    assert DESCRIPTION.gives == "generate gives image (batch, 1, 28, 28) in [-1, 1], of horse"
    horses = Port.image("image", CLOTHES, domain="horse", any_size=True)
    assert describe_port(horses) == "image (batch, 1, height, width) in [-1, 1], of horse"
    code = Port.latent("mu", 3, prior=None)
    assert describe_port(code) == "latent mu (batch, 3)"


@given(any_json)
def test_arbitrary_json_is_refused_in_one_way_only(value: Any) -> None:
    with pytest.raises(ValueError, match="unusable"):
        Description.from_json(value)


@given(st.sampled_from(PLACES), any_json)
def test_a_description_with_one_part_changed_is_refused_in_one_way_only(
    place: tuple[Any, ...], value: Any
) -> None:
    changed = copy.deepcopy(PLAIN)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    try:
        read = Description.from_json(changed)
    except ValueError as problem:
        assert len(str(problem)) < 400
    else:
        assert Description.from_text(read.to_text()) == read  # what is accepted can be written


@given(st.text())
def test_arbitrary_text_is_refused_in_one_way_only(text: str) -> None:
    with pytest.raises(ValueError):
        Description.from_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 200_000,
        '{"schema": 1' + " " * MAX_TEXT + "}",
        '{"schema": ' + "9" * 5000 + "}",
        DESCRIPTION.to_text().replace("-237.5", "NaN"),
        DESCRIPTION.to_text().replace("-237.5", "1e999"),
        DESCRIPTION.to_text().replace('"decode"', '"\\u001b[31m"').replace("generate", "a\\nb"),
        DESCRIPTION.to_text().replace('"vae"', '"\\ud800"'),
        DESCRIPTION.to_text().replace('"label"', '"latent"'),
        DESCRIPTION.to_text().replace('["batch", 20]', '["batch", 65536, 65536]'),
        DESCRIPTION.to_text().replace('["batch", 20]', '["batch", ' + "9" * 30 + "]"),
        DESCRIPTION.to_text().replace('["batch", 20]', '["' + "b" * 1000 + '", 20]'),
        DESCRIPTION.to_text().replace('"step": 940', '"step": true'),
        DESCRIPTION.to_text().replace('"step": 940', '"step": -1'),
        DESCRIPTION.to_text().replace("[512, 512]", "[[512], 512]"),
        DESCRIPTION.to_text().replace("[512, 512]", '{"a": 1}'),
    ],
    ids=lambda text: text[:30],
)
def test_hostile_text_is_refused(text: str) -> None:
    assert text != DESCRIPTION.to_text()
    with pytest.raises(ValueError) as caught:
        Description.from_text(text)
    assert len(str(caught.value)) < 400
