"""A run that was broken off goes on as if nothing had been, to the bit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import fill
from tests.nursery import nursery
from tests.process import error_of, zoo, zoo_json
from tests.training.trials import CARDS, assert_equal, cards, record_of, small_training
from zoo.training.checkpoint import newest
from zoo.training.run import Run

OFTEN = ["--checkpoint-every", "1"]
VAE = "zoo-autoencoders:vae"
MOST_SECONDS = 60
FILES = ("model.safetensors", "training.safetensors", "rank-0.safetensors", "state.json",
         "manifest.json")  # fmt: skip


def start(words: list[str]) -> int:
    """Begin a command in the background; return its process."""
    return nursery().start(words, Path("out.txt"), Path("err.txt"))


def kill_when(words: list[str], moment: Callable[[], bool]) -> None:
    """Begin a training and kill it at a moment."""
    process = start(words)
    deadline = time.monotonic() + MOST_SECONDS
    while not moment():
        assert time.monotonic() < deadline, Path("err.txt").read_text()
    os.kill(process, signal.SIGKILL)
    assert nursery().wait(process) == -signal.SIGKILL, Path("err.txt").read_text()


def steps_saved(run: str) -> list[int]:
    folder = Path("runs", run, "checkpoints")
    return sorted(int(path.name[5:]) for path in folder.glob("step-*"))


# One plain model, one of two players, and one with a pool of images.
@pytest.mark.parametrize("card", cards(VAE, "zoo-gans:dcgan", "zoo-translation:cyclegan"))
def test_killed_and_resumed_it_is_the_same_run(card: str) -> None:
    zoo(*small_training(card, "whole", steps=8))
    words = [*small_training(card, "broken", steps=8), *OFTEN]
    kill_when(words, lambda: max(steps_saved("broken"), default=0) >= 4)
    reached = max(steps_saved("broken"))
    assert reached < 8, "it was killed too late to prove anything"
    said = zoo("train", "--resume", "broken").stderr
    step = int(said.partition("at step ")[2].partition(",")[0])
    assert step >= reached - 1, "no more is lost than the steps since the last checkpoint"
    assert_equal(record_of("whole"), record_of("broken"))


def kill_often(card: str, kills: int, steps: int, seed: int) -> int:
    """Kill a training again and again at random moments, then let it end.

    Returns:
        How many kills came while a checkpoint was being written.
    """
    chance = random.Random(seed)
    zoo(*small_training(card, "whole", steps=steps))
    words = [*small_training(card, "broken", steps=steps), *OFTEN]
    run = Run(Path("runs/broken"))
    half_written = 0
    for _ in range(kills):
        process = start(words)
        time.sleep(chance.uniform(0.2, 1.2))
        os.kill(process, signal.SIGKILL)
        code = nursery().wait(process)
        assert code in {0, -signal.SIGKILL}, Path("err.txt").read_text()
        if not (run.path / "run.json").exists():
            shutil.rmtree(run.path, ignore_errors=True)  # killed before it was a run
            continue
        half_written += len(list(run.path.glob("checkpoints/.*.part")))
        checkpoint, unusable = newest(run)
        assert not unusable, "a killed process leaves nothing that is not whole"
        assert checkpoint is None or checkpoint.step == max(steps_saved("broken"))
        words = ["train", "--resume", "broken"]
    zoo(*words)
    assert_equal(record_of("whole"), record_of("broken"))
    assert not list(run.path.rglob("*.part"))
    return half_written


def test_five_kills_at_random_moments() -> None:
    kill_often(VAE, kills=5, steps=40, seed=random.randrange(10**6))


@pytest.mark.slow
def test_two_hundred_kills_at_random_moments() -> None:
    each = -(-200 // len(CARDS))
    half_written = 0
    for seed, card in enumerate(CARDS):
        half_written += kill_often(card, kills=each, steps=150, seed=seed)
        shutil.rmtree("runs")
    assert half_written >= 10, "too few kills came while a checkpoint was being written"


def test_a_run_killed_before_its_first_checkpoint_begins_anew() -> None:
    zoo(*small_training(VAE, "whole", steps=8))
    words = small_training(VAE, "broken", steps=8)
    kill_when(words, lambda: Path("runs/broken/samples/step-0000000-decode.png").exists())
    if steps_saved("broken"):
        pytest.skip("it was quicker than the kill")
    said = zoo("train", "--resume").stderr
    assert "starts again from the beginning" in said
    assert_equal(record_of("whole"), record_of("broken"))


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        signal.SIGUSR1,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_stopped_in_the_middle_of_an_epoch_it_goes_on_there(number: signal.Signals) -> None:
    process = start(small_training(VAE, "broken", steps=400))
    deadline, rows = time.monotonic() + MOST_SECONDS, Path("runs/broken/metrics.jsonl")
    while not (rows.exists() and rows.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process, number)
    assert nursery().wait(process) == (130 if number == signal.SIGINT else 143)
    assert "zoo train --resume broken" in Path("err.txt").read_text()
    assert steps_saved("broken")[-1] < 400
    assert zoo_json("train", "vae", "--resume")["status"] == "finished"
    zoo(*small_training(VAE, "whole", steps=400))
    assert_equal(record_of("whole"), record_of("broken"))


def test_a_warning_and_then_the_end_save_once_and_are_no_second_ctrl_c() -> None:
    process = start(small_training(VAE, "run", steps=10**6))
    wait_for(Path("runs/run/metrics.jsonl"))
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP):
        os.kill(process, number)
    assert nursery().wait(process) == 143
    assert steps_saved("run")


# Steps of a second or more, of many operations between which Python hears signals: the first
# Ctrl-C must not have ended the training when the second one comes.
SLOW_STEPS = ["train", "cyclegan", "--preset", "tiny", "--name", "run", "--steps", "1000",
              "--checkpoint-every", "1", "--batch-size", "32"]  # fmt: skip


def test_a_second_ctrl_c_stops_at_once_and_says_what_is_kept() -> None:
    process = start(SLOW_STEPS)
    wait_for(Path("runs/run/checkpoints/last"))
    for _ in range(2):
        os.kill(process, signal.SIGINT)
        time.sleep(0.15)
    assert nursery().wait(process) == 130
    said = Path("err.txt").read_text()
    assert "stopped at once" in said
    assert "zoo train --resume run" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("gap", [0.01, pytest.param(0.033, marks=pytest.mark.slow)])
def test_ctrl_c_that_is_held_down_is_one_and_the_checkpoint_is_saved(gap: float) -> None:
    process = start(small_training(VAE, "run", steps=10**6))
    wait_for(Path("runs/run/metrics.jsonl"))
    for _ in range(20):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGINT)
        time.sleep(gap)
    assert nursery().wait(process) == 130
    said = Path("err.txt").read_text()
    assert "the checkpoint is saved" in said
    assert "Traceback" not in said
    assert steps_saved("run")


def test_a_budget_of_time_counts_what_was_spent_before() -> None:
    words = [*small_training(VAE, "timed", steps=10**6), "--keep", "100000"]
    words += ["--set=max_seconds=4", "--set=steps=none"]
    kill_when([*words, *OFTEN], lambda: max(steps_saved("timed"), default=0) >= 3)
    reached = max(steps_saved("timed"))
    outcome = zoo_json("train", "--resume", "timed")
    spent = [
        json.loads(Path(f"runs/timed/checkpoints/step-{step:07d}/state.json").read_text())
        ["cursor"]["seconds"] for step in (reached, reached + 1, outcome["step"])
    ]  # fmt: skip
    assert 0 < spent[0] < spent[1] < 4 <= spent[2]


def test_a_longer_budget_goes_on_and_a_finished_run_stays_as_it_is() -> None:
    first = zoo_json(*small_training(VAE, "run", steps=5))
    done = zoo("train", "--resume", "run", "--json")
    assert "finished already, at step 5" in done.stderr
    assert json.loads(done.stdout) == first
    outcome = zoo_json("train", "--resume", "run", "--steps", "9")
    assert (outcome["step"], outcome["run"]) == (9, "run")
    rows = Path("runs/run/metrics.jsonl").read_text().splitlines()
    steps = [json.loads(row)["step"] for row in rows]
    assert steps == sorted(steps)
    assert list(Path("runs").iterdir()) == [Path("runs/run")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a run ``whole`` of 8 steps and all its checkpoints."""
    place, before = tmp_path_factory.mktemp("whole"), Path.cwd()
    os.chdir(place)
    try:
        zoo(*small_training(VAE, "whole", steps=8), *OFTEN, "--keep", "100",
            ZOO_HOME=str(place / "home"))  # fmt: skip
    finally:
        os.chdir(before)
    return place


