"""The training loop: the steps that the players take, and when to stop.

It knows players, updates and batches, and names no model.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo.data.batches import Batches
from zoo.model.checks import checked_updates
from zoo.model.contract import Batch, Model, Update
from zoo.model.weights import own_tensors
from zoo.training.config import Settings
from zoo.training.devices import Ranks, max_over_ranks, mean_over_ranks
from zoo.training.monitors import AlertError, diverged
from zoo.training.players import TrainState

MIN_STEPS_BETWEEN_VALIDATIONS = 100  # at ends of epochs: each validation also writes a checkpoint
READ_EVERY_STEPS = 20  # from a GPU, which would have to wait each time
NORM_EVERY_STEPS = 5  # of gradients, for the monitors; that they are finite is checked each time
SECONDS_BETWEEN_AGREEMENTS = 0.5  # of several ranks, on when to save and to stop; each one waits


@dataclass(frozen=True)
class Budget:
    """How long to train; the limit that is reached first ends the training."""

    steps: float
    seconds: float

    @classmethod
    def of(cls, settings: Settings, steps_per_epoch: int) -> Budget:
        """Return the budget that the settings ask for."""
        by_epochs = (settings.epochs or math.inf) * steps_per_epoch
        return cls(min(by_epochs, settings.steps or math.inf), settings.max_seconds or math.inf)

    def progress(self, steps: int, seconds: float) -> float:
        """Return the share of the budget that is spent, in [0, 1]."""
        return min(1.0, max(steps / self.steps, seconds / self.seconds))


@dataclass(frozen=True)
class Cursor:
    """The place of a training between two steps, from which it can be resumed.

    That is training steps and complete passes over the data that are done, batches of the next
    epoch that have been used, and the time that the training has taken so far.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class StepResult:
    """The result of one training step, and what is to be done after it.

    The model is validated at the end of the training, and of each epoch; of short epochs, once in
    `MIN_STEPS_BETWEEN_VALIDATIONS` steps or a little more.
    """

    cursor: Cursor  # after the step
    progress: float  # share of the budget that is spent; 1 at the end
    values: StepValues
    images: int  # used, over all ranks
    epoch_ends: bool
    validates: bool
    signal: int  # number of the signal that asks to stop here, or 0
    saves: bool  # whether a checkpoint is to be written

    @property
    def terms(self) -> Mapping[str, float]:
        """Every loss term, as ``player/term``."""
        return self.values.terms

    @property
    def gradient_norms(self) -> Mapping[str, float]:
        """The norm of the gradient of each player that was updated; in some steps only."""
        return self.values.gradient_norms

    @property
    def step(self) -> int:
        """Training steps done."""
        return self.cursor.step

    @property
    def epoch(self) -> int:
        """Complete passes over the data."""
        return self.cursor.epoch

    @property
    def is_last(self) -> bool:
        """Whether the training ends after this step."""
        return self.progress >= 1 or self.signal > 0


class Agreement:
    """What all ranks know of one another: how long it took, and whether one wants to stop or save.

    A single rank asks itself after every step. Several do so about twice a second, since each waits
    for all the others and for its device; in the steps between, nothing is known to have changed.
    """

    def __init__(self, ranks: Ranks, start: Cursor) -> None:
        self.seconds = start.seconds  # of training, at the last agreement
        self.signal = 0  # number of the signal that asks one of the ranks to stop, or 0
        self.saves = False  # whether one of them wants a checkpoint after this step
        self._ranks, self._step, self._next = ranks, start.step, start.step + 1

    def renew(
        self,
        step: int,
        seconds: float,
        stop_signal: Callable[[], int],
        save_is_due: Callable[[], bool],
    ) -> None:
        """Ask all ranks after a step, if it is time to."""
        self.saves = False
        if step < self._next:
            return
        each = (seconds - self.seconds) / (step - self._step)
        self.seconds, signal, saves, each = max_over_ranks(
            self._ranks, seconds, stop_signal(), save_is_due(), each
        )
        self._step, self.signal, self.saves = step, int(signal), saves > 0 or signal > 0
        self._next = step + (steps_between_agreements(each) if self._ranks.size > 1 else 1)


def steps_between_agreements(seconds: float) -> int:
    """Return after how many steps, which take so many seconds each, ranks agree again."""
    return max(1, min(READ_EVERY_STEPS, int(SECONDS_BETWEEN_AGREEMENTS / max(seconds, 1e-9))))


