"""The options of a training -> one that can begin, or one that is resumed. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.api.data import fetch_source, find_assets, read_decode_options
from zoo.api.targets import find_weights
from zoo.catalog.lookup import ModelEntry, find_model, load_class
from zoo.catalog.registry import install_command
from zoo.errors import NotFoundError, PluginError, UsageError
from zoo.messages import Log, say
from zoo.training.run import Run, all_runs, find_run

if TYPE_CHECKING:
    from zoo.data.store import Store
    from zoo.modalities.base import DecodeOptions
    from zoo.model.contract import Model
    from zoo.training.config import Job, Settings

# codes of errors about data that has other ports than a model or an option asks for
OF_THE_PORTS = ("does-not-apply", "unknown-port", "wrong-data")


def create_job(
    *,
    model: str | None = None,
    data: str | None = None,
    config: Path | None = None,
    preset: str | None = None,
    fields: Mapping[str, str] | None = None,
    layers: Sequence[Mapping[str, Any]] = (),
    log: Log = say,
    **wishes: Any,
) -> Job:
    """Return a new training as a file, a preset and options say; fetch and decode its data.

    Args:
        model: name of the model; the file's, when not given.
        data: name or path of the data; the file's or the model's, when not given.
        config: a file such as a run's ``config.toml``.
        preset: a named set of options of the model.
        fields: what the data calls ports that the model needs, by the model's names.
        layers: options of model and trainer, the later ones stronger, all stronger than the file.
        log: takes messages.
        wishes: what the data is to be decoded to: size, fit, length, rate; None as not given.

    Raises:
        UsageError: an option that nothing has, or a value that it does not take.
        NotFoundError: there is no such model, data or file.
    """
    from zoo.data.location import check_data_is_there
    from zoo.training.config import DATA_OPTIONS, Job, read_config, resolve

    assert wishes.keys() <= set(DATA_OPTIONS)
    file = read_config(config) if config else {}
    name = model or file.get("model")
    if name is None:
        raise UsageError(
            "which model?", hint="zoo list, then zoo train MODEL", code="missing-argument"
        )
    entry = find_model(str(name))
    if "model" in file and not entry.is_called(str(file["model"])):
        raise UsageError(
            f"{config} is for {file['model']!r}, not for {name!r}",
            hint=f"zoo train --config {config}",
            code="bad-config",
        )
    layers, usual = _layers(entry, file, preset, layers, log)
    place = str(data if data is not None else file.get("data", entry.card.data))
    if not place and data is None:
        raise UsageError(
            f"{entry.name} has no data of its own: on which is it to be trained?",
            hint=f"zoo train {entry.name} --data NAME|PATH",
            code="which-data",
        )
    # What is misspelt is told before torch is imported, and wrong options before a download.
    decoding = read_decode_options(
        **{name: wishes.get(name) or file.get(name) or usual.get(name) for name in DATA_OPTIONS}
    )
    check_data_is_there(place)
    model_class = load_class(entry)
    usual = asdict(model_class.training_defaults)
    configured, settings = resolve(model_class.Config, usual, layers, _own_monitors(model_class))
    named = dict(fields or file.get("fields", {}))
    opened = _open_data(entry, place, decoding, settings, named, log)
    return Job(entry, model_class, configured, settings, *opened, named, find_assets(entry, log))


def resume_job(  # noqa: PLR0913 - as of a new training
    run: Run,
    *,
    model: str | None = None,
    data: str | None = None,
    config: Path | None = None,
    preset: str | None = None,
    fields: Mapping[str, str] | None = None,
    layers: Sequence[Mapping[str, Any]] = (),
    log: Log = say,
    **wishes: Any,
) -> tuple[Job, dict[str, Any]]:
    """Return the training of a run with what may be different now, and which settings are.

    The arguments are those of `create_job`.

    Raises:
        NotFoundError: the run does not say what it is any more, or its data cannot be found.
        PluginError: its model is not installed.
        UsageError: something is asked for that contradicts the run.
    """
    from zoo.training.config import (
        DATA_OPTIONS,
        Job,
        contradiction,
        load_job,
        read_config,
        resolve_again,
    )

    own, beside = load_job(run)
    decoding = read_decode_options(**{name: own.get(name) for name in DATA_OPTIONS})
    entry = _installed(str(own["model"]), run)
    files = [beside, read_config(config) if config else {}]
    for name in filter(None, (model, *(file.get("model") for file in files))):
        if not entry.is_called(str(name)):
            raise contradiction(run, "model", str(name), entry.card.name)
    layers, usual = _layers(entry, files[1], preset, layers, log)
    places = [str(each) for each in (data, *(file.get("data") for file in files)) if each]
    place = _place_of_data(run, str(own["data"]), places, log)
    for wanted in (wishes, usual, *files):
        _check_decoding(run, wanted, own)
    model_class = load_class(entry)
    layers, monitors = [_edited(own, beside), *layers], _own_monitors(model_class)
    configured, settings, changes = resolve_again(run, own, model_class.Config, layers, monitors)
    named = own.get("fields", {})
    if fields and dict(fields) != named:
        asked = ", ".join(f"{name}={port}" for name, port in fields.items())
        raise contradiction(run, "field", asked, str(named or "none"))
    opened = _open_again(run, entry, place, decoding, settings, named, log)
    job = Job(entry, model_class, configured, settings, *opened, named, find_assets(entry, log))
    return (_with_own_names(job, run) if job.data != own["data"] else job), changes


def _edited(own: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a run's configuration file has otherwise than its training."""
    before = {**own.get("options", {}), **own.get("training", {})}
    now = {**beside.get("options", {}), **beside.get("training", {})}
    return {key: value for key, value in now.items() if before.get(key) != value}