@pytest.fixture
def copy(whole: Path) -> Path:
    """The checkpoints of a copy of that run, in the working directory."""
    shutil.copytree(whole / "runs", "runs")
    return Path("runs/whole/checkpoints")


def recognised(run: Run) -> bool:
    """Whether the newest checkpoint is refused, and the one before it used."""
    checkpoint, unusable = newest(run)
    assert checkpoint is not None
    return (checkpoint.step, [path.name for path in unusable]) == (7, ["step-0000008"])


@pytest.mark.parametrize("which", FILES)
def test_what_is_cut_short_or_has_a_flipped_bit_is_recognised(copy: Path, which: str) -> None:
    run, file = Run(Path("runs/whole")), copy / "step-0000008" / which
    content = file.read_bytes()
    chance = np.random.default_rng(0)
    random_lengths = chance.integers(len(content), size=20).tolist()
    for length in {0, 1, 7, 8, len(content) - 1, *random_lengths}:
        file.write_bytes(content[:length])
        assert recognised(run), f"cut after {length} of {len(content)} bytes"
    for place in chance.integers(8 * len(content), size=60).tolist():
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << (place % 8)
        file.write_bytes(flipped)
        assert recognised(run), f"bit {place}"
    file.unlink()
    assert recognised(run)
    file.write_bytes(content)
    assert not recognised(run)


