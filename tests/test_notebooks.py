"""Notebooks are notebooks, hold no outputs, and run from top to bottom."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def cells_of(path: Path, kind: str) -> Iterator[str]:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == kind:
            yield "".join(cell["source"])


def run(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """Run the cells of a notebook; return all names, and the values that it shows."""
    names: dict[str, Any] = {}
    shown = []
    for source in cells_of(path, "code"):
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, str(path), "exec"), names)
        if last is not None:
            shown.append(eval(compile(ast.Expression(last.value), str(path), "eval"), names))
    return names, shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_of_format_4_and_holds_no_outputs(path: Path) -> None:
    book = json.loads(path.read_text(encoding="utf-8"))
    assert book.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    own = {"cell_type", "id", "metadata", "source"}
    for cell in book["cells"]:
        is_code = cell["cell_type"] == "code"
        assert is_code or cell["cell_type"] == "markdown"
        assert cell.keys() == (own | {"execution_count", "outputs"} if is_code else own)
        assert not is_code or (cell["outputs"], cell["execution_count"]) == ([], None)
        assert re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", cell["id"])
        assert all(line.endswith("\n") for line in cell["source"][:-1])
    identifiers = [cell["id"] for cell in book["cells"]]
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_links_of_a_notebook_lead_somewhere(path: Path) -> None:
    for text in cells_of(path, "markdown"):
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert "://" in target or (path.parent / target).exists(), target


@pytest.mark.slow
def test_the_first_steps_train_show_and_export(capsys: pytest.CaptureFixture[str]) -> None:
    names, shown = run(FOLDER / "first_steps.ipynb")
    pages = [each for each in shown if isinstance(each, Image.Image)]
    assert len(pages) == 4
    assert all(np.asarray(page).std() > 20 for page in pages)
    pictures, made = (names[each].astype(float) for each in ("pictures", "reconstructions"))
    assert ((pictures - made) ** 2).mean() < 0.5 * pictures.var()  # half a picture is told by two
    assert np.abs(names["there"] - names["here"]).max() < 1e-4
    assert names["unequal"] < names["samples"].size // 1000
    assert "epoch 6/6" in capsys.readouterr().out
    names["plt"].close("all")
