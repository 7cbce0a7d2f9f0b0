"""What lies below ``exports/`` belongs to the published weights, and docs/results.md to it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.process import zoo
from zoo.manifest import read_manifest
from zoo.measurements import read_evaluation

ROWS = tomllib.loads((PROJECT / "registry.toml").read_text())["weights"]
FOLDERS = sorted(path.parent for path in (PROJECT / "exports").glob("*/manifest.json"))
MOST_BYTES = 100 * 10**6  # of all


def test_every_published_model_has_a_folder() -> None:
    assert [folder.name for folder in FOLDERS] == sorted(ROWS)
    assert sum(path.stat().st_size for path in (PROJECT / "exports").rglob("*.*")) < MOST_BYTES


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_a_folder_is_of_the_published_weights_and_was_measured(folder: Path) -> None:
    manifest, record = read_manifest(folder), read_evaluation(folder)
    published = ROWS[folder.name]["file"]["sha256"]
    assert manifest.weights.sha256 == published
    assert record is not None
    assert record.weights_sha256 == published
    assert record.measurements
    assert manifest.files
    assert "model-index" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_document_of_results_is_what_was_measured() -> None:
    document = PROJECT / "docs" / "results.md"
    printed = subprocess.run(
        [sys.executable, str(PROJECT / "tools" / "results.py"), "--print"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert printed == document.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_the_files_run_here_as_they_did_where_they_were_written(folder: Path) -> None:
    zoo("export", "--check", str(folder))
