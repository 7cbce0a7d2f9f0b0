"""The arguments and options that several verbs share: declared and completed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.ports import FITS

if TYPE_CHECKING:
    from zoo.training.run import Run

FIT_HELP = "How pictures of other proportions fit: cut off, surrounded by their edges, distorted"

Verb = TypeVar("Verb", bound=Callable[..., Any])


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
    """Return the runs, models and published weights whose names begin so."""
    from zoo.catalog.registry import read_registry

    found = complete_runs(context, parameter, word) + complete_models(context, parameter, word)
    weights = _beginning(word, (row.name for row in read_registry().weights))
    return [*found, *(name for name in weights if name not in found)]


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