@pytest.mark.slow
def test_every_bit_of_a_manifest_counts(copy: Path) -> None:
    run, file = Run(Path("runs/whole")), copy / "step-0000008" / "manifest.json"
    content = file.read_bytes()
    for place in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << (place % 8)
        file.write_bytes(flipped)
        assert recognised(run), f"bit {place}"


def test_the_checkpoint_before_a_damaged_one_is_used_and_ends_alike(copy: Path) -> None:
    before = record_of("whole")
    file = copy / "step-0000008" / "training.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    said = zoo("train", "--resume", "whole").stderr
    assert "step-0000008 is damaged" in said
    assert "training.safetensors is missing or has changed" in said
    assert "at step 7" in said
    assert (copy / "damaged-1-step-0000008").is_dir()
    assert_equal(before, record_of("whole"))


def test_a_run_without_a_whole_checkpoint_says_so(copy: Path) -> None:
    for path in copy.glob("step-*/state.json"):
        path.write_text("{}")
    said = error_of("train", "--resume", "whole", code=3, error="damaged-checkpoint")
    assert "--config runs/whole/config.toml" in said
    assert len(list(copy.glob("step-*"))) == 8, "nothing is touched"


def test_a_damaged_run_file_is_written_anew(copy: Path) -> None:
    Path("runs/whole/run.json").write_text("[]")
    assert "--resume whole" in error_of("runs", "show", "whole", code=3, error="damaged-run")
    zoo("train", "--resume", "whole", "--steps", "9")
    (run,) = zoo_json("runs")
    assert (run["status"], run["step"]) == ("finished", 9)
    assert copy.is_dir()


def test_rows_that_are_lost_do_not_keep_a_run_from_going_on(copy: Path) -> None:
    Path("runs/whole/metrics.jsonl").write_bytes(b"\xff\x00{\n")
    said = zoo("train", "--resume", "whole", "--steps", "9").stderr
    assert "metrics.jsonl has lost lines" in said
    zoo("doctor", "whole")
    zoo("runs", "show", "whole")
    assert copy.is_dir()


