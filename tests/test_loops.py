"""What goes into each round of a loop, and what its rounds become."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from tests.errors import raises
from zoo.errors import UsageError
from zoo.loops import Arrays, Round, choose_rounds, drive, join_rounds, shown_rounds
from zoo.ports import Port, Signature

STATE = Port("state", "latent", ("batch", 2), prior="zeros", next="moved")
NOISE = Port("noise", "latent", ("batch", 2), prior="normal")
RATE = Port("rate", "values", ("batch",), default=0.5)
LABEL = Port.label("label", ["a", "b", "c"])
MOVED = Port("moved", "latent", ("batch", 2))
WALK = Signature((STATE, NOISE, RATE, LABEL), (MOVED,), rounds=7)


def walk(inputs: Arrays) -> Arrays:
    return {"moved": inputs["state"] + inputs["rate"][:, None] * inputs["noise"]}


def first(rows: int) -> dict[str, np.ndarray]:
    return {
        "state": np.zeros((rows, 2), np.float32),
        "noise": np.ones((rows, 2), np.float32),
        "rate": np.full(rows, 0.5, np.float32),
        "label": np.arange(rows) % 3,
    }


def rounds_of(**options: Any) -> list[Round]:
    return list(drive(walk, WALK, first(4), rounds=5, **options))


def test_an_output_comes_back_noise_is_new_and_the_rest_stays() -> None:
    found = rounds_of()
    assert [each.number for each in found] == [1, 2, 3, 4, 5]
    for before, after in pairwise(found):
        np.testing.assert_array_equal(after.inputs["state"], before.outputs["moved"])
        assert not np.array_equal(after.inputs["noise"], before.inputs["noise"])
        for name in ("rate", "label"):
            np.testing.assert_array_equal(after.inputs[name], before.inputs[name])


def test_the_seed_and_the_number_of_a_row_say_what_it_draws_whatever_the_batch() -> None:
    whole = rounds_of(seed=3)[-1].outputs["moved"]
    parts = [
        list(
            drive(
                walk,
                WALK,
                {name: array[rows] for name, array in first(4).items()},
                rounds=5,
                seed=3,
                rows=rows,
            )
        )[-1].outputs["moved"]
        for rows in ([0], [1, 2, 3])
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert not np.array_equal(rounds_of(seed=4)[-1].outputs["moved"], whole)
    same = rounds_of(seed=3, rows=[0, 1, 0, 1])[-1].outputs["moved"]
    np.testing.assert_array_equal(same[:2], same[2:])


def test_what_somebody_gave_is_not_drawn_again() -> None:
    for each in rounds_of(given={"noise"}):
        np.testing.assert_array_equal(each.inputs["noise"], 1)


def test_a_sequence_goes_in_one_element_a_round_before_the_loop_feeds_itself() -> None:
    symbol = Port("symbol", "text", ("batch",), "int64", next="following", default=0)
    signature = Signature((symbol,), (Port("following", "text", ("batch",), "int64"),))
    given = {"symbol": np.array([[5, 1], [7, 2]])}
    found = list(
        drive(lambda inputs: {"following": inputs["symbol"] + 1}, signature, given, rounds=4)
    )
    assert [each.inputs["symbol"].tolist() for each in found] == [[5, 7], [1, 2], [2, 3], [3, 4]]


def test_rounds_are_the_graphs_own_unless_asked_for() -> None:
    assert choose_rounds(WALK, None, "walk") == 7
    assert choose_rounds(WALK, 3, "walk") == 3
    assert choose_rounds(Signature((NOISE,), (MOVED,)), None, "once") is None
    with raises(UsageError, "how-many-rounds", "walk", "--rounds N"):
        choose_rounds(Signature((STATE,), (MOVED,)), None, "walk")
    with raises(UsageError, "does-not-apply", "--rounds", "once"):
        choose_rounds(Signature((NOISE,), (MOVED,)), 3, "once")


def test_the_last_round_is_shown_and_others_evenly() -> None:
    assert shown_rounds(10, 4) == (4, 8, 10)
    assert shown_rounds(3, 50) == (3,)
    assert shown_rounds(4) == (1, 2, 3, 4)
    many = shown_rounds(1000)
    assert (len(many), many[0], many[-1]) == (60, 1, 1000)
    assert {15 <= gap <= 18 for gap in np.diff(many)} == {True}


def test_sequences_are_joined_along_time_and_the_rest_is_refined() -> None:
    rounds = [np.full((2,), number) for number in (1, 2, 3)]
    text = Port("text", "text", ("batch",), "int64")
    assert join_rounds(text, rounds).tolist() == [[1, 2, 3]] * 2
    sound = Port("sound", "audio", ("batch", 1, 4), rate=8000)
    assert join_rounds(sound, [np.zeros((2, 1, 4))] * 3).shape == (2, 1, 12)
    assert join_rounds(RATE, rounds) is rounds[-1]
