"""Labels of rows: what the font has is drawn, other names are told by a number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.grids import GAP, LARGEST_TEXT, LOWEST_ROW, WIDEST, draw_margin, grid, legible


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("T-shirt/top", "T-shirt/top"),
        ("twemoji_to_noto", "twemoji_to_noto"),
        ("éclair", "eclair"),
        ("Ångström", "Angstrom"),
        ("a\u0301", "a"),
        ("two\nlines\t of  text", "two lines of text"),
        ("猫", "7"),
        ("кошка", "7"),
        ("🦓 zebra", "7"),
        ("\x1b[2Jboot", "7"),
        ("\u202eboot", "7"),
        ("", "7"),
        (" \n", "7"),
        ("\u0301", "7"),
        ("\ud800", "7"),
    ],
)
def test_a_name_is_shown_as_far_as_the_font_has_its_letters(name: str, shown: str) -> None:
    assert legible(name, "7") == shown


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
def test_no_name_of_a_stranger_breaks_a_page(names: list[str]) -> None:
    labels = [legible(name, str(number)) for number, name in enumerate(names)]
    tops = range(2, 2 + 30 * len(names), 30)
    margin = draw_margin(labels, tops, 28, (2 + 30 * len(names), 512))
    assert margin.shape[0] == 2 + 30 * len(names)
    assert 0 < margin.shape[1] <= (WIDEST + 1) * LARGEST_TEXT


def test_the_margin_is_as_wide_as_the_longest_label_until_it_is_cut() -> None:
    def width(*labels: str) -> int:
        return draw_margin(labels, range(0, 50 * len(labels), 50), 48, (200, 512)).shape[1]

    assert width("bag") < width("ankle boot") == width("ankle boot", "bag")
    assert width("ankle boot" * 3) == pytest.approx(width("ankle boot" * 9), abs=14)


def test_long_names_are_cut_at_their_end() -> None:
    def draw(label: str) -> np.ndarray:
        return draw_margin([label], [0], 48, (48, 512))

    long = "one name that is far too long for a margin"
    assert (draw(long) == draw(long + " and longer")).all()
    assert (
        draw(long).shape != draw("other" + long[3:]).shape
        or (draw(long) != draw("other" + long[3:])).any()
    )
    assert (draw(long)[:, -4:] == 255).all(), "nothing is cut by the edge"
    assert (draw(long)[:, :2] == 255).all()


def test_text_grows_with_the_page_and_fits_into_its_row() -> None:
    def height(row: int, page: int) -> int:
        margin = draw_margin(["Wg"], [0], row, (row, page))
        return int(np.ptp(np.flatnonzero((margin < 128).any(axis=1)))) + 1

    assert height(LOWEST_ROW, 512) >= 9
    assert height(LOWEST_ROW, 4000) <= LOWEST_ROW
    assert height(100, 512) > height(LOWEST_ROW, 512)
    assert height(100, 512) < height(100, 1000) == height(100, 5000)


def test_captions_stand_below_their_pictures_and_need_room_only_where_there_are_any() -> None:
    pictures = np.zeros((4, 60, 60, 1), np.uint8)
    plain = grid(pictures, 2)
    captions = ("", "", "", "glyph")
    page = grid(pictures, 2, captions=captions)
    line = len(page) - len(plain)
    assert 12 <= line <= 40
    np.testing.assert_array_equal(page[: -line - GAP], plain[:-GAP])
    below = page[-line - GAP :, :, 0]
    left, right = np.split(below, [page.shape[1] // 2], axis=1)
    assert (left == 255).all()
    assert (right < 100).any()
    assert (right[[0, -GAP - 1]] > 200).all(), "no letter is cut off above or below"
    assert (below[:, [0, -1]] == 255).all()


def test_a_page_is_as_wide_as_asked_for() -> None:
    pictures = np.zeros((3, 28, 28, 1), np.uint8)
    assert 512 <= grid(pictures, 3).shape[1] < 1024 <= grid(pictures, 3, across=1024).shape[1]
