"""One model as its plugin presents it, before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import UsageError, did_you_mean

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")  # what models, data sets and plugins are called
MAX_NAME = 40
DISTRIBUTION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")


def check_name(name: str, what: str) -> None:
    """Check a name that users type and that becomes part of file names.

    Raises:
        ValueError: the name is not lower-case words of letters and digits joined by hyphens.
    """
    if not isinstance(name, str) or len(name) > MAX_NAME or not NAME.fullmatch(name):
        raise ValueError(
            f"{what} name {str(name)[:60]!r} must be at most {MAX_NAME} lower-case letters, "
            "digits and single hyphens, beginning with a letter"
        )


def check_full_name(name: str, what: str) -> None:
    """Check a name as `check_name` does, or ``distribution:name``.

    Raises:
        ValueError: the name is neither.
    """
    distribution, colon, plain = str(name).rpartition(":")
    check_name(plain if DISTRIBUTION.fullmatch(distribution) and colon else name, what)


@dataclass(frozen=True)
class Paper:
    """Where a model comes from."""

    title: str
    authors: str
    year: int
    url: str

    def __post_init__(self) -> None:
        if not all(isinstance(each, str) for each in (self.title, self.authors, self.url)):
            raise ValueError(f"paper {str(self.title)[:60]!r}: title, authors and url must be text")
        if not isinstance(self.year, int):
            raise ValueError(f"paper {self.title[:60]!r}: year must be a number")


@dataclass(frozen=True)
class Asset:
    """A pretrained network that a model stands on: fetched, verified, never trained or saved.

    Weight files name it by its hash instead of holding it.

    Args:
        network: attribute of the model that it fills, such as ``"features"``.
        licence: of the weights, as their owners give it.
        sha256: of the file, in lower-case hexadecimal.
        urls: where it can be had; empty where it lies in the plugin's package.
        path: of the file in the plugin's package; None where it is downloaded.
        bytes: its size, or None where it is not published.

    Raises:
        ValueError: a part is unusable.
    """

    network: str
    licence: str
    sha256: str
    urls: tuple[str, ...] = ()
    path: Path | None = None
    bytes: int | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.network, str) and self.network.isidentifier()):
            raise ValueError(f"asset {str(self.network)[:60]!r} must be called as an attribute")
        if not isinstance(self.licence, str) or not re.fullmatch(r"[^\r\n]{1,200}", self.licence):
            raise ValueError(f"asset {self.network!r} needs licence: one line")
        if not isinstance(self.sha256, str) or not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"asset {self.network!r} needs its sha256: 64 digits of 0-9a-f")
        if self.path is not None and not isinstance(self.path, Path):
            raise ValueError(f"asset {self.network!r}: path must be a pathlib.Path")
        if bool(self.urls) == (self.path is not None):
            raise ValueError(f"asset {self.network!r} needs urls, or the path of a file")


@dataclass(frozen=True)
class Card:
    """One model in `zoo list` and `zoo show`.

    Args:
        name: what users type, such as ``"my-model"``.
        summary: one line, without a full stop.
        task: what the model is for, in a word: ``reconstruction``, ``generation``,
            ``translation``, or another of yours.
        model: dotted path of the class, ``"package.module:Class"``; imported only when needed.
        paper: where the model comes from.
        needs: the ports of data that training needs, by name and kind; its batches hold them.
        data: name of the data set used when the user names none; ``"distribution:name"`` where
            the name alone could mean another; empty where the user must name one.
        presets: named sets of values for the options of model and trainer, and for what data is
            decoded to: ``size`` (of images, ``64`` or ``"48x64"``), ``length``, ``rate``;
            `zoo train MODEL --preset NAME` starts from one.
        assets: pretrained networks that the model stands on; `Model.assets` has their files.
    """

    name: str
    summary: str
    task: str
    model: str
    paper: Paper
    needs: Mapping[str, str] = field(default_factory=lambda: {"image": "image"})
    data: str = "fashion-mnist-small"
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    assets: tuple[Asset, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name, "model")
        if self.data != "":
            check_full_name(self.data, "data set")
        check_name(self.task, "task")
        if not isinstance(self.needs, Mapping) or not all(map(_is_word, self.needs.items())):
            raise ValueError(
                f"card {self.name!r}: needs must map names of ports to kinds, such as "
                '{"image": "image", "label": "label"}'
            )
        if not isinstance(self.summary, str) or not re.fullmatch(r"[^\r\n]{1,200}", self.summary):
            raise ValueError(f"card {self.name!r}: summary must be one line")
        if not isinstance(self.paper, Paper):
            raise ValueError(f"card {self.name!r}: paper must be a zoo.Paper")
        for name, values in self.presets.items():
            check_name(name, "preset")
            if not isinstance(values, Mapping) or not all(map(_is_plain, values.values())):
                raise ValueError(f"card {self.name!r}: preset {name!r} must map options to values")
        networks = [asset.network for asset in self.assets]
        if len(networks) != len(set(networks)):
            raise ValueError(f"card {self.name!r}: two assets fill one network")
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", self.model):
            raise ValueError(f"card {self.name!r}: model must read 'package.module:Class'")

    @property
    def needs_two_domains(self) -> bool:
        """Whether the model learns from two sets of one kind, such as photos and paintings."""
        kinds = list(self.needs.values())
        return any(kinds.count(kind) == 2 for kind in kinds)

    def find_preset(self, name: str) -> Mapping[str, object]:
        """Return the values of a preset.

        Raises:
            UsageError: the model has none of that name.
        """
        if name in self.presets:
            return self.presets[name]
        has = f"it has {', '.join(self.presets)}" if self.presets else "it has none"
        raise UsageError(
            f"{self.name} has no preset {name[:40]!r}.{did_you_mean(name, self.presets)}",
            cause=has,
            hint=f"zoo show {self.name}",
            code="unknown-preset",
        )


def _is_word(need: tuple[object, object]) -> bool:
    return all(isinstance(each, str) and each.isidentifier() for each in need)


def _is_plain(value: object) -> bool:
    """Whether TOML and JSON can hold a value."""
    each = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(part, str | int | float) for part in each)
