"""A disk that fills up while a training writes to it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.process import error_of, zoo, zoo_json
from tests.training.trials import assert_equal, record_of, small_training
from zoo.training.checkpoint import newest
from zoo.training.run import Run


def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint(small_disk: Path) -> None:
    words = small_training("zoo-autoencoders:ae", "run", steps=60)
    often = ("--checkpoint-every", "1", "--keep", "1000")
    said = error_of(*words, *often, code=1, error="cannot-write")
    assert "zoo train --resume run" in said
    checkpoint, unusable = newest(Run(Path("runs/run")))
    assert checkpoint is not None
    assert not unusable
    assert not list(small_disk.rglob("*.part"))
    assert zoo_json("runs")[0]["status"] in {"failed", "died"}
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    zoo("train", "--resume", "run")
    zoo(*small_training("zoo-autoencoders:ae", "whole", steps=60))
    assert_equal(record_of("whole"), record_of("run"))
