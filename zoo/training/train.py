"""One training from beginning to end: engine, model, loop, record, and how it ended."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric

import zoo
from zoo.atomic import OF_THE_DISK, write_text
from zoo.errors import InterruptedRunError, ZooError
from zoo.training import engine
from zoo.training.checkpoint import set_aside
from zoo.training.illnesses import IllnessError, Verdict
from zoo.training.job import Job
from zoo.training.loop import Budget
from zoo.training.progress import Progress
from zoo.training.record import Record
from zoo.training.run import Run, Status, now
from zoo.training.signals import SecondSignal, exit_code
from zoo.training.worker import Setup, play_through, set_up

Tell = Callable[[str], None]

FEW_STEPS = 300  # with fewer, hardly any model shows what it can do


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
    stop_signal: Callable[[], int],
    *,
    name: str | None = None,
    resumed: Run | None = None,
    tensorboard: bool = False,
) -> Outcome | None:
    """Train in a new run folder or go on in an old one; return how it ended, on the first rank.

    Args:
        job: what to train.
        tell: told in a line what may surprise.
        stop_signal: gives the number of a signal that asks for the end of the training, or 0. It
            ends after the step, with a checkpoint.
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
    if fabric.is_global_zero:
        outcome = _train_first(job, fabric, tell, name, resumed, tensorboard, stop_signal)
    else:
        outcome = None
        with _leaving_words_to_the_first(fabric.global_rank):
            play_through(set_up(job, fabric, resumed), None, stop_signal)
    engine.stop(fabric)
    return outcome


def _train_first(
    job: Job,
    fabric: Fabric,
    tell: Tell,
    name: str | None,
    resumed: Run | None,
    tensorboard: bool,
    stop_signal: Callable[[], int],
) -> Outcome:
    """Train on the first rank, which keeps the record."""
    setup = set_up(job, fabric, resumed)
    run = resumed or Run.create(job.offer.card.name, name)
    with nullcontext() if resumed else run.held():
        _introduce(run, setup, tell)
        record = None
        try:
            with Progress(job.settings.epochs) as progress:
                record = Record(job, run, setup.table, progress, tensorboard=tensorboard)
                position, signal = play_through(setup, record, stop_signal)
        except BaseException as problem:
            trouble = _as_told(problem, run, fabric)
            with suppress(OSError):  # the disk may be what failed
                run.log(traceback.format_exc())
                if record and isinstance(problem, IllnessError):
                    record.note_end(problem.verdict)
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
                seconds=outcome.seconds)  # fmt: skip
        run.log(f"{status} at step {outcome.step}")
        return outcome


def _as_told(problem: BaseException, run: Run, fabric: Fabric) -> BaseException:
    """Return what went wrong as the user is told: with the way to go on, where there is one."""
    go_on = f"zoo train --resume {run.name}"
    if isinstance(problem, SecondSignal):
        last = run.path / "checkpoints" / "last"
        kept = last.read_text(encoding="utf-8").strip() if last.exists() else "nothing yet"
        stop = InterruptedRunError(
            f"run {run.name!r} was stopped at once; what it keeps is {kept}",
            hint=f"{go_on} goes on there",
        )
        stop.exit_code = exit_code(problem.number)
        return stop
    if isinstance(problem, OSError) and problem.errno in OF_THE_DISK:
        return ZooError(
            f"run {run.name!r} cannot be written: {problem.strerror or problem}",
            cause="the disk is full or cannot be written; checkpoints of before are whole",
            hint=f"make room, then {go_on}",
        )
    if fabric.world_size > 1 and engine.is_lost_rank(problem):
        return ZooError(
            "a rank was lost, and the training with it",
            cause="another of its processes ended, or its machine cannot be reached",
            hint=f"{go_on}, or --retries 3 to do so by itself; see {run.path}/log.txt",
        )
    return problem


@contextmanager
def _leaving_words_to_the_first(rank: int) -> Iterator[None]:
    """End another rank quietly when the first one knows what is wrong; else say it in a line."""
    try:
        yield
    except IllnessError as problem:  # which all ranks have
        raise SystemExit(problem.exit_code) from None
    except ZooError as problem:
        sys.stderr.write(f"rank {rank}: {problem.message}\n")
        raise SystemExit(problem.exit_code) from None
    except RuntimeError as problem:
        if engine.is_lost_rank(problem):
            raise SystemExit(1) from None
        raise


def _introduce(run: Run, setup: Setup, tell: Tell) -> None:
    """Write down what is about to be trained."""
    job, fabric, checkpoint = setup.job, setup.table.fabric, setup.checkpoint
    changes = job.changes(checkpoint, fabric.device, fabric.world_size) if checkpoint else []
    for path, why in setup.ill.items():
        tell(f"{why}; it is now called {set_aside(path).name}")
    for change in changes:
        tell(f"{change}: the run is no longer equal, to the bit, to one without a break")
    budget = Budget.of(job.settings, setup.batches.steps_per_epoch)
    if job.settings.steps is None and checkpoint is None and budget.steps < FEW_STEPS:
        tell(
            f"{budget.steps:,.0f} steps are planned, {setup.batches.steps_per_epoch} an epoch: "
            f"few for any model; --steps {FEW_STEPS}, or more --epochs"
        )
    write_text(run.path / "config.toml", job.to_toml())
    created = run.fact("created")
    run.start(
        created=created or now(),
        model=job.offer.card.name,
        distribution=job.offer.plugin.distribution,
        version=job.offer.plugin.version,
        data=job.data,
        data_from_run=run.way_to(job.data),
        data_spec=job.store.spec.to_json(),
        device=str(fabric.device),
        devices=fabric.world_size,
        precision=engine.precision(job.settings, fabric.device.type),
        planned_steps=budget.steps if math.isfinite(budget.steps) else None,
        planned_seconds=job.settings.max_seconds,
        zoo=zoo.__version__,
        torch=torch.__version__,
    )
    if checkpoint is not None:
        epoch = checkpoint.facts["position"]["epoch"]
        tell(f"going on with run {run.name} at step {checkpoint.step}, after {epoch} epochs")
        run.log(f"going on at step {checkpoint.step}")
        return
    if created:
        tell(f"run {run.name} has no checkpoint yet; it begins anew")
    run.log(f"training {job.offer.card.name} on {job.data}")
