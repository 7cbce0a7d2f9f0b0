"""`zoo.train`: options as keywords, messages where they are wanted, Ctrl-C, resuming."""

from __future__ import annotations

import json
import signal
import tomllib
from pathlib import Path

import numpy as np
import pytest

import zoo
from tests.data.pictures import fill
from tests.errors import raises
from tests.process import zoo_json

SMALL = {"hidden": (8,), "steps": 3, "batch_size": 16}


def test_a_run_is_returned_that_can_be_loaded(capfd: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    run = zoo.train("vae", name="mine", latent_size=2, log=told.append, **SMALL)
    assert (run.run, run.status, run.step, run.alerts) == ("mine", "finished", 3, [])
    assert np.isfinite(run.metrics["elbo"])
    assert any("step 3" in line for line in told)
    assert capfd.readouterr() == ("", "")
    model = zoo.load(run, log=None)
    assert (model.config["latent_size"], model.config["hidden"]) == (2, [8])
    assert model.identity.step == 3


def test_a_training_is_the_same_as_the_commands() -> None:
    zoo.train("ae", name="here", log=None, seed=7, **SMALL)
    words = ("--steps", "3", "--batch-size", "16", "--set", "hidden=8", "--seed", "7")
    zoo_json("train", "ae", "--name", "there", *words)
    here, there = (
        {
            key: each.numpy().tobytes()
            for key, each in zoo.load(run, log=None).model.state_dict().items()
        }
        for run in ("here", "there")
    )
    assert here == there


def test_data_and_what_it_is_decoded_to_are_keywords() -> None:
    fill(Path("photos"), 20, height=20, width=30)
    options = {"steps": 1, "batch_size": 4, "channels": (4,)}
    run = zoo.train(
        "conv-ae", data=Path("photos"), size=(16, 24), fit="contain", log=None, **options
    )
    assert zoo.load(run, log=None).data.image.shape[1:] == (3, 16, 24)
    assert tomllib.loads(Path(run.path, "config.toml").read_text())["fit"] == "contain"
    again = zoo.train(config=Path(run.path, "config.toml"), log=None)
    assert again.run == "conv-ae-2"


@pytest.mark.parametrize(
    ("options", "code", "names"),
    [
        ({"latent_sise": 2}, "unknown-option", ("Did you mean 'latent_size'",)),
        ({"epochs": "many"}, "bad-value", ("epochs",)),
        ({"lr": -1.0}, "bad-value", ("lr",)),
        ({"fit": "strech"}, "bad-value", ("stretch",)),
        ({"size": 3}, "bad-value", ("3",)),
        ({"preset": "huge"}, "unknown-preset", ("huge",)),
        ({"name": "a/b"}, "bad-value", ("a/b",)),
        ({"name": "vae"}, "usage", ("vae",)),
        ({"devices": 2}, "conflicting-options", ("--devices",)),
    ],
)
def test_wrong_options_are_told_as_the_command_tells_them(
    options: dict, code: str, names: tuple
) -> None:
    with raises(zoo.UsageError, code, *names):
        zoo.train("vae", log=None, **options)
    assert not Path("runs").exists()


def test_wrong_names_are_told_as_the_command_tells_them() -> None:
    with raises(zoo.NotFoundError, "model-not-found", "vae"):
        zoo.train("vea", log=None)
    with raises(zoo.NotFoundError, "data-not-found", "mnist"):
        zoo.train("vae", data="mnsit", log=None)
    with raises(zoo.NotFoundError, "run-not-found"):
        zoo.train(resume="nobody", log=None)
    with raises(zoo.UsageError, "missing-argument"):
        zoo.train(log=None)


def test_ctrl_c_saves_a_checkpoint_and_resuming_goes_on() -> None:
    before = signal.getsignal(signal.SIGINT)

    def press_once(line: str) -> None:
        if "epoch 1/" in line:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="checkpoint"):
        zoo.train("ae", name="cut", epochs=50, batch_size=500, hidden=(8,), log=press_once)
    assert signal.getsignal(signal.SIGINT) is before
    info = json.loads(Path("runs/cut/run.json").read_text())
    assert info["status"] == "interrupted"
    step = info["identity"]["step"]
    assert zoo.load("cut", log=None).identity.step == step < 100
    run = zoo.train(resume="cut", steps=step + 2, log=None)
    assert (run.status, run.step) == ("finished", step + 2)
    assert zoo.train(resume=run, log=None).step == step + 2  # nothing is left
    with raises(zoo.UsageError, "contradicts-run", "hidden"):
        zoo.train(resume=run, hidden=(9,), log=None)
    with raises(zoo.UsageError, "conflicting-options", "--compile"):
        zoo.train(resume=run, compile=True, log=None)


@pytest.mark.slow
def test_the_fastest_batch_size_is_measured_on_request() -> None:
    told: list[str] = []
    fill(Path("photos"), 12, height=8, width=8)
    run = zoo.train("ae", data="photos", batch_size="auto", steps=1, hidden=(4,), log=told.append)
    chosen = tomllib.loads(Path(run.path, "config.toml").read_text())["training"]["batch_size"]
    assert any(f"batch size {chosen} " in line for line in told)
