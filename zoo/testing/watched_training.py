"""A short training that is watched: who moves when, what the terms are, what is remembered.

`repeat_training` trains again, saves, and goes on with a model that was built anew.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.batches import Batches
from zoo.model.contract import Batch, Model, Update
from zoo.model.weights import describe, save_weights
from zoo.testing.check import source_line
from zoo.training.checkpoint import Checkpoint
from zoo.training.state import rank_state, restore, write_shared
from zoo.training.trainer import Budget, Cursor, TrainState, train_steps

if TYPE_CHECKING:
    from zoo.testing.model_under_test import ModelUnderTest


Split = Mapping[str, "np.ndarray[Any, Any]"]

STEPS = 20
SAVED, LATER = 7, 9  # steps at which a repeated training is saved, and then is compared
BATCH = 2
START = Cursor()
OWN = frozenset(vars(nn.Module()))  # attributes that every module has


@dataclass
class WatchedTraining:
    """What was seen of a training.

    Args:
        terms: of each step, as ``player/term``.
        weights: the model's, after some of the steps.
        moved: players that an update of theirs has moved.
        unreached: parameters that no gradient has reached, by name.
        cursor: after the last step.
        foreign_change: the first change of a player by anything but its own update.
        where: file and line of the last update.
        unsaved: attributes that changed and that no checkpoint holds, with their modules.
        problem: what ended it early.
    """

    terms: list[Mapping[str, float]] = field(default_factory=list)
    weights: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    unreached: set[str] = field(default_factory=set)
    cursor: Cursor = START
    foreign_change: tuple[str, str] | None = None
    where: str = ""
    unsaved: list[tuple[str, type]] = field(default_factory=list)
    problem: Exception | None = None


def seed_everything(seed: int) -> None:
    """Put every random generator that a plugin may draw from to a known place."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def watch_training(
    state: TrainState, batches: Batches, end: int, *, start: Cursor = START, keep: set[int]
) -> WatchedTraining:
    """Train from one step to another, and return what was seen.

    Args:
        state: the model with its players.
        batches: what it learns from.
        end: step after which it stops; the schedules go by `STEPS`.
        start: where to go on.
        keep: steps after which to keep the weights.
    """
    parameters = state.model.named_parameters()
    training = WatchedTraining(
        unreached={_plain(n) for n, each in parameters if each.requires_grad}
    )
    before = attributes(state.model)
    # in the instance's own dictionary, where it comes before the method of the class
    vars(state.model)["training_step"] = _Watched(state, training).training_step
    try:
        for result in train_steps(state, batches, Budget(STEPS, float("inf")), start=start):
            training.terms.append(result.terms)
            training.cursor = result.cursor
            if result.step in keep:
                weights = state.model.state_dict()
                training.weights[result.step] = {key: each.clone() for key, each in weights.items()}
            if result.step == end:
                break
    except Exception as problem:  # whatever a model raises; a check reports it
        training.problem = problem
    finally:
        del vars(state.model)["training_step"]
    after = attributes(state.model)
    training.unsaved = [
        (name, kind) for (name, kind), value in after.items() if before.get((name, kind)) != value
    ]
    return training


def attributes(model: Model) -> dict[tuple[str, type], str]:
    """Return what a model's modules hold outside of parameters and buffers, as text."""
    found = {}
    for module in model.modules():
        if not type(module).__module__.startswith(("torch.", "lightning_fabric.")):
            for name in vars(module).keys() - OWN - {"config", "data", "training_step"}:
                found[name, type(module)] = repr(vars(module)[name])[:2000]
    return found


class _Watched:
    """The training step of a model; every parameter is compared before and after each update."""

    def __init__(self, state: TrainState, training: WatchedTraining) -> None:
        self.state, self.training = state, training
        self.original_step = state.model.training_step
        self.seen = {
            name: [each.detach().clone() for each in player.parameters]
            for name, player in state.players.items()
        }

    def training_step(self, batch: Batch) -> Iterator[Update]:
        updates = self.original_step(batch)
        begin, last = source_line(self.original_step), ""
        while True:
            update = next(updates, None)
            here = _line(updates) or source_line(self.original_step)
            self._note_foreign(
                self._changed_players() - {last}, f"after {begin}, before {here}", here
            )
            if update is None:
                return
            self.training.where = here
            yield update
            changed = self._changed_players()
            self._note_foreign(
                changed - {update.player}, f"by the update of {update.player!r}", here
            )
            if update.player in changed:
                self.training.moved.add(update.player)
            self.training.unreached -= {
                _plain(name)
                for name, each in self.state.model.named_parameters()
                if each.grad is not None
            }
            begin, last = here, update.player

    def _changed_players(self) -> set[str]:
        """Return the players whose parameters have changed since the last time."""
        found = set()
        for name, player in self.state.players.items():
            for index, parameter in enumerate(player.parameters):
                if not torch.equal(self.seen[name][index], parameter):
                    self.seen[name][index] = parameter.detach().clone()
                    found.add(name)
        return found

    def _note_foreign(self, changed: set[str], how: str, where: str) -> None:
        if changed and self.training.foreign_change is None:
            who = " and ".join(repr(each) for each in sorted(changed))
            self.training.foreign_change = f"the parameters of {who} were changed {how}", where


def _line(updates: Any) -> str:
    """Return file and line at which a generator has yielded."""
    frame = getattr(updates, "gi_frame", None)
    while getattr(updates, "gi_yieldfrom", None) is not None and frame is not None:
        updates = updates.gi_yieldfrom
        frame = getattr(updates, "gi_frame", frame)
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}" if frame is not None else ""


def _plain(name: str) -> str:
    """Return the name of a parameter without the trainer's wrapping."""
    return name.replace("_forward_module.", "")


@dataclass
class RepeatedTraining:
    """A training that was saved, and gone on with by a model that was built anew.

    Args:
        first: the training up to the step at which it was saved.
        rest: the training from there, by the new model; None where it could not go on.
        problem: why not.
    """

    first: WatchedTraining
    rest: WatchedTraining | None = None
    problem: Exception | None = None


def repeat_training(model: ModelUnderTest, state: TrainState) -> RepeatedTraining:
    """Train, save, build the model anew, restore it, and go on.

    Everything goes through files, and from one model to the other nothing else does.
    """
    outcome = RepeatedTraining(watch_training(state, model.batches(), SAVED, keep={SAVED}))
    with TemporaryDirectory() as folder:
        try:
            checkpoint = _save(model, state, Path(folder))
            another = model.setup_players(model.untrained)
            seed_everything(2)  # as in a new process: nothing is where it was
            restore(another, checkpoint, rank=0, ranks=1)
            outcome.rest = watch_training(another, model.batches(), LATER,
                                 start=outcome.first.cursor, keep={LATER})  # fmt: skip
        except Exception as problem:  # what a plugin remembers may be anything; a check reports it
            outcome.problem = problem
    return outcome


def _save(model: ModelUnderTest, state: TrainState, folder: Path) -> Checkpoint:
    header = describe(state.model, model.entry)
    save_weights(folder / "model.safetensors", state.model, header)
    (folder / "rank-0.safetensors").write_bytes(rank_state(state))
    facts: dict[str, Any] = {"step": SAVED, "ranks": 1}
    facts["optimisers"] = write_shared(folder, state, {})
    return Checkpoint(folder, json.loads(json.dumps(facts)))
