"""What a player may ask of its optimiser, networks that several share, and frozen ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.errors import raises
from tests.installing import install_stranger
from tests.process import zoo
from tests.training.test_trainer import (
    SPEC,
    Dots,
    DotsConfig,
    batches,
    run_steps,
    same,
    state_of,
    weights,
)
from tests.training.trials import assert_equal, record_of
from zoo import Player, Update
from zoo.errors import PluginError
from zoo.training.trainer import Budget, train_steps

RATE = 0.5


class Line(Dots):
    """One linear network, moved by plain gradient descent towards the mean of the pixels."""

    def __init__(self, **more: object) -> None:
        super().__init__(DotsConfig(), SPEC)
        del self.generator
        self.more = more  # arguments of the player

    def players(self) -> Mapping[str, Player]:
        sgd = partial(torch.optim.SGD, lr=RATE)
        return {"line": Player([self.discriminator], sgd, **self.more)}  # type: ignore[arg-type] # each test knows

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield Update("line", error=self.error(batch))

    def error(self, batch: Mapping[str, Tensor]) -> Tensor:
        image = batch["image"].flatten(1)
        return (self.discriminator(image) - image.mean(1, keepdim=True)).square().mean()


def gradients_of(model: Line, steps: int) -> list[list[Tensor]]:
    """The gradients of the first batches at the weights that the model has now."""
    parameters = list(model.discriminator.parameters())
    return [
        list(torch.autograd.grad(model.error(batch), parameters))
        for batch, _ in zip(batches().epoch(0), range(steps), strict=False)
    ]


def norm_of(tensors: list[Tensor]) -> float:
    return torch.cat([each.flatten() for each in tensors]).norm().item()


def test_a_gradient_is_clipped_to_a_norm_and_shown_as_it_was() -> None:
    for share in (0.25, 2):
        model = Line()
        before, (gradient,) = weights(model), gradients_of(model, 1)
        norm = norm_of(gradient)
        model.more = {"clip_norm": share * norm}
        (result,) = run_steps(model, 1)
        assert result.gradient_norms["line"] == pytest.approx(norm)
        for old, new, each in zip(before, weights(model), gradient, strict=True):
            torch.testing.assert_close(new, old - RATE * min(share, 1) * each)


def test_every_kth_update_moves_by_the_mean_of_the_gradients() -> None:
    model = Line(accumulate=3, clip_norm=100.0)
    before, gradients = weights(model), gradients_of(model, 3)
    mean = [torch.stack(each).mean(0) for each in zip(*gradients, strict=True)]
    seen = [
        (weights(model), result.gradient_norms["line"])
        for result in train_steps(state_of(model), batches(), Budget(5, float("inf")))
    ]
    assert same(before, seen[0][0])
    assert same(before, seen[1][0])
    for old, new, each in zip(before, seen[2][0], mean, strict=True):
        torch.testing.assert_close(new, old - RATE * each)
    assert same(seen[2][0], seen[4][0]), "what is left at the end moves nothing"
    assert seen[0][1] == pytest.approx(norm_of(gradients[0]))
    assert seen[2][1] == pytest.approx(norm_of(mean))


@pytest.mark.parametrize("more", [{"clip_norm": 0.0}, {"accumulate": 0}, {"accumulate": 1.5}])
def test_a_player_that_could_not_be_trained_is_refused(more: Mapping[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(more))):
        Line(**more).players()


class Growing(Dots):
    """The generator has nothing to do in the first half; what progress was is kept."""

    def __init__(self) -> None:
        super().__init__(DotsConfig(), SPEC)
        self.seen: list[float] = []

    def players(self) -> Mapping[str, Player]:
        return {
            name: Player([getattr(self, name)], torch.optim.Adam)
            for name in ("discriminator", "generator")
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        self.seen.append(self.progress)
        for update in super().training_step(batch):
            if update.player == "discriminator" or self.progress >= 0.5:
                yield update


def test_the_model_knows_how_much_of_the_training_is_done() -> None:
    model = Growing()
    assert model.progress == 1, "of a model that is not trained"
    state = state_of(model)
    assert model.progress == 0
    between = [model.progress for _ in train_steps(state, batches(), Budget(4, float("inf")))]
    assert model.seen == [0, 0.25, 0.5, 0.75]
    assert between == [0.25, 0.5, 0.75, 1], "what is validated after a step knows it as done"


def test_a_player_that_rests_keeps_the_state_of_its_optimiser() -> None:
    model = Growing()
    state = state_of(model)
    list(train_steps(state, batches(), Budget(4, float("inf"))))
    steps = {
        name: {int(each["step"]) for each in player.optimiser.state.values()}
        for name, player in state.players.items()
    }
    assert steps == {"discriminator": {4}, "generator": {2}}


class Shared(Dots):
    """The generator belongs to a second player, which moves it at every second update."""

    shared = True

    def players(self) -> Mapping[str, Player]:
        adam = torch.optim.Adam
        return {
            "whole": Player([self.generator, self.discriminator], adam),
            "again": Player([self.generator], adam, accumulate=2, shared=self.shared),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        image = batch["image"].flatten(1)
        noise = image[:, :3]
        yield Update("whole", large=self.discriminator(self.generator(noise)).mean())
        yield Update("again", small=self.generator(noise).square().mean())


def test_a_network_of_two_players_has_an_optimiser_of_each() -> None:
    model = Shared(DotsConfig(), SPEC)
    state = state_of(model)
    before = weights(model.generator)
    list(train_steps(state, batches(), Budget(3, float("inf"))))
    weight = state.players["again"].parameters[0]
    steps = [int(each.optimiser.state[weight]["step"]) for each in state.players.values()]
    assert steps == [3, 1]
    assert not same(before, weights(model.generator))
    assert "generator.0.weight" in model.state_dict()


def test_sharing_that_nobody_speaks_of_is_refused() -> None:
    model = Shared(DotsConfig(), SPEC)
    model.shared = False
    with raises(PluginError, "breaks-contract", "shared=True"):
        state_of(model)


class HalfFrozen(Dots):
    """The generator is frozen, and normalises by statistics."""

    def __init__(self) -> None:
        super().__init__(DotsConfig(), SPEC)
        self.generator.append(nn.BatchNorm1d(16)).requires_grad_(False)

    def players(self) -> Mapping[str, Player]:
        return {"discriminator": Player([self.discriminator], torch.optim.Adam)}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield next(super().training_step(batch))


def test_what_is_frozen_belongs_to_nobody_and_does_not_move() -> None:
    model = HalfFrozen()
    before = {key: each.clone() for key, each in model.state_dict().items()}
    run_steps(model, 3)
    after = model.state_dict()
    still = {key for key, each in before.items() if torch.equal(each, after[key])}
    assert still == {key for key in before if key.startswith("generator.")}


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which an adversarial autoencoder is installed: all of the above at once."""
    return install_stranger(tmp_path_factory.mktemp("stranger"))


