"""The tour's commands do what it says they do, and the README shows some of them.

Every block marked ``console`` is run, in order, in one empty folder; what it prints must be what
the tour shows, but for numbers and the widths of columns. ``make tour`` writes it anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents import check, write_anew
from tests.installing import install
from tests.process import zoo

README = Path(__file__).parents[1] / "README.md"
TOUR = README.parent / "docs" / "tour.md"


@pytest.mark.slow
def test_the_tour_shows_what_happens(tmp_path: Path) -> None:
    check(TOUR, tmp_path)


def test_the_first_commands_of_the_readme_are_those_of_the_tour() -> None:
    text = README.read_text(encoding="utf-8")
    block = text[text.index("## A tour") :].split("```")[1]
    lines = [line.partition("#")[0].strip() for line in block.splitlines()[1:]]
    shown = TOUR.read_text(encoding="utf-8")
    for line in filter(None, lines):
        assert f"$ {line}\n" in shown, line


@pytest.mark.slow
def test_the_plugin_of_the_tour_works_as_a_plugin(tmp_path: Path) -> None:
    text = TOUR.read_text(encoding="utf-8")
    files = re.findall(r"```python\n# my_package/(\w+\.py)\n(.*?)```", text, re.DOTALL)
    environment = install(tmp_path, {"my-package": dict(files)})
    assert "a first GAN" in zoo("list", **environment).stdout
    zoo("train", "my-gan", "--steps", "20", **environment)
    zoo("sample", "my-gan", "-n", "4", **environment)
    zoo("export", "my-gan", "--onnx", **environment)
    zoo(
        "run",
        "exports/my-gan/my-gan-fashion-mnist-small.generate.onnx",
        "-n",
        "4",
        "-o",
        "grid.png",
    )  # without the plugin
    assert Path("grid.png").is_file()


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_readme_names_the_two_commands(target: str) -> None:
    assert f"make {target}" in README.read_text(encoding="utf-8")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as empty, tempfile.TemporaryDirectory() as home:
        write_anew(TOUR, Path(empty), ZOO_HOME=home)  # as for somebody who has no data yet
