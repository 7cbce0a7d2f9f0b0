"""What is trained and how: the trainer's options, the job that a request becomes, and resuming.

Imports no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

import tomli_w

from zoo.catalog.lookup import datasets
from zoo.data.location import locate_data
from zoo.data.survey import decode_options
from zoo.errors import NotFoundError, UsageError, ZooError, did_you_mean
from zoo.modalities import modality_of
from zoo.options import configure, option, options_of, plain_options, show_value, unknown_option
from zoo.records import WrongTypeError, read_toml, typed
from zoo.training.checkpoint import JobRecord, saved_job
from zoo.training.monitors import MONITORS
from zoo.training.run import Run

if TYPE_CHECKING:
    from zoo.catalog.lookup import ModelEntry
    from zoo.data.store import Store
    from zoo.model.contract import Model

MAX_CONFIG_BYTES = 16 * 2**10  # tomllib is quadratic in dotted keys


class Configuration(TypedDict, total=False):
    """What a configuration file holds."""

    model: str
    data: str
    size: int | str | list[int]
    fit: str
    length: int
    rate: int
    fields: dict[str, str]
    training: dict[str, Any]
    options: dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """The trainer's options: all of a run that is not the model's own configuration."""

    epochs: int | None = option(
        None, "passes over the training images", at_least=1, at_most=10**6, unit="epochs"
    )
    steps: int | None = option(None, "training steps", at_least=1, at_most=10**9, unit="steps")
    max_seconds: float | None = option(None, "time to train", above=0.0, at_most=1e8, unit="s")
    batch_size: int = option(
        128, "images a step, over all devices together", at_least=1, at_most=10**5, unit="images"
    )
    on_bad_image: Literal["auto", "skip", "fail"] = option(
        "auto", "pictures that cannot be read; auto leaves them out up to 1 %"
    )
    seed: int = option(0, "start of every random generator", at_least=0, at_most=2**31 - 1)
    deterministic: bool = option(False, "refuse operations whose result may vary")
    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", "what computes")
    devices: int | None = option(
        None, "devices of a machine that share each batch; none: as torchrun or srun say, or 1",
        at_least=1, at_most=4096,
    )  # fmt: skip
    strategy: Literal["auto", "ddp"] = option("auto", "how several devices work together")
    ema: float | None = option(
        None, "decay of a moving average of all weights, for samples and exports; 0.999 is usual",
        above=0.0, below=1.0,
    )  # fmt: skip
    init_from: str | None = option(
        None, "run, model or weight file to start from; what does not fit in it starts anew"
    )
    freeze: tuple[str, ...] = option((), "networks, by name or player, that are not trained")
    learning_rates: tuple[str, ...] = option(
        (), "learning rates by network or player, such as encoder=1e-5; else the model's"
    )
    compile: tuple[str, ...] = option(
        (), "networks, by name or player, that torch compiles; --compile measures which gain"
    )
    checkpoint_every: str = option(
        "5m", "time or steps between checkpoints, 30s or 500, beside those of each validation"
    )
    keep: int = option(
        2, "checkpoints that stay, beside the best; the older serve when the newest is damaged",
        at_least=1, at_most=10**6,
    )  # fmt: skip
    fail_on: tuple[str, ...] = option(
        (), "alerts that end a run, such as collapse,overfitting; divergence always does"
    )
    precision: Literal["auto", "32", "bf16"] = option(
        "auto", "bf16 mixes bfloat16 in; auto does so where it is computed natively"
    )


DATA_OPTIONS = ("size", "fit", "length", "rate")  # what is asked of decoded data
BUDGETS = ("epochs", "steps", "max_seconds")
MAY_CHANGE = {
    *BUDGETS,
    "devices",
    "checkpoint_every",
    "keep",
    "fail_on",
    "compile",
}  # of a resumed run


def resolve(
    model_config: type,
    preset: Mapping[str, Any],
    layers: Sequence[Mapping[str, Any]],
    own_monitors: Collection[str] = (),
) -> tuple[Any, Settings]:
    """Return the model's configuration and the settings that the layers add up to.

    The model's own training preset is the lowest layer, later ones are stronger. Each key of a
    layer may belong to the configuration or to the settings. `own_monitors` are names of monitors
    that the model brings.

    Raises:
        UsageError: an unknown key or an unusable value.
    """
    ours, theirs = options_of(Settings), options_of(model_config)
    settings: dict[str, Any] = dict(preset)
    config: dict[str, Any] = {}
    for layer in layers:
        # a budget replaces weaker ones of every kind
        if any(layer.get(key) not in (None, "none") for key in BUDGETS):
            settings = {key: value for key, value in settings.items() if key not in BUDGETS}
        for key, value in layer.items():
            if key in ours:
                settings[key] = value
            elif key in theirs:
                config[key] = value
            else:
                raise unknown_option(key, {**theirs, **ours})
    resolved = configure(Settings, settings)
    interval(resolved.checkpoint_every)
    network_rates(resolved.learning_rates)
    known = [*MONITORS, *own_monitors]
    for name in resolved.fail_on:
        if name not in {*known, "none"}:
            raise UsageError(
                f"fail_on = {name[:40]!r} is not an alert.{did_you_mean(name, known)}",
                hint=f"some of: {', '.join(known)}; or none",
                code="bad-value",
            )
    if all(getattr(resolved, key) is None for key in BUDGETS):
        raise UsageError(
            "nothing says when to stop",
            hint="--epochs 20, --steps 1000 or --time 10m",
            code="missing-argument",
        )
    return configure(model_config, config), resolved


def read_fields(texts: Sequence[str]) -> dict[str, str]:
    """Return the names that data has for what a model needs, of texts ``NAME=PORT``.

    Raises:
        UsageError: a text is no such pair.
    """
    found = {}
    for text in texts:
        name, _, port = text.partition("=")
        if not (name.isidentifier() and port.isidentifier()):
            raise UsageError(
                f"--field {text[:40]} is not NAME=PORT", hint="--field image=photo",
                code="bad-option",
            )  # fmt: skip
        found[name] = port
    return found


def network_rates(texts: Sequence[str]) -> dict[str, float]:
    """Return the learning rates of networks or players, by name, of texts ``NAME=RATE``.

    Raises:
        UsageError: a text is no such pair, or its rate is no number above 0.
    """
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        with suppress(ValueError):
            found[name] = float(value)
        if not name or not 0 < found.get(name, 0) < math.inf:
            raise UsageError(
                f"learning_rates = {text[:40]!r} is not NETWORK=RATE, with a rate above 0",
                hint="--lr encoder=1e-5",
                code="bad-value",
            )
    return found


def interval(text: str) -> tuple[float, float]:
    """Return the steps and the seconds of a text such as ``500`` or ``5m``; one is infinite.

    Raises:
        UsageError: it is neither a number of steps nor a duration.
    """
    if re.fullmatch(r"0*[1-9]\d{0,8}", text):
        return int(text), math.inf
    try:
        return math.inf, seconds(text)
    except UsageError:
        raise UsageError(
            f"checkpoint_every = {text[:40]!r} is neither a duration nor a number of steps",
            hint="30s, 5m or 500",
            code="bad-value",
        ) from None


def seconds(text: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``10m`` or ``1h30m``.

    Raises:
        UsageError: the text is no duration.
    """
    match = re.fullmatch(
        r"(?:(\d{1,6})h)?(?:(\d{1,6})m(?:in)?)?(?:(\d{1,8}(?:\.\d{1,6})?)s)?", text
    )
    if not match or not any(match.groups()):
        raise UsageError(
            f"{text[:40]!r} is not a duration", hint="90s, 10m or 1h30m", code="bad-value"
        )
    hours, minutes, rest = (float(group or 0) for group in match.groups())
    total = hours * 3600 + minutes * 60 + rest
    if not total:
        raise UsageError(
            f"{text[:40]!r} is no time at all", hint="90s, 10m or 1h30m", code="bad-value"
        )
    return total


