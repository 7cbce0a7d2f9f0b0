"""`zoo train`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import arguments
from zoo.cli.command import ignore_interrupts
from zoo.cli.output import is_first_rank, print_json, say
from zoo.errors import InterruptedRunError, UsageError, did_you_mean
from zoo.training.launch import note_on_allocation
from zoo.training.monitors import alert_history
from zoo.training.run import RUNS, Run, check_run_name, name_taken

if TYPE_CHECKING:
    from zoo.training.batch_size import Search
    from zoo.training.compile_trials import CompileTrial
    from zoo.training.config import Job
    from zoo.training.plan import Plan
    from zoo.training.train import TrainResult


AUTO_BATCH_SIZE = "auto"
BUDGET_OPTIONS = {"steps": "--steps N", "epochs": "--epochs N", "max_seconds": "--time 10m"}


# The options are declared in the order in which the help shows them: first of a group -> heading.
HEADINGS = {
    "data": "Data",
    "epochs": "How long",
    "preset": "What is learnt, and how",
    "device": "Where",
    "name": "The run",
}


class GroupedCommand(click.Command):
    """A command whose help shows its options below `HEADINGS`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group of options, and one for --help, which click adds."""
        groups: dict[str, list[tuple[str, str]]] = {}
        heading = ""
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            heading = HEADINGS.get(parameter.name or "", heading)
            if isinstance(parameter, click.Option) and row:
                groups.setdefault(heading if parameter in self.params else "Other", []).append(row)
        for heading, rows in groups.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def check_batch_size(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | None:
    """Return the value of --batch-size; that a number is one is checked with the other options.

    Raises:
        UsageError: it is another word than ``auto``.
    """
    if value is not None and value != AUTO_BATCH_SIZE and value.isalpha():
        raise UsageError(
            f"--batch-size {value[:40]!r} is neither a number nor {AUTO_BATCH_SIZE}."
            f"{did_you_mean(value, [AUTO_BATCH_SIZE])}",
            hint=f"--batch-size 64, or --batch-size {AUTO_BATCH_SIZE}",
            code="bad-value",
        )
    return value


@click.command("train", cls=GroupedCommand)
@click.argument("model", required=False, shell_complete=arguments.complete_models)
@arguments.data_option("Data set, folder or archive [the model's].")
@arguments.size_option
@arguments.fit_option("cover")
@arguments.length_option
@arguments.rate_option
@click.option("--field", "fields", metavar="NAME=PORT", multiple=True,
              help="What the data calls a port that the model needs.")  # fmt: skip
@click.option("--on-bad-image", type=arguments.SuggestingChoice(["auto", "skip", "fail"]),
              help="Files that cannot be read [fail for more than 1 %].")  # fmt: skip
@click.option("--epochs", metavar="N", help="Train so many passes over the data.")
@click.option("--steps", metavar="N", help="Train so many steps.")
@click.option("--time", "duration", metavar="10m", help="Train so long.")
@click.option("--preset", metavar="NAME", shell_complete=arguments.complete_presets,
              help="Start from a named set of options (zoo show MODEL lists them).")  # fmt: skip
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True,
              help="Set any option of model or trainer (see zoo show MODEL).")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE",
              help="Take all of it from a file, such as a run's config.toml.")  # fmt: skip
@click.option("--init-from", metavar="TARGET|FILE", shell_complete=arguments.complete_targets,
              help="Start from weights of a run, model or file, where they fit.")  # fmt: skip
@click.option("--freeze", metavar="NETWORK", multiple=True,
              help="Do not train this network, or the networks of this player.")  # fmt: skip
@click.option("--lr", "rates", metavar="[NETWORK=]RATE", multiple=True,
              help="Learning rate, for models that have one; or that of one network.")  # fmt: skip
@click.option("--batch-size", metavar="N|auto", callback=check_batch_size,
              help="Images a step; auto measures which number is the fastest here.")  # fmt: skip
@click.option("--ema", metavar="DECAY", help="Sample from averaged weights, such as 0.999.")
@click.option(
    "--precision", type=arguments.SuggestingChoice(["auto", "32", "bf16"]), help="Number format."
)
@click.option("--seed", metavar="N", help="Start of every random generator [0].")
@click.option("--deterministic", is_flag=True, help="Refuse operations whose result may vary.")
@click.option("--device", type=arguments.SuggestingChoice(["auto", "cpu", "cuda", "mps"]),
              help="What computes.")  # fmt: skip
@click.option("--compile", "with_trials", is_flag=True,
              help="Compile the networks that torch makes faster, as measured first.")  # fmt: skip
@click.option("--devices", metavar="N",
              help="Devices that share each batch [1, or as torchrun says].")  # fmt: skip
@click.option(
    "--strategy", type=arguments.SuggestingChoice(["auto", "ddp"]), help="How they work together."
)
@click.option("--name", metavar="RUN", help="Name of the run [MODEL-1, MODEL-2, …].")
@click.option("--resume", is_flag=False, flag_value="@last", metavar="[RUN]",
              shell_complete=arguments.complete_runs,
              help="Resume a run from its last checkpoint [the last run].")  # fmt: skip
@click.option("--retries", type=click.IntRange(0, 1000), default=0, metavar="N",
              help="Resume automatically after a crash, at most N times.")  # fmt: skip
@click.option("--checkpoint-every", metavar="5m|STEPS",
              help="Save so often, beside each validation [5m].")  # fmt: skip
@click.option("--keep", metavar="N", help="Keep the last N checkpoints, and the best [2].")
@click.option("--fail-on", metavar="ALERTS",
              help="End with exit code 5 on an alert, such as collapse,overfitting.")  # fmt: skip
@click.option("--tensorboard", is_flag=True, help="Also log for TensorBoard.")
@click.option("--dry-run", is_flag=True, help="Show what would be done and how long it would take.")
@arguments.json_option
def verb(
    name: str | None,
    tensorboard: bool,
    resume: str | None,
    retries: int,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Train MODEL and keep the run in runs/.

    \b
    zoo train MODEL
    zoo train MODEL --data photos/ --size 128 --time 2h --dry-run
    zoo train MODEL --preset tiny --set lr=1e-4 --name second-try
    zoo train --resume

    --set is stronger than the other flags, they are stronger than --config, that is
    stronger than --preset, and that is stronger than the defaults.

    Ctrl-C ends the training after the step and saves a checkpoint; --resume continues there, with
    the run's own options. --epochs, --steps, --time and --devices may then be others.
    """  # noqa: D301 - click takes a real backspace for "do not wrap"
    if resume is None and name is not None:
        _check_new_name(name)
    _start_process(retries)
    if tensorboard:
        if find_spec("tensorboard") is None:
            raise ModuleNotFoundError(name="tensorboard")
        say(f"tensorboard --logdir {RUNS} shows the curves, in another terminal")
    if note := note_on_allocation():
        say(note)
    from zoo.cli.job import find_resumed

    if dry_run:
        _dry_run(resume, options, as_json=as_json)
        return
    measured: dict[str, Any] = {}
    if resume is not None:
        run = find_resumed(resume, options["model"])
        result = _resume(run, name, options, tensorboard=tensorboard, as_json=as_json)
    else:
        job, measured = _new_job(options)
        result = _train(job, name=name, tensorboard=tensorboard)
    if result is not None:  # else a rank that is not the first
        _print_result(result, measured, as_json=as_json)


