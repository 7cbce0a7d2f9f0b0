"""Several players on two ranks: equal weights, and agreement when something goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.process import zoo
from tests.training.trials import assert_equal, record_of, small_training

DCGAN = "zoo-gans:dcgan"  # its BatchNorm statistics differ from rank to rank
TWO = ["--devices", "2", "--checkpoint-every", "5"]


@pytest.mark.slow
def test_games_of_several_players_on_two_ranks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.two_ranks"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Dots equal",
        "GradientPenalty equal",
        "stopped at one step, asked seldom",
        "rows of both [0.0, 0.0, 1.0, 10.0]",
        "the ranks ended with different weights",
        "training diverged at step 1: discriminator/real is nan",
    ]


def start(words: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "zoo", *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_step(run: str, step: int) -> None:
    """Wait until a checkpoint stands."""
    deadline = time.monotonic() + 60
    while not Path(f"runs/{run}/checkpoints/step-{step:07d}").is_dir():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ranks_of(process: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    children = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except FileNotFoundError:
            continue
        if parent == process:
            children.append(int(path.parent.name))
    return children + [each for child in children for each in ranks_of(child)]


@pytest.mark.slow
def test_two_ranks_killed_and_resumed_are_the_same_run() -> None:
    zoo(*small_training(DCGAN, "whole", steps=30), *TWO)
    process = start([*small_training(DCGAN, "broken", steps=30), *TWO])
    wait_for_step("broken", 10)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    said = zoo("train", "--resume", "broken", "--devices", "2").stderr
    assert "no longer equal" not in said
    assert_equal(record_of("whole"), record_of("broken"))
    own = [record_of("whole")[f"rank-{rank}.safetensors"] for rank in (0, 1)]
    assert own[0] != own[1], "each rank has statistics and generators of its own"


@pytest.mark.slow
def test_another_number_of_ranks_is_taken_with_a_word() -> None:
    zoo(*small_training(DCGAN, "run", steps=5), *TWO)
    said = zoo("train", "--resume", "run", "--devices", "1", "--steps", "8").stderr
    assert "devices 1, it was 2: the run is no longer bit-identical" in said


@pytest.mark.slow
def test_a_rank_that_is_killed_takes_the_run_down() -> None:
    process = start([*small_training(DCGAN, "run", steps=10**6), *TWO])
    wait_for_step("run", 5)
    (rank,) = ranks_of(process.pid)
    os.kill(rank, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a rank was lost" in said
    assert "zoo train --resume run" in said


@pytest.mark.parametrize("more", [[], pytest.param(TWO, marks=pytest.mark.slow)])
def test_a_training_ends_with_the_supervisor_that_is_killed(more: list[str]) -> None:
    process = start([*small_training(DCGAN, "run", steps=10**6), *more, "--retries", "2"])
    deadline = time.monotonic() + 60
    while not Path("runs/run/metrics.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    info = json.loads(Path("runs/run/run.json").read_text())
    process.kill()
    process.communicate(timeout=60)
    while Path(f"/proc/{info['pid']}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    info = json.loads(Path("runs/run/run.json").read_text())
    assert info["status"] == "interrupted", "it has saved what there was"


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_retries_go_on_after_a_killed_rank_and_end_alike(which: int) -> None:
    zoo(*small_training(DCGAN, "whole", steps=30), *TWO)
    process = start([*small_training(DCGAN, "run", steps=30), *TWO, "--retries", "2"])
    wait_for_step("run", 10)
    os.kill(ranks_of(process.pid)[which], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert "resuming run run, 1 tries are left" in said
    assert_equal(record_of("whole"), record_of("run"))


def test_a_signal_reaches_what_retries_started() -> None:
    process = start([*small_training("zoo-autoencoders:vae", "run", steps=10**6), "--retries=1"])
    deadline = time.monotonic() + 60
    while not Path("runs/run/metrics.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "the checkpoint is saved" in said
    assert not ranks_of(process.pid)
