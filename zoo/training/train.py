"""One training from beginning to end: set it up or resume it, take the steps, report its end.

`plan` is for ``--dry-run``: what a training would do and how long it would take, measured in a few
steps.
"""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

import zoo
from zoo.atomic import OF_THE_DISK, write_text
from zoo.data.batches import Batches
from zoo.errors import InterruptedRunError, ZooError
from zoo.messages import Log
from zoo.model.checks import check_graphs
from zoo.model.weights import describe, init_from
from zoo.training import devices
from zoo.training.checkpoint import Checkpoint, damaged, newest, set_aside
from zoo.training.compiling import compile_networks, explaining_failures
from zoo.training.config import Job, interval, network_rates
from zoo.training.devices import Ranks
from zoo.training.launch import SecondSignal, exit_code
from zoo.training.monitors import Alert, AlertError
from zoo.training.players import TrainState, freeze, setup_players
from zoo.training.reporting import Progress, Reporter
from zoo.training.run import Run, Status, now
from zoo.training.state import changed_environment, rank_state, restore
from zoo.training.trainer import (
    Budget,
    Cursor,
    train_steps,
)

FEW_STEPS = 300  # with fewer, hardly any model shows what it can do


@dataclass(frozen=True)
class TrainResult:
    """How a training ended, as ``zoo train --json`` prints it.

    The metrics are those of the last validation, the alerts those that are active at the end. The
    signal is the number of the one that interrupted the training, or 0. The seconds are those that
    the training has taken, with those before it was resumed.
    """

    run: str
    path: str
    model: str
    status: Status
    signal: int
    step: int
    epoch: int
    metrics: dict[str, float]
    alerts: list[Alert]
    seconds: float


def train(
    job: Job,
    log: Log,
    stop_signal: Callable[[], int],
    *,
    name: str | None = None,
    resumed: Run | None = None,
    tensorboard: bool = False,
) -> TrainResult | None:
    """Train in a new run folder or resume a run; return how it ended, on the first rank.

    `log` prints a line to the user. `stop_signal` returns the number of a signal that asks for the
    end of the training, or 0; it ends after the step, with a checkpoint. This process holds the
    lock of the run that is resumed.

    Raises:
        NotFoundError: there is no checkpoint to resume from.
        AlertError: the training diverged, or ``--fail-on`` names an active alert.
        UsageError: the device, the batch size or the run's name cannot be used.
        ZooError: the run cannot be written to, or a rank was lost.
    """
    ranks = devices.start_ranks(job.settings)
    if ranks.is_first:
        result = _train_first_rank(job, ranks, log, name, resumed, tensorboard, stop_signal)
    else:
        result = None
        _train_other_rank(job, ranks, resumed, stop_signal)
    devices.stop_ranks(ranks)  # when the functions above have released the model
    return result


def _train_first_rank(
    job: Job,
    ranks: Ranks,
    log: Log,
    name: str | None,
    resumed: Run | None,
    tensorboard: bool,
    stop_signal: Callable[[], int],
) -> TrainResult:
    """Train on the first rank, which writes the run folder."""
    checkpoint, unusable = find_checkpoint(ranks, resumed)
    state, batches = setup_training(job, ranks, log, is_new=checkpoint is None)
    run = resumed or Run.create(job.entry.card.name, name)
    with nullcontext() if resumed else run.held():
        changes = changed_environment(job, checkpoint, ranks) if checkpoint else []
        for path, why in unusable.items():
            log(f"{why}; it is now called {set_aside(path).name}")
        for change in changes:
            log(f"{change}: the run is no longer bit-identical to one without a break")
        _start_run(run, job, state, batches, checkpoint, log)
        reporter = None
        try:
            resume = f"zoo train --resume {run.name} --set compile="
            explaining = explaining_failures(job.settings, f"{resume} trains without")
            with explaining, Progress(job.settings.epochs, job.items, log) as progress:
                reporter = Reporter(job, run, state, progress, tensorboard=tensorboard)
                cursor, signal = run_steps(job, state, batches, checkpoint, reporter, stop_signal)
        except BaseException as problem:
            if reporter and not isinstance(problem, SecondSignal):
                with suppress(OSError):  # which may be the problem
                    reporter.wait_for_checkpoint()
            explained = _explain(problem, run, ranks)
            with suppress(OSError):  # the disk may be what failed
                run.log(traceback.format_exc())
                if reporter and isinstance(problem, AlertError):
                    reporter.record_final_alert(problem.alert)
                stopped = isinstance(problem, KeyboardInterrupt)
                run.end("interrupted" if stopped else "failed", error=str(explained)[:500])
            if explained is problem:
                raise
            raise explained from problem
        status: Status = "interrupted" if signal else "finished"
        result = TrainResult(
            run.name, str(run.path), job.entry.card.name, status, signal,
            cursor.step, cursor.epoch, reporter.metrics, reporter.alerts,
            round(cursor.seconds, 1),
        )  # fmt: skip
        identity = describe(state.model, job.entry, step=result.step, metrics=result.metrics)
        run.end(status, identity=identity, epoch=result.epoch, seconds=result.seconds)
        run.log(f"{status} at step {result.step}")
        return result


