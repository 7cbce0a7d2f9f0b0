"""`--compile`: which networks are compiled, that a run keeps them, and what cannot be compiled."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from tests.errors import raises
from tests.process import error_of, zoo, zoo_json
from tests.training.test_resume import OFTEN, VAE, kill_when, steps_saved
from tests.training.test_trainer import (
    SPEC,
    Dots,
    DotsConfig,
    GradientPenalty,
    batches,
    run_steps,
    state_of,
)
from tests.training.trials import assert_equal, record_of, small_training
from zoo import Update
from zoo.errors import UsageError, ZooError
from zoo.model.inference import evaluating
from zoo.training.compile_trials import LEAST_GAIN, CompileTrial
from zoo.training.compiling import (
    NO_COMPILER,
    compile_networks,
    explaining_failures,
    why_not_compiled,
)
from zoo.training.config import Settings
from zoo.training.trainer import Budget, train_steps

SMALL = ["train", "vae", "--set=hidden=8", "--set=samples=1", "--batch-size=8", "--steps=4"]


class Unpredictable(nn.Module):
    """A network that goes one way or another by what it computes, which is no graph."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, image: Tensor) -> Tensor:
        made: Tensor = self.layer(image.mean().reshape(1, 1))
        return made if made.sum().item() > 0 else 2 * made


class Stubborn(Dots):
    """A model whose discriminator cannot be compiled."""

    def __init__(self) -> None:
        super().__init__(DotsConfig(), SPEC)
        self.discriminator = Unpredictable()

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("discriminator", error=self.discriminator(batch["image"]).square().mean())


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder for compiled code, of which nothing is left to other tests."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    yield
    torch.compiler.reset()


@pytest.fixture
def stubborn(own_cache: None) -> Stubborn:
    """The model, with its discriminator to be compiled."""
    model = Stubborn()
    compile_networks(model, ["discriminator"])
    return model


@pytest.mark.parametrize(
    ("gain", "pays"),
    [(None, False), (0.78, False), (1.0, False), (LEAST_GAIN, True), (2.0, True)],
)
def test_only_networks_that_gain_are_compiled(gain: float | None, pays: bool) -> None:
    assert CompileTrial("generator", 20.0, gain).pays == pays


def test_what_cannot_be_compiled_is_told_with_the_next_command(stubborn: Stubborn) -> None:
    settings = Settings(compile=("discriminator",))
    with (
        raises(ZooError, "cannot-compile", "discriminator") as found,
        explaining_failures(settings, "type this"),
    ):
        next(train_steps(state_of(stubborn), batches(), Budget(2, 1e9)))
    assert found.value.hint == "type this"
    assert "\n" not in found.value.cause


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own code
def test_second_derivatives_are_told_as_the_reason(own_cache: None) -> None:
    model = GradientPenalty(DotsConfig(), SPEC)
    compile_networks(model, ["discriminator"])
    with pytest.raises(RuntimeError) as found:
        run_steps(model, 1)
    assert "second derivatives" in why_not_compiled(found.value)


def test_what_is_no_fault_of_the_compiler_stays_as_it_is() -> None:
    with (
        pytest.raises(ValueError, match="mine"),
        explaining_failures(Settings(compile=("generator",)), ""),
    ):
        raise ValueError("mine")
    assert not why_not_compiled(ValueError("mine"))


def test_outside_of_the_steps_networks_run_as_they_are_written(stubborn: Stubborn) -> None:
    image = torch.zeros(2, 1, 4, 4)
    with evaluating(stubborn):
        stubborn.discriminator(image)
    with pytest.raises(RuntimeError):
        stubborn.discriminator(image)


def test_unknown_networks_are_refused() -> None:
    said = error_of(*SMALL, "--set", "compile=encodr", code=2, error="bad-value")
    assert "'encoder'" in said
    with raises(UsageError, "bad-value", "generatr", "'generator'"):
        compile_networks(Dots(DotsConfig(), SPEC), ["generatr"])


@pytest.mark.parametrize("wish", [["--compile"], ["--set", "compile=encoder"]])
def test_several_ranks_are_refused(wish: list[str]) -> None:
    error_of(*SMALL, *wish, "--strategy", "ddp", code=2, error="conflicting-options")
    assert not Path("runs").exists()


