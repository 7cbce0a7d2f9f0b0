"""The arguments and options that several verbs share: declared, completed, read and looked up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from zoo.cli.output import fetch_with_progress, say
from zoo.errors import NotFoundError, UsageError, did_you_mean

if TYPE_CHECKING:
    from zoo.catalog.lookup import ModelEntry
    from zoo.data.location import DataLocation
    from zoo.data.store import Store
    from zoo.identity import Identity
    from zoo.modalities.base import DecodeOptions
    from zoo.model.weights import Trained
    from zoo.ports import Fit
    from zoo.training.run import Run

FITS: tuple[Fit, ...] = ("cover", "contain", "stretch")
FIT_HELP = "How pictures of other proportions fit: cut off, surrounded by their edges, distorted"

Verb = TypeVar("Verb", bound=Callable[..., Any])


class Described(Protocol):
    """Something trained that says what it is, such as `zoo.model.weights.Trained`."""

    @property
    def identity(self) -> Identity:
        """What it is."""

    @property
    def path(self) -> Path:
        """Where its weights or exported files are."""


class SuggestingChoice(click.Choice[str]):
    """A choice that names the nearest one for what is misspelt."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the choice that the value is."""
        if value in self.choices:
            return str(value)
        near = did_you_mean(str(value), self.choices)
        return self.fail(
            f"{str(value)[:40]!r} is none of {', '.join(self.choices)}.{near}", param, ctx
        )


# What a shell completes: the names that begin as the word does.


