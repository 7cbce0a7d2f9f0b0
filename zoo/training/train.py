"""One training from beginning to end: engine, model, loop, record, and how it ended."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric

import zoo
from zoo.atomic import write_text
from zoo.data.batches import Batches
from zoo.errors import ZooError
from zoo.training import engine
from zoo.training.checkpoint import Checkpoint, newest, set_aside
from zoo.training.illnesses import IllnessError, Verdict
from zoo.training.job import Job
from zoo.training.progress import Progress
from zoo.training.record import Record
from zoo.training.run import Run, Status, now
from zoo.training.seats import Table
from zoo.training.worker import play_through, set_up

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How a training ended, as ``zoo train --json`` prints it.

    Args:
        run: the run's id.
        path: its folder.
        model: what was trained.
        status: ``finished`` or ``interrupted``.
        signal: number of the signal that interrupted it, or 0.
        step: rounds played.
        epoch: passes over the data.
        metrics: of the last validation.
        verdicts: what ails the model at the end.
        seconds: time that the training has taken, with that before it was resumed.
    """

    run: str
    path: str
    model: str
    status: Status
    signal: int
    step: int
    epoch: int
    metrics: dict[str, float]
    verdicts: list[Verdict]
    seconds: float


def train(
    job: Job,
    tell: Tell,
    *,
    name: str | None = None,
    resumed: Run | None = None,
    tensorboard: bool = False,
) -> Outcome | None:
    """Train in a new run folder or go on in an old one; return how it ended, on the first rank.

    The first SIGINT, SIGTERM or SIGUSR1 ends the training after the step, with a checkpoint.

    Args:
        job: what to train.
        tell: told in a line what may surprise.
        name: of the new run.
        resumed: the run to go on with, which this process holds.
        tensorboard: whether to log for TensorBoard as well.

    Raises:
        NotFoundError: there is no checkpoint to go on from.
        IllnessError: the training diverged, or has what ``--fail-on`` names.
        UsageError: the device, the batch or the run's name cannot be had.
        ZooError: the run cannot be written to, or a rank was lost.
    """
    fabric = engine.start(job.settings)
    if not fabric.is_global_zero:
        with _leaving_words_to_the_first():
            table, batches = set_up(job, fabric)
            checkpoint = newest(resumed)[0] if resumed else None
            play_through(job, table, batches, checkpoint, None)
            del table
            engine.stop(fabric)
        return None
    table, batches = set_up(job, fabric)
    if resumed:
        checkpoint, ill = newest(resumed)
        for path, why in ill.items():
            tell(f"{why}; it is now called {set_aside(path).name}")
        return _train_with_record(job, table, batches, resumed, checkpoint, tell, tensorboard)
    run = Run.create(job.offer.card.name, name)
    with run.held():
        return _train_with_record(job, table, batches, run, None, tell, tensorboard)


def _train_with_record(
    job: Job,
    table: Table,
    batches: Batches,
    run: Run,
    checkpoint: Checkpoint | None,
    tell: Tell,
    tensorboard: bool,
) -> Outcome:
    _introduce(run, job, table.fabric, checkpoint, tell)
    record = None
    try:
        with Progress(job.settings.epochs) as progress:
            record = Record(job, run, table, progress, tensorboard=tensorboard)
            position, signal = play_through(job, table, batches, checkpoint, record)
    except BaseException as problem:
        trouble = _as_told(problem, run, table.fabric)
        with suppress(OSError):  # the disk may be what failed
            run.log(traceback.format_exc())
            if (
                record
                and isinstance(problem, IllnessError)
                and problem.verdict not in record.verdicts
            ):
                record.note([problem.verdict])
            stopped = isinstance(problem, KeyboardInterrupt)
            run.end("interrupted" if stopped else "failed", error=str(trouble)[:500])
        if trouble is problem:
            raise
        raise trouble from problem
    status: Status = "interrupted" if signal else "finished"
    outcome = Outcome(
        run.name, str(run.path), job.offer.card.name, status, signal,
        position.step, position.epoch, record.metrics, record.verdicts,
        round(position.seconds, 1),
    )  # fmt: skip
    run.end(status, step=outcome.step, epoch=outcome.epoch, metrics=outcome.metrics,
            seconds=outcome.seconds, error=None)  # fmt: skip
    run.log(f"{status} at step {outcome.step}")
    fabric = table.fabric
    del table, record
    engine.stop(fabric)
    return outcome


def _as_told(problem: BaseException, run: Run, fabric: Fabric) -> BaseException:
    """Return what went wrong as the user is told: with the way to go on, where there is one."""
    go_on = f"zoo train --resume {run.name}"
    if isinstance(problem, OSError):
        return ZooError(
            f"run {run.name!r} cannot be written: {problem.strerror or problem}",
            cause="the disk is full or cannot be written; checkpoints of before are whole",
            hint=f"make room, then {go_on}",
        )
    if fabric.world_size > 1 and engine.is_lost_rank(problem):
        return ZooError(
            "a rank was lost, and the training with it",
            cause=str(problem).splitlines()[0][:200],
            hint=f"{go_on}, or --retries 3 to do so by itself; see {run.path}/log.txt",
        )
    return problem


@contextmanager
def _leaving_words_to_the_first() -> Iterator[None]:
    """End this rank without a word when something goes wrong: the first rank tells."""
    try:
        yield
    except ZooError as problem:
        raise SystemExit(problem.exit_code) from None
    except RuntimeError as problem:
        if engine.is_lost_rank(problem):
            raise SystemExit(1) from None
        raise


def _introduce(
    run: Run, job: Job, fabric: Fabric, checkpoint: Checkpoint | None, tell: Tell
) -> None:
    """Write down what is about to be trained."""
    write_text(run.path / "config.toml", job.to_toml())
    facts = {
        "model": job.offer.card.name,
        "distribution": job.offer.plugin.distribution,
        "version": job.offer.plugin.version,
        "data": job.data,
        "data_spec": job.store.spec.to_json(),
        "device": str(fabric.device),
        "devices": fabric.world_size,
        "precision": engine.precision(job.settings, fabric.device.type),
        "zoo": zoo.__version__,
        "torch": torch.__version__,
    }
    if checkpoint is None:
        if run.fact("created"):
            tell(f"run {run.name} has no checkpoint yet; it begins anew")
        run.start(created=now(), **facts)
        run.log(f"training {job.offer.card.name} on {job.data}")
        return
    for change in job.changes(checkpoint, fabric.device.type, fabric.world_size):
        tell(f"{change}: the run is no longer equal, to the bit, to one without a break")
    run.start(**facts)
    epoch = checkpoint.facts["position"]["epoch"]
    tell(f"going on with run {run.name} at step {checkpoint.step}, after {epoch} epochs")
    run.log(f"going on at step {checkpoint.step}")
