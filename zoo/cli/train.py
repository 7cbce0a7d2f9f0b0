"""`zoo train`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.api.jobs import find_resumed
from zoo.api.train import (
    AUTO,
    check_new_name,
    check_tensorboard,
    new_job,
    resume_training,
    train_job,
)
from zoo.cli import arguments
from zoo.cli.command import ignore_interrupts
from zoo.cli.output import print_json
from zoo.errors import InterruptedRunError, UsageError, did_you_mean
from zoo.messages import say
from zoo.training.launch import note_on_allocation, stopping_on_signals

if TYPE_CHECKING:
    from zoo.training.plan import Plan
    from zoo.training.train import TrainResult


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
    if value is not None and value != AUTO and value.isalpha():
        raise UsageError(
            f"--batch-size {value[:40]!r} is neither a number nor {AUTO}."
            f"{did_you_mean(value, [AUTO])}",
            hint=f"--batch-size 64, or --batch-size {AUTO}",
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
@click.option("--compile", is_flag=True,
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
        check_new_name(name)
    _start_process(retries)
    check_tensorboard(tensorboard, say)
    if note := note_on_allocation():
        say(note)
    wishes = _wishes(**options)
    if dry_run:
        _dry_run(resume, wishes, as_json=as_json)
        return
    measured: dict[str, Any] = {}
    is_trained = True
    if resume is not None:
        run = find_resumed(resume, options["model"])
        result, is_trained = resume_training(
            run, wishes, name, say, _stopping, tensorboard=tensorboard
        )
    else:
        job, measured = new_job(wishes, name, say)
        result = train_job(job, say, _stopping, name=name, tensorboard=tensorboard)
    if result is None:  # on a rank that is not the first
        return
    if as_json:
        print_json(asdict(result) | measured)
    if is_trained:
        _print_result(result)


def _wishes(
    *,
    assignments: Sequence[str],
    fields: Sequence[str],
    duration: str | None,
    rates: Sequence[str],
    **flags: Any,
) -> dict[str, Any]:
    """Return what the words of the command mean, as `zoo.api.jobs.create_job` takes it."""
    from zoo.training.config import read_fields, seconds

    named = ("model", "data", "config", "preset", "size", "fit", "length", "rate")
    wishes = {name: flags.pop(name) for name in named}
    given = {key: value for key, value in flags.items() if value not in (None, False, ())}
    for rate in rates:
        if "=" in rate:
            given["learning_rates"] = (*given.get("learning_rates", ()), rate)
        else:
            given["lr"] = rate
    if duration is not None:
        given["max_seconds"] = seconds(duration)
    layers = [given, _assigned(assignments)]  # --set is stronger
    return {**wishes, "fields": read_fields(fields), "layers": layers}


def _assigned(assignments: Sequence[str]) -> dict[str, str]:
    """Return the options that stand after ``--set``."""
    found = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UsageError(
                f"--set {assignment[:60]!r} is not KEY=VALUE",
                hint="--set lr=1e-3",
                code="bad-value",
            )
        found[key.strip().replace("-", "_")] = value.strip()
    return found


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


def _dry_run(resume: str | None, wishes: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a training would do and how long it would take."""
    if resume is not None:
        raise UsageError(
            "--dry-run is for a new run", hint="zoo runs show RUN", code="conflicting-options"
        )
    job, measured = new_job(wishes, None, say)
    from zoo.training.plan import plan

    found = plan(job)
    if found is not None and as_json:
        print_json(asdict(found) | measured)
    elif found is not None:
        _print_plan(found)


@contextmanager
def _stopping() -> Iterator[Callable[[], int]]:
    """Let a signal end the training; Ctrl-C has no effect after that one."""
    with stopping_on_signals() as stop_signal:
        yield stop_signal
        if stop_signal():  # and a key that is held down repeats itself
            ignore_interrupts()


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


def _print_result(result: TrainResult) -> None:
    """Print how a training ended and what to do next; raise what a signal ended it with."""
    from zoo.training.launch import exit_code

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
