"""Training from Python, and what `zoo train` does once its words are read."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.api.jobs import create_job, find_resumed, resume_job
from zoo.api.targets import extras_named
from zoo.catalog.lookup import installed_models, missing_package
from zoo.errors import InterruptedRunError, UsageError
from zoo.messages import Log, is_first_rank, say, silent
from zoo.ports import Fit
from zoo.training.launch import announced, stopping_on_signals
from zoo.training.monitors import alert_history
from zoo.training.run import RUNS, Run, check_run_name, name_taken

if TYPE_CHECKING:
    from zoo.training.batch_size import Search
    from zoo.training.compile_trials import CompileTrial
    from zoo.training.config import Job
    from zoo.training.train import TrainResult

AUTO = "auto"  # as a batch size
BUDGET_OPTIONS = {"steps": "--steps N", "epochs": "--epochs N", "max_seconds": "--time 10m"}

# Yields a function that returns the number of a signal that asks for the end, or 0.
Stopping = Callable[[], AbstractContextManager[Callable[[], int]]]


def train(  # noqa: PLR0913 - most of them have a default, and all but the first are keywords
    model: str | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    name: str | None = None,
    resume: str | TrainResult | None = None,
    config: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    size: int | str | tuple[int, int] | None = None,
    fit: Fit | None = None,
    length: int | None = None,
    rate: int | None = None,
    fields: Mapping[str, str] | None = None,
    tensorboard: bool = False,
    log: Log | None = say,
    **options: Any,
) -> TrainResult:
    """Train a model in this process and keep the run in ``runs/``, as ``zoo train`` does.

    It seeds torch's, NumPy's and Python's random generators. Ctrl-C ends the training after the
    step and saves a checkpoint.

    Args:
        model: name of the model.
        data: name of a data set, or path of a folder or an archive; the model's own, when not
            given.
        name: of the run; the model's name and a number, when not given.
        resume: a run that is trained further; its options are its own, and ``epochs``, ``steps``
            or ``max_seconds`` may be others.
        config: a file to take all of it from, such as a run's ``config.toml``.
        preset: a named set of options of the model.
        size: of pictures: height and width, or one number for both.
        fit: how pictures of other proportions are brought to the size.
        length: of clips in samples, of windows of text in symbols.
        rate: samples a second of sounds.
        fields: what the data calls ports that the model needs, by the model's names.
        tensorboard: whether to log for TensorBoard as well.
        log: takes messages, one or a few lines each; on stderr, when not given; None for silence.
        options: any option of model or trainer, as ``--set`` takes it: ``epochs=3``,
            ``batch_size=64`` or ``"auto"``, ``lr=1e-3``; ``zoo show MODEL`` lists them.
            ``compile=True`` measures which networks to compile, as ``--compile`` does.

    Returns:
        The run: its name and path, how it ended, the last metrics and the active alerts.

    Raises:
        UsageError: an option that nothing has, a value that it does not take, or several devices.
        NotFoundError: there is no such model, data, run or file.
        PluginError: torch is not installed, or the model's plugin failed.
        AlertError: the training diverged, or an alert of ``fail_on`` is active.
        KeyboardInterrupt: Ctrl-C; the checkpoint is saved.
    """
    log = log or silent
    wishes = {
        "model": model,
        "data": None if data is None else os.fspath(data),
        "config": None if config is None else Path(config),
        "preset": preset,
        "fields": fields,
        "size": list(size) if isinstance(size, tuple) else size,
        "fit": fit,
        "length": length,
        "rate": rate,
        "layers": [options],
    }
    check_tensorboard(tensorboard, log)
    run = None if resume is None else find_resumed(getattr(resume, "run", str(resume)), model)
    _refuse_several_devices(options, run)
    stopping = _stopping_on_interrupt
    with extras_named():
        try:
            if run is None:
                job, _ = new_job(wishes, name, log)
                result = train_job(job, log, stopping, name=name, tensorboard=tensorboard)
            else:
                result, _ = resume_training(
                    run, wishes, name, log, stopping, tensorboard=tensorboard
                )
        except InterruptedRunError as problem:  # Ctrl-C, twice
            log(problem.message)
            raise KeyboardInterrupt(problem.message) from None
    assert result is not None  # there is one rank
    if result.status == "interrupted":
        message = f"interrupted at step {result.step}; the checkpoint is saved"
        log(f"{message}, and zoo.train(resume={result.run!r}) goes on")
        raise KeyboardInterrupt(message)
    return result


def new_job(wishes: Mapping[str, Any], name: str | None, log: Log) -> tuple[Job, dict[str, Any]]:
    """Return a new training and, as JSON, what was measured to find some of its options.

    `wishes` are the arguments of `create_job`, `name` is that of the run, if it has one.
    """
    if name is not None:
        check_new_name(name)
    layers: Sequence[Mapping[str, Any]] = wishes["layers"]
    plain = [
        {key: value for key, value in layer.items() if not _is_to_be_found(key, value)}
        for layer in layers
    ]
    job = create_job(**{**wishes, "layers": plain}, log=log)
    options = {key: value for layer in layers for key, value in layer.items()}  # the later stronger
    measured: dict[str, Any] = {}
    if _is_to_be_found("batch_size", options.get("batch_size")):
        job, measured["batch_size_search"] = _with_best_batch_size(job, log)
    if _is_to_be_found("compile", options.get("compile")):
        job, measured["compile_trials"] = _with_best_networks(job, log)
    return job, measured


def _is_to_be_found(option: str, value: object) -> bool:
    """Whether an option asks for what measuring finds: a batch size, or networks to compile."""
    return (option == "batch_size" and value == AUTO) or (option == "compile" and value is True)


def _with_best_batch_size(job: Job, log: Log) -> tuple[Job, dict[str, Any]]:
    """Return a training with the batch size that is the fastest, and what was measured."""
    from zoo.training.batch_size import search_batch_size

    found = search_batch_size(job)
    for line in _describe_search(found, job.items):
        log(line)
    return replace(job, settings=replace(job.settings, batch_size=found.fastest)), asdict(found)


def _with_best_networks(job: Job, log: Log) -> tuple[Job, list[dict[str, Any]]]:
    """Return a training that compiles the networks which gain from it, and what was measured."""
    from zoo.training.compile_trials import try_compiling

    log("compiling each network to measure its steps; that takes up to some minutes a network")
    trials = []
    for trial in try_compiling(job):
        log(_describe_trial(trial))
        trials.append(trial)
    names = tuple(each.network for each in trials if each.pays)
    return replace(job, settings=replace(job.settings, compile=names)), [*map(asdict, trials)]


def _describe_trial(trial: CompileTrial) -> str:
    """Return in words what compiling a network changes, and whether it will be compiled."""
    if trial.gain is None:
        return f"{trial.network}: not compiled: {trial.why_not}"
    return (
        f"{trial.network}: {trial.compile_seconds:.0f} s to compile, "
        f"a step {trial.gain:.2f} times as fast; {'' if trial.pays else 'not '}compiled"
    )


def _describe_search(found: Search, items: str) -> tuple[str, str]:
    """Return in words which batch size is the fastest, and which is the largest that fits."""
    speed = max(each.images_per_second for each in found.trials)
    tried = f"{len(found.trials)} sizes measured in {found.seconds:.0f} s"
    why = "" if found.largest_is == "measured" else ", as predicted from the memory of smaller ones"
    if found.ended_by == "all rows":
        why = ", as the data has no more"
    return (
        f"batch size {found.fastest} is the fastest: {speed:,.0f} {items}/s; {tried}",
        f"batch size {found.largest} is the largest that fits{why}",
    )


def resume_training(
    run: Run,
    wishes: Mapping[str, Any],
    name: str | None,
    log: Log,
    stopping: Stopping,
    *,
    tensorboard: bool,
) -> tuple[TrainResult | None, bool]:
    """Resume a run; `wishes` are the arguments of `resume_job`, `name` is the run's own or None.

    Returns:
        How it ended, None on ranks but the first; and whether there was anything left to train.
    """
    from zoo.training.config import contradiction, load_job

    with run.held() if is_first_rank() else nullcontext():
        if name not in {None, run.name}:
            raise contradiction(run, "name", str(name), run.name)
        if any(layer.get("batch_size") == AUTO for layer in wishes["layers"]):
            own = load_job(run)[0].get("training", {}).get("batch_size", "a number")
            raise contradiction(run, "batch_size", AUTO, str(own))
        if any(layer.get("compile") is True for layer in wishes["layers"]):
            own = ",".join(load_job(run)[0].get("training", {}).get("compile", []))
            raise UsageError(
                f"--compile measures for a new run; run {run.name!r} compiles {own or 'nothing'}",
                hint=f"zoo train --resume {run.name} --set compile=NETWORK compiles another",
                code="conflicting-options",
            )
        job, changes = resume_job(run, **wishes, log=log)
        if _is_complete(run, changes, log):
            return _result_of(run), False
        board = tensorboard or (run.path / "tensorboard").exists()
        return train_job(job, log, stopping, resumed=run, tensorboard=board), True


def train_job(job: Job, log: Log, stopping: Stopping, **how: Any) -> TrainResult | None:
    """Train until the end, or until a signal asks for it; None on ranks but the first.

    `how` are the keywords of `zoo.training.train.train`.
    """
    from zoo.training.train import train as train_here

    with stopping() as stop_signal:
        return train_here(job, log, stop_signal, **how)


def _is_complete(run: Run, changes: Mapping[str, Any], log: Log) -> bool:
    """Whether a run has nothing left to train; tell that, or what another budget changes."""
    from zoo.training.checkpoint import newest
    from zoo.training.config import BUDGETS

    last, _ = newest(run)
    new = {key: value for key, value in changes.items() if key in BUDGETS}
    if last is not None:
        at = last.content["cursor"]
        reached = {"steps": last.step, "epochs": at["epoch"], "max_seconds": at["seconds"]}
        for key, value in new.items():
            if value is not None and value <= reached[key]:
                unit = key.removeprefix("max_")
                raise UsageError(
                    f"run {run.name} has {reached[key]:,.0f} {unit} already, so that "
                    f"{value:,.0f} leave nothing to train",
                    hint=f"zoo train --resume {run.name} {BUDGET_OPTIONS[key]} of more than that",
                    code="nothing-to-train",
                )
    if new:
        words = ", ".join(f"{key} = {value}" for key, value in new.items())
        log(f"{words}: schedules, such as those of learning rates, follow the new length")
    identity = run.identity
    is_whole = last and identity and last.step == identity.step
    if new or run.fact("status") != "finished" or not is_whole:
        return False
    assert last is not None
    log(f"run {run.name} is finished already, at step {last.step}")
    log(f"zoo train --resume {run.name} --epochs N, of more epochs, trains on")
    return True


def _result_of(run: Run) -> TrainResult:
    """Return how a run that is finished ended, as its training did.

    Raises:
        NotFoundError: its run.json is missing or damaged.
    """
    from zoo.training.train import TrainResult

    info = run.info()
    identity = info["identity"]
    return TrainResult(
        run=run.name,
        path=str(run.path),
        model=identity.model,
        status="finished",
        signal=0,
        step=identity.step,
        epoch=info.get("epoch", 0),
        metrics=dict(identity.metrics),
        alerts=[each for each, end in alert_history(run.events()) if end is None],
        seconds=info.get("seconds", 0.0),
    )


def check_tensorboard(wanted: bool, log: Log) -> None:
    """Tell how TensorBoard shows the curves; `PluginError` where it is wanted and not installed."""
    if wanted:
        if find_spec("tensorboard") is None:
            raise missing_package("tensorboard")
        log(f"tensorboard --logdir {RUNS} shows the curves, in another terminal")


def check_new_name(name: str) -> None:
    """Raise a `UsageError` where a new run cannot have a name."""
    check_run_name(name)
    if is_first_rank() and (RUNS / name).exists():
        raise name_taken(name)
    if any(entry.card.name == name for entry in installed_models()):
        raise UsageError(f"{name!r} is a model", hint=f"--name my-{name}")


@contextmanager
def _stopping_on_interrupt() -> Iterator[Callable[[], int]]:
    """Let Ctrl-C end a training after the step; a thread other than the first hears none."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    with stopping_on_signals([signal.SIGINT]) as stop_signal:
        yield stop_signal


def _refuse_several_devices(options: Mapping[str, Any], run: Run | None) -> None:
    """Raise a `UsageError` where several processes are to train, which start as a command does."""
    from zoo.training.config import load_job

    own = load_job(run)[0].get("training", {}) if run else {}
    devices = options.get("devices", own.get("devices"))
    if announced() or devices not in {None, "none", 1, "1"} or options.get("strategy") == "ddp":
        raise UsageError(
            "several processes cannot be started from Python",
            cause="each is a command of its own",
            hint="zoo train MODEL --devices N, then zoo.load in Python",
            code="conflicting-options",
        )
