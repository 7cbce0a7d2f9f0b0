"""A short training that is watched: who moves when, what the terms are, what is remembered."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.batches import Batches
from zoo.model.contract import Batch, Model, Update
from zoo.testing.places import place_of
from zoo.training.trainer import Budget, Cursor, TrainState, train_steps

Split = Mapping[str, "np.ndarray[Any, Any]"]

STEPS = 20
SAVED, LATER = 7, 9  # steps at which a repeated training is saved, and then is compared
BATCH = 2
START = Cursor()
OWN = frozenset(vars(nn.Module()))  # attributes that every module has


@dataclass
class Course:
    """What was seen of a training.

    Args:
        terms: of each step, as ``player/term``.
        weights: the model's, after some of the steps.
        moved: players that an update of theirs has moved.
        unreached: parameters that no gradient has reached, by name.
        cursor: after the last step.
        foreign: the first time that somebody was moved by anything but an update of its own.
        where: file and line of the last update.
        remembered: attributes that changed and that no checkpoint holds, with their modules.
        problem: what ended it early.
    """

    terms: list[Mapping[str, float]] = field(default_factory=list)
    weights: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    unreached: set[str] = field(default_factory=set)
    cursor: Cursor = START
    foreign: tuple[str, str] | None = None
    where: str = ""
    remembered: list[tuple[str, type]] = field(default_factory=list)
    problem: Exception | None = None


def seed_everything(seed: int) -> None:
    """Put every random generator that a plugin may draw from to a known place."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def watch(
    state: TrainState, batches: Batches, end: int, *, start: Cursor = START, keep: set[int]
) -> Course:
    """Train from one step to another, and look on.

    Args:
        state: the model with its players.
        batches: what it learns from.
        end: step after which it stops; the schedules go by `STEPS`.
        start: where to go on.
        keep: steps after which to keep the weights.
    """
    course = Course(unreached={_plain(n) for n, each in state.model.named_parameters()
                               if each.requires_grad})  # fmt: skip
    before = attributes(state.model)
    # in the instance's own dictionary, where it comes before the method of the class
    vars(state.model)["training_step"] = _Watched(state, course).training_step
    try:
        for result in train_steps(state, batches, Budget(STEPS, float("inf")), start=start):
            course.terms.append(result.terms)
            course.cursor = result.cursor
            if result.step in keep:
                weights = state.model.state_dict()
                course.weights[result.step] = {key: each.clone() for key, each in weights.items()}
            if result.step == end:
                break
    except Exception as problem:  # whatever a model raises; a check reports it
        course.problem = problem
    finally:
        del vars(state.model)["training_step"]
    after = attributes(state.model)
    course.remembered = [
        (name, kind) for (name, kind), value in after.items() if before.get((name, kind)) != value
    ]
    return course


def attributes(model: Model) -> dict[tuple[str, type], str]:
    """Return what a model's modules hold outside of parameters and buffers, as text."""
    found = {}
    for module in model.modules():
        if not type(module).__module__.startswith(("torch.", "lightning_fabric.")):
            for name in vars(module).keys() - OWN - {"config", "data", "training_step"}:
                found[name, type(module)] = repr(vars(module)[name])[:2000]
    return found


class _Watched:
    """The training step of a model, between whose updates somebody looks at every parameter."""

    def __init__(self, state: TrainState, course: Course) -> None:
        self.state, self.course = state, course
        self.play_as_written = state.model.training_step
        self.seen = {
            name: [each.detach().clone() for each in player.parameters]
            for name, player in state.players.items()
        }

    def training_step(self, batch: Batch) -> Iterator[Update]:
        game = self.play_as_written(batch)
        begin, last = place_of(self.play_as_written), ""
        while True:
            update = next(game, None)
            here = _line(game) or place_of(self.play_as_written)
            self._blame(self._movers() - {last}, f"after {begin}, before {here}", here)
            if update is None:
                return
            self.course.where = here
            yield update
            movers = self._movers()
            self._blame(movers - {update.player}, f"by the update of {update.player!r}", here)
            if update.player in movers:
                self.course.moved.add(update.player)
            self.course.unreached -= {
                _plain(name)
                for name, each in self.state.model.named_parameters()
                if each.grad is not None
            }
            begin, last = here, update.player

    def _movers(self) -> set[str]:
        """Return the players whose parameters have changed since the last time."""
        found = set()
        for name, player in self.state.players.items():
            for index, parameter in enumerate(player.parameters):
                if not torch.equal(self.seen[name][index], parameter):
                    self.seen[name][index] = parameter.detach().clone()
                    found.add(name)
        return found

    def _blame(self, movers: set[str], how: str, where: str) -> None:
        if movers and self.course.foreign is None:
            who = " and ".join(repr(each) for each in sorted(movers))
            self.course.foreign = f"the parameters of {who} were changed {how}", where


def _line(game: Any) -> str:
    """Return file and line at which a generator has yielded."""
    frame = getattr(game, "gi_frame", None)
    while getattr(game, "gi_yieldfrom", None) is not None and frame is not None:
        game = game.gi_yieldfrom
        frame = getattr(game, "gi_frame", frame)
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}" if frame is not None else ""


def _plain(name: str) -> str:
    """Return the name of a parameter without the trainer's wrapping."""
    return name.replace("_forward_module.", "")
