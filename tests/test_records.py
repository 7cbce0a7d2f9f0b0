"""Files of ours are read with their types: a value of the wrong type is named, and not used."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Required, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.records import parse_json, read_json, read_lines, read_toml, typed


@dataclass(frozen=True)
class Part:
    name: str
    sizes: tuple[int, ...] = ()
    range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Whole:
    kind: Literal["a", "b"]
    parts: dict[str, Part] = field(default_factory=dict)


class Row(TypedDict, total=False):
    step: Required[int]
    values: dict[str, float]
    note: str | None


def test_values_become_what_the_fields_declare() -> None:
    value = {"kind": "a", "parts": {"x": {"name": "n", "sizes": [1, 2], "later": 3}}, "later": 1}
    assert typed(value, Whole) == Whole("a", {"x": Part("n", (1, 2))})
    assert typed({"name": "n", "range": [0, 1.5]}, Part).range == (0, 1.5)
    row = {"step": 3, "values": {"loss": 1}, "note": None, "later": [1]}
    assert typed(row, Row) == row


@pytest.mark.parametrize(
    ("value", "kind", "names"),
    [
        ({"kind": "c"}, Whole, r"\$\.kind"),
        ({"kind": "a", "parts": {"x": {"name": 3}}}, Whole, r"`str`.*parts.*\.name"),
        (
            {"kind": "a", "parts": {"x": {"name": "n", "sizes": [1, "2"]}}},
            Whole,
            r"`int`.*sizes\[1\]",
        ),
        ({"kind": "a", "parts": []}, Whole, r"`object`.*\$\.parts"),
        ({"name": "n", "range": [1]}, Part, r"length 2.*\$\.range"),
        ({}, Part, "missing.*`name`"),
        ([], Part, "`object`"),
        ({"values": {}}, Row, "missing.*`step`"),
        ({"step": True}, Row, r"`int`.*\$\.step"),
        ({"step": 2**70}, Row, r"64 bits.*\$\.step"),
        ({"step": 1, "values": {"loss": "much"}}, Row, r"`float`.*\$\.values"),
        ({"step": 1, "values": {"loss": 1e999}}, Row, r"finite.*\$\.values\.loss"),
        ({"step": 1, "note": 3}, Row, r"`str \| null`.*\$\.note"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(value: Any, kind: type[Any], names: str) -> None:
    with pytest.raises(ValueError, match=names):
        typed(value, kind)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(anything)
def test_whatever_is_read_either_fits_or_is_a_value_error(value: Any) -> None:
    for kind in (Whole, Row):
        try:
            typed(value, kind)
        except ValueError as problem:
            assert len(str(problem)) < 300


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"step": NaN}', '{"step": 1e9}', "\xff"])
def test_what_is_no_json_or_no_number_is_refused(text: str) -> None:
    Path("x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError):
        read_json(Path("x.json"), Row)
    with pytest.raises(ValueError):
        parse_json(text, Row)


def test_files_of_the_wrong_kind_or_size_are_not_read() -> None:
    Path("x.toml").write_text("step = 1\n")
    assert read_toml(Path("x.toml"), Row) == {"step": 1}
    with pytest.raises(ValueError, match="larger than 4 bytes"):
        read_toml(Path("x.toml"), Row, most_bytes=4)
    Path("folder").mkdir()
    with pytest.raises(ValueError, match="no regular file"):
        read_json(Path("folder"), Row)


def test_damaged_lines_are_told_and_a_torn_last_one_is_not() -> None:
    lines = [json.dumps({"step": step, "values": {}}) for step in range(4)]
    lines[1] = '{"step": "one"}'
    Path("x.jsonl").write_text("\n".join([*lines, '{"st']))
    told: list[tuple[int, str]] = []
    rows = list(read_lines(Path("x.jsonl"), Row, lambda *each: told.append(each)))
    assert [row["step"] for row in rows] == [0, 2, 3]
    assert [number for number, _ in told] == [2]
    assert "step" in told[0][1]
    assert list(read_lines(Path("none.jsonl"), Row)) == []