@dataclass
class Means:
    """Running means by name, each over the times that a value of this name was added."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        """Add some values."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the mean of each value over the times that it was added."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}


@dataclass
class StepValues:
    """The loss terms of a step by ``player/term``, and the norms of gradients by player.

    They are on the device until they are read. If a player is updated several times, both are means
    over its updates.
    """

    step: int
    terms: dict[str, float] = field(default_factory=dict)
    gradient_norms: dict[str, float] = field(default_factory=dict)
    is_read: bool = False
    _updates: list[tuple[str, Sequence[str], Tensor, float]] = field(default_factory=list)

    def add(self, player: str, terms: Sequence[str], values: Tensor, norms: float) -> None:
        """Add the values of an update: its terms, and the size of its gradient.

        `norms` is what the size is to be multiplied by; 0, where it is no norm.
        """
        self._updates.append((player, terms, values, norms))

    def read(self) -> None:
        """Read the values from the device.

        Raises:
            AlertError: one is not finite; no network was updated because of it.
        """
        means, norms = Means(), Means()
        for player, names, values, factor in self._updates:
            *terms, size = finite_values(player, names, values, self.step)
            means.add({f"{player}/{name}": term for name, term in zip(names, terms, strict=True)})
            if factor:
                norms.add({player: size * factor})
        self.terms, self.gradient_norms = means.means(), norms.means()
        self._updates, self.is_read = [], True


def train_steps(
    state: TrainState,
    batches: Batches,
    budget: Budget,
    *,
    start: Cursor = Cursor(),
    stop_signal: Callable[[], int] = lambda: 0,
    save_is_due: Callable[[], bool] = lambda: False,
    save_every: float = math.inf,
) -> Iterator[StepResult]:
    """Train until the budget is spent or a signal came; yield after every step.

    `stop_signal` returns the number of the signal that asks this rank to stop, or 0; `save_is_due`
    whether it wants a checkpoint now. There is one in every `save_every` steps, and one with each
    validation.

    Raises:
        AlertError: a term or a gradient is not finite; no network was updated because of it.
    """
    began = time.monotonic() - start.seconds
    step, progress = start.step, budget.progress(start.step, start.seconds)
    agreement = Agreement(state.ranks, start)
    epochs_per_validation = math.ceil(MIN_STEPS_BETWEEN_VALIDATIONS / batches.steps_per_epoch)
    unread: list[StepValues] = []
    state.model.progress = progress
    for epoch in itertools.count(start.epoch):
        first = start.batch if epoch == start.epoch else 0
        for index, batch in enumerate(batches.epoch(epoch, first), start=first + 1):
            for player in state.players.values():
                player.set_learning_rates(progress)
            step += 1
            values = training_step(state, batch, step)
            seconds = time.monotonic() - began
            agreement.renew(step, seconds, stop_signal, save_is_due)
            progress = budget.progress(step, agreement.seconds)
            state.model.progress = progress
            ends = index == batches.steps_per_epoch
            validates = progress >= 1 or (ends and (epoch + 1) % epochs_per_validation == 0)
            cursor = Cursor(step, epoch + ends, 0 if ends else index, seconds)
            result = StepResult(
                cursor, progress, values, images=batches.batch_size,
                epoch_ends=ends, validates=validates, signal=agreement.signal,
                saves=validates or agreement.saves or step % save_every == 0,
            )  # fmt: skip
            unread.append(values)
            if not state.reads_late or result.saves or len(unread) == READ_EVERY_STEPS:
                for each in unread:
                    each.read()
                unread = []
            yield result
            if result.is_last:
                return


def training_step(state: TrainState, batch: Batch, step: int) -> StepValues:
    """Run the model's training step on a batch: each update that it yields steps one optimiser.

    The sum of the terms is differentiated with respect to the parameters of the update's player
    alone, so a forgotten ``detach`` may waste time but cannot change another player's network.

    The values hold the norm of the gradient of each player that is not frozen, before it is
    clipped, in one of `NORM_EVERY_STEPS` steps.

    Raises:
        AlertError: a term or a gradient is not finite, as far as it is known at once.
        PluginError: the training step yields no updates as the contract has them.
    """
    values = StepValues(step)
    if not state.model.training or state.frozen:
        state.model.train()
        for module in state.frozen:
            module.eval()
    with state.autocast:
        updates = checked_updates(state.model, state.model.training_step(batch), state.players)
    while True:
        with state.autocast:
            update = next(updates, None)
        if update is None:
            return values
        _apply_update(state, update, values)