def test_the_checkpoint_says_what_was_trained_when_the_file_is_lost_or_edited(copy: Path) -> None:
    config = Path("runs/whole/config.toml")
    text = config.read_text()
    config.write_text(text.replace("seed = 5", "seed = 6"))
    said = error_of("train", "--resume", "whole", code=2, error="contradicts-run")
    assert "seed = 6" in said
    assert "seed = 5" in said
    config.unlink()
    zoo("train", "--resume", "whole", "--steps", "9")
    assert config.read_text() == text.replace("steps = 8", "steps = 9")
    assert copy.is_dir()


def test_keep_is_how_many_stay_beside_the_best() -> None:
    zoo(*small_training(VAE, "run", steps=8), *OFTEN, "--keep", "3")
    assert steps_saved("run") == [6, 7, 8]
    zoo(*small_training(VAE, "two", steps=8), *OFTEN)
    assert steps_saved("two") == [7, 8]


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--batch-size", "16"], ["batch_size = 16", "batch_size = 8"]),
        (["--seed", "4"], ["seed = 4", "seed = 5"]),
        (["--set", "hidden=32"], ["hidden = 32", "hidden = 16"]),
        (["--ema", "0.99"], ["ema = 0.99", "ema = 0.9\n"]),
        (["--size", "32"], ["size = 32", "size = 28x28"]),
        (["--data", "emoji"], ["data = emoji"]),
        (["--name", "other"], ["name = other", "name = whole"]),
        (["--data", "mnist"], ["data = mnist"]),
    ],
)
def test_what_contradicts_the_run_is_refused(words: list[str], names: list[str]) -> None:
    said = error_of("train", "--resume", "whole", *words, code=2, error="contradicts-run")
    for name in ("'whole'", *names):
        assert name in said


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize(
    ("words", "error", "name"),
    [
        (["--set", "hiden=16"], "unknown-option", "'hidden'"),
        (["--dry-run"], "conflicting-options", "--dry-run"),
    ],
)
def test_what_does_not_go_with_resuming_is_refused(words: list[str], error: str, name: str) -> None:
    assert name in error_of("train", "--resume", "whole", *words, code=2, error=error)


@pytest.mark.usefixtures("copy")
def test_what_does_not_contradict_it_is_taken() -> None:
    words = ["--batch-size", "8", "--set", "hidden=16", "--size", "28", "--name", "whole"]
    assert zoo_json("train", "vae", "--resume", "whole", *words, "--steps", "9")["step"] == 9
    for said in (
        error_of("train", "ae", "--resume", "whole", code=2, error="contradicts-run"),
        error_of("train", "whole", "--resume", code=2, error="bad-value"),
    ):
        assert "'whole'" in said
    assert "'ae'" in error_of("train", "ae", "--resume", code=3, error="run-not-found")


def test_two_budgets_end_at_the_first_also_when_one_of_them_is_the_old_one() -> None:
    zoo(*small_training(VAE, "run", steps=5), "--set=epochs=1", "--batch-size", "2500")
    outcome = zoo_json("train", "--resume", "run", "--epochs", "1", "--steps", "50")
    assert (outcome["epoch"], outcome["step"]) == (1, 1)


def test_other_data_than_before_is_refused() -> None:
    folder = Path("pictures")
    folder.mkdir()
    for number in range(20):
        Image.new("L", (16, 16), number).save(folder / f"{number}.png")
    words = small_training(VAE, "run", steps=4)
    zoo(*words, "--data", "pictures")
    Image.new("L", (16, 16), 99).save(folder / "more.png")
    error_of("train", "--resume", "run", "--steps", "6", code=3, error="data-changed")


