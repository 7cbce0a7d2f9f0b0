"""The contract between loop and model: each update moves its own player and nobody else."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from inspect import isgeneratorfunction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from tests.errors import raises
from zoo import DataSpec, Graph, Model, Player, Update, option
from zoo.data.batches import Batches
from zoo.errors import PluginError, UnhealthyError, UsageError
from zoo.training.config import Settings
from zoo.training.devices import Ranks
from zoo.training.players import TrainState, setup_players
from zoo.training.trainer import READ_EVERY_STEPS, Budget, StepResult, train_steps

SPEC = DataSpec.of_images("dots", 1, 4, 4)
STEPS = 50
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), dtype=np.uint8)


@dataclass(frozen=True)
class DotsConfig:
    lr: float = option(1e-2, "rate", above=0.0)


class Dots(Model):
    """A small GAN: two players, and a discriminator update that forgets to detach."""

    Config = DotsConfig
    config: DotsConfig

    def __init__(self, config: DotsConfig, data: DataSpec) -> None:
        super().__init__(config, data)
        self.generator = nn.Sequential(nn.Linear(3, 16), nn.Tanh())
        self.discriminator = nn.Linear(16, 1)

    def players(self) -> Mapping[str, Player]:
        sgd = partial(torch.optim.SGD, lr=self.config.lr)
        return {
            "discriminator": Player([self.discriminator], sgd),
            "generator": Player([self.generator], sgd, lambda done: 1 - done),
        }

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        real = batch["image"].flatten(1)
        fake = self.generator(torch.randn(len(real), 3))
        yield Update(
            "discriminator",
            real=softplus(-self.discriminator(real)).mean(),
            fake=softplus(self.discriminator(fake)).mean(),
        )
        yield Update("generator", fool=softplus(-self.discriminator(fake)).mean())

    def graphs(self) -> Mapping[str, Graph]:
        return {}


class OneMove(Dots):
    """Only the discriminator ever moves."""

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        yield next(super().training_step(batch))


class GradientPenalty(Dots):
    """Two critic steps with a gradient penalty: ordinary Python in the model."""

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        real = batch["image"].flatten(1)
        for _ in range(2):
            fake = self.generator(torch.randn(len(real), 3)).detach()
            mixed = (real + fake).div(2).requires_grad_()
            (slope,) = torch.autograd.grad(
                self.discriminator(mixed).sum(), mixed, create_graph=True
            )
            yield Update(
                "discriminator",
                wasserstein=self.discriminator(fake).mean() - self.discriminator(real).mean(),
                penalty=10 * (slope.norm(dim=1) - 1).square().mean(),
            )
        fake = self.generator(torch.randn(len(real), 3))
        yield Update("generator", fool=-self.discriminator(fake).mean())


class Diverging(Dots):
    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        for update in super().training_step(batch):
            yield Update(update.player, **{k: v * torch.nan for k, v in update.terms.items()})


def state_of(model: Model) -> TrainState:
    return setup_players(model, Ranks(torch.device("cpu")), nullcontext())


def batches(size: int = 8) -> Batches:
    return Batches({"image": IMAGES}, SPEC, size, seed=0, device=torch.device("cpu"))


def run_steps(model: Model, steps: int) -> list[StepResult]:
    torch.manual_seed(0)
    return list(train_steps(state_of(model), batches(), Budget(steps, float("inf"))))


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def same(before: list[Tensor], after: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_forgotten_detach_moves_nobody_else() -> None:
    model = OneMove(DotsConfig(), SPEC)
    generator, discriminator = weights(model.generator), weights(model.discriminator)
    run_steps(model, 3)
    assert same(generator, weights(model.generator))
    assert not same(discriminator, weights(model.discriminator))


@pytest.mark.parametrize("kind", [Dots, GradientPenalty])
def test_every_player_moves_and_every_term_is_seen(kind: type[Dots]) -> None:
    model = kind(DotsConfig(), SPEC)
    generator, discriminator = weights(model.generator), weights(model.discriminator)
    results = run_steps(model, 3)
    assert not same(generator, weights(model.generator))
    assert not same(discriminator, weights(model.discriminator))
    players = {name.partition("/")[0] for name in results[-1].terms}
    assert players == {"generator", "discriminator"}


def test_the_update_is_gradient_descent_on_the_sum_of_the_terms() -> None:
    model = OneMove(DotsConfig(lr=0.5), SPEC)
    torch.manual_seed(0)
    (batch,) = list(batches(40).epoch(0))
    update = next(model.training_step(batch))
    gradients = torch.autograd.grad(
        update.terms["real"] + update.terms["fake"], list(model.discriminator.parameters())
    )
    wanted = [w - 0.5 * g for w, g in zip(weights(model.discriminator), gradients, strict=True)]
    torch.manual_seed(0)
    list(train_steps(state_of(model), batches(40), Budget(1, float("inf"))))
    for found, expected in zip(weights(model.discriminator), wanted, strict=True):
        torch.testing.assert_close(found, expected)


def test_the_same_seed_gives_the_same_weights_and_terms() -> None:
    def run() -> tuple[list[StepResult], list[Tensor]]:
        torch.manual_seed(1)
        model = Dots(DotsConfig(), SPEC)
        return run_steps(model, 7), weights(model)

    (first_results, first), (second_results, second) = run(), run()
    for one, other in zip(first_results, second_results, strict=True):
        assert (one.terms, one.gradient_norms) == (other.terms, other.gradient_norms)
    assert same(first, second)


def test_divergence_stops_before_any_weight_moves() -> None:
    model = Diverging(DotsConfig(), SPEC)
    before = weights(model)
    with raises(UnhealthyError, "unhealthy", "step 1", "discriminator/real", "nan"):
        run_steps(model, 3)
    assert same(before, weights(model))


class BadGradient(Dots):
    """From a step on, the gradient of a square root at 0 is not finite, though its value is."""

    bad_from = 1

    def players(self) -> Mapping[str, Player]:
        sgd = partial(torch.optim.SGD, lr=self.config.lr, fused=True)
        return {name: Player(each.modules, sgd) for name, each in super().players().items()}

    def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
        update = next(super().training_step(batch))
        if round(self.progress * STEPS) + 1 >= self.bad_from:
            nothing = torch.stack([each.sum() for each in self.discriminator.parameters()]) * 0
            yield Update(update.player, **update.terms, root=nothing.sqrt().sum())
        else:
            yield update


@pytest.mark.parametrize("step", [2, 3, 5, 6])
def test_a_gradient_that_is_not_finite_is_found_in_every_step(step: int) -> None:
    model = BadGradient(DotsConfig(), SPEC)
    model.bad_from = step
    with raises(UnhealthyError, "unhealthy", f"step {step}", "discriminator/gradient norm"):
        run_steps(model, STEPS)


def test_values_that_are_read_late_are_the_same() -> None:
    runs = []
    for late in (False, True):
        torch.manual_seed(0)
        state = replace(state_of(Dots(DotsConfig(), SPEC)), reads_late=late)
        results = list(train_steps(state, batches(), Budget(45, float("inf"))))
        assert all(result.values.is_read for result in results)
        runs.append([(result.terms, result.gradient_norms) for result in results])
    assert runs[0] == runs[1]


def test_what_is_read_late_is_skipped_where_it_is_not_finite() -> None:
    model = BadGradient(DotsConfig(), SPEC)
    model.bad_from = 3
    state = replace(state_of(model), reads_late=True)
    steps = train_steps(state, batches(), Budget(STEPS, float("inf")))
    results = [next(steps) for _ in range(2)]
    before = weights(model.discriminator)
    results += [next(steps) for _ in range(READ_EVERY_STEPS - len(results) - 1)]
    assert not any(result.values.is_read for result in results)
    assert same(before, weights(model.discriminator))
    with raises(UnhealthyError, "unhealthy", "step 3", "discriminator/gradient norm"):
        next(steps)


def test_epochs_and_the_share_done_are_counted() -> None:
    results = run_steps(Dots(DotsConfig(), SPEC), 12)
    assert [result.step for result in results] == list(range(1, 13))
    assert [result.step for result in results if result.epoch_ends] == [5, 10]
    assert results[-1].epoch == 2
    assert results[-1].progress == 1
    assert results[5].progress == 0.5


def test_a_request_to_stop_ends_after_the_step() -> None:
    model = Dots(DotsConfig(), SPEC)
    asked = iter([0, 0, signal.SIGTERM])
    budget = Budget(100, float("inf"))
    results = list(train_steps(state_of(model), batches(), budget, stop_signal=lambda: next(asked)))
    assert [result.signal for result in results] == [0, 0, signal.SIGTERM]
    assert [result.saves for result in results] == [False, False, True]


def test_the_rate_follows_the_schedule() -> None:
    state = state_of(Dots(DotsConfig(lr=0.1), SPEC))
    list(train_steps(state, batches(), Budget(10, float("inf"))))
    assert state.players["discriminator"].optimiser.param_groups[0]["lr"] == pytest.approx(0.1)
    assert state.players["generator"].optimiser.param_groups[0]["lr"] == pytest.approx(0.01)


def test_state_dict_has_no_trace_of_the_trainer() -> None:
    model = Dots(DotsConfig(), SPEC)
    keys = list(model.state_dict())
    state_of(model)
    assert list(model.state_dict()) == keys


@pytest.mark.parametrize(
    ("players", "names"),
    [
        (
            lambda model: {"generator": Player([model.generator], torch.optim.SGD)},
            ["'discriminator.weight'"],
        ),
        (
            lambda model: {
                "a": Player([model.generator, model.discriminator], torch.optim.SGD),
                "b": Player([model.generator], torch.optim.SGD),
            },
            ["'a'", "'b'"],
        ),
        (
            lambda model: {"a": Player([model.generator[0], model.discriminator], torch.optim.SGD)},
            ["Linear"],
        ),
    ],
)
def test_players_that_do_not_share_out_the_parameters_are_refused(players, names) -> None:
    model = Dots(DotsConfig(), SPEC)
    model.players = lambda: players(model)  # type: ignore[method-assign] # a broken model
    with raises(PluginError, "breaks-contract", "Dots", *names):
        state_of(model)


class Named(NamedTuple):
    """What a training step does wrong with a loss, and the names that the error must have."""

    step: Callable[[Tensor], object]  # a generator function, or what returns at once
    names: tuple[str, ...]


def yields(make: Callable[[Tensor], object]) -> Callable[[Tensor], Iterator[object]]:
    def step(loss: Tensor) -> Iterator[object]:
        yield make(loss)

    return step


WRONG_STEPS = {
    "returns an update": Named(lambda loss: Update("generator", loss=loss), ("an Update",)),
    "returns a tensor": Named(lambda loss: loss, ("Tensor",)),
    "returns nothing": Named(lambda loss: None, ("None",)),
    "returns a list": Named(lambda loss: [Update("generator", loss=loss)], ("list",)),
    "yields a tensor": Named(yields(lambda loss: loss), ("Tensor",)),
    "nobody's": Named(
        yields(lambda loss: Update("generater", loss=loss)), ("'generater'", "'generator'")
    ),
    "no term": Named(yields(lambda loss: Update("generator")), ("'generator'",)),
    "a float": Named(yields(lambda loss: Update("generator", kl=loss.item())), ("'kl'", "a float")),
    "an int": Named(yields(lambda loss: Update("generator", ok=loss, kl=1)), ("'kl'", "an int")),
    "None": Named(yields(lambda loss: Update("generator", kl=None)), ("'kl'", "None")),
    "a row": Named(yields(lambda loss: Update("generator", kl=loss.expand(3))), ("'kl'", "(3,)")),
    "constant": Named(yields(lambda loss: Update("generator", kl=loss.detach())), ("kl",)),
}


@pytest.mark.parametrize("wrong", WRONG_STEPS.values(), ids=WRONG_STEPS)
def test_what_is_no_update_is_refused_with_the_line_of_the_step(wrong: Named) -> None:
    class Wrong(Dots):
        def training_step(self, batch: Mapping[str, Tensor]) -> Iterator[Update]:
            return wrong.step(self.generator(torch.randn(2, 3)).mean())  # type: ignore[return-value]

    with raises(PluginError, "breaks-contract", "Wrong", *wrong.names) as raised:
        run_steps(Wrong(DotsConfig(), SPEC), 1)
    line = re.search(r"test_trainer.py, line (\d+)", raised.value.message)
    assert line, raised.value.message
    text = Path(__file__).read_text(encoding="utf-8").splitlines()[int(line[1]) - 1]
    is_generator = isgeneratorfunction(wrong.step)
    assert ("yield make(loss)" if is_generator else "return wrong.step") in text
    assert raised.value.hint


def test_the_order_is_a_function_of_seed_and_epoch_and_ranks_share_it() -> None:
    split = {"image": IMAGES, "label": np.arange(40)}
    cpu = torch.device("cpu")
    data = DataSpec.of_images("dots", 1, 4, 4, classes=[str(number) for number in range(40)])

    def labels(seed: int, epoch: int, rank: int = 0, ranks: int = 1) -> list[list[int]]:
        made = Batches(split, data, 8, seed=seed, device=cpu, rank=rank, ranks=ranks)
        return [sorted(batch["label"].tolist()) for batch in made.epoch(epoch)]

    whole = labels(0, 0)
    assert whole == labels(0, 0)
    assert whole != labels(0, 1) != labels(1, 1)
    assert sorted(label for batch in whole for label in batch) == list(range(40))
    halves = zip(labels(0, 0, 0, 2), labels(0, 0, 1, 2), strict=True)
    assert [sorted(a + b) for a, b in halves] == whole


def test_images_become_values_from_minus_one_to_one_in_channels_last() -> None:
    extremes = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1).repeat(3, axis=3)
    (batch,) = Batches(
        {"image": extremes}, DataSpec.of_images("x", 3, 1, 1), 2, seed=0, device=torch.device("cpu")
    ).epoch(0)
    assert batch["image"].shape == (2, 3, 1, 1)
    assert sorted(batch["image"][:, 0, 0, 0].tolist()) == [-1.0, 1.0]


def test_a_batch_that_ranks_cannot_share_is_a_usage_error() -> None:
    with raises(UsageError, "bad-batch-size", "--batch-size 9"):
        Batches({"image": IMAGES}, SPEC, 8, seed=0, device=torch.device("cpu"), ranks=3)


@pytest.mark.parametrize(
    ("settings", "steps", "seconds"),
    [
        (Settings(epochs=3), 30, float("inf")),
        (Settings(epochs=None, steps=7), 7, float("inf")),
        (Settings(epochs=3, steps=7), 7, float("inf")),
        (Settings(epochs=None, max_seconds=60.0), float("inf"), 60.0),
    ],
)
def test_budgets(settings: Settings, steps: float, seconds: float) -> None:
    assert Budget.of(settings, steps_per_epoch=10) == Budget(steps, seconds)