def read_config(path: Path) -> Configuration:
    """Read a configuration file: the keys that a run's ``config.toml`` has, any of them left out.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is not TOML, too large, or has unknown keys or values of the wrong type.
    """
    try:
        content = read_toml(path, Configuration, most_bytes=MAX_CONFIG_BYTES)
    except OSError as problem:
        raise NotFoundError(
            f"{path} cannot be read: {problem.strerror}", code="cannot-read"
        ) from None
    except WrongTypeError as problem:
        raise UsageError(f"{path}: {problem}", code="bad-config") from None
    except ValueError as problem:
        raise UsageError(f"{path} is not a TOML file: {problem}", code="bad-config") from None
    known = Configuration.__annotations__
    for key in content:
        if key not in known:
            raise UsageError(
                f"{path}: unknown key {key[:60]!r}.{did_you_mean(key, known)}",
                hint=f"one of: {', '.join(sorted(known))}",
                code="unknown-option",
            )
    return content


@dataclass(frozen=True)
class Job:
    """A training to run: the model with its plugin, its configuration, the settings and the data.

    `data` is a name in the catalogue or an absolute path; `store` holds it decoded. `fields` are
    the names that the data has for what the model needs, by the model's names; `assets` the files
    of pretrained networks, by network.
    """

    entry: ModelEntry
    model_class: type[Model]
    config: Any
    settings: Settings
    data: str
    store: Store
    fields: Mapping[str, str] = field(default_factory=dict)
    assets: Mapping[str, Path] = field(default_factory=dict)

    @property
    def items(self) -> str:
        """What the rows of the data are called, such as images."""
        first = self.store.spec.ports[0]
        return "images" if first.is_picture else modality_of(first).items

    def build(self) -> Model:
        """Return a new, untrained model."""
        from zoo.model.weights import build  # noqa: PLC0415 - this file imports no torch

        return build(self.model_class, self.config, self.store.spec, self.assets)

    def to_json(self) -> JobRecord:
        """Return the content of the configuration file that asks for this training again."""
        used = {name for port in self.store.spec.ports for name in modality_of(port).options}
        options = vars(decode_options(self.store.spec))
        record: dict[str, Any] = {
            "model": f"{self.entry.plugin.distribution}:{self.entry.card.name}",
            "data": self.data,
            **{name: _plain(options[name]) for name in DATA_OPTIONS if name in used},
            **({"fields": dict(self.fields)} if self.fields else {}),
            "training": plain_options(self.settings),
            "options": plain_options(self.config),
        }
        return cast("JobRecord", record)

    def to_toml(self) -> str:
        """Return the configuration file that asks for this training again."""
        return tomli_w.dumps(self.to_json())


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def check_data(entry: ModelEntry, data: str, store: Store, split: str = "train") -> None:
    """Check that a split of the data holds the ports that the model needs.

    Raises:
        UsageError: some are missing, or of another kind.
    """
    ports, needs = store.splits[split], entry.card.needs
    missing = [
        name for name, kind in needs.items() if name not in ports or store.spec[name].kind != kind
    ]
    if not missing:
        return
    what = repr(data) if split == "train" else f"the {split} split of {data!r}"
    files = modality_of(needs[missing[0]]).files
    if [*needs.values()].count(needs[missing[0]]) == 2:
        files = "two folders, one for each domain, or trainA and trainB"
    held = " and ".join(
        name
        if store.spec[name].kind in {name, *needs.values()}
        else f"{name} ({store.spec[name].kind})"
        for name in ports
    )
    raise UsageError(
        f"{entry.card.name} learns from {' and '.join(needs)}; {what} holds {held}",
        cause=f"{missing[0]}: {files}",
        hint=f"--field {missing[0]}=NAME where the data calls it so"
        if any(store.spec[name].kind == needs[missing[0]] for name in ports)
        else "zoo data check PATH says what a folder holds",
        code="wrong-data",
    )