def test_without_a_compiler_it_is_told_and_nothing_is_compiled() -> None:
    done = zoo(*SMALL, "--compile", "--json", "--name", "run", PATH="")
    (trial,) = json.loads(done.stdout)["compile_trials"]
    assert trial["why_not"] == NO_COMPILER
    assert done.stderr.count(NO_COMPILER) == 1
    assert tomllib.loads(Path("runs/run/config.toml").read_text())["training"]["compile"] == []
    zoo(*SMALL, "--name", "plain")
    assert_equal(record_of("run"), record_of("plain"))
    words = ["train", "--resume", "run", "--steps", "6"]
    error_of(*words, "--compile", code=2, error="conflicting-options")


def test_a_run_that_comes_to_a_machine_without_a_compiler_can_go_on() -> None:
    words = [*SMALL, "--set", "compile=decoder", "--name", "run"]
    said = error_of(*words, code=1, error="cannot-compile", PATH="")
    assert NO_COMPILER in said
    assert "zoo train --resume run --set compile=" in said
    assert zoo_json("train", "--resume", "run", "--set", "compile=")["step"] == 4


def test_a_misspelt_auto_is_told_as_that() -> None:
    assert "'auto'" in error_of("train", "vae", "--batch-size", "atuo", code=2, error="bad-value")


@pytest.mark.slow
@pytest.mark.parametrize("card", [VAE, "zoo-gans:dcgan", "zoo-translation:pix2pix"])
def test_killed_and_resumed_a_compiled_run_is_the_same(card: str) -> None:
    networks = {VAE: "encoder,decoder"}.get(card, "generator,discriminator")
    compiled = ["--set", f"compile={networks}"]
    zoo(*small_training(card, "whole", steps=30), *compiled)
    words = [*small_training(card, "broken", steps=30), *compiled, *OFTEN]
    kill_when(words, lambda: max(steps_saved("broken"), default=0) >= 4)
    assert max(steps_saved("broken")) < 30, "it was killed too late to prove anything"
    zoo("train", "--resume", "broken")
    assert_equal(record_of("whole"), record_of("broken"))
    assert json.loads(Path("runs/broken/run.json").read_text())["compiled"] == networks.split(",")


@pytest.mark.slow
def test_compiled_or_not_the_weights_have_the_same_names_and_leave_as_onnx() -> None:
    for name, wish in (("one", []), ("other", ["--set", "compile=encoder,decoder"])):
        zoo(*SMALL, "--name", name, *wish)
    names = []
    for run in ("one", "other"):
        path = Path(f"runs/{run}/checkpoints/step-0000004/model.safetensors")
        with safe_open(path, "pt") as file:
            names.append(set(file.keys()))
    assert names[0] == names[1]
    zoo("export", "other", "--onnx")
    told = zoo("train", "--resume", "other", "--steps", "60", "--set", "compile=encoder").stderr
    assert "compiled networks" in told
    assert zoo_json("doctor", "other", "--speed")["speed"]["compiled"] == ["encoder"]


@pytest.mark.slow
def test_each_network_is_measured_and_those_that_gain_are_kept() -> None:
    done = zoo(*SMALL, "--compile", "--json", "--name", "run")
    trials = {each["network"]: each for each in json.loads(done.stdout)["compile_trials"]}
    assert list(trials) == ["encoder", "decoder"]
    assert all(each["compile_seconds"] > 0 for each in trials.values())
    chosen = [name for name, each in trials.items() if each["gain"] >= LEAST_GAIN]
    assert tomllib.loads(Path("runs/run/config.toml").read_text())["training"]["compile"] == chosen
    assert sum(line.partition(":")[0] in trials for line in done.stderr.splitlines()) == 2


@pytest.mark.slow
def test_what_a_gradient_penalty_needs_is_not_compiled_without_noise() -> None:
    words = ["train", "wgan-gp", "--set=features=4", "--batch-size=40", "--steps=2", "--compile"]
    done = zoo(*words, "--json")
    critic = next(
        each for each in json.loads(done.stdout)["compile_trials"] if each["network"] == "critic"
    )
    assert critic["gain"] is None
    assert "second" in critic["why_not"]
    assert "_dynamo" not in done.stderr
