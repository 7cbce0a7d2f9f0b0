"""One training from beginning to end: engine, model, loop, record, and how it ended."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

import torch
from lightning_fabric import Fabric

import zoo
from zoo.atomic import write_text
from zoo.data.batches import Batches
from zoo.errors import ZooError
from zoo.training import engine
from zoo.training.job import Job
from zoo.training.loop import Budget, Moment, play
from zoo.training.progress import Progress
from zoo.training.record import Record
from zoo.training.run import Run, Status
from zoo.training.seats import Table, sit_down


@dataclass(frozen=True)
class Outcome:
    """How a training ended, as ``zoo train --json`` prints it.

    Args:
        run: the run's id.
        path: its folder.
        model: what was trained.
        status: ``finished`` or ``interrupted``.
        step: rounds played.
        epoch: passes over the data.
        metrics: of the last validation.
        seconds: wall time.
    """

    run: str
    path: str
    model: str
    status: str
    step: int
    epoch: int
    metrics: dict[str, float]
    seconds: float


def train(job: Job, *, name: str | None = None, tensorboard: bool = False) -> Outcome | None:
    """Train in a new run folder and return how it ended; None on all ranks but the first.

    The first SIGINT or SIGTERM ends the training after the step, with a checkpoint.

    Raises:
        UnhealthyError: the training diverged.
        UsageError: the device, the batch or the run's name cannot be had.
    """
    fabric = engine.start(job.settings)
    if fabric.is_global_zero:
        return _train_with_record(job, fabric, name, tensorboard=tensorboard)
    with _leaving_words_to_the_first():
        table, batches = set_up(job, fabric)
        _play(job, table, batches, None)
        del table
        engine.stop(fabric)
    return None


def _train_with_record(job: Job, fabric: Fabric, name: str | None, *, tensorboard: bool) -> Outcome:
    began = time.monotonic()
    table, batches = set_up(job, fabric)
    run = Run.create(job.offer.card.name, name)
    _introduce(run, job, fabric)
    try:
        with Progress(job.settings.epochs) as progress:
            record = Record(job, run, table.model, progress, tensorboard=tensorboard)
            moment = _play(job, table, batches, record)
    except BaseException as problem:
        run.log(traceback.format_exc())
        stopped = isinstance(problem, KeyboardInterrupt)
        run.end("interrupted" if stopped else "failed", error=str(problem)[:500])
        if fabric.world_size > 1 and engine.is_lost_rank(problem):
            raise ZooError(
                "a rank was lost, and the training with it",
                cause=str(problem).splitlines()[0][:200],
                hint=f"see {run.path}/log.txt",
            ) from problem
        raise
    status: Status = "interrupted" if moment.interrupted else "finished"
    seconds = round(time.monotonic() - began, 1)
    metrics = record.metrics
    run.end(status, step=moment.step, epoch=moment.epoch, metrics=metrics, seconds=seconds)
    run.log(f"{status} at step {moment.step}")
    del table, record
    engine.stop(fabric)
    model, path = job.offer.card.name, str(run.path)
    return Outcome(run.name, path, model, status, moment.step, moment.epoch, metrics, seconds)


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


def _play(job: Job, table: Table, batches: Batches, record: Record | None) -> Moment:
    """Train on this rank, the first one with a record, and return the last moment."""
    budget = Budget.of(job.settings, batches.steps_per_epoch)
    with stopping_on_signals() as wants_to_stop:
        for moment in play(table, batches, budget, wants_to_stop):
            if record:
                record.after_step(moment)
        digests = engine.check_ranks_agree(table.model, table.fabric)
        if record:
            record.finish(parameters_sha256=digests)
    return moment


def set_up(job: Job, fabric: Fabric) -> tuple[Table, Batches]:
    """Build the model alike on every rank, then let each rank draw noise of its own."""
    settings = job.settings
    fabric.seed_everything(settings.seed, verbose=False)
    table = sit_down(job.build(), fabric, engine.autocast(fabric, settings))
    fabric.seed_everything(settings.seed + fabric.global_rank, verbose=False)
    batches = Batches(
        job.store.splits["train"],
        settings.batch_size,
        seed=settings.seed,
        device=fabric.device,
        rank=fabric.global_rank,
        ranks=fabric.world_size,
    )
    return table, batches


def _introduce(run: Run, job: Job, fabric: Fabric) -> None:
    """Write down what is about to be trained."""
    write_text(run.path / "config.toml", job.to_toml())
    run.start(
        model=job.offer.card.name,
        distribution=job.offer.plugin.distribution,
        version=job.offer.plugin.version,
        data=job.data,
        data_spec=job.store.spec.to_json(),
        device=str(fabric.device),
        devices=fabric.world_size,
        precision=engine.precision(job.settings, fabric.device.type),
        zoo=zoo.__version__,
        torch=torch.__version__,
    )
    run.log(f"training {job.offer.card.name} on {job.data}")


@contextmanager
def stopping_on_signals() -> Iterator[Callable[[], bool]]:
    """Let the first SIGINT or SIGTERM ask for a stop and the second stop at once.

    Yields:
        A function that says whether a stop was asked for.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        del number, frame
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
