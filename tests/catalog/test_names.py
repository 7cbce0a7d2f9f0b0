"""Several plugins that offer one name: the plain one is refused, the full ones are understood."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.installing import CARD, install
from tests.process import error_of, zoo, zoo_json

DATA = """

@zoo.hookimpl
def zoo_datasets():
    from pathlib import Path

    place = Path(__file__).parent / "pictures"
    return [zoo.Dataset(name, "pictures of {module}", "folder", "CC0", embedded=place)
            for name in {names}]
"""


def source(module: str, model: str, names: list[str]) -> str:
    card = CARD.format(model=model, module=module).replace(
        'task="generation"', f'task="generation", data="{names[0]}"'
    )
    return card + DATA.format(module=module, names=names)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = install(
        tmp_path_factory.mktemp("names"),
        {
            "zoo-east": source("zoo_east", "thing", ["tones", "emoji"]),
            "zoo-west": source("zoo_west", "thing", ["tones", "single"]),
        },
    )
    for module, level in (("zoo_east", 10), ("zoo_west", 200)):
        folder = Path(found["PYTHONPATH"], module, "pictures")
        folder.mkdir()
        for number in range(4):
            picture = np.full((8, 8), level + number, dtype=np.uint8)
            Image.fromarray(picture).save(folder / f"{number}.png")
    return found


def test_both_rows_say_that_a_name_is_shared(site: dict[str, str]) -> None:
    rows = {row["distribution"]: row for row in zoo_json("plugins", "list", **site)}
    for own, other in (("zoo-east", "zoo-west"), ("zoo-west", "zoo-east")):
        for kind, name in (("model", "thing"), ("data set", "tones")):
            (note,) = (each for each in rows[own]["notes"] if each.startswith(f"{kind} '{name}'"))
            assert other in note
            assert f"{own}:{name}" in note
    assert any("zoo-core" in note and "emoji" in note for note in rows["zoo-east"]["notes"])
    shown = zoo("plugins", **site).stdout
    assert "zoo-west:thing" in shown


def test_a_shared_model_is_reached_by_its_full_name_only(site: dict[str, str]) -> None:
    said = error_of("show", "thing", code=2, error="ambiguous-name", **site)
    assert "zoo-east:thing" in said
    assert "zoo-west:thing" in said
    said = error_of("show", "zoo-west:thing", code=4, error="plugin-failed", **site)
    assert "zoo_west.model" in said


def test_a_shared_data_set_is_reached_by_its_full_name_only(site: dict[str, str]) -> None:
    from_west = zoo("data", "check", "zoo-west:tones", **site).stdout
    assert "4" in from_west
    said = error_of("data", "check", "tones", code=2, error="ambiguous-name", **site)
    assert "zoo-east:tones" in said
    assert "zoo-west:tones" in said
    zoo("data", "check", "zoo-west:tones:folder", **site)
    zoo("data", "check", "zoo-west:single", **site)
    said = error_of("data", "check", "zoo-west:tnoes", code=3, error="data-not-found", **site)
    assert "tnoes" in said
    Path("zoo-west").mkdir()  # a folder of that name is another thing
    assert zoo("data", "check", "zoo-west:tones", **site).stdout == from_west


def test_the_catalogues_own_data_keeps_its_name(site: dict[str, str]) -> None:
    rows = {row["name"]: row for row in zoo_json("data", "list", **site)}
    assert rows["emoji"]["summary"].startswith("Emoji")
    assert rows["zoo-east:emoji"]["summary"] == "pictures of zoo_east"


def test_a_models_own_data_set_stays_its_default(site: dict[str, str]) -> None:
    """Another plugin that offers data of the same name changes nothing for it."""
    rows = {row["name"]: row for row in zoo_json("list", **site)}
    assert rows["zoo-east:thing"]["data"] == "zoo-east:tones"
