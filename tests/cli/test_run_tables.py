"""`zoo run` on tables: rows of numbers from .csv files, and results that become one."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tests.cli.running import Zoo, photo
from tests.runtime.graphs import decoder, describe, encoder, save
from zoo.ports import Port
from zoo.runtime.array_files import MAX_TABLE

COLUMNS = ("height", "width")


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Zoo:
    return Zoo(capfd)


def halving(columns: Sequence[str] = COLUMNS) -> None:
    """row (batch, 2) -> half, and whole: a tenth as much, and as much."""
    row = Port("row", "values", ("batch", 2), classes=tuple(columns))
    outputs = [Port(name, "values", row.shape, classes=row.classes) for name in ("half", "whole")]
    nodes = [
        helper.make_node("Mul", ["row", "share"], ["half"]),
        helper.make_node("Identity", ["row"], ["whole"]),
    ]
    save(Path("halve.onnx"), describe("halve", [row], outputs), nodes, {"share": np.float32(0.1)})


def read(path: str) -> tuple[list[str], list[list[str]]]:
    with Path(path).open(newline="") as file:
        heading, *rows = csv.reader(file)
    return heading, rows


TABLES = {
    "no heading": "1,2.5\n3,4\n",
    "the columns of the training": "height,width\n1,2.5\n3,4\n",
    "these among others, in another order": "name,width,height\nfirst,2.5,1\nsecond,4,3\n",
    "other names": "a,b\n1,2.5\n3,4\n",
    "semicolons, quotes, a mark and empty lines": '\ufeff"height";"width"\n\n"1"; 2.5\r\n3;4\n\n',
}


@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES)
def test_rows_are_read_from_a_table(command: Zoo, text: str) -> None:
    halving()
    Path("rows.CSV").write_text(text)
    told = json.loads(command.run("halve.onnx", "rows.CSV").out)
    assert told["values"]["whole"] == [[1.0, 2.5], [3.0, 4.0]]
    assert told["count"] == 2


def test_whole_numbers_go_to_a_port_of_whole_numbers(command: Zoo) -> None:
    row = Port("row", "values", ("batch", 2), "int64", (0.0, 9.0))
    node = helper.make_node("Identity", ["row"], ["same"])
    save(Path("same.onnx"), describe("same", [row], [Port("same", "values", row.shape, "int64")]),
         [node])  # fmt: skip
    Path("rows.csv").write_text("1,2\n3,4\n")
    command.run("same.onnx", "rows.csv", "-o", "out.csv")
    assert read("out.csv") == (["same_0", "same_1"], [["1", "2"], ["3", "4"]])
    for text in ("1,2.5\n", "1,10\n"):
        Path("rows.csv").write_text(text)
        command.refused("same.onnx", "rows.csv", code=2, error="bad-input")


def test_rows_come_out_as_a_table_that_is_read_again(command: Zoo) -> None:
    halving()
    rows = np.float32([[1 / 3, 1e-20], [-2, 7e20]])
    np.save("rows.npy", rows)
    assert command.run("halve.onnx", "rows.npy", "-o", "new/first.csv").lines == ["new/first.csv"]
    heading, first = read("new/first.csv")
    assert heading == ["height", "width"]
    assert np.array_equal(np.array(first, np.float32), rows * np.float32(0.1)), "all digits"
    command.run("halve.onnx", "new/first.csv", "-o", "second.npz")
    with np.load("second.npz") as second:
        assert np.array_equal(second["whole"], rows * np.float32(0.1))
    before = Path("new/first.csv").read_bytes()
    command.refused(
        "halve.onnx", "new/first.csv", "-o", "new/first.csv", code=2, error="bad-output"
    )
    assert Path("new/first.csv").read_bytes() == before


def test_codes_of_pictures_are_a_table_and_pictures_are_none(command: Zoo) -> None:
    encoder(Path("encode.onnx"))
    photo(Path("a.png"), 0)
    command.run("encode.onnx", "a.png", "-o", "codes.csv")
    assert read("codes.csv") == (["mu_0", "mu_1"], [["-1.0", "-1.0"]])
    decoder(Path("decode.onnx"))
    command.refused("decode.onnx", "-n", "2", "-o", "x.csv", code=2, error="bad-output")
    assert "(1, 2)" in command.refused("decode.onnx", "codes.csv", code=2, error="bad-input")


def test_names_that_a_sheet_takes_for_formulas_are_not_written(command: Zoo) -> None:
    halving(["=1+1", "width"])
    Path("rows.csv").write_text("1,2\n")
    command.run("halve.onnx", "rows.csv", "-o", "out.csv")
    assert read("out.csv")[0] == ["half_0", "half_1"]


def test_a_table_that_could_not_be_read_again_is_not_written(command: Zoo) -> None:
    noise = Port.latent("noise", 2**20)
    node = helper.make_node("Identity", ["noise"], ["same"])
    save(Path("same.onnx"), describe("same", [noise], [Port("same", "values", noise.shape)]),
         [node])  # fmt: skip
    command.refused("same.onnx", "-n", "17", "-o", "x.csv", code=2, error="too-many")
    assert not Path("x.csv").exists()


def write(content: str | bytes) -> Callable[[], object]:
    return lambda: Path("x.csv").write_bytes(
        content.encode() if isinstance(content, str) else content
    )


def write_huge() -> None:
    with Path("x.csv").open("wb") as file:
        file.truncate(MAX_TABLE + 1)


BAD_TABLES = {
    "nothing": (write(""), 3, "x.csv"),
    "a heading alone": (write("height,width\n"), 3, "x.csv"),
    "a word": (write("1,2\n3,four\n"), 3, "line 2"),
    "a word in the first line": (write("1,two\n3,4\n"), 3, "line 1"),
    "a comma for a point": (write("a;b\n1,5;2,5\n"), 3, "1,5"),
    "a gap": (write("height,width\n1,\n"), 3, "line 2"),
    "a short line": (write("1,2\n3\n"), 3, "line 2"),
    "a long line": (write("1,2\n3,4,5\n"), 3, "line 2"),
    "not a number": (write("1,nan\n"), 3, "row"),
    "too great": (write("1,1e999\n"), 3, "row"),
    "other columns": (write("1,2,3\n"), 2, "(1, 3)"),
    "an open quote": (write('1,2\n"3,4\n'), 3, "x.csv"),
    "one huge value": (write("1," + "2" * 2**18), 3, "x.csv"),
    "UTF-16": (write("1,2\n".encode("utf-16")), 3, "x.csv"),
    "no text": (write(bytes(range(256))), 3, "x.csv"),
    "a huge file": (write_huge, 3, f"{MAX_TABLE:,}"),
    "a folder": (lambda: Path("x.csv").mkdir(), 3, "x.csv"),
}


@pytest.mark.parametrize(("make", "code", "name"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_tables_that_do_not_fit_are_refused(
    command: Zoo, make: Callable[[], object], code: int, name: str
) -> None:
    halving()
    make()
    said = command.refused("halve.onnx", "x.csv", "-o", "y.csv", code=code, error="bad-input")
    assert name in said
    assert "x.csv" in said
    assert not Path("y.csv").exists()