def copy_until(step: int) -> None:
    """Make a run ``broken`` of run ``whole``, as if it had been killed after a step."""
    shutil.copytree("runs/whole", "runs/broken")
    for path in Path("runs/broken/checkpoints").glob("step-*"):
        if int(path.name[5:]) > step:
            shutil.rmtree(path)


TRAIN = ["train", "shared-encoder-ae", "--name", "whole", "--steps", "12", "--batch-size", "8",
         "--set", "accumulate=4", "--ema", "0.9", "--checkpoint-every", "1",
         "--keep", "50"]  # fmt: skip


def test_between_two_moves_it_is_resumed_to_the_bit(stranger: dict[str, str]) -> None:
    zoo(*TRAIN, **stranger)
    rows = [json.loads(row) for row in Path("runs/whole/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["values"]["progress"] == 1
    for step in (1, 4, 6):
        copy_until(step)
        said = zoo("train", "--resume", "broken", **stranger).stderr
        assert f"at step {step}," in said
        assert_equal(record_of("whole"), record_of("broken"))
        shutil.rmtree("runs/broken")


@pytest.mark.slow
def test_on_two_ranks_as_well(stranger: dict[str, str]) -> None:
    two = ["--devices", "2"]
    zoo(*TRAIN, *two, **stranger)
    copy_until(5)
    said = zoo("train", "--resume", "broken", *two, **stranger).stderr
    assert "no longer bit-identical" not in said
    assert_equal(record_of("whole"), record_of("broken"))
