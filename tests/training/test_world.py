"""The world that torchrun, srun or mpirun announces is used, or refused with a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.process import error_of
from zoo.errors import UsageError
from zoo.messages import is_first_rank
from zoo.training.launch import World, announced, note_on_allocation

TORCHRUN = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": "1"}
SRUN = {
    "SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0", "SLURM_NNODES": "2",
    "SLURM_TASKS_PER_NODE": "2(x2)", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "17",
}  # fmt: skip
MPIRUN = {
    "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0",
}  # fmt: skip
TRAIN = ["train", "ae", "--steps", "3", "--set", "hidden=8", "--name", "one"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM", "OMPI", "PMI")) or name in {*TORCHRUN, "MASTER_ADDR"}:
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("environment", "world"),
    [
        ({}, None),
        (TORCHRUN, World("torchrun", 4, 3, 2, 1)),
        ({"WORLD_SIZE": "3", "RANK": "2"}, World("torchrun", 3, 2, 1, 0)),
        (TORCHRUN | SRUN, World("torchrun", 4, 3, 2, 1)),
        (SRUN, World("srun", 4, 2, 2, 0)),
        (SRUN | {"SLURM_NNODES": "4", "SLURM_TASKS_PER_NODE": "1(x4)"}, World("srun", 4, 2, 1, 0)),
        (MPIRUN, World("mpirun", 2, 0, 2, 0)),
        ({"PMI_SIZE": "1", "PMI_RANK": "0"}, None),
    ],
)
def test_worlds_are_read_off_the_environment(
    environment: dict[str, str], world: World | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert announced() == world
    assert is_first_rank() == (world is None or world.rank == 0)


@pytest.mark.parametrize(
    "odd",
    [
        {**TORCHRUN, "WORLD_SIZE": "x"},
        {**TORCHRUN, "RANK": "4"},
        {**TORCHRUN, "WORLD_SIZE": "5"},
        {**SRUN, "SLURM_NNODES": "", "SLURM_TASKS_PER_NODE": "2,1"},
    ],
)
def test_a_world_that_contradicts_itself_is_refused(
    odd: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in odd.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError):
        announced()


def test_a_job_of_slurm_without_srun_trains_alone_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, value in SRUN.items():
        if name != "SLURM_STEP_ID":
            monkeypatch.setenv(name, value)
    assert announced() is None
    assert "srun zoo train" in note_on_allocation()


def checked(run: str = "one") -> None:
    """Require one run of two ranks that ended with the same weights."""
    assert [path.name for path in Path("runs").iterdir()] == [run]
    info = json.loads(Path("runs", run, "run.json").read_text())
    assert (info["status"], info["devices"]) == ("finished", 2)
    end = json.loads(Path("runs", run, "events.jsonl").read_text().splitlines()[-1])
    first, second = end["parameters_sha256"]
    assert first == second


def torchrun(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("torchrun")), *words, "-m", "zoo", *TRAIN],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_torchrun_without_devices_makes_one_run() -> None:
    with torchrun("--nproc-per-node", "2") as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    checked()


@pytest.mark.slow
def test_two_machines_of_one_device_make_one_run() -> None:
    machines = [
        torchrun("--nnodes", "2", "--node-rank", rank, "--nproc-per-node", "1",
                 "--master-addr", "127.0.0.1", "--master-port", "29543")
        for rank in "01"
    ]  # fmt: skip
    for process in machines:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
    checked()


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_JOB_ID": "17", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NNODES": "1",
         "SLURM_PROCID": "{}", "SLURM_LOCALID": "{}"},
        {"SLURM_JOB_ID": "18", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NNODES": "2",
         "SLURM_PROCID": "{}", "SLURM_LOCALID": "0", "SLURM_NODELIST": "localhost"},
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "{}",
         "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "{}"},
    ],
)  # fmt: skip
def test_variables_of_srun_and_mpirun_make_one_run(environment: dict[str, str]) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "zoo", *TRAIN],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1",
                 **{name: value.format(rank) for name, value in environment.items()}},
        )
        for rank in range(2)
    ]  # fmt: skip
    for process in started:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
    checked()


@pytest.mark.parametrize(
    ("environment", "words", "named"),
    [
        (MPIRUN, ["--devices", "3"], ["mpirun", "--devices"]),
        ({**MPIRUN, "OMPI_COMM_WORLD_SIZE": "4"}, [], ["MASTER_ADDR"]),
        ({"WORLD_SIZE": "x", "RANK": "0"}, [], ["WORLD_SIZE"]),
        (MPIRUN, ["--retries", "2"], ["--retries"]),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(
    environment: dict[str, str], words: list[str], named: list[str]
) -> None:
    said = error_of(*TRAIN, *words, code=2, **environment)
    for each in named:
        assert each in said
    assert not Path("runs").exists()
