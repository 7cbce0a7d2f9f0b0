"""docs/security.md says what the code and the tests say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LINES = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
ROWS = [line.strip("|").split(" | ") for line in LINES if line.startswith("| ")]
CASES = [row for row in ROWS if len(row) == 4 and "::" in row[3]]
LIMITS = [row for row in ROWS if len(row) == 3 and "`zoo." in row[2]]


def test_there_is_a_case_of_each_kind() -> None:
    assert len(CASES) > 40
    assert len(LIMITS) > 15
    empty = [row[0] for row in ROWS if len(row) == 4 and "::" not in row[3]]
    headings = [each for each in empty if "**" in each or each.strip() == "input"]
    assert empty == headings, "every row names a test"


@pytest.mark.parametrize("row", CASES, ids=lambda row: row[0].strip()[:50])
def test_every_test_of_the_table_exists(row: list[str]) -> None:
    codes, named = row[2], re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row[3])
    assert set(codes.split(", ")) <= {"0", "1", "2", "3", "4", "130"}
    assert len(named) == row[3].count("::")
    for file, name in named:
        text = (PROJECT / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{file} has no {name}"


@pytest.mark.parametrize("row", LIMITS, ids=lambda row: row[2].strip(" `"))
def test_every_limit_is_the_one_of_the_code(row: list[str]) -> None:
    found = re.search(r"`(zoo[\w.]+)\.(\w+)`", row[2])
    assert found
    module, name = found.groups()
    value = getattr(importlib.import_module(module), name)
    assert row[1] == f"{value:,.0f}"
