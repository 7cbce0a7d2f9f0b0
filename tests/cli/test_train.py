"""`zoo train` as a user tries it: what it leaves behind, how it is stopped, what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.data.pictures import photo, save
from tests.process import error_of, zoo, zoo_json
from zoo.model.weights import load_weights


def test_a_run_leaves_what_it_promises(in_trained: Path) -> None:
    run = in_trained / "runs" / "first"
    info = json.loads((run / "run.json").read_text())
    assert info["status"] == "finished"
    assert info["identity"]["step"] == 60
    assert info["identity"]["metrics"]["elbo"] > -400
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {row["split"] for row in rows} == {"train", "validation"}
    assert rows[-1]["step"] == 60
    first, last = (row["values"]["autoencoder/reconstruction"] for row in (rows[0], rows[-2]))
    assert last < 0.8 * first
    for name in ("last", "best"):
        step = (run / "checkpoints" / name).read_text().strip()
        assert (run / "checkpoints" / step / "model.safetensors").is_file()
    for picture in ("curves.png", "samples/step-0000060-decode.png"):
        with Image.open(run / picture) as image:
            assert min(image.size) > 100
    assert "finished" in (run / "log.txt").read_text()


def test_samples_are_not_noise_and_not_one_colour(in_trained: Path) -> None:
    """After 60 steps the mean garment is there: dark corners, a lit middle."""
    zoo("sample", "first", "-n", "1", "-o", "one.png")
    with Image.open("one.png") as image:
        grey = np.asarray(image.convert("L").resize((28, 28)), float)
    assert grey[2:4, 2:4].mean() < 60
    assert grey[10:18, 10:18].mean() > 60


def test_json_ends_with_one_object() -> None:
    outcome = zoo_json("train", "vae", "--steps", "5", "--set", "hidden=32")
    assert outcome["run"] == "vae-1"
    assert outcome["step"] == 5
    assert set(outcome) == {"run", "path", "model", "status", "signal", "step", "epoch", "metrics",
                            "alerts", "seconds"}  # fmt: skip


def test_the_configuration_of_a_run_reproduces_it_to_the_bit() -> None:
    words = ["--steps", "8", "--set", "latent_size=3", "--set", "hidden=16", "--seed", "4"]
    zoo("train", "vae", *words, "--lr", "5e-3", "--batch-size", "32")
    zoo("train", "--config", "runs/vae-1/config.toml")
    first, second = (load_weights(Path(f"runs/vae-{n}/checkpoints/step-0000008/model.safetensors"))
                     for n in (1, 2))  # fmt: skip
    assert first.identity == second.identity
    assert first.path.read_bytes() == second.path.read_bytes()
    config = tomllib.loads(Path("runs/vae-2/config.toml").read_text())
    assert config["options"]["lr"] == 5e-3
    assert config["training"] == {**config["training"], "steps": 8, "batch_size": 32, "seed": 4}


def test_set_is_stronger_than_flags_and_flags_than_the_file() -> None:
    Path("mine.toml").write_text(
        'model = "vae"\n[training]\nsteps = 9\nseed = 1\n[options]\nlr = 0.1\nhidden = [16]\n'
    )
    words = ["--config", "mine.toml", "--lr", "0.2", "--steps", "3", "--set", "lr=0.3"]
    zoo("train", *words)
    config = tomllib.loads(Path("runs/vae-1/config.toml").read_text())
    assert config["options"]["lr"] == 0.3
    assert config["options"]["hidden"] == [16]
    assert config["training"]["steps"] == 3
    assert config["training"]["seed"] == 1


def test_a_dry_run_measures_and_writes_nothing() -> None:
    plan = zoo_json("train", "vae", "--dry-run", "--epochs", "2")
    assert plan["training_images"] + plan["validation_images"] == 5000
    assert plan["steps"] == 2 * plan["steps_per_epoch"]
    assert plan["seconds_per_step"] > 0
    assert plan["parameters"]["autoencoder"] > 10**6
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["vae", "--set", "hidden=32"], marks=pytest.mark.slow),
        ["dcgan", "--set", "features=4", "--set", "spectral_norm=true"],
        pytest.param(
            ["wgan-gp", "--set", "features=4", "--set", "critic_steps=2"], marks=pytest.mark.slow
        ),
        pytest.param(
            ["cyclegan", "--set", "features=4", "--set", "blocks=1", "--set", "pool_size=8"],
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda words: words[0],
)
def test_two_ranks_end_with_the_same_weights_and_share_each_batch(words: list[str]) -> None:
    outcome = zoo_json("train", *words, "--steps", "6", "--batch-size", "8", "--devices", "2")
    events = Path(outcome["path"], "events.jsonl").read_text()
    (event,) = [json.loads(line) for line in events.splitlines()]
    first, second = event["parameters_sha256"]  # each rank's own
    assert first == second
    assert outcome["step"] == 6
    assert len(list(Path("runs").iterdir())) == 1, "only one rank keeps the record"


def test_a_preset_is_weaker_than_a_file_and_a_file_than_flags() -> None:
    tiny = zoo_json("show", "dcgan")["presets"]["tiny"]
    Path("mine.toml").write_text("[options]\nfeatures = 6\n")
    words = ["--preset", "tiny", "--config", "mine.toml", "--steps", "2", "--batch-size", "8"]
    zoo("train", "dcgan", *words)
    config = tomllib.loads(Path("runs/dcgan-1/config.toml").read_text())
    assert config["options"]["features"] == 6 != tiny["features"]
    assert config["training"]["batch_size"] == 8 != tiny["batch_size"]
    assert "epochs" not in config["training"]
    taken = {key for key in tiny if config["options"].get(key) == tiny[key]}
    assert taken == set(tiny) & set(config["options"]) - {"features"}


def test_a_presets_size_is_weaker_than_size() -> None:
    words = ["--preset", "small", "--steps", "1", "--batch-size", "4", "--set", "features=2"]
    assert str(zoo_json("show", "dcgan")["presets"]["small"]["size"]) == "32"
    for run, more in (("small", []), ("large", ["--size", "40"])):
        zoo("train", "dcgan", *words, *more, "--name", run)
    sizes = [tomllib.loads(Path(f"runs/{run}/config.toml").read_text())["size"]
             for run in ("small", "large")]  # fmt: skip
    assert sizes == [[32, 32], [40, 40]]


def test_an_average_is_what_is_sampled_and_the_trained_weights_are_kept() -> None:
    words = ["train", "dcgan", "--steps", "4", "--batch-size", "8", "--set", "features=4"]
    zoo(*words, "--name", "plain")
    zoo(*words, "--name", "averaged", "--ema", "0.9")
    plain, averaged, trained = (
        load_file(f"runs/{name}/checkpoints/step-0000004/{file}.safetensors")
        for name, file in (("plain", "model"), ("averaged", "model"), ("averaged", "training"))
    )
    assert averaged.keys() == plain.keys()
    for name in (name for name in plain if name.endswith("weight")):
        assert torch.equal(trained[f"raw.{name}"], plain[name]), "training is not disturbed"
        assert not torch.equal(averaged[name], plain[name])


def test_a_pool_of_images_is_part_of_the_checkpoint_and_not_of_the_weights() -> None:
    small = ["--set", "features=4", "--set", "blocks=1", "--set", "pool_size=6"]
    zoo("train", "cyclegan", "--steps", "2", "--batch-size", "4", *small)
    folder = Path("runs/cyclegan-1/checkpoints/step-0000002")
    state, weights = (load_file(folder / f"{each}.safetensors") for each in ("rank-0", "model"))
    pools = {name: tensor for name, tensor in state.items() if name.endswith("images")}
    assert len(pools) == 2
    for name, images in pools.items():
        assert images.shape == (6, 3, 32, 32)
        assert images.abs().sum(dim=(1, 2, 3)).all(), "every place is taken"
        assert int(state[name.removesuffix("images") + "filled"]) == 6
        assert name.removeprefix("buffer.") not in weights


def start_training() -> subprocess.Popen[str]:
    """Start a training without end and return when it is under way."""
    words = ["train", "vae", "--time", "1h", "--set", "hidden=32"]
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", *words], stderr=subprocess.PIPE, text=True
    )
    metrics = Path("runs/vae-1/metrics.jsonl")
    deadline = time.monotonic() + 60
    while not metrics.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGUSR1, 143, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_training_with_a_checkpoint(number: signal.Signals, code: int) -> None:
    process = start_training()
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the checkpoint is saved" in said
    assert "zoo train --resume vae-1" in said
    assert "Traceback" not in said
    (run,) = zoo_json("runs")
    assert run["status"] == "interrupted"
    zoo("sample", "@last", "-n", "1")


def test_a_killed_run_is_seen_to_have_died_and_can_be_removed() -> None:
    process = start_training()
    assert zoo_json("runs")[0]["status"] == "running"
    assert "'vae-1'" in error_of("runs", "rm", "vae-1", code=2, error="run-in-use")
    process.kill()
    process.communicate(timeout=60)
    assert zoo_json("runs")[0]["status"] == "died"
    zoo("runs", "rm", "vae-1")
    assert zoo_json("runs") == []


@pytest.mark.slow
def test_trainings_at_once_get_folders_of_their_own() -> None:
    words = [sys.executable, "-m", "zoo", "train", "vae", "--steps", "5", "--set", "hidden=16"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(words, stderr=subprocess.DEVNULL, env=environment) for _ in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    assert sorted(run["id"] for run in zoo_json("runs")) == ["vae-1", "vae-2"]


def test_a_rate_that_is_too_high_is_told_as_divergence() -> None:
    words = ["train", "vae", "--set", "likelihood=gaussian", "--set", "sigma=1e-30", "--lr", "1"]
    error_of(*words, "--steps", "50", code=5, error="unhealthy")
    (run,) = zoo_json("runs")
    assert run["status"] == "failed"


COLLAPSING = ["train", "vae", "--set", "beta=1000", "--set", "hidden=16", "--batch-size", "8"]


def test_what_ails_a_run_is_told_and_written_down() -> None:
    done = zoo(*COLLAPSING, "--epochs", "1")
    assert done.stderr.count("! posterior collapse at step 593") == 2  # then, and at the end
    assert "zoo doctor vae-1 explains" in done.stderr
    (run,) = zoo_json("runs")
    assert run["alerts"] == ["posterior-collapse"]
    assert "smaller beta" in zoo("doctor", "@last").stdout
    assert "collapse" in zoo("runs", "show", "vae-1").stdout


def test_fail_on_ends_the_run_with_a_checkpoint() -> None:
    fail_on = ["--fail-on", "overfitting,posterior-collapse"]
    said = error_of(*COLLAPSING, "--epochs", "3", *fail_on, code=5, error="unhealthy")
    assert "posterior collapse" in said
    assert "593" in said
    (run,) = zoo_json("runs")
    assert (run["status"], run["step"]) == ("failed", 593)
    zoo("sample", "vae-1", "-n", "1")


def test_grey_photos_of_any_size_train_at_the_size_that_is_asked_for() -> None:
    Path("photos").mkdir()
    generator = np.random.default_rng(0)
    for number in range(12):
        pixels = generator.integers(0, 255, (30 + number, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photos/{number}.jpg")
    words = ["--size", "16x24", "--steps", "3", "--set", "hidden=16", "--batch-size", "4"]
    outcome = zoo_json("train", "vae", "--data", "photos", *words)
    info = json.loads(Path(outcome["path"], "run.json").read_text())
    assert info["identity"]["data"]["ports"][0]["shape"] == ["batch", 3, 16, 24]


@pytest.mark.parametrize(
    ("words", "code", "error", "name"),
    [
        (["train"], 2, "missing-argument", ""),
        (["train", "vaee"], 3, "model-not-found", "'vae'"),
        (["train", "../vae"], 3, "model-not-found", "'../vae'"),
        (["train", "vae", "--data", "fashion-mnits"], 3, "data-not-found", "fashion-mnist"),
        (["train", "vae", "--data", "nowhere/at/all"], 3, "data-not-found", "nowhere/at/all"),
        (["train", "vae", "--set", "laten_size=3"], 2, "unknown-option", "'latent_size'"),
        (["train", "vae", "--set", "lr"], 2, "bad-value", "KEY=VALUE"),
        (["train", "vae", "--set", "lr=nan"], 2, "bad-value", "nan"),
        (["train", "vae", "--set", "likelihood=bernouli"], 2, "bad-value", "'bernoulli'"),
        (["train", "vae", "--lr", "-1"], 2, "bad-value", "-1"),
        (["train", "vae", "--epochs", "0"], 2, "bad-value", "epochs"),
        (["train", "vae", "--epochs", "many"], 2, "bad-value", "many"),
        (["train", "vae", "--time", "soon"], 2, "bad-value", "'soon'"),
        (["train", "vae", "--name", "../x"], 2, "bad-value", "'../x'"),
        (["train", "vae", "--name", "x" * 5000], 2, "bad-value", "xxx"),
        (["train", "vae", "--size", "0"], 2, "bad-value", "'0'"),
        (["train", "vae", "--config", "none.toml"], 3, "cannot-read", "none.toml"),
        (["train", "vae", "--devcie", "cpu"], 2, "unknown-option", "--device"),
        (["train", "vae", "--device", "cdua"], 2, "usage", "'cuda'"),
        (["train", "vae", "--set", "epochs=none"], 2, "missing-argument", "--epochs"),
        (["train", "vae", "--time", "0s"], 2, "bad-value", "'0s'"),
        (["train", "vae", "--name", "vae"], 2, "usage", "'vae'"),
        (["train", "vae", "--data", "mnist", "--set", "lr=x"], 2, "bad-value", "lr"),
        (["train", "vae", "--data", ""], 2, "bad-value", ""),
        (["train", "vae", "--set", "hidden=5,,6"], 2, "bad-value", "hidden"),
        (["trian", "vae"], 2, "unknown-verb", "train"),
        (["train", "vae", "--devices", "3", "--batch-size", "128"], 2, "bad-batch-size",
         "--batch-size 129"),
        (["train", "dcgan", "--preset", "tinny"], 2, "unknown-preset", "'tiny'"),
        (["train", "vae", "--preset", "tiny"], 2, "unknown-preset", "vae"),
        (["train", "vae", "--ema", "1"], 2, "bad-value", "ema"),
        (["train", "vae", "--fail-on", "colapse"], 2, "bad-value", "'collapse'"),
        (["train", "vae", "--checkpoint-every", "often"], 2, "bad-value", "'often'"),
        (["train", "vae", "--checkpoint-every", "0"], 2, "bad-value", "'0'"),
        (["train", "vae", "--keep", "0"], 2, "bad-value", "keep"),
        (["train", "vae", "--retries", "-1"], 2, "usage", "--retries"),
        (["train", "vae", "--resume"], 3, "run-not-found", "'vae'"),
        (["train", "--resume"], 3, "run-not-found", "runs"),
        (["train", "--resume", "vae-7"], 3, "run-not-found", "'vae-7'"),
        (["train", "cyclegan", "--data", "fashion-mnist-small"], 2, "wrong-data", "a and b"),
        (["train", "vae", "--data", "emoji"], 2, "wrong-data", "a and b"),
    ],
    ids=lambda each: " ".join(each)[:40] if isinstance(each, list) else None,
)  # fmt: skip
def test_what_is_wrong_is_said_shortly(words: list[str], code: int, error: str, name: str) -> None:
    assert name in error_of(*words, code=code, error=error)
    assert not Path("runs").exists()


def test_a_name_that_is_taken_is_refused(in_trained: Path) -> None:
    words = ("train", "vae", "--steps", "1", "--name", "first")
    assert "first" in error_of(*words, code=2, error="already-exists")
    assert (in_trained / "runs" / "first" / "run.json").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_device_that_is_not_there_is_said() -> None:
    words = ("train", "vae", "--device", "cuda")
    assert "cpu" in error_of(*words, code=2, error="device-unavailable")


@pytest.mark.parametrize(
    ("text", "error", "name"),
    [
        ("modle = 'vae'", "unknown-option", "'model'"),
        ("[training]\nepocs = 3", "unknown-option", "'epochs'"),
        ("training = 3", "bad-config", "$.training"),
        ("model = [", "bad-config", "mine.toml"),
        ("x" * 70_000, "bad-config", "mine.toml"),
    ],
)
def test_a_configuration_file_that_is_wrong_is_refused(text: str, error: str, name: str) -> None:
    Path("mine.toml").write_text(text)
    assert name in error_of("train", "vae", "--config", "mine.toml", code=2, error=error)


def test_two_class_folders_are_two_domains_for_a_translator(tmp_path: Path) -> None:
    for name, count in (("horses", 5), ("zebras", 4), ("donkeys", 0)):
        for number in range(count):
            save(tmp_path / "animals" / name / f"{number}.png", photo(number, 32, 32))
    words = ["--steps", "1", "--set", "blocks=1", "--set", "features=4",
             "--set", "discriminator_features=4"]  # fmt: skip
    zoo("train", "cyclegan", "--data", str(tmp_path / "animals"), *words, "--name", "c")
    data = json.loads(Path("runs/c/run.json").read_text())["identity"]["data"]
    assert [each["domain"] for each in data["ports"]] == ["horses", "zebras"]
    zoo("sample", "c", "-o", "there-and-back.png")
    save(tmp_path / "animals" / "donkeys" / "0.png", photo(0, 32, 32))
    words = ["train", "cyclegan", "--data", str(tmp_path / "animals"), *words]
    said = error_of(*words, code=2, error="wrong-data")
    for name in (str(tmp_path / "animals"), "a and b", "image", "label"):
        assert name in said