def load_job(run: Run) -> tuple[JobRecord, Configuration]:
    """Return the job that a run was trained with, and what its ``config.toml`` says now.

    The job is that of the newest checkpoint, if there is one: users may edit or lose the file.

    Raises:
        NotFoundError: there is no checkpoint, and the file is missing or damaged.
    """
    path = run.path / "config.toml"
    job = saved_job(run)
    try:
        beside = read_config(path)
        if job is not None:
            return job, beside
        return typed({"training": {}, "options": {}, **beside}, JobRecord), {}
    except (ZooError, ValueError) as problem:
        if job is not None:
            return job, {}
        raise NotFoundError(
            f"run {run.name!r} has no checkpoint, and its configuration cannot be read: "
            f"{getattr(problem, 'message', f'{path}: {problem}')}",
            hint="zoo train MODEL begins a new run",
            code="damaged-run",
        ) from None


def is_other_data(wanted: str, own: str) -> bool:
    """Whether a name or a path means other data than a run's; nothing is downloaded to know."""
    if wanted == own:
        return False
    return is_in_catalogue(wanted) or locate_data(wanted).reference != own


def find_data(run: Run, data: str) -> str:
    """Return the place of the data that a run was trained on.

    A folder that was moved together with its runs is found again. Its content is not compared.

    Raises:
        NotFoundError: there is nothing at any place where it may lie.
    """
    if is_in_catalogue(data):
        return data
    places = run.data_places(data)
    for place in places:
        if Path(place).exists() or Path(place.rpartition(":")[0] or place).exists():
            return place
    raise NotFoundError(
        f"the data of run {run.name!r} is gone: {' and '.join(places)}",
        hint="--data PLACE, where the same pictures lie now",
        code="data-not-found",
    )