def _apply_update(state: TrainState, update: Update, values: StepValues) -> None:
    """Step the optimiser of one player, unless a term or its gradient is not finite.

    The values are means over the ranks. Where a player accumulates gradients, the norm is that of
    their mean so far.
    """
    player, updates = state.players[update.player], state.players[update.player].player.accumulate
    terms = torch.stack([term.float() for term in update.terms.values()])
    loss = terms.sum()
    player.set_gradients()
    if player.parameters:
        state.ranks.backward(loss / updates if updates > 1 else loss, player.parameters)
    gradients = [each.grad for each in player.parameters if each.grad is not None]
    wants_norm = values.step % NORM_EVERY_STEPS == 1 or player.player.clip_norm is not None
    size = _size_of(gradients, is_norm=wants_norm) if gradients else terms.new_zeros(())
    # What is not finite on one rank is not finite in the mean: all ranks stop alike.
    means = mean_over_ranks(state.ranks, torch.cat([terms.detach(), size.reshape(1)]))
    names, has_norm = tuple(update.terms), wants_norm and bool(player.parameters)
    if state.reads_late and player.can_skip:
        player.skip_if(~means.isfinite().all())
    else:
        finite_values(update.player, names, means, values.step)
    values.add(update.player, names, means, has_norm * updates / (player.updates + 1))
    player.move(size)


def finite_values(player: str, terms: Sequence[str], values: Tensor, step: int) -> list[float]:
    """Return the values of an update: its terms, and the size of its gradient.

    Raises:
        AlertError: one is infinite or not a number.
    """
    found: list[float] = values.tolist()
    names = [f"{player}/{name}" for name in (*terms, "gradient norm")]
    check_finite(dict(zip(names, found, strict=True)), step)
    return found


def _size_of(gradients: list[Tensor], *, is_norm: bool) -> Tensor:
    """Return the norm of some gradients together, or else their sum, which is faster.

    Neither is finite where one of the gradients is not.
    """
    if is_norm:
        return torch.nn.utils.get_total_norm(gradients).float()
    return torch.stack([each.sum() for each in gradients]).sum().float()


def check_finite(values: Mapping[str, float], step: int) -> None:
    """Check the terms and the gradient of a step, or the metrics of a validation.

    Raises:
        AlertError: one is infinite or not a number.
    """
    for name, value in values.items():
        if not math.isfinite(value):
            raise AlertError(diverged(name, value, step))


class WeightAverage:
    """The exponential moving average of all weights and running statistics.

    The weights of a generator oscillate during adversarial training; their average makes better
    images than the weights of any one step. Source: Yazıcı et al. 2019, arXiv:1806.04498.

    With an average, validation, previews and saved weights use the averages, also for a
    discriminator. The decay is the share of the average that stays at each step, below 1. In the
    beginning it is (1 + step) / (10 + step), so that the first weights are soon forgotten.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self._decay = decay
        # all tensors that weight files hold and that can be averaged, not copied
        self._weights = {
            name: each for name, each in own_tensors(model).items() if each.is_floating_point()
        }
        self._averages = {name: tensor.clone() for name, tensor in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Include the weights after a step, counted from 1, in the average."""
        decay = min(self._decay, (1 + step) / (10 + step))
        weights = list(self._weights.values())
        torch._foreach_lerp_(list(self._averages.values()), weights, 1 - decay)

    @torch.no_grad()
    def restore(self, averages: Mapping[str, Tensor]) -> None:
        """Set the averages to saved ones, by the names that weight files have."""
        for name, average in self._averages.items():
            average.copy_(averages[name])

    @property
    def raw_weights(self) -> Mapping[str, Tensor]:
        """The weights as the optimisers left them; valid inside `in_place` only."""
        return self._averages

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Exchange the model's weights for the averages while the ``with`` block lasts."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, weight in self._weights.items():
            held = weight.clone()
            weight.copy_(self._averages[name])
            self._averages[name].copy_(held)
