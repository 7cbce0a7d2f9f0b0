"""A training that starts from other weights, with frozen networks and learning rates by network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from tests.process import error_of, zoo, zoo_json
from tests.training.test_players import copy_until
from tests.training.test_trainer import SPEC, Dots, DotsConfig, batches
from tests.training.trials import assert_equal, record_of, small_training
from zoo import Player, Update
from zoo.training.devices import Ranks
from zoo.training.players import setup_players
from zoo.training.trainer import Budget, train_steps

VAE = "zoo-autoencoders:vae"
PLAIN = ["--set=ema=none"]


def tensors_of(run: str) -> dict[str, np.ndarray]:
    """The weights of a run's last checkpoint, by name."""
    last = Path("runs", run, "checkpoints", "last").read_text().strip()
    return dict(load_file(Path("runs", run, "checkpoints", last, "model.safetensors")))


@pytest.fixture
def first() -> dict[str, np.ndarray]:
    """The weights of a run ``first`` of three steps."""
    zoo(*small_training(VAE, "first", steps=3), *PLAIN)
    return tensors_of("first")


TINY_RATE = ["--lr", "1e-12"]  # at which weights stay where they started


@pytest.mark.parametrize("target", ["first", "@last", "vae", "a file"])
def test_a_training_starts_from_the_weights_of_another(
    first: dict[str, np.ndarray], target: str
) -> None:
    if target == "a file":
        target = "weights.safetensors"
        save_file(first, target)  # without a word of the zoo's
    words = [*small_training(VAE, "second", steps=1), *PLAIN, *TINY_RATE]
    said = zoo(*words, "--seed", "6", "--init-from", target).stderr
    assert f"starting from {len(first)} of {len(first)} tensors" in said
    for name, tensor in tensors_of("second").items():
        np.testing.assert_allclose(tensor, first[name], atol=1e-6)


def test_what_does_not_fit_starts_anew_and_is_listed(first: dict[str, np.ndarray]) -> None:
    words = [*small_training(VAE, "second", steps=1), *PLAIN, *TINY_RATE]
    said = zoo(*words, "--set", "latent_size=5", "--init-from", "first").stderr
    zoo(*small_training(VAE, "anew", steps=1), *PLAIN, *TINY_RATE, "--set", "latent_size=5")
    anew, lines = tensors_of("anew"), said.splitlines()
    (listed,) = [line for line in lines if "another shape" in line]
    assert any("--set latent_size=20" in line for line in lines)
    found = tensors_of("second")
    assert found.keys() == first.keys()
    changed = {name for name in found if found[name].shape != first[name].shape}
    assert changed
    for name, tensor in found.items():
        assert (name in listed) == (name in changed)
        np.testing.assert_allclose(tensor, (anew if name in changed else first)[name], atol=1e-6)


@pytest.mark.usefixtures("first")
def test_weights_that_are_not_there_or_fit_nowhere_are_refused() -> None:
    words = small_training("zoo-gans:dcgan", "other", steps=2)
    said = error_of(*words, "--init-from", "first", code=2, error="weights-do-not-fit")
    assert "dcgan" in said
    assert "'vae'" in said
    Path("bad.safetensors").write_bytes(b"not weights")
    for target, error, name in (
        ("frist", "target-not-found", "'first'"),
        ("no.safetensors", "file-not-found", "no.safetensors"),
        ("bad.safetensors", "damaged-weights", "bad.safetensors"),
    ):
        assert name in error_of(*words, "--init-from", target, code=3, error=error)
    last = Path("runs/first/checkpoints/step-0000003/model.safetensors")
    last.write_bytes(last.read_bytes()[:-1] + b"\x01")
    words = [*small_training(VAE, "other", steps=2), "--init-from", "first"]
    assert "manifest.json" in error_of(*words, code=3, error="hash-mismatch")
    assert not Path("runs/other").exists()


def test_weights_that_are_not_finite_are_refused(first: dict[str, np.ndarray]) -> None:
    save_file({name: each * np.nan for name, each in first.items()}, "nan.safetensors")
    words = [*small_training(VAE, "other", steps=2), "--init-from", "nan.safetensors"]
    said = error_of(*words, code=3, error="damaged-weights")
    assert "nan.safetensors" in said
    assert any(f"'{name}'" in said for name in first), "the tensor is named"


def test_what_is_frozen_does_not_move_and_the_rest_does(first: dict[str, np.ndarray]) -> None:
    words = [*small_training(VAE, "second", steps=3), *PLAIN]
    zoo(*words, "--init-from", "first", "--freeze", "encoder")
    for name, tensor in tensors_of("second").items():
        assert np.array_equal(tensor, first[name]) == name.startswith("encoder."), name


