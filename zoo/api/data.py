"""The data that a verb works on: what words ask of it, where it is, decoded like a training's."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.messages import Log, say
from zoo.ports import FITS

if TYPE_CHECKING:
    from zoo.catalog.dataset import Dataset
    from zoo.catalog.lookup import ModelEntry
    from zoo.data.location import DataLocation
    from zoo.data.store import Store
    from zoo.identity import Identity
    from zoo.modalities.base import DecodeOptions
    from zoo.ports import Fit
    from zoo.training.run import Run


class Described(Protocol):
    """Something trained that says what it is, such as `zoo.model.weights.Trained`."""

    @property
    def identity(self) -> Identity:
        """What it is."""

    @property
    def path(self) -> Path:
        """Where its weights or exported files are."""


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


def fetch_source(data: str, log: Log = say) -> DataLocation:
    """Find a data set; one of the catalogue is downloaded first, where needed."""
    from zoo.catalog.lookup import dataset_called
    from zoo.data.location import locate_data
    from zoo.data.progress import fetch_with_progress

    dataset = dataset_called(data) or dataset_called(data.rpartition(":")[0])
    if dataset:
        fetch_with_progress(dataset, log)
    return locate_data(data)


def find_assets(entry: ModelEntry, log: Log = say) -> dict[str, Path]:
    """Return the files of a model's assets by network, downloaded where needed."""
    from zoo.data.download import asset_files
    from zoo.data.progress import fetch_with_progress

    return asset_files(entry.card.assets, lambda row: fetch_with_progress(row, log))


def source_for(trained: Described, data: str | None, log: Log = say) -> DataLocation:
    """Find the data that the user named, or that the model was trained on.

    A weight file alone knows what its data was called, not where it is: then it is the catalogue's
    data set of that name; where that would have to be downloaded, the part of it that comes with
    the package, if there is one.

    Raises:
        UsageError: none is named, the weight file is not a run's, and the catalogue has none.
        NotFoundError: the data is gone, or the run is damaged.
    """
    from zoo.catalog.lookup import dataset_called
    from zoo.training.config import find_data

    if data is not None:
        return fetch_source(data, log)
    run, spec = run_of(trained.path), trained.identity.data
    row = dataset_called(spec.name)
    if run is None and row and row.licence == spec.licence:  # else a folder of the same name
        part = _embedded_part(trained.identity, row)
        why = "which it was trained on"
        if part:
            why = f"since {row.name} is not here; zoo data get {row.name} fetches it"
        log(f"data: {part or row.name}, {why}; --data takes other data")
        return fetch_source(part or row.name, log)
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
    return fetch_source(find_data(run, trained_on), log)


def _embedded_part(identity: Identity, row: Dataset) -> str | None:
    """Return the model's usual data where it comes with the package and `row` is not here.

    It must be of the same owners and the same classes, as a part of `row` is.
    """
    from zoo.catalog.lookup import dataset_called, find_model
    from zoo.data.download import cached_state

    if cached_state(row) == "yes":
        return None
    try:
        usual = dataset_called(find_model(f"{identity.distribution}:{identity.model}").card.data)
    except NotFoundError:  # exported files run without their plugin
        return None
    is_part = (
        usual and usual.embedded and (usual.licence, usual.classes) == (row.licence, row.classes)
    )
    return usual.name if usual and is_part else None


def open_like_training(
    trained: Described, source: DataLocation, fit: Fit | None, log: Log = say
) -> Store:
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
    store = open_store(source, **vars(options), report=log)
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
    trained: Described,
    source: DataLocation,
    fit: Fit | None,
    split: str | None = None,
    log: Log = say,
) -> tuple[Store, str]:
    """Decode data like that of a training, and choose the images that a model is measured on.

    Raises:
        UsageError: the data is not of the model's kind, or has no such split.
    """
    from zoo.model.weights import installed_model_of
    from zoo.training.config import check_data

    store = open_like_training(trained, source, fit, log)
    chosen = choose_split(store, split)
    for each in ("train", chosen):
        check_data(installed_model_of(trained.identity, trained.path), source.name, store, each)
    return store, chosen


def choose_split(store: Store, split: str | None = None) -> str:
    """Return the split that is asked for, else the one that a model is looked at with.

    Raises:
        UsageError: the data has no such split.
    """
    chosen = split or ("test" if "test" in store.splits else "validation")
    if chosen not in store.splits:
        raise UsageError(
            f"{store.spec.name} has no {chosen} split",
            hint=f"--split {' or '.join(store.splits)}",
            code="no-such-split",
        )
    return chosen


def run_of(weights: Path) -> Run | None:
    """Return the run that a weight file belongs to, if any."""
    from zoo.training.run import Run

    folder = weights.parents[2] if len(weights.parents) > 2 else weights.parent
    return Run(folder) if (folder / "run.json").is_file() else None
