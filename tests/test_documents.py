"""Documents that can be checked against the code are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from zoo.catalog.lookup import installed_models

PROJECT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("plugins/*/*.md")]
)


def test_files_that_the_architecture_names_are_there() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:\w+/)?\w+\.py)`", text))
    assert len(named) > 10
    for name in named:
        assert (PROJECT / "zoo" / name).exists() or list((PROJECT / "zoo").rglob(name)), name
    stages = [path.name for path in (PROJECT / "zoo").iterdir() if (path / "__init__.py").exists()]
    for stage in stages:
        assert f"`{stage}/`" in text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_nothing_is_said_to_be_on_a_package_index_that_is_not_there() -> None:
    names = "core|autoencoders|classifiers|diffusion|gans|sequences|translation"
    ours = rf"pip install [^\n]*?(?<![\w./-])(zoo-({names}))\b"
    for path in [*DOCUMENTS, *(PROJECT / "zoo").rglob("*.py"), *(PROJECT / "zoo").rglob("*.tmpl")]:
        found = re.search(ours, path.read_text(encoding="utf-8"))
        assert found is None, f"{path.relative_to(PROJECT)}: {found[0] if found else ''}"


def test_no_file_of_the_core_names_a_model() -> None:
    names = "|".join(re.escape(each.card.name) for each in installed_models())
    for path in (PROJECT / "zoo").rglob("*.py"):
        found = re.search(rf"(?<![\w-])({names})(?![\w-])", path.read_text(encoding="utf-8"))
        assert found is None, f"{path.relative_to(PROJECT)} names {found[0] if found else ''}"
