"""The words of ``zoo train`` -> a training that can begin, or go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cli.output import say
from zoo.errors import NotFoundError, PluginError, UsageError

if TYPE_CHECKING:
    from zoo.catalog.lookup import ModelEntry
    from zoo.ports import Fit
    from zoo.training.config import Job
    from zoo.training.run import Run


@dataclass(frozen=True)
class Request:
    """What a user typed after ``zoo train``.

    Args:
        model: name of the model, perhaps.
        data: name or path of the data, perhaps.
        preset: name of a preset, perhaps.
        size: of the images, perhaps.
        config: a configuration file, perhaps.
        flags: the other options, by name.
        assignments: ``key=value`` words of ``--set``.
        fit: how pictures are brought to the size, perhaps.
    """

    model: str | None
    data: str | None
    preset: str | None
    size: str | None
    config: Path | None
    flags: Mapping[str, Any]
    assignments: tuple[str, ...]
    fit: str | None = None

    def layers(
        self, entry: ModelEntry, file: Mapping[str, Any]
    ) -> tuple[list[dict[str, Any]], Any]:
        """Return the options that are asked for, the later ones stronger, and a preset's size."""
        from zoo.training.config import seconds

        given = {key: value for key, value in self.flags.items() if value not in (None, False)}
        if "duration" in given:
            given["max_seconds"] = seconds(given.pop("duration"))
        start = dict(entry.card.find_preset(self.preset)) if self.preset is not None else {}
        usual_size = start.pop("size", None)
        in_file = {**file.get("options", {}), **file.get("training", {})}
        return [start, in_file, given, _read(self.assignments)], usual_size


def new_job(request: Request) -> Job:
    """Bring together what the file, the flags and ``--set`` say; fetch and decode the data."""
    from zoo.catalog.lookup import find_model, load_class
    from zoo.cli.sources import read_fit, read_size
    from zoo.data.location import check_data_is_there
    from zoo.training.config import read_config, resolve

    file = read_config(request.config) if request.config else {}
    name = request.model or file.get("model")
    if name is None:
        raise UsageError("which model?", hint="zoo list, then zoo train MODEL")
    entry = find_model(str(name))
    if "model" in file and not entry.is_called(str(file["model"])):
        raise UsageError(
            f"{request.config} is for {file['model']!r}, not for {name!r}",
            hint=f"zoo train --config {request.config}",
        )
    layers, usual_size = request.layers(entry, file)
    data = request.data if request.data is not None else file.get("data", entry.card.data)
    size = request.size or file.get("size") or usual_size
    fit = read_fit(request.fit or file.get("fit") or "cover")
    # What is misspelt is told before torch is imported, and wrong options before a download.
    read_size(size)
    check_data_is_there(str(data))
    model_class = load_class(entry)
    preset = asdict(model_class.training_preset)
    config, settings = resolve(model_class.Config, preset, layers)
    return _job(entry, model_class, config, settings, str(data), size, fit)


def same_job(request: Request, run: Run) -> tuple[Job, dict[str, Any]]:
    """Bring together what a run itself was trained with and what may be different now.

    Returns:
        The training, and the settings in which it is not as before.

    Raises:
        NotFoundError: the run does not say what it is any more, or its data cannot be found.
        PluginError: its model is not installed.
        UsageError: something is asked for that contradicts the run.
    """
    from zoo.catalog.lookup import load_class
    from zoo.cli.sources import read_fit, read_size
    from zoo.training.config import contradiction, load_job, read_config, resolve_again

    own, beside = load_job(run)
    model, data, size = str(own["model"]), str(own["data"]), own["size"]
    fit = read_fit(own.get("fit", "cover"))
    entry = _installed(model, run)
    files = [beside, read_config(request.config) if request.config else {}]
    for name in (request.model, *(file.get("model") for file in files)):
        if name is not None and not entry.is_called(str(name)):
            raise contradiction(run, "model", str(name), entry.card.name)
    layers, usual_size = request.layers(entry, files[1])
    wishes = [str(each) for each in (request.data, *(file.get("data") for file in files)) if each]
    place = _place_of_data(run, data, wishes)
    for wanted in (request.size, usual_size, *(file.get("size") for file in files)):
        if wanted is not None and read_size(wanted) != read_size(size):
            raise contradiction(run, "size", str(wanted), "x".join(map(str, size)))
    for wanted in (request.fit, *(file.get("fit") for file in files)):
        if wanted is not None and read_fit(wanted) != fit:
            raise contradiction(run, "fit", str(wanted), fit)
    before = {**own.get("options", {}), **own.get("training", {})}
    in_run = {**beside.get("options", {}), **beside.get("training", {})}
    edited = {key: value for key, value in in_run.items() if before.get(key) != value}
    model_class = load_class(entry)
    config, settings, changes = resolve_again(run, own, model_class.Config, [edited, *layers])
    job = _job(entry, model_class, config, settings, place, size, fit)
    return (_with_own_names(job, run) if job.data != data else job), changes