def test_a_frozen_discriminator_is_measured_and_keeps_its_statistics() -> None:
    dcgan = "zoo-gans:dcgan"
    zoo(*small_training(dcgan, "first", steps=2), *PLAIN)
    words = [*small_training(dcgan, "second", steps=2), *PLAIN, "--init-from", "first"]
    zoo(*words, "--freeze", "discriminator")
    before, after = tensors_of("first"), tensors_of("second")
    for name in before:
        if not name.startswith("generator."):
            assert np.array_equal(after[name], before[name]), name
    assert not np.array_equal(after["generator.0.weight"], before["generator.0.weight"])
    assert '"discriminator/real"' in Path("runs/second/metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("words", "error", "named"),
    [
        (["--freeze", "encodr"], "bad-value", "'encoder'"),
        (["--lr", "decodr=1e-3"], "bad-value", "'decoder'"),
        (["--lr", "decoder=-1"], "bad-value", "decoder=-1"),
        (["--lr", "decoder="], "bad-value", "decoder="),
        (["--freeze", "autoencoder"], "nothing-to-train", "--freeze"),
        (["--freeze", "encoder", "--lr", "encoder=1e-3"], "bad-value", "'encoder'"),
    ],
)
def test_what_cannot_be_frozen_or_have_a_rate_is_refused(
    words: list[str], error: str, named: str
) -> None:
    assert named in error_of(*small_training(VAE, "other", steps=2), *words, code=2, error=error)
    assert not Path("runs/other").exists()


class TwoNetworks(Dots):
    """One player with both networks, which go down a slope of 1 in all directions."""

    def players(self) -> Mapping[str, Player]:
        sgd = partial(torch.optim.SGD, lr=0.5)
        both = [self.generator, self.discriminator]
        return {"both": Player(both, sgd, lambda done: 1 - done)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        total = torch.stack([each.sum() for each in self.parameters()]).sum()
        yield Update("both", total=total)


@pytest.mark.parametrize(
    ("rates", "generator", "discriminator"),
    [
        ({}, 0.5, 0.5),
        ({"generator": 0.1}, 0.1, 0.5),
        ({"both": 0.2}, 0.2, 0.2),
        ({"discriminator": 0.1, "both": 0.2}, 0.2, 0.1),
    ],
)
def test_a_network_moves_by_its_own_rate_times_the_schedule(
    rates: dict[str, float], generator: float, discriminator: float
) -> None:
    model = TwoNetworks(DotsConfig(), SPEC)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    state = setup_players(model, Ranks(torch.device("cpu")), nullcontext(), rates)
    list(train_steps(state, batches(), Budget(2, float("inf"))))
    for name, tensor in model.state_dict().items():
        rate = generator if name.startswith("generator") else discriminator
        torch.testing.assert_close(before[name] - tensor, torch.full_like(tensor, 1.5 * rate))


ALL = ["--init-from", "first", "--freeze", "decoder", "--lr", "encoder=1e-4",
       "--checkpoint-every", "1", "--keep", "50"]  # fmt: skip


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize(
    "ranks",
    [[], pytest.param(["--devices", "2"], marks=pytest.mark.slow)],
    ids=["one rank", "two ranks"],
)
def test_it_is_resumed_to_the_bit_also_where_the_first_run_is_gone(ranks: list[str]) -> None:
    zoo(*small_training(VAE, "whole", steps=6), *ALL, *ranks)
    copy_until(0)  # killed before its first checkpoint, it starts from the same weights again
    assert "starting from" in zoo("train", "--resume", "broken", *ranks).stderr
    assert_equal(record_of("whole"), record_of("broken"))
    shutil.rmtree("runs/broken")
    shutil.rmtree("runs/first")
    copy_until(3)
    said = zoo("train", "--resume", "broken", *ranks).stderr
    assert "starting from" not in said
    assert_equal(record_of("whole"), record_of("broken"))
    config = Path("runs/broken/config.toml").read_text()
    assert config == Path("runs/whole/config.toml").read_text()
    assert "runs/first/checkpoints/step-0000003/model.safetensors" in config
    saved = json.loads(Path("runs/broken/checkpoints/step-0000006/state.json").read_text())
    assert saved["job"]["training"]["freeze"] == ["decoder"]
    for words in (["--freeze", "encoder"], ["--lr", "encoder=1e-5"], ["--init-from", "whole"]):
        error_of("train", "--resume", "whole", *words, code=2, error="contradicts-run")


@pytest.mark.usefixtures("first")
def test_a_plan_of_it_says_what_is_trained() -> None:
    words = ["--init-from", "first", "--freeze", "decoder", "--dry-run"]
    whole = zoo_json(*small_training(VAE, "other", steps=2), "--dry-run")
    found = zoo_json(*small_training(VAE, "other", steps=2), *words)
    assert 0 < found["parameters"]["autoencoder"] < whole["parameters"]["autoencoder"]
    words = ["train", "ae", "--init-from", "first", "--freeze", "nobody", "--dry-run"]
    assert "'nobody'" in error_of(*words, code=2, error="bad-value")