def _train_other_rank(
    job: Job, ranks: Ranks, resumed: Run | None, stop_signal: Callable[[], int]
) -> None:
    """Train on a rank that writes nothing.

    It exits without output if the first one reports the same error; else it prints one line.
    """
    try:
        checkpoint, _ = find_checkpoint(ranks, resumed)
        state, batches = setup_training(job, ranks, is_new=checkpoint is None)
        run_steps(job, state, batches, checkpoint, None, stop_signal)
    except AlertError as problem:  # which all ranks have
        raise SystemExit(problem.exit_code) from None
    except ZooError as problem:
        sys.stderr.write(f"rank {ranks.rank}: {problem.message}\n")
        raise SystemExit(problem.exit_code) from None
    except RuntimeError as problem:
        if devices.is_lost_rank(problem):
            raise SystemExit(1) from None
        raise


def setup_training(
    job: Job, ranks: Ranks, log: Log = lambda _: None, *, is_new: bool = True
) -> tuple[TrainState, Batches]:
    """Build the model alike on every rank, and this rank's share of the batches.

    A new training starts from the weights of ``--init-from``, where these are given. Afterwards
    each rank draws random numbers of its own.

    Raises:
        NotFoundError: the weights to start from are missing or damaged.
        UsageError: the batch cannot be shared by the ranks, the weights to start from fit nowhere,
            or there is no such network to freeze or to compile.
        PluginError: a graph of the model does not give what its ports say.
    """
    settings = job.settings
    devices.seed_everything(settings.seed)
    kind = ranks.device.type
    is_mixed = devices.precision(settings, kind) == "bf16"
    autocast = torch.autocast(kind, torch.bfloat16) if is_mixed else nullcontext()
    model = job.build().to(ranks.device)
    check_graphs(model)
    freeze(model, settings.freeze)
    if is_new and settings.init_from:
        for line in init_from(model, job.entry, Path(settings.init_from)):
            log(line)
    state = setup_players(model, ranks, autocast, network_rates(settings.learning_rates))
    compile_networks(model, settings.compile)
    devices.seed_everything(settings.seed + ranks.rank)
    batches = Batches(
        job.store.splits["train"],
        job.store.spec,
        settings.batch_size,
        seed=settings.seed,
        device=ranks.device,
        rank=ranks.rank,
        ranks=ranks.size,
        memory_format=devices.memory_format(model),
    )
    return state, batches


def find_checkpoint(
    ranks: Ranks, resumed: Run | None
) -> tuple[Checkpoint | None, Mapping[Path, str]]:
    """Return the checkpoint to resume from, and the newer ones that cannot be used, with reasons.

    It is the same on all ranks, and None to begin.

    Raises:
        NotFoundError: the run has checkpoints, and all of them are damaged.
        ZooError: the ranks do not find the same one.
    """
    checkpoint, unusable = newest(resumed) if resumed else (None, {})
    step = checkpoint.step if checkpoint else 0
    if devices.max_over_ranks(ranks, step, -step) != [step, -step]:
        raise ZooError(
            "the ranks would go on from different checkpoints",
            cause="they do not see the same folder runs/, or another process writes there",
            code="ranks-differ",
        )
    return checkpoint, unusable


def run_steps(
    job: Job,
    state: TrainState,
    batches: Batches,
    checkpoint: Checkpoint | None,
    reporter: Reporter | None,
    stop_signal: Callable[[], int],
) -> tuple[Cursor, int]:
    """Take all steps of a training on this rank; the first rank has a reporter.

    Returns:
        The place of the training at the end, and the number of the signal that ended it, or 0.
    """
    ranks, signal = state.ranks, 0
    budget = Budget.of(job.settings, batches.steps_per_epoch)
    cursor = Cursor()
    if checkpoint is not None:
        cursor = _resume(state, checkpoint, reporter)
    elif reporter:
        reporter.begin()
    every_steps, every_seconds = interval(job.settings.checkpoint_every)
    saved = time.monotonic()

    def save_is_due() -> bool:
        return time.monotonic() - saved >= every_seconds or bool(reporter and reporter.fatal_alert)

    if budget.progress(cursor.step, cursor.seconds) < 1:
        for result in train_steps(
            state, batches, budget, start=cursor, stop_signal=stop_signal,
            save_is_due=save_is_due, save_every=every_steps,
        ):  # fmt: skip
            states = devices.gather_bytes(ranks, rank_state(state)) if result.saves else []
            if reporter:
                reporter.after_step(result, states)
            if result.saves:
                saved = time.monotonic()
            cursor, signal = result.cursor, result.signal
    digests = devices.check_ranks_agree(state.model, ranks)
    if reporter:
        reporter.finish(parameters_sha256=digests)
    return cursor, signal