@pytest.fixture
def trained_on_pictures(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder above a run and its pictures, which is the working directory."""
    here = Path("one").absolute()
    fill(here / "pictures", 20)
    monkeypatch.chdir(here)
    zoo(*small_training(VAE, "run", steps=4), "--data", "pictures")
    return here


def test_a_folder_that_was_moved_with_its_runs_is_gone_on_with(
    trained_on_pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = trained_on_pictures.rename(trained_on_pictures.with_name("two"))
    monkeypatch.chdir(there)
    done = zoo("train", "--resume", "run", "--steps", "6")
    assert "resuming run run at step 4" in done.stderr
    assert str(there / "pictures") in done.stderr
    assert json.loads(Path("runs/run/run.json").read_text())["data"] == str(there / "pictures")
    assert zoo_json("eval", "run")["images"] == 1


def test_moved_data_is_taken_when_it_is_the_same(trained_on_pictures: Path) -> None:
    place = Path("pictures").rename("photos")
    words = ("train", "--resume", "run", "--steps", "6")
    for said in (
        error_of(*words, code=3, error="data-not-found"),
        error_of("eval", "run", code=3, error="data-not-found"),
    ):
        assert str(trained_on_pictures / "pictures") in said
        assert "--data" in said
    fill(Path("others"), 20, first=1)
    said = error_of(*words, "--data", "others", code=3, error="data-changed")
    assert str(trained_on_pictures / "others") in said
    assert str(trained_on_pictures / "pictures") in said
    done = zoo("train", "--resume", "run", "--steps", "6", "--data", str(place))
    assert "resuming run run at step 4" in done.stderr
    info = json.loads(Path("runs/run/run.json").read_text())
    assert info["data"] == str(place.absolute())
    assert info["identity"]["data"]["name"] == "pictures"  # as in its weights
    assert zoo_json("train", "--resume", "run", "--steps", "7")["step"] == 7


def test_a_run_without_checkpoint_takes_no_other_data(trained_on_pictures: Path) -> None:
    shutil.rmtree("runs/run/checkpoints")
    fill(Path("others"), 20, first=1)
    error_of("train", "--resume", "run", "--data", "others", code=2, error="contradicts-run")


def test_moved_data_keeps_the_domains_of_its_run() -> None:
    for side in "AB":
        fill(Path(f"cat2dog/train{side}"), 4, first=ord(side))
    words = ["--size", "16", "--batch-size", "2", "--set", "patch_levels=1"]
    zoo(*small_training("zoo-translation:cyclegan", "run", steps=1), *words, "--data", "cat2dog")
    Path("cat2dog").rename("animals")
    zoo("train", "--resume", "run", "--steps", "2", "--data", "animals")
    info = json.loads(Path("runs/run/run.json").read_text())
    assert [each["domain"] for each in info["identity"]["data"]["ports"]] == ["cat", "dog"]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + MOST_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_belongs_to_one_process() -> None:
    process = start(small_training(VAE, "mine", steps=10**6))
    wait_for(Path("runs/mine/metrics.jsonl"))
    for words in (["train", "--resume", "mine"], ["runs", "rm", "mine"]):
        said = error_of(*words, code=2, error="run-in-use")
        assert "'mine'" in said
        assert f"process {process}" in said
    assert zoo_json("runs")[0]["status"] == "running"
    os.kill(process, signal.SIGKILL)
    nursery().wait(process)
    assert zoo_json("runs")[0]["status"] == "died"
    zoo("runs", "rm", "mine")


def test_a_process_with_the_same_number_is_not_the_owner(copy: Path) -> None:
    """After a restart of the machine, any process may have the number of the one that died."""
    info = json.loads(Path("runs/whole/run.json").read_text())
    info |= {"status": "running", "pid": os.getpid()}
    Path("runs/whole/run.json").write_text(json.dumps(info))
    assert zoo_json("runs")[0]["status"] == "died"
    zoo("train", "--resume", "whole")
    assert copy.is_dir()


def test_an_owner_on_another_machine_is_believed_while_it_gives_signs() -> None:
    zoo(*small_training(VAE, "far", steps=2))
    path = Path("runs/far/run.json")
    info: dict[str, Any] = {**json.loads(path.read_text()), "status": "running", "host": "other"}
    path.write_text(json.dumps(info))
    assert "on other" in error_of("train", "--resume", "far", code=2, error="run-in-use")
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    assert zoo_json("runs")[0]["status"] == "died"
    assert "killed" in zoo("doctor", "far").stdout
    zoo("train", "--resume", "runs/far/")
