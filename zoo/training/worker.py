"""What every rank of a training does: build the model, go on where a checkpoint stands, play."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lightning_fabric import Fabric

from zoo.data.batches import Batches
from zoo.training import engine
from zoo.training.checkpoint import Checkpoint, Due, damaged, newest
from zoo.training.job import Job
from zoo.training.loop import Budget, Position, play
from zoo.training.record import Record
from zoo.training.run import Run
from zoo.training.seats import Table, sit_down
from zoo.training.state import restore, state_of_rank


@dataclass(frozen=True)
class Setup:
    """What a rank begins with.

    Args:
        job: what is trained.
        table: the model with its players.
        batches: this rank's share of the data.
        checkpoint: where to go on, or None to begin.
        ill: newer checkpoints that cannot be used, with the reason.
    """

    job: Job
    table: Table
    batches: Batches
    checkpoint: Checkpoint | None
    ill: Mapping[Path, str]


def set_up(job: Job, fabric: Fabric, resumed: Run | None = None) -> Setup:
    """Build the model alike on every rank, then let each rank draw noise of its own.

    Raises:
        NotFoundError: no checkpoint of the run to go on with is whole.
        UsageError: the batch cannot be shared by the ranks.
    """
    settings = job.settings
    fabric.seed_everything(settings.seed, verbose=False)
    table = sit_down(job.build(), fabric, engine.autocast(fabric, settings))
    fabric.seed_everything(settings.seed + fabric.global_rank, verbose=False)
    batches = Batches(
        job.store.splits["train"],
        settings.batch_size,
        seed=settings.seed,
        device=fabric.device,
        paired="train" in job.store.pairs,
        rank=fabric.global_rank,
        ranks=fabric.world_size,
    )
    checkpoint, ill = newest(resumed) if resumed else (None, {})
    engine.check_same_checkpoint(fabric, checkpoint.step if checkpoint else 0)
    return Setup(job, table, batches, checkpoint, ill)


def play_through(
    setup: Setup, record: Record | None, stop_signal: Callable[[], int]
) -> tuple[Position, int]:
    """Train on this rank, the first one with a record.

    Returns:
        Where the training stands at the end, and the number of the signal that ended it, or 0.
    """
    table, batches, checkpoint = setup.table, setup.batches, setup.checkpoint
    fabric, signal = table.fabric, 0
    budget = Budget.of(setup.job.settings, batches.steps_per_epoch)
    position = Position()
    if checkpoint is not None:
        position = _go_on(table, checkpoint, record)
    elif record:
        record.begin()
    due = Due.of(setup.job.settings)
    if budget.done(position.step, position.seconds) < 1:
        for moment in play(
            table, batches, budget, start=position, stop_signal=stop_signal,
            save_is_due=lambda step: due.is_due(step) or bool(record and record.fatal),
        ):  # fmt: skip
            ranks = engine.gather(fabric, state_of_rank(table)) if moment.saves else []
            if record:
                record.after_step(moment, ranks)
            if moment.saves:
                due.saved()
            position, signal = moment.position, moment.signal
    digests = engine.check_ranks_agree(table.model, fabric)
    if record:
        record.finish(parameters_sha256=digests)
    return position, signal


def _go_on(table: Table, checkpoint: Checkpoint, record: Record | None) -> Position:
    """Put everything back to where it was when the checkpoint was written."""
    fabric = table.fabric
    try:
        restore(table, checkpoint, rank=fabric.global_rank, ranks=fabric.world_size)
        position = Position(**checkpoint.facts["position"])
        if record:
            record.go_on(checkpoint)
    except (KeyError, TypeError, AttributeError) as problem:
        raise damaged(checkpoint.path, f"what it says is not understood: {problem}") from problem
    return position