def complete_models(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    """Return the models whose names begin so."""
    from zoo.catalog.lookup import installed_models

    return _beginning(word, (entry.name for entry in installed_models()))


def complete_runs(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    """Return the runs whose names begin so."""
    from zoo.training.run import all_runs

    return _beginning(word, ["@last", *(run.name for run in all_runs())])


def complete_targets(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    """Return the runs and models whose names begin so."""
    return complete_runs(context, parameter, word) + complete_models(context, parameter, word)


def complete_datasets(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    """Return the data sets of the catalogue whose names begin so."""
    from zoo.catalog.lookup import datasets

    return _beginning(word, (dataset.name for dataset in datasets()))


def complete_presets(context: click.Context, parameter: click.Parameter, word: str) -> list[str]:
    """Return the presets of the model on the line whose names begin so."""
    from zoo.catalog.lookup import installed_models

    model = str(context.params.get("model") or "")
    cards = (entry.card for entry in installed_models() if entry.is_called(model))
    return _beginning(word, (preset for card in cards for preset in card.presets))


def _beginning(word: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(word)]


# What several verbs declare alike.

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
size_option = click.option("--size", metavar="N|HxW", help="Image size to train at [the data's].")
length_option = click.option("--length", type=click.IntRange(2, 2**20), metavar="N",
                             help="Of clips in samples, of windows of text in symbols."
                             )  # fmt: skip
rate_option = click.option("--rate", type=click.IntRange(100, 10**6), metavar="HZ",
                           help="Samples a second of sounds [the data's].")  # fmt: skip
target_argument = click.argument("target", shell_complete=complete_targets)


def data_option(help_text: str) -> Callable[[Verb], Verb]:
    """Declare --data."""
    return click.option(
        "--data", metavar="NAME|PATH", shell_complete=complete_datasets, help=help_text
    )


def fit_option(unless_given: str = "as in the training") -> Callable[[Verb], Verb]:
    """Declare --fit."""
    help_text = f"{FIT_HELP} [{unless_given}]."
    return click.option("--fit", type=SuggestingChoice(FITS), help=help_text)


def session_options(verb: Verb) -> Verb:
    """Declare --provider, --threads, --memory-pattern and --spin, which `open_session` takes."""
    from zoo.runtime.engine import AUTO, PROVIDERS

    options = (
        click.option("--provider", type=SuggestingChoice([AUTO, *PROVIDERS]), default=AUTO,
                     show_default=True, help="What to compute on; auto: the first that is "
                     "installed and works, or the CPU."),
        click.option("--threads", type=click.IntRange(1, 1024),
                     help="[default: one a CPU, up to 8]"),
        click.option("--memory-pattern/--no-memory-pattern", default=None,
                     help="Lay memory out once for each size. "
                     "[default: where FILE fixes all sizes but the batch]"),
        click.option("--spin/--no-spin", default=True, show_default=True,
                     help="Let threads wait busily; --no-spin where other programs need the CPUs."),
    )  # fmt: skip
    for option in reversed(options):
        verb = option(verb)
    return verb


def loop_options(verb: Verb) -> Verb:
    """Declare --set of a port, and --rounds and --every of a graph that is one step of a loop."""
    from zoo.ports import MAX_ROUNDS

    options = (
        click.option("--set", "assignments", metavar="PORT=VALUE", multiple=True,
                     help="A number, a class or text for an input; several times."),
        click.option("--rounds", type=click.IntRange(1, MAX_ROUNDS), metavar="N",
                     help="Of one step of a loop. [default: as the model says]"),
        click.option("--every", type=click.IntRange(1, MAX_ROUNDS), metavar="N",
                     help="Show every Nth round: in a .png side by side, one line a sample; in a "
                     ".webp as an animation. [default: the last one; of a .webp, up to 60]"),
    )  # fmt: skip
    for option in reversed(options):
        verb = option(verb)
    return verb


# What the words mean.


def read_fit(text: object) -> Fit:
    """Read how pictures are brought to a size, as a configuration file has it."""
    if text not in FITS:
        word = str(text)[:40]
        raise UsageError(
            f"{word!r} is no way to fit pictures.{did_you_mean(word, FITS)}",
            hint=f"--fit {'|'.join(FITS)}",
            code="bad-value",
        )
    return text


def read_decode_options(**values: Any) -> DecodeOptions:
    """Read what data is to be decoded to: size, fit, length and rate, any of them None."""
    from zoo.modalities.base import DecodeOptions

    for name in ("length", "rate"):
        value = values.get(name)
        if value is not None and not (isinstance(value, int) and 2 <= value <= 2**20):
            raise UsageError(
                f"{name} = {str(value)[:40]} is no usable number of samples or symbols"
            )
    return DecodeOptions(
        size=read_size(values.get("size")),
        fit=read_fit(values.get("fit") or "cover"),
        length=values.get("length"),
        rate=values.get("rate"),
    )


def read_size(text: object) -> tuple[int, int] | None:
    """Read ``64`` or ``64x96`` (height x width), or the two numbers of a configuration file.

    Raises:
        UsageError: it is neither.
    """
    if text is None:
        return None
    if isinstance(text, list):
        text = "x".join(map(str, text))
    match = re.fullmatch(r"(\d{1,5})(?:[x×](\d{1,5}))?", str(text))
    height = int(match[1]) if match else 0
    width = int(match[2] or match[1]) if match else 0
    if not (8 <= height <= 4096 and 8 <= width <= 4096):
        raise UsageError(
            f"{str(text)[:40]!r} is not an image size",
            hint="--size 64, or --size 64x96 (8 to 4096)",
            code="bad-value",
        )
    return height, width


def fetch_source(data: str) -> DataLocation:
    """Find a data set; one of the catalogue is downloaded first, where needed."""
    from zoo.catalog.lookup import dataset_called
    from zoo.data.location import locate_data

    dataset = dataset_called(data) or dataset_called(data.rpartition(":")[0])
    if dataset:
        fetch_with_progress(dataset)
    return locate_data(data)


def find_assets(entry: ModelEntry) -> dict[str, Path]:
    """Return the files of a model's assets by network, downloaded where needed."""
    from zoo.data.download import asset_files

    return asset_files(entry.card.assets, fetch_with_progress)


def source_for(trained: Described, data: str | None) -> DataLocation:
    """Find the data that the user named, or that the model was trained on.

    A weight file alone knows what its data was called, not where it is: then it is the catalogue's
    data set of that name.

    Raises:
        UsageError: none is named, the weight file is not a run's, and the catalogue has none.
        NotFoundError: the data is gone, or the run is damaged.
    """
    from zoo.catalog.lookup import dataset_called
    from zoo.training.config import find_data

    if data is not None:
        return fetch_source(data)
    run, spec = run_of(trained.path), trained.identity.data
    row = dataset_called(spec.name)
    if run is None and row and row.licence == spec.licence:  # else a folder of the same name
        say(f"data: {spec.name}, which it was trained on; --data takes other data")
        return fetch_source(spec.name)
    if run is None:
        raise UsageError(
            f"{trained.path} belongs to no run: on which data?",
            hint="--data NAME|PATH",
            code="which-data",
        )
    trained_on = run.info().get("data")
    if trained_on is None:
        raise NotFoundError(
            f"run {run.name!r} is damaged: run.json does not say its data",
            hint="the same command with --data NAME|PATH",
            code="damaged-run",
        )
    return fetch_source(find_data(run, trained_on))


def open_like_training(trained: Described, source: DataLocation, fit: Fit | None) -> Store:
    """Decode data as that of a training was, with its own fit if None.

    Raises:
        UsageError: the data is of another form than in the training, or has nothing to fit.
    """
    from zoo.data.store import open_store, with_names
    from zoo.data.survey import decode_options, describe_change
    from zoo.modalities import modality_of
    from zoo.training.config import load_job

    spec = trained.identity.data
    if fit is not None and not any("fit" in modality_of(port).options for port in spec.ports):
        raise UsageError(
            f"--fit is for pictures, and {trained.identity.model} learns from "
            f"{modality_of(spec.ports[0]).items}",
            hint="leave --fit out",
            code="does-not-apply",
        )
    options = decode_options(spec)
    options = replace(options, fit=fit or options.fit)
    source = replace(source, two_domains=bool(spec.domains))
    store = open_store(source, **vars(options), report=say)
    run = run_of(trained.path)
    fields = load_job(run)[0].get("fields", {}) if run else {}
    fields = {name: own for name, own in fields.items() if own in store.spec}
    store = with_names(store, {port.name: port.kind for port in spec.ports}, fields)
    for port in spec.ports:
        now = getattr(store.spec, port.name, port)
        if now.shape != port.shape or (now.classes != port.classes and not port.is_label):
            raise UsageError(
                f"{port.name} of {store.spec.name} is other data than in the training",
                cause=describe_change(port, now),
                hint="--data with the same columns, symbols or sizes",
                code="wrong-data",
            )
    return store


def open_held_out(
    trained: Trained, source: DataLocation, fit: Fit | None, split: str | None = None
) -> tuple[Store, str]:
    """Decode data like that of a training, and choose the images that a model is measured on.

    Raises:
        UsageError: the data is not of the model's kind, or has no such split.
    """
    from zoo.model.weights import installed_model_of
    from zoo.training.config import check_data

    store = open_like_training(trained, source, fit)
    chosen = split or ("test" if "test" in store.splits else "validation")
    if chosen not in store.splits:
        raise UsageError(
            f"{store.spec.name} has no {chosen} split",
            hint=f"--split {' or '.join(store.splits)}",
            code="no-such-split",
        )
    for each in ("train", chosen):
        check_data(installed_model_of(trained.identity, trained.path), source.name, store, each)
    return store, chosen


def run_of(weights: Path) -> Run | None:
    """Return the run that a weight file belongs to, if any."""
    from zoo.training.run import Run

    folder = weights.parents[2] if len(weights.parents) > 2 else weights.parent
    return Run(folder) if (folder / "run.json").is_file() else None


def load_target(target: str, data: str | None) -> Trained:
    """Build the model that TARGET means, after a look whether there is what --data names.

    Says on stderr which weights these are, and whether another version of the plugin wrote them.

    Raises:
        PluginError: torch or the model's plugin is not installed.
        NotFoundError: nothing matches, or the file is missing or damaged.
    """
    from zoo.data.location import check_data_is_there

    path = find_weights(target)
    say(f"using {path}")
    if data is not None:
        check_data_is_there(data)
    from zoo.model.weights import installed_model_of, load_weights, other_version

    trained = load_weights(path, find_assets)
    difference = other_version(trained.identity, installed_model_of(trained.identity, path))
    if difference:
        say(f"note on {path.name}: {difference}")
    return trained


def find_run_or_folder(name: str) -> Run:
    """Return the run of an id or of ``@last``, as `find_run` does, or of a run folder anywhere.

    Raises:
        NotFoundError: there is none.
    """
    from zoo.training.run import Run, find_run

    try:
        return find_run(name)
    except NotFoundError:
        if (Path(name) / "run.json").is_file():
            return Run(Path(name).resolve())
        raise


def check_suffix(output: Path, suffix: str) -> None:
    """Check that ``-o`` names a file of one kind, such as ``".png"``.

    Raises:
        UsageError: it names another kind, or a folder.
    """
    if output.suffix.lower() != suffix or output.is_dir():
        raise UsageError(
            f"-o {output}: what is written is a {suffix} file",
            hint=f"-o {output.stem or 'x'}{suffix}",
            code="bad-output",
        )


def find_weights(target: str) -> Path:
    """Return the weight file of a path, of ``@last``, else of a run, else of a model.

    Raises:
        NotFoundError: nothing of that name has weights.
    """
    from zoo.catalog.lookup import find_model, installed_models
    from zoo.training.run import Run, all_runs, find_run

    given = Path(target)
    if given.suffix == ".safetensors":
        return given
    if given.is_dir() and (given / "run.json").is_file():
        return Run(given).weights
    if target == "@last":
        return find_run(target).weights
    runs = all_runs()
    for run in runs:
        if run.name == target:
            return run.weights
    try:
        entry = find_model(target)
    except NotFoundError as problem:
        names = [*(each.name for each in installed_models()), *(run.name for run in runs)]
        raise NotFoundError(
            f"{target[:60]!r} is no run, model or weight file.{did_you_mean(target, names)}",
            cause=problem.cause,
            hint=f"zoo runs, or {problem.hint}",
            code="target-not-found",
        ) from None
    return _weights_of_model(entry, runs, target)


def _weights_of_model(entry: ModelEntry, runs: Sequence[Run], target: str) -> Path:
    """Return the weights of a model's latest finished run, else its published weights."""
    from zoo.catalog.lookup import published_weights, weights_here

    of_model = (entry.card.name, entry.plugin.distribution)
    unfinished = None
    for run in reversed(runs):
        identity = run.identity
        if identity is None or (identity.model, identity.distribution) != of_model:
            continue  # another model's, or damaged, as `zoo runs` says
        if run.fact("status") == "finished":
            return run.weights
        unfinished = unfinished or run
    published, here = published_weights(entry), weights_here(entry)
    if here is not None or (published is not None and published.file.urls):
        about = f": {published.summary}" if published else ""
        say(f"no finished run of {entry.name} here; its published weights are taken{about}")
    if here is not None:
        return here
    if published is not None and published.file.urls:
        return fetch_with_progress(published.download) / published.file.name
    if unfinished is None:
        missing = "its published weights are in the package zoo-weights, which is not installed"
        raise NotFoundError(
            f"{entry.name} has no finished run here and no published weights",
            cause=missing if published else "",
            hint=f"zoo train {target}" + (", or install zoo-weights" if published else ""),
            code="no-finished-run",
        )
    step = unfinished.identity.step if unfinished.identity else 0
    raise NotFoundError(
        f"{entry.name} has no finished run here; run {unfinished.name} is "
        f"{unfinished.fact('status')}" + (f" at step {step}" if step else ""),
        hint=f"zoo train --resume {unfinished.name} goes on; its name in place of {target} "
        "takes it as it is",
        code="no-finished-run",
    )