def _resume(state: TrainState, checkpoint: Checkpoint, reporter: Reporter | None) -> Cursor:
    """Restore everything from a checkpoint; return the place of the training in it."""
    ranks = state.ranks
    try:
        restore(state, checkpoint, rank=ranks.rank, ranks=ranks.size)
        cursor = Cursor(**checkpoint.content["cursor"])
        if reporter:
            reporter.resume(checkpoint)
    except (KeyError, ValueError, TypeError, AttributeError) as problem:
        raise damaged(checkpoint.path, f"its content cannot be read: {problem}") from problem
    return cursor


def _start_run(
    run: Run, job: Job, state: TrainState, batches: Batches, checkpoint: Checkpoint | None, log: Log
) -> None:
    """Write config.toml and run.json of a training that is about to begin or to be resumed."""
    budget, device = Budget.of(job.settings, batches.steps_per_epoch), state.ranks.device
    goal = state.model.goal
    if job.settings.steps is None and checkpoint is None and budget.steps < FEW_STEPS:
        log(
            f"{budget.steps:,.0f} steps are planned, {batches.steps_per_epoch} an epoch: "
            f"few for any model; --steps {FEW_STEPS}, or more --epochs"
        )
    write_text(run.path / "config.toml", job.to_toml())
    created, before = run.fact("created"), run.identity
    step, metrics = (before.step, before.metrics) if before and checkpoint else (0, {})
    identity = describe(state.model, job.entry, step=step, metrics=metrics)
    run.start(
        created=created or now(),
        identity=identity,
        data=job.data,
        data_from_run=run.relative_path_to(job.data),
        device=str(device),
        devices=state.ranks.size,
        precision=devices.precision(job.settings, device.type),
        memory_layout=devices.layout_in_words(state.model),
        compiled=list(job.settings.compile),
        planned_steps=budget.steps if math.isfinite(budget.steps) else None,
        planned_seconds=job.settings.max_seconds,
        goal=goal.metric if goal else None,
        goal_direction=goal.direction if goal else None,
        zoo=zoo.__version__,
        torch=torch.__version__,
    )
    if checkpoint is not None:
        epoch = checkpoint.content["cursor"]["epoch"]
        log(f"resuming run {run.name} at step {checkpoint.step}, after {epoch} epochs")
        run.log(f"resuming at step {checkpoint.step}")
        return
    if created:
        log(f"run {run.name} has no checkpoint yet; it starts again from the beginning")
    run.log(f"training {job.entry.card.name} on {job.data}")


def _explain(problem: BaseException, run: Run, ranks: Ranks) -> BaseException:
    """Return the error for the user: where the run can be resumed, with the command that does it.

    An exception for which there is no better explanation is returned as it is.
    """
    resume = f"zoo train --resume {run.name}"
    if isinstance(problem, SecondSignal):
        last = run.path / "checkpoints" / "last"
        kept = last.read_text(encoding="utf-8").strip() if last.exists() else "none yet"
        stop = InterruptedRunError(
            f"run {run.name!r} was stopped at once; its last checkpoint: {kept}",
            hint=f"{resume} resumes there",
        )
        stop.exit_code = exit_code(problem.number)
        return stop
    if isinstance(problem, OSError) and problem.errno in OF_THE_DISK:
        return ZooError(
            f"run {run.name!r} cannot be written: {problem.strerror or problem}",
            cause="the disk is full or cannot be written; earlier checkpoints are undamaged",
            hint=f"free some space, then {resume}",
            code="cannot-write",
        )
    if ranks.size > 1 and devices.is_lost_rank(problem):
        return ZooError(
            "a rank was lost, and the training with it",
            cause="another of its processes ended, or its machine cannot be reached",
            hint=f"{resume}, or --retries 3 to resume automatically; see {run.path}/log.txt",
            code="rank-lost",
        )
    return problem
