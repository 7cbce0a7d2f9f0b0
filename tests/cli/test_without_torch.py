"""Every verb where torch is missing, and what is found out before torch is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import error_of, zoo

NOTED = """
import json, sys
from zoo.cli import main
try:
    main(json.loads(sys.argv[1]))
except SystemExit as end:
    print(json.dumps([end.code, "torch" in sys.modules]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ["show", "vae"],
        ["train", "vae"],
        ["train", "--resume", "first"],
        ["train", "vae", "--dry-run"],
        ["sample", "vae"],
        ["sample", "first"],
        ["eval", "first"],
        ["explore", "first", "manifold"],
        ["export", "first", "--onnx"],
        ["plugins", "check", "zoo-autoencoders"],
    ],
    ids=" ".join,
)
def test_a_verb_that_needs_torch_names_the_extra(
    words: list[str], in_trained: Path, without_torch: dict[str, str]
) -> None:
    said = error_of(*words, code=4, error="missing-package", **without_torch)
    assert "torch" in said or "lightning_fabric" in said
    assert "[train]" in said


@pytest.mark.parametrize(
    "words",
    [
        ["list"],
        ["data", "list"],
        ["data", "check", "fashion-mnist-small"],
        ["plugins"],
        ["runs"],
        ["runs", "show", "first"],
        ["runs", "movie", "first", "-o", "x.webp"],
        ["compare", "first", "plain"],
        ["doctor"],
        ["doctor", "first"],
    ],
    ids=" ".join,
)
def test_the_other_verbs_work_without_torch(
    words: list[str], in_trained: Path, without_torch: dict[str, str]
) -> None:
    zoo(*words, **without_torch)


def test_tensorboard_is_looked_for_before_anything_is_imported(
    in_trained: Path, without_torch: dict[str, str]
) -> None:
    words = ("train", "vae", "--tensorboard")
    said = error_of(*words, code=4, error="missing-package", **without_torch)
    assert "[tensorboard]" in said


@pytest.mark.parametrize(
    "words",
    [
        ["train", "vea"],
        ["train", "vae", "--data", "fasion-mnist"],
        ["train", "vae", "--data", "./nowhere"],
        ["train", "vae", "--preset", "tyni"],
        ["train", "vae", "--size", "many"],
        ["train", "vae", "--config", "nowhere.toml"],
        ["train", "--resume", "nothing"],
        ["sample", "vea"],
        ["sample", "first", "--data", "fasion-mnist"],
        ["eval", "vea"],
        ["explore", "vea", "map"],
        ["explore", "first", "map", "--data", "fasion-mnist"],
        ["explore", "first", "map", "-o", "map.gif"],
        ["eval", "first", "--data", "fasion-mnist"],
        ["export", "vea", "--onnx"],
        ["export", "first", "--onnx", "--int8", "--data", "fasion-mnist"],
        ["show", "vea"],
        ["plugins", "check", "zoo-autoencoder"],
    ],
    ids=" ".join,
)
def test_what_is_misspelt_is_told_before_torch_is_imported(
    words: list[str], in_trained: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NOTED, json.dumps(words)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    code, imported = json.loads(done.stdout.splitlines()[-1])
    assert code in {2, 3}, done.stderr
    assert not imported
