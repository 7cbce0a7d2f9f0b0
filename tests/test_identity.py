"""What a file says of itself: whole after a round trip, and refused when it cannot be true."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.graphs import CLOTHES, PHOTOS, describe
from zoo.identity import (
    MAX_TEXT,
    SCHEMA,
    Description,
    ExportedFile,
    from_plain,
    from_text,
    to_text,
)
from zoo.ports import Port, describe_port
from zoo.records import typed

DESCRIPTION = replace(
    describe(
        "generate",
        [Port.latent("latent", 20), Port.label("label", ["shirt", "boot"])],
        [Port.image("image", CLOTHES.pictures, domain="horse")],
    ),
    precision="int8",
    normalisation=("BatchNorm2d: the running statistics of the training",),
    dropout="off",
    written_by={"zoo-core": "0.1.0", "torch": "2.13.0"},
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


PLAIN = json.loads(to_text(DESCRIPTION))
FACTS = {"file": "vae.decode.onnx", "bytes": 9, "sha256": "0" * 64}
FILE = {**PLAIN, **FACTS, "reference": FACTS}
PLACES = [place for place in places(PLAIN) if place]


def test_a_description_survives_the_way_through_a_file() -> None:
    again = from_text(to_text(DESCRIPTION), Description)
    assert again == DESCRIPTION
    assert again.signature.inputs[1].classes == ("shirt", "boot")


def test_keys_of_a_later_zoo_are_left_alone() -> None:
    assert from_plain({**PLAIN, "later": [1]}, Description) == DESCRIPTION


@pytest.mark.parametrize(
    ("schema", "says"), [(SCHEMA + 1, "update zoo-core"), (SCHEMA - 1, "write it anew")]
)
def test_another_schema_says_what_to_do(schema: int, says: str) -> None:
    with pytest.raises(ValueError, match=rf"schema {schema}\).*{says}"):
        from_plain({**PLAIN, "schema": schema}, Description)


def test_it_says_in_words_what_a_graph_takes_and_gives() -> None:
    assert DESCRIPTION.takes == (
        "generate takes latent (batch, 20), standard normal; "
        "label (batch), uniform in [0, 1], 2 classes"
    )
    assert DESCRIPTION.gives == "generate gives image (batch, 1, 28, 28) in [-1, 1], of horse"
    horses = Port.image("image", CLOTHES.pictures, domain="horse", any_size=True)
    assert describe_port(horses) == "image (batch, 1, height, width) in [-1, 1], of horse"
    code = Port.latent("mu", 3, prior=None)
    assert describe_port(code) == "latent mu (batch, 3)"
    shape = ("batch", 28, 28, 1)
    pixels = Port("image", "image", shape, "uint8", (0.0, 255.0), layout="NHWC", tolerance=1.0)
    assert describe_port(pixels) == "image (batch, 28, 28, 1) of uint8 in [0, 255]"


def test_names_that_are_no_classes_are_called_what_they_are() -> None:
    text = Port("text", "text", ("batch", 8), "int64", (0.0, 2.0), classes=("a", "b", "c"))
    assert describe_port(text).endswith(", 3 symbols")
    table = Port("table", "values", ("batch", 2), classes=("height", "width"))
    assert describe_port(table) == "table (batch, 2), 2 columns"


def test_channels_and_size_are_found_in_either_layout() -> None:
    planes = Port.image("image", PHOTOS.pictures, any_size=True)
    pixels = replace(planes, shape=("batch", "height", "width", 3), layout="NHWC")
    for port in (planes, pixels):
        assert port.channels == 3
        assert port.image_size == ("height", "width")
        assert port.colours == "RGB"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("precision",), "int4"),
        (("normalisation",), "none"),
        (("normalisation",), ["\x1b[2J"]),
        (("dropout",), ""),
        (("weights_sha256",), "0" * 63),
        (("weights_sha256",), "G" * 64),
        (("written_by",), {"torch": 2}),
        (("signature", "outputs", 0, "layout"), "HWC"),
        (("signature", "outputs", 0, "rate"), 22050),
        (("signature", "outputs", 0, "kind"), "audio"),
        (("signature", "outputs", 0, "dtype"), "float16"),
        (("identity", "data", "licence"), 3),
    ],
)
def test_an_account_that_cannot_be_true_is_refused(place: tuple[Any, ...], value: Any) -> None:
    changed = copy.deepcopy(PLAIN)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    assert inner[place[-1]] != value
    inner[place[-1]] = value
    with pytest.raises(ValueError, match=r"unusable|[Ee]xpected|Invalid"):
        from_plain(changed, Description)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("checks", None),
        ("checks", {"image": [0.0]}),
        ("checks", {"image": {"greatest": "small"}}),
        ("checks", {"image": {"greatest": float("nan")}}),
        ("checks", {"image": {f"{number}": 0.0 for number in range(65)}}),
        ("checks", {"\x1b[2J": {"greatest": 0.0}}),
        ("quality", {"elbo": {"this": None}}),
        ("quality", {"\n": {"this": -1.0}}),
    ],
)
def test_measurements_that_cannot_be_true_are_refused(key: str, value: Any) -> None:
    entry: dict[str, Any] = {
        **FILE,
        "checks": {"image": {"greatest": 3.5e-6, "mean": 1e-7}},
        "quality": {"elbo": {"float32": -237.25, "this": -238.0}},
    }
    assert typed(entry, ExportedFile).checks == entry["checks"]
    with pytest.raises(ValueError, match=r"unusable|Expected"):
        typed({**entry, key: value}, ExportedFile)


@given(any_json)
def test_arbitrary_json_is_refused_in_one_way_only(value: Any) -> None:
    with pytest.raises(ValueError, match=r"unusable|zoo"):
        from_plain(value, Description)


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
        read = from_plain(changed, Description)
    except ValueError as problem:
        assert len(str(problem)) < 400
    else:
        assert from_text(to_text(read), Description) == read  # what is accepted can be written


@given(st.text())
def test_arbitrary_text_is_refused_in_one_way_only(text: str) -> None:
    with pytest.raises(ValueError):
        from_text(text, Description)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 200_000,
        f'{{"schema": {SCHEMA}' + " " * MAX_TEXT + "}",
        '{"schema": ' + "9" * 5000 + "}",
        to_text(DESCRIPTION).replace("-237.5", "NaN"),
        to_text(DESCRIPTION).replace("-237.5", "1e999"),
        to_text(DESCRIPTION).replace('"decode"', '"\\u001b[31m"').replace("generate", "a\\nb"),
        to_text(DESCRIPTION).replace('"vae"', '"\\ud800"'),
        to_text(DESCRIPTION).replace('"label"', '"latent"'),
        to_text(DESCRIPTION).replace('["batch", 20]', '["batch", 65536, 65536]'),
        to_text(DESCRIPTION).replace('["batch", 20]', '["batch", ' + "9" * 30 + "]"),
        to_text(DESCRIPTION).replace('["batch", 20]', '["' + "b" * 1000 + '", 20]'),
        to_text(DESCRIPTION).replace('"step": 940', '"step": true'),
        to_text(DESCRIPTION).replace('"step": 940', '"step": -1'),
        to_text(DESCRIPTION).replace("[512, 512]", "[[512], 512]"),
        to_text(DESCRIPTION).replace("[512, 512]", '{"a": 1}'),
    ],
    ids=lambda text: text[:30],
)
def test_hostile_text_is_refused(text: str) -> None:
    assert text != to_text(DESCRIPTION)
    with pytest.raises(ValueError) as caught:
        from_text(text, Description)
    assert len(str(caught.value)) < 400