def _check_decoding(run: Run, wanted: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise a `UsageError` where data is to be decoded to something else than in the run."""
    from zoo.training.config import DATA_OPTIONS, contradiction

    before = vars(read_decode_options(**{name: own.get(name) for name in DATA_OPTIONS}))
    given = {name: wanted.get(name) for name in DATA_OPTIONS if wanted.get(name) is not None}
    for name, value in vars(read_decode_options(**given)).items():
        if name in given and value != before[name]:
            now = own.get(name)
            shown = "x".join(map(str, now)) if isinstance(now, list) else str(now)
            raise contradiction(run, name, str(given[name]), shown)


def _own_monitors(model_class: type[Model]) -> list[str]:
    from zoo.model.checks import monitors_of

    return [each.name for each in monitors_of(model_class)]


def _layers(
    entry: ModelEntry,
    file: Mapping[str, Any],
    preset: str | None,
    layers: Sequence[Mapping[str, Any]],
    log: Log,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the options that are asked for, the later ones stronger, and what data it wants."""
    from zoo.training.config import DATA_OPTIONS

    start = dict(entry.card.find_preset(preset)) if preset is not None else {}
    usual = {name: start.pop(name) for name in DATA_OPTIONS if name in start}
    in_file = {**file.get("options", {}), **file.get("training", {})}
    all_layers = [start, in_file, *map(dict, layers)]
    for layer in all_layers:
        if layer.get("init_from", "none") not in (None, "none"):
            layer["init_from"] = str(_weights_to_start_from(str(layer["init_from"]), log))
    return all_layers, usual


def _weights_to_start_from(target: str, log: Log) -> Path:
    """Return the weight file of a run, a model or a path, as an absolute path.

    Raises:
        NotFoundError: there is none, or it is no safetensors file.
    """
    from zoo.model.tensors import look

    path = find_weights(target, log).absolute()
    look(path)  # what is misspelt is told before torch is imported
    return path


def _place_of_data(run: Run, data: str, wishes: Sequence[str], log: Log) -> str:
    """Return where the data of a run lies: where the user says, or where it is found.

    Another place is only taken where a checkpoint knows what the data was: it is compared before
    anything is trained.
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
        log(f"the data of run {run.name} lies in {place} now; it was {data}")
    return place


def _open_again(
    run: Run,
    entry: ModelEntry,
    place: str,
    options: DecodeOptions,
    settings: Settings,
    fields: Mapping[str, str],
    log: Log,
) -> tuple[str, Store]:
    """Open the data of a run, and compare its ports with those that the run was trained on.

    Raises:
        NotFoundError: they are others: the run cannot go on with them.
    """
    from zoo.data.survey import describe_change
    from zoo.training.checkpoint import saved_job

    known = run.identity if saved_job(run) else None  # without a checkpoint, the run begins anew
    try:
        data, store = _open_data(entry, place, options, settings, fields, log)
        now = {port.name: port for port in store.spec.ports}
        before = known.data.ports if known else ()
        changes = [describe_change(port, now.get(port.name)) for port in before]
    except UsageError as problem:
        if known is None or problem.code not in OF_THE_PORTS:
            raise
        changes = [problem.message]
    if any(changes):
        raise NotFoundError(
            f"{place!r} is not the data that run {run.name!r} was trained on",
            cause="; ".join(filter(None, changes)),
            hint=f"zoo train {entry.name} --data {place} --init-from {run.name} begins a new run "
            "with its weights",
            code="data-changed",
        )
    return data, store


def _with_own_names(job: Job, run: Run) -> Job:
    """Return a training on data that was moved, with the names that it had in its run."""
    if run.identity is None:  # lost; the data's own names serve
        return job
    own, now = run.identity.data, job.store.spec
    if [port.shape for port in own.ports] != [port.shape for port in now.ports]:
        return job  # other data, which is told when its digest is compared
    return replace(job, store=replace(job.store, spec=own))


def _installed(model: str, run: Run) -> ModelEntry:
    try:
        return find_model(model)
    except NotFoundError:
        distribution, _, name = model.rpartition(":")
        raise PluginError(
            f"run {run.name!r} needs model {name!r}, which no installed plugin provides",
            hint=install_command(distribution),
            code="missing-plugin",
        ) from None


def find_resumed(wanted: str, model: str | None) -> Run:
    """Return the run to go on with; after a model's name, ``@last`` is that model's last run."""
    if wanted != "@last" or model is None:
        return find_run(wanted)
    if model in {run.name for run in all_runs()}:
        raise UsageError(
            f"{model!r} is a run", hint=f"zoo train --resume {model}", code="bad-value"
        )
    name = find_model(model).card.name
    for run in reversed(all_runs()):
        if run.identity and run.identity.model == name:
            return run
    raise NotFoundError(
        f"no run of {name!r} here", hint=f"zoo train {name}, or zoo runs", code="run-not-found"
    )


def _open_data(
    entry: ModelEntry,
    data: str,
    options: DecodeOptions,
    settings: Settings,
    fields: Mapping[str, str],
    log: Log,
) -> tuple[str, Store]:
    """Fetch and decode the data, telling the user what takes time or may surprise."""
    from zoo.data.store import open_store, with_names
    from zoo.training.config import check_data

    source = replace(fetch_source(data, log), two_domains=entry.card.needs_two_domains)
    store = open_store(source, **vars(options), on_bad_image=settings.on_bad_image, report=log)
    store = with_names(store, entry.card.needs, fields)
    check_data(entry, source.reference, store)
    return source.reference, store
