"""A plugin that is broken breaks nothing but itself, and is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.installing import CARD, install
from tests.process import error_of, zoo, zoo_json

SOURCES: dict[str, str | dict[str, str]] = {
    "zoo-raises": "import zoo\n\nraise RuntimeError('the licence server is away')\n",
    "zoo-misspells": "import zoo\n\n@zoo.hookimpl\ndef zoo_modles():\n    return []\n",
    "zoo-heavy": "import torch\n" + CARD.format(model="heavy", module="zoo_heavy"),
    "zoo-exits": "import sys\n\nsys.exit(0)\n",
    "zoo-silent": "X = 1\n",
    "zoo-careless": "import zoo\n\n@zoo.hookimpl\ndef zoo_models():\n    return ['vae']\n",
    "zoo-good": CARD.format(model="good", module="zoo_good"),
    "zoo-rival": CARD.format(model="vae", module="zoo_rival"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return install(tmp_path_factory.mktemp("plugins"), SOURCES)


@pytest.fixture(scope="module")
def troubles(site: dict[str, str]) -> dict[str, str]:
    rows = zoo_json("plugins", "list", **site)
    return {row["distribution"]: row["trouble"] for row in rows}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zoo-raises", ["RuntimeError", "the licence server is away", "__init__.py, line 3"]),
        ("zoo-misspells", ["unknown hook", "zoo_modles"]),
        ("zoo-heavy", ["imports torch", "__init__.py, line 1"]),
        ("zoo-exits", ["SystemExit"]),
        ("zoo-silent", ["provides nothing", "hookimpl"]),
        ("zoo-careless", ["Card", "str"]),
    ],
)
def test_trouble_is_named(troubles: dict[str, str], name: str, words: list[str]) -> None:
    for word in words:
        assert word in troubles[name]


def test_the_others_are_untouched(troubles: dict[str, str], site: dict[str, str]) -> None:
    assert troubles["zoo-good"] is None
    assert troubles["zoo-autoencoders"] is None
    done = zoo("list", **site)
    assert "good" in done.stdout
    assert "zoo-raises" in done.stderr, "broken plugins are mentioned where models are listed"


def test_two_providers_of_a_name_are_an_error_only_when_it_is_used(site: dict[str, str]) -> None:
    zoo("list", **site)
    said = error_of("show", "vae", code=2, **site)
    assert "zoo-autoencoders:vae" in said
    assert "zoo-rival:vae" in said
    assert "Kingma" in zoo("show", "zoo-autoencoders:vae", **site).stdout


def test_a_card_without_its_model_file_says_so_when_it_is_used(site: dict[str, str]) -> None:
    said = error_of("show", "good", code=4, **site)
    assert "zoo-good" in said
    assert "zoo_good.model" in said


def test_discovery_leaves_imports_as_they_were(tmp_path: Path) -> None:
    """The refusal of heavy imports ends with discovery."""
    import sys

    from zoo.catalog.plugins import installed

    before = list(sys.meta_path)
    installed()
    assert sys.meta_path == before