def is_in_catalogue(data: str) -> bool:
    """Whether a name or a path is the name of a data set of the catalogue."""
    return any(row.name in {data, data.rpartition(":")[0]} for row in datasets())


def resolve_again(
    run: Run,
    own: Mapping[str, Any],
    model_config: type,
    layers: Sequence[Mapping[str, Any]],
    own_monitors: Collection[str] = (),
) -> tuple[Any, Settings, dict[str, Any]]:
    """Return the configuration and the settings of a run that is resumed, and what changes.

    `own` is the job that it was trained with; the layers are what is asked for now, the later ones
    stronger.

    Raises:
        UsageError: something is asked for that contradicts the run.
    """
    before = {**own.get("options", {}), **own.get("training", {})}
    config, settings = resolve(model_config, {}, [before], own_monitors)
    options = {**options_of(model_config), **options_of(Settings)}
    asked = {key: value for layer in layers for key, value in layer.items()}
    wanted: dict[str, Any] = {}
    for key, value in asked.items():
        if key not in options:
            raise unknown_option(key, options)
        wanted[key] = options[key].parse(value)
        now = getattr(settings if hasattr(settings, key) else config, key)
        if wanted[key] != now and key not in MAY_CHANGE:
            raise contradiction(run, key, show_value(wanted[key]), show_value(now))
    config, new = resolve(model_config, {}, [before, wanted], own_monitors)
    changes = {key: value for key, value in vars(new).items() if value != getattr(settings, key)}
    return config, new, changes


def contradiction(run: Run, what: str, asked: str, own: str) -> UsageError:
    """Return the error for an option that contradicts the run that is resumed."""
    return UsageError(
        f"{what} = {asked[:60]} contradicts run {run.name!r}, which has {what} = {own[:60]}",
        hint=f"zoo train --resume {run.name} without it, or a new run without --resume",
        code="contradicts-run",
    )