def _start_process(retries: int) -> None:
    """Set up this process to train; with retries, train in processes that it supervises.

    Raises:
        SystemExit: the supervised training has ended.
    """
    # Threads that spin while they wait take the cores from each other when two trainings run at
    # once (docs/architecture.md has figures). OpenMP reads this when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from zoo.training.launch import end_with_supervisor, supervise

    end_with_supervisor()
    if retries:
        raise SystemExit(supervise(retries, say))


def _dry_run(resume: str | None, options: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a training would do and how long it would take."""
    if resume is not None:
        raise UsageError(
            "--dry-run is for a new run", hint="zoo runs show RUN", code="conflicting-options"
        )
    job, measured = _new_job(options)
    from zoo.training.plan import plan

    found = plan(job)
    if found is not None and as_json:
        print_json(asdict(found) | measured)
    elif found is not None:
        _print_plan(found)


def _new_job(options: Mapping[str, Any]) -> tuple[Job, dict[str, Any]]:
    """Return a new training and, as JSON, what was measured to find some of its options."""
    from zoo.cli.job import create_job

    given = dict(options)
    searches, tries = given["batch_size"] == AUTO_BATCH_SIZE, given.pop("with_trials")
    if searches:
        given["batch_size"] = None
    job = create_job(**given)
    measured: dict[str, Any] = {}
    keys = [each.partition("=")[0] for each in options["assignments"]]
    assigned = {key.strip().replace("-", "_") for key in keys}  # which is stronger
    if searches and "batch_size" not in assigned:
        job, measured["batch_size_search"] = _with_best_batch_size(job)
    if tries and "compile" not in assigned:
        job, measured["compile_trials"] = _with_best_networks(job)
    return job, measured


def _with_best_batch_size(job: Job) -> tuple[Job, dict[str, Any]]:
    """Return a training with the batch size that is the fastest, and what was measured."""
    from zoo.training.batch_size import search_batch_size

    found = search_batch_size(job)
    for line in _describe_search(found, job.items):
        say(line)
    return replace(job, settings=replace(job.settings, batch_size=found.fastest)), asdict(found)


def _with_best_networks(job: Job) -> tuple[Job, list[dict[str, Any]]]:
    """Return a training that compiles the networks which gain from it, and what was measured."""
    from zoo.training.compile_trials import try_compiling

    say("compiling each network to measure its steps; that takes up to some minutes a network")
    trials = []
    for trial in try_compiling(job):
        say(_describe_trial(trial))
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


def _resume(
    run: Run, name: str | None, options: Mapping[str, Any], *, tensorboard: bool, as_json: bool
) -> TrainResult | None:
    """Resume a run; None where there is nothing left to train, and on ranks but the first."""
    from zoo.cli.job import resume_job
    from zoo.training.config import contradiction, load_job

    with run.held() if is_first_rank() else nullcontext():
        if name not in {None, run.name}:
            raise contradiction(run, "name", str(name), run.name)
        if options["batch_size"] == AUTO_BATCH_SIZE:
            own = load_job(run)[0].get("training", {}).get("batch_size", "a number")
            raise contradiction(run, "batch_size", AUTO_BATCH_SIZE, str(own))
        if options["with_trials"]:
            own = ",".join(load_job(run)[0].get("training", {}).get("compile", []))
            raise UsageError(
                f"--compile measures for a new run; run {run.name!r} compiles {own or 'nothing'}",
                hint=f"zoo train --resume {run.name} --set compile=NETWORK compiles another",
                code="conflicting-options",
            )
        given = {key: value for key, value in options.items() if key != "with_trials"}
        job, changes = resume_job(run, **given)
        if _is_complete(run, changes):
            if as_json:
                print_json(_result_of(run))
            return None
        board = tensorboard or (run.path / "tensorboard").exists()
        return _train(job, resumed=run, tensorboard=board)


def _train(job: Job, **how: Any) -> TrainResult | None:
    """Train until the end, or until a signal asks for it; Ctrl-C has no effect after that one."""
    from zoo.training.launch import stopping_on_signals
    from zoo.training.train import train

    with stopping_on_signals() as stop_signal:
        result = train(job, say, stop_signal, **how)
        if stop_signal():  # and a key that is held down repeats itself
            ignore_interrupts()
        return result


def _is_complete(run: Run, changes: Mapping[str, Any]) -> bool:
    """Whether a run has nothing left to train; print that, or what another budget changes."""
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
        say(f"{words}: schedules, such as those of learning rates, follow the new length")
    identity = run.identity
    is_whole = last and identity and last.step == identity.step
    if new or run.fact("status") != "finished" or not is_whole:
        return False
    assert last is not None
    say(f"run {run.name} is finished already, at step {last.step}")
    say(f"zoo train --resume {run.name} --epochs N, of more epochs, trains on")
    return True


def _result_of(run: Run) -> dict[str, Any]:
    """Return what ``--json`` printed when the run ended."""
    info = run.info()
    identity = info["identity"]
    active = [asdict(each) for each, end in alert_history(run.events()) if end is None]
    facts = {key: info.get(key) for key in ("status", "epoch", "seconds")}
    facts |= {"model": identity.model, "step": identity.step, "metrics": identity.metrics}
    return {"run": run.name, "path": str(run.path), **facts, "signal": 0, "alerts": active}


def _check_new_name(name: str) -> None:
    from zoo.catalog.lookup import installed_models

    check_run_name(name)
    if is_first_rank() and (RUNS / name).exists():
        raise name_taken(name)
    if any(entry.card.name == name for entry in installed_models()):
        raise UsageError(f"{name!r} is a model", hint=f"--name my-{name}")


def _print_plan(found: Plan) -> None:
    players = ", ".join(f"{name} {count:,}" for name, count in found.parameters.items())
    ports = "\n".join(f"{name:<12} {words}" for name, words in found.ports.items())
    steps = f"{found.steps:,}" if found.steps else "as many as fit"
    milliseconds = found.seconds_per_step * 1000
    click.echo(f"""\
model        {found.model} on {found.device}, precision {found.precision}
data         {found.data}: {found.training_images:,} training images and \
{found.validation_images:,} held out
{ports}
parameters   {players}
steps        {steps} of {found.batch_size} images, {found.steps_per_epoch:,} an epoch
time         {milliseconds:.1f} ms a step, about {found.estimated_seconds:,.0f} s in all
would write  {", ".join(found.writes)} in a new folder below runs/""")


def _print_result(result: TrainResult, measured: Mapping[str, Any], *, as_json: bool) -> None:
    """Print how a training ended and what to do next; raise what a signal ended it with."""
    from zoo.training.launch import exit_code

    if as_json:
        print_json(asdict(result) | dict(measured))
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
    say(f"{result.status} after {result.step} steps, {result.seconds:.0f} s  {metrics}".rstrip())
    say(f"run {result.run}: {result.path}")
    for alert in result.alerts:
        say(f"! {alert.message}")
    if result.alerts:
        say(f"  zoo doctor {result.run} explains, and says what to try")
    if result.status == "interrupted":
        stop = InterruptedRunError(
            f"interrupted at step {result.step}; the checkpoint is saved",
            hint=f"zoo train --resume {result.run} continues, "
            f"zoo sample {result.run} shows what there is",
        )
        stop.exit_code = exit_code(result.signal)
        raise stop
    say(f"next: zoo eval {result.run}, or zoo export {result.run} --onnx")
