"""A training that is played again, saved, and gone on with by a model that was built anew."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from zoo.model.weights import describe, save_weights
from zoo.testing.course import LATER, SAVED, Course, seed_everything, watch
from zoo.training.checkpoint import Checkpoint
from zoo.training.state import rank_state, restore, write_shared
from zoo.training.trainer import TrainState

if TYPE_CHECKING:
    from zoo.testing.subject import Subject


@dataclass
class Repeat:
    """What became of it.

    Args:
        first: the training up to the step at which it was saved.
        rest: the training from there, by the new model; None where it could not go on.
        problem: why not.
    """

    first: Course
    rest: Course | None = None
    problem: Exception | None = None


def repeat(subject: Subject, state: TrainState) -> Repeat:
    """Train, save, build the model anew, restore and resume.

    Everything goes through files, and from one model to the other nothing else does.
    """
    outcome = Repeat(watch(state, subject.batches(), SAVED, keep={SAVED}))
    with TemporaryDirectory() as folder:
        try:
            checkpoint = _save(subject, state, Path(folder))
            another = subject.setup_players(subject.fresh)
            seed_everything(2)  # as in a new process: nothing is where it was
            restore(another, checkpoint, rank=0, ranks=1)
            outcome.rest = watch(another, subject.batches(), LATER,
                                 start=outcome.first.cursor, keep={LATER})  # fmt: skip
        except Exception as problem:  # what a plugin remembers may be anything; a check reports it
            outcome.problem = problem
    return outcome


def _save(subject: Subject, state: TrainState, folder: Path) -> Checkpoint:
    header = describe(state.model, subject.offer)
    save_weights(folder / "model.safetensors", state.model, header)
    (folder / "rank-0.safetensors").write_bytes(rank_state(state))
    content: dict[str, Any] = {"step": SAVED, "ranks": 1}
    content["optimisers"] = write_shared(folder, state, {})
    return Checkpoint(folder, json.loads(json.dumps(content)))