def _place_of_data(run: Run, data: str, wishes: list[str]) -> str:
    """Return where the data of a run lies: where the user says, or where it is found.

    Another place is only looked for where a checkpoint knows what the data was: it is compared
    before anything is trained.

    Raises:
        NotFoundError: it is not where it was, and nobody says where it is.
        UsageError: the user means other data.
    """
    from zoo.training.checkpoint import saved_job
    from zoo.training.config import contradiction, find_data, is_in_catalogue, is_other_data

    for wanted in wishes:
        if is_other_data(wanted, data):
            if is_in_catalogue(wanted) or saved_job(run) is None:
                raise contradiction(run, "data", wanted, data)
            return wanted
    place = find_data(run, data)
    if place != data:
        say(f"the data of run {run.name} lies in {place} now; it was {data}")
    return place


def _with_own_names(job: Job, run: Run) -> Job:
    """Return a training on data that was moved, with the names that it had in its run."""
    from zoo.ports import DataSpec
    from zoo.records import typed

    try:
        own = typed(run.fact("data_spec"), DataSpec)
    except ValueError:  # lost; the data's own names serve
        return job
    now = job.store.spec
    if (own.channels, own.height, own.width) != (now.channels, now.height, now.width):
        return job  # other data, which is told when its digest is compared
    return replace(job, store=replace(job.store, spec=own))


def _installed(model: str, run: Run) -> ModelEntry:
    from zoo.catalog.lookup import find_model
    from zoo.catalog.registry import install_command

    try:
        return find_model(model)
    except NotFoundError:
        distribution, _, name = model.rpartition(":")
        raise PluginError(
            f"run {run.name!r} needs model {name!r}, which no installed plugin provides",
            hint=install_command(distribution),
        ) from None


def find_resumed(wanted: str, model: str | None) -> Run:
    """Return the run to go on with; after a model's name, ``@last`` is the last one of that model.

    Raises:
        NotFoundError: there is none.
    """
    from zoo.catalog.lookup import find_model
    from zoo.training.run import all_runs, find_run

    if wanted != "@last" or model is None:
        return find_run(wanted)
    if model in {run.name for run in all_runs()}:
        raise UsageError(f"{model!r} is a run", hint=f"zoo train --resume {model}")
    name = find_model(model).card.name
    for run in reversed(all_runs()):
        if run.fact("model") == name:
            return run
    raise NotFoundError(f"no run of {name!r} here", hint=f"zoo train {name}, or zoo runs")


def _job(
    entry: ModelEntry,
    model_class: type[Any],
    config: Any,
    settings: Any,
    data: str,
    size: object,
    fit: Fit,
) -> Job:
    from zoo.cli.sources import decode, find, read_size
    from zoo.training.config import Job, check_data

    source = find(data)
    store = decode(
        source,
        size=read_size(size),
        fit=fit,
        two_domains=entry.card.needs == "two domains",
        on_bad_image=settings.on_bad_image,
    )
    check_data(entry, source.reference, store)
    return Job(entry, model_class, config, settings, source.reference, store)


def _read(assignments: tuple[str, ...]) -> dict[str, str]:
    """Read ``key=value`` words."""
    values = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {assignment[:60]!r} is not KEY=VALUE", hint="--set lr=1e-3")
        values[key.strip().replace("-", "_")] = value.strip()
    return values
