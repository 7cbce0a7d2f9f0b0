"""What is not given: noise that depends on the seed alone, and classes by name or number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.errors import raises
from zoo.draws import class_name, draw, read_classes, read_values
from zoo.errors import UsageError
from zoo.ports import DataSpec, Port

CLOTHES = ("T-shirt/top", "Trouser", "Sneaker", "Bag", "Ankle boot")
LATENT = Port.latent("latent", 3)
LABEL = Port.label("label", CLOTHES)
PORTS = [LATENT, LABEL]


def test_one_generator_draws_the_ports_in_their_order() -> None:
    drawn = draw(PORTS, 4, seed=7)
    generator = np.random.default_rng(7)
    latent = generator.standard_normal((4, 3)).astype(np.float32)
    label = generator.integers(0, 4, 4, endpoint=True)
    assert list(drawn) == ["latent", "label"]
    np.testing.assert_array_equal(drawn["latent"], latent)
    np.testing.assert_array_equal(drawn["label"], label)


def test_every_class_gets_the_same_noise() -> None:
    drawn = draw(PORTS, 4, seed=7, classes=[2, 0, 4])
    assert drawn["label"].tolist() == [2] * 4 + [0] * 4 + [4] * 4
    assert drawn["label"].dtype == np.int64
    once = draw([LATENT], 4, seed=7)["latent"]
    np.testing.assert_array_equal(drawn["latent"], np.concatenate([once] * 3))


def test_the_noise_of_a_class_does_not_depend_on_the_others() -> None:
    ports = [LABEL, LATENT]  # the label comes first, and takes nothing from the generator
    alone = draw(ports, 2, seed=1, classes=[3])["latent"]
    np.testing.assert_array_equal(draw(ports, 2, seed=1, classes=[0, 3])["latent"][2:], alone)


def test_what_has_no_prior_is_not_drawn() -> None:
    with pytest.raises(ValueError, match="no prior"):
        draw([Port.image("image", DataSpec.of_images("dots", 1, 4, 4).pictures)], 1, seed=0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sneaker", [2]),
        ("sneaker", [2]),
        (" SNEAKER ", [2]),
        ("ankle boot", [4]),
        ("t-shirt/top", [0]),
        ("3", [3]),
        ("bag,0, trouser", [3, 0, 1]),
        ("sneaker,2,Sneaker", [2]),
        ("all", [0, 1, 2, 3, 4]),
        ("ALL", [0, 1, 2, 3, 4]),
    ],
)
def test_classes_are_read_by_name_and_by_number(text: str, expected: list[int]) -> None:
    assert read_classes(text, PORTS) == expected


def test_a_name_as_it_is_written_comes_before_all_else() -> None:
    def read(text: str, *classes: str) -> list[int]:
        return read_classes(text, [Port.label("label", classes)])

    assert read("a", "A", "a") == [1]
    assert read("b", "B", "b-2", "B") == [0]
    assert read("2", "3", "2", "1") == [1]
    assert read("tench, Tinca tinca", "goldfish", "tench, Tinca tinca") == [1]


def test_a_label_without_names_takes_numbers() -> None:
    label = Port("label", "label", ("batch",), "int64", (0.0, 9.0), "uniform")
    assert read_classes("9,1", [label]) == [9, 1]
    assert class_name(9, [label]) == "9"
    with raises(UsageError, "unknown-class", "0 to 9"):
        read_classes("10", [label])


@pytest.mark.parametrize("text", ["", ",", "sneaker,", "-1", "5", "1.0", "٣", "9" * 5000, "none"])
def test_an_unknown_class_is_answered_with_those_there_are(text: str) -> None:
    names = "T-shirt/top, Trouser, Sneaker, Bag, Ankle boot"
    with raises(UsageError, "unknown-class", names, "0 to 4") as caught:
        read_classes(text, PORTS)
    assert len(str(caught.value)) < 600


def test_a_misspelt_class_is_answered_with_the_nearest() -> None:
    with raises(UsageError, "unknown-class", "'sneeker'", "'sneaker'"):
        read_classes("bag,sneeker", PORTS)


def test_of_many_classes_a_few_are_told() -> None:
    label = Port.label("label", [f"breed {number}" for number in range(1000)])
    with pytest.raises(UsageError) as caught:
        read_classes("cat", [label])
    assert "breed 9 " in str(caught.value)
    assert "990" in str(caught.value)
    assert "breed 10" not in str(caught.value)


def test_without_a_label_there_is_no_class_to_choose() -> None:
    with raises(UsageError, "does-not-apply", "--class", "latent"):
        read_classes("sneaker", [LATENT])
    with raises(UsageError, "does-not-apply", "--class"):
        read_classes("sneaker", [LABEL, Port.label("other", ["a"])])
    with raises(UsageError, "does-not-apply", "label"):
        read_classes("0", [Port("label", "label", ("batch",), "int64")])


@pytest.mark.parametrize("low", [0.0, -(2.0**61)])
def test_all_of_absurdly_many_classes_is_refused_at_once(low: float) -> None:
    label = Port("label", "label", ("batch",), "int64", (low, 2.0**61), "uniform")
    with raises(UsageError, "too-many"):
        read_classes("all", [label])


@given(st.text(max_size=60))
def test_any_text_is_classes_or_a_short_error(text: str) -> None:
    try:
        found = read_classes(text, PORTS)
    except UsageError as problem:
        assert len(str(problem).splitlines()) <= 3
        assert len(str(problem)) < 500
    else:
        assert found == list(dict.fromkeys(found))
        assert set(found) <= set(range(5))
        assert found


@given(st.lists(st.text(max_size=80), min_size=1, max_size=30), st.text(max_size=20))
def test_class_names_of_strangers_are_chosen_by_number_and_shown_harmless(
    names: list[str], text: str
) -> None:
    label = Port.label("label", names)
    assert read_classes("all", [label]) == list(range(len(names)))
    for number, name in enumerate(names):
        assert class_name(number, [label]) == name
        if name.strip() and name.strip().casefold() != "all":
            (found,) = read_classes(name, [label])
            assert names[found].strip() == name.strip()
    try:
        read_classes(text, [label])
    except UsageError as problem:
        assert all(line.isprintable() for line in str(problem).split("\n"))
        assert len(str(problem).splitlines()) <= 3


RATE = Port("rate", "values", ("batch", 1), range=(0.0, 1.0), default=0.5)
STEP = Port("step", "values", ("batch",), "int64")
SYMBOL = Port("symbol", "text", ("batch",), "int64", next="following", classes=tuple("abc"))
WINDOW = Port("window", "text", ("batch", 2), "int64", classes=tuple("abc"))
SETTABLE = [LATENT, LABEL, RATE, STEP, SYMBOL, WINDOW]


def test_a_value_by_name_becomes_one_row_of_its_port() -> None:
    words = ["rate=0.25", "step=7", "label=bag", "symbol=cab", "window=ba"]
    found = read_values(words, SETTABLE)
    assert {name: row.tolist() for name, row in found.items()} == {
        "rate": [[0.25]], "step": [7], "label": [3], "symbol": [[2, 0, 1]], "window": [[1, 0]],
    }  # fmt: skip
    assert {name: row.dtype for name, row in found.items()} == {
        "rate": np.float32, "step": np.int64, "label": np.int64, "symbol": np.int64,
        "window": np.int64,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["raet=1"], "rate"),
        (["rate"], "PORT=VALUE"),
        (["rate=2"], "[0, 1]"),
        (["rate=warm"], "number"),
        (["rate=nan"], "rate"),
        (["step=0.5"], "whole"),
        (["latent=1"], ".npz"),
        (["symbol=xyz"], "'x'"),
        (["symbol="], "empty"),
        (["window=abc"], "2 symbols"),
        (["label=hat"], "hat"),
        (["rate=1", "rate=0"], "twice"),
    ],
)
def test_a_value_that_does_not_fit_is_told(words: list[str], named: str) -> None:
    with pytest.raises(UsageError) as problem:
        read_values(words, SETTABLE)
    assert named in f"{problem.value.message} {problem.value.cause} {problem.value.hint}"
