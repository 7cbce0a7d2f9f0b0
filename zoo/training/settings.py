"""How to train, whatever the model: the trainer's own options, and how a request becomes them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.options import configure, option, options_of, unknown_option
from zoo.records import WrongTypeError, read_toml
from zoo.training.illnesses import ILLNESSES

MAX_CONFIG_BYTES = 16 * 2**10  # tomllib is quadratic in dotted keys


class Configuration(TypedDict, total=False):
    """What a configuration file holds."""

    model: str
    data: str
    size: int | str | list[int]
    fit: str
    training: dict[str, Any]
    options: dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """Everything of a run that is not the model's own configuration."""

    epochs: int | None = option(
        None, "passes over the training images", at_least=1, at_most=10**6, unit="epochs"
    )
    steps: int | None = option(None, "rounds of the game", at_least=1, at_most=10**9, unit="steps")
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
    checkpoint_every: str = option(
        "5m", "time or steps between checkpoints, 30s or 500, beside those of each validation"
    )
    keep: int = option(
        2, "checkpoints that stay, beside the best; the older serve when the newest is damaged",
        at_least=1, at_most=10**6,
    )  # fmt: skip
    fail_on: tuple[str, ...] = option(
        (), "verdicts that end a run, such as collapse,overfitting; what diverges always ends"
    )
    precision: Literal["auto", "32", "bf16"] = option(
        "auto", "bf16 mixes bfloat16 in; auto does so on GPUs that have it"
    )


BUDGETS = ("epochs", "steps", "max_seconds")


def resolve(
    model_config: type, preset: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]
) -> tuple[Any, Settings]:
    """Return the model's configuration and the settings that the layers add up to.

    Args:
        model_config: the model's `Config`.
        preset: the model's own training preset, the lowest layer.
        layers: values by key, the later ones stronger; each key may belong to either.

    Raises:
        UsageError: an unknown key or an unusable value.
    """
    ours, theirs = options_of(Settings), options_of(model_config)
    settings: dict[str, Any] = dict(preset)
    config: dict[str, Any] = {}
    for layer in layers:
        if any(
            layer.get(key) not in (None, "none") for key in BUDGETS
        ):  # it replaces the weaker ones, of whichever kind
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
    _check_illnesses(resolved.fail_on)
    if all(getattr(resolved, key) is None for key in BUDGETS):
        raise UsageError(
            "nothing says when to stop", hint="--epochs 20, --steps 1000 or --time 10m"
        )
    return configure(model_config, config), resolved


def _check_illnesses(names: Sequence[str]) -> None:
    for name in names:
        if name not in {*ILLNESSES, "none"}:
            raise UsageError(
                f"fail_on = {name[:40]!r} is no verdict.{did_you_mean(name, ILLNESSES)}",
                hint=f"some of: {', '.join(ILLNESSES)}; or none",
            )


def interval(text: str) -> tuple[int | None, float | None]:
    """Return the steps or the seconds that a text such as ``500`` or ``5m`` stands for.

    Raises:
        UsageError: it is neither a number of steps nor a duration.
    """
    if re.fullmatch(r"0*[1-9]\d{0,8}", text):
        return int(text), None
    try:
        return None, seconds(text)
    except UsageError:
        raise UsageError(
            f"checkpoint_every = {text[:40]!r} is neither a duration nor a number of steps",
            hint="30s, 5m or 500",
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
        raise UsageError(f"{text[:40]!r} is not a duration", hint="90s, 10m or 1h30m")
    hours, minutes, rest = (float(group or 0) for group in match.groups())
    total = hours * 3600 + minutes * 60 + rest
    if not total:
        raise UsageError(f"{text[:40]!r} is no time at all", hint="90s, 10m or 1h30m")
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
        raise NotFoundError(f"{path} cannot be read: {problem.strerror}") from None
    except WrongTypeError as problem:
        raise UsageError(f"{path}: {problem}") from None
    except ValueError as problem:
        raise UsageError(f"{path} is not a TOML file: {problem}") from None
    known = Configuration.__annotations__
    for key in content:
        if key not in known:
            raise UsageError(
                f"{path}: unknown key {key[:60]!r}.{did_you_mean(key, known)}",
                hint=f"one of: {', '.join(sorted(known))}",
            )
    return content
