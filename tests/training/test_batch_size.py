"""`--batch-size auto`: what is measured, where the search ends, and that nothing of it stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.process import error_of, zoo, zoo_json
from tests.training.trials import assert_equal, record_of
from zoo.training.batch_size import SECONDS, Trial, _reason_to_end, predicted_bytes

GIB = 2**30
ROWS = 16  # of which some are held out


@pytest.fixture
def photos() -> list[str]:
    """The words of a training on a few small pictures."""
    Path("photos").mkdir()
    generator = np.random.default_rng(0)
    for number in range(ROWS):
        pixels = generator.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photos/{number}.png")
    return ["train", "vae", "--data", "photos", "--set", "hidden=16", "--steps", "4"]


def test_the_training_equals_one_with_the_number_to_the_bit(photos: list[str]) -> None:
    found = zoo_json(*photos, "--batch-size", "auto", "--name", "auto")["batch_size_search"]
    sizes = [each["batch_size"] for each in found["trials"]]
    assert sizes == [1, 2, 4, 8][: len(sizes)]
    speeds = {each["batch_size"]: each["images_per_second"] for each in found["trials"]}
    assert speeds[found["fastest"]] == max(speeds.values())
    assert found["fastest"] <= found["largest"] <= 8
    config = tomllib.loads(Path("runs/auto/config.toml").read_text())
    assert config["training"]["batch_size"] == found["fastest"]
    zoo(*photos, "--batch-size", str(found["fastest"]), "--name", "number")
    assert_equal(record_of("auto"), record_of("number"))


def test_a_dry_run_tells_the_sizes_and_writes_nothing(photos: list[str]) -> None:
    before = set(Path().iterdir())
    done = zoo(*photos, "--batch-size", "auto", "--dry-run")
    said = [line for line in done.stderr.splitlines() if line.startswith("batch size")]
    assert len(said) == 2
    assert f"of {said[0].split()[2]} images" in done.stdout
    assert set(Path().iterdir()) == before


def test_set_is_stronger_and_nothing_is_measured(photos: list[str]) -> None:
    words = ["--batch-size", "auto", "--set", "batch-size=3", "--dry-run"]
    plan = zoo_json(*photos, *words)
    assert plan["batch_size"] == 3
    assert "batch_size_search" not in plan


@pytest.mark.parametrize("several", [["--devices", "2"], ["--strategy", "ddp"]])
def test_several_devices_are_refused(photos: list[str], several: list[str]) -> None:
    words = [*photos, "--batch-size", "auto", *several]
    assert "--batch-size" in error_of(*words, code=2, error="conflicting-options")
    assert not Path("runs").exists()


def test_a_resumed_run_keeps_its_number(photos: list[str]) -> None:
    zoo(*photos, "--batch-size", "4", "--name", "four")
    words = ["train", "--resume", "four", "--batch-size", "auto", "--steps", "9"]
    assert "batch_size = 4" in error_of(*words, code=2, error="contradicts-run")


def test_ctrl_c_during_the_search_leaves_no_run() -> None:
    words = ["train", "vae", "--batch-size", "auto", "--set", "hidden=16"]
    probe = (
        "import sys, zoo.training.batch_size as it, zoo.cli\n"
        "measure = it._measure\n"
        "def told(*all):\n"
        "    print('measuring', flush=True)\n"
        "    return measure(*all)\n"
        "it._measure = told\n"
        "zoo.cli.main(sys.argv[1:])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", probe, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    assert process.stdout.readline() == "measuring\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not Path("runs").exists()


def test_memory_is_predicted_along_the_line_of_the_last_two_sizes() -> None:
    trials = [Trial(1, 1.0, 9 * GIB), Trial(4, 1.0, 2 * GIB), Trial(8, 1.0, 3 * GIB)]
    assert predicted_bytes(trials, 16) == 5 * GIB
    assert predicted_bytes(trials[1:2], 8) == 4 * GIB
    assert predicted_bytes(trials[:2], 8) is None  # it has not grown
    assert predicted_bytes([Trial(4, 1.0, None)], 8) is None


@pytest.mark.parametrize(
    ("speeds", "step_bytes", "spent", "why"),
    [
        ([1e4, 2e4, 3e4], GIB, 1.0, None),
        ([1e4, 3e4, 2e4], GIB, 1.0, None),
        ([3e4, 2e4, 2.5e4], GIB, 1.0, "slower"),
        ([1e4, 2e4, 3e4], 5 * GIB, 1.0, "memory"),  # 10 GiB would be more than 80 % of 12
        ([1e4, 2e4, 3e4], GIB, SECONDS, "time"),
        ([0.1, 0.2, 0.4], GIB, 1.0, "time"),  # the steps of the next size would last 60 s
    ],
)
def test_the_search_ends(
    speeds: list[float], step_bytes: int, spent: float, why: str | None
) -> None:
    trials = [
        Trial(2**power, speed, step_bytes * 2**power // 4) for power, speed in enumerate(speeds)
    ]
    assert _reason_to_end(trials, 8, spent, 12 * GIB) == why


def test_without_knowing_the_memory_it_goes_on() -> None:
    assert _reason_to_end([Trial(1, 1e3, None)], 2, 0.0, None) is None
    assert _reason_to_end([Trial(1, 1e3, 8 * GIB)], 2, 0.0, None) is None
