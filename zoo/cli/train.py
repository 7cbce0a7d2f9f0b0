"""`zoo train`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.completion import datasets, models, presets
from zoo.cli.output import Choice, is_first_rank, json_option, print_json, say
from zoo.errors import InterruptedRunError, UsageError

if TYPE_CHECKING:
    from zoo.training.job import Job
    from zoo.training.plan import Plan
    from zoo.training.train import Outcome


@click.command("train")
@click.argument("model", required=False, shell_complete=models)
@click.option(
    "--data",
    metavar="NAME|PATH",
    shell_complete=datasets,
    help="Data set, folder or archive [the model's].",
)
@click.option("--preset", metavar="NAME", shell_complete=presets,
              help="Start from a named set of options (zoo show MODEL lists them).")  # fmt: skip
@click.option("--size", metavar="N|HxW", help="Image size to train at [the data's].")
@click.option("--on-bad-image", type=Choice(["auto", "skip", "fail"]),
              help="Files that cannot be read [fail for more than 1 %].")  # fmt: skip
@click.option("--epochs", metavar="N", help="Train so many passes over the data.")
@click.option("--steps", metavar="N", help="Train so many steps.")
@click.option("--time", "duration", metavar="10m", help="Train so long.")
@click.option("--batch-size", metavar="N", help="Images a step.")
@click.option("--lr", metavar="RATE", help="Learning rate, for models that have one.")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True,
              help="Set any option of model or trainer (see zoo show MODEL).")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE",
              help="Take all of it from a file, such as a run's config.toml.")  # fmt: skip
@click.option("--name", metavar="RUN", help="Name of the run [MODEL-1, MODEL-2, …].")
@click.option("--seed", metavar="N", help="Start of every random generator [0].")
@click.option("--deterministic", is_flag=True, help="Refuse operations whose result may vary.")
@click.option("--device", type=Choice(["auto", "cpu", "cuda", "mps"]), help="What computes.")
@click.option("--ema", metavar="DECAY", help="Sample from averaged weights, such as 0.999.")
@click.option("--devices", metavar="N", help="How many devices share each batch [1].")
@click.option("--strategy", type=Choice(["auto", "ddp"]), help="How they work together.")
@click.option("--precision", type=Choice(["auto", "32", "bf16"]), help="Number format.")
@click.option("--tensorboard", is_flag=True, help="Also log for TensorBoard.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and how long it would take.")
@json_option
def verb(
    model: str | None,
    data: str | None,
    preset: str | None,
    size: str | None,
    assignments: tuple[str, ...],
    config: Path | None,
    name: str | None,
    tensorboard: bool,
    dry_run: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Train MODEL and keep the run in runs/.

    Options: --set is stronger than the other flags, they are stronger than --config, that is
    stronger than --preset, and that is stronger than the defaults. Ctrl-C ends the training after
    the step and saves a checkpoint.
    """
    from zoo.catalog.lookup import offers
    from zoo.training.run import RUNS, check_run_name, name_taken

    # Threads that spin while they wait take the cores from each other when two trainings run at
    # once (docs/architecture.md has figures). OpenMP reads this when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if name is not None:
        check_run_name(name)
        if is_first_rank() and (RUNS / name).exists():
            raise name_taken(name)
        if any(offer.card.name == name for offer in offers()):
            raise UsageError(f"{name!r} is a model", hint=f"--name my-{name}")
    job = _resolve(model, data, preset, size, config, flags, assignments)
    if dry_run:
        from zoo.training.plan import plan

        planned = plan(job)
        if planned is not None:
            _show_plan(planned, as_json=as_json)
        return
    from zoo.training.train import train

    outcome = train(job, name=name, tensorboard=tensorboard)
    if outcome is None:  # a rank that is not the first
        return
    if as_json:
        print_json(asdict(outcome))
    _say_how_it_ended(outcome)


def _resolve(
    model: str | None,
    data: str | None,
    preset: str | None,
    size: str | None,
    config: Path | None,
    flags: Mapping[str, Any],
    assignments: tuple[str, ...],
) -> Job:
    """Bring together what the file, the flags and ``--set`` say; fetch and decode the data."""
    from zoo.catalog.lookup import find_model, load_class, needs_extra
    from zoo.cli.sources import decode, find, read_size

    try:
        from zoo.training import job as jobs
        from zoo.training.settings import resolve, seconds
    except ModuleNotFoundError as problem:
        raise needs_extra("train", str(problem.name)) from None

    file = jobs.read_config(config) if config else {}
    name = model or file.get("model")
    if name is None:
        raise UsageError("which model?", hint="zoo list, then zoo train MODEL")
    offer = find_model(str(name))
    if "model" in file and not offer.is_called(str(file["model"])):
        raise UsageError(
            f"{config} is for {file['model']!r}, not for {name!r}",
            hint=f"zoo train --config {config}",
        )
    given = {key: value for key, value in flags.items() if value not in (None, False)}
    if "duration" in given:
        given["max_seconds"] = seconds(given.pop("duration"))
    start = dict(offer.card.find_preset(preset)) if preset is not None else {}
    usual_size = start.pop("size", None)
    in_file = {**file.get("options", {}), **file.get("training", {})}
    layers = [start, in_file, given, _read(assignments)]
    model_class = load_class(offer)
    # Before the data: a wrong option should not cost a download first.
    chosen, settings = resolve(model_class.Config, asdict(model_class.training_preset), layers)
    source = find(str(file.get("data", offer.card.data)) if data is None else data)
    wanted = read_size(size or file.get("size") or usual_size)
    store = decode(source, size=wanted, on_bad_image=settings.on_bad_image)
    jobs.check_material(offer, source.reference, store)
    return jobs.Job(offer, model_class, chosen, settings, source.reference, store)


def _read(assignments: tuple[str, ...]) -> dict[str, str]:
    """Read ``key=value`` words."""
    values = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {assignment[:60]!r} is not KEY=VALUE", hint="--set lr=1e-3")
        values[key.strip().replace("-", "_")] = value.strip()
    return values


def _show_plan(found: Plan, *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json())
        return
    players = ", ".join(f"{name} {count:,}" for name, count in found.parameters.items())
    channels, height, width = found.image
    steps = f"{found.steps:,}" if found.steps else "as many as fit"
    click.echo(f"model        {found.model} on {found.device}, precision {found.precision}")
    held_out = f"{found.validation_images:,} held out"
    click.echo(
        f"data         {found.data}: {found.training_images:,} training images and {held_out}"
    )
    click.echo(f"image        {channels} × {height} × {width}")
    click.echo(f"parameters   {players}")
    click.echo(f"steps        {steps} of {found.batch_size} images, "
               f"{found.steps_per_epoch:,} an epoch")  # fmt: skip
    click.echo(f"time         {found.seconds_per_step * 1000:.1f} ms a step, about "
               f"{found.estimated_seconds:,.0f} s in all")  # fmt: skip
    click.echo(f"would write  {', '.join(found.writes)} in a new folder below runs/")


def _say_how_it_ended(outcome: Outcome) -> None:
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in outcome.metrics.items())
    say(f"{outcome.status} after {outcome.step} steps, {outcome.seconds:.0f} s  {metrics}".rstrip())
    say(f"run {outcome.run}: {outcome.path}")
    if outcome.status == "interrupted":
        raise InterruptedRunError(
            f"interrupted at step {outcome.step}; the checkpoint is saved",
            hint=f"zoo eval {outcome.run}, or zoo export {outcome.run} --onnx",
        )
    say(f"next: zoo eval {outcome.run}, or zoo export {outcome.run} --onnx")
