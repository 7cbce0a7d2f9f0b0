"""One model as its plugin presents it, before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from zoo.errors import UsageError, did_you_mean

Task = Literal["reconstruction", "generation", "translation"]
Material = Literal["images", "labelled images", "two domains"]

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")  # what models, data sets and plugins are called
MAX_NAME = 40


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


@dataclass(frozen=True)
class Paper:
    """Where a model comes from."""

    title: str
    authors: str
    year: int
    url: str


@dataclass(frozen=True)
class Card:
    """One model in `zoo list` and `zoo show`.

    Args:
        name: what users type, such as ``"my-model"``.
        summary: one line, without a full stop.
        task: what the model is for.
        model: dotted path of the class, ``"package.module:Class"``; imported only when needed.
        paper: where the model comes from.
        learns_from: the material that training needs.
        data: name of the data set used when the user names none.
        presets: named sets of values for the options of model and trainer, and for ``size`` (the
            image size, ``64`` or ``"48x64"``); `zoo train MODEL --preset NAME` starts from one.
    """

    name: str
    summary: str
    task: Task
    model: str
    paper: Paper
    learns_from: Material = "images"
    data: str = "fashion-mnist-small"
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.name, "model")
        check_name(self.data, "data set")
        if self.task not in get_args(Task):
            raise ValueError(f"card {self.name!r}: task must be one of {get_args(Task)}")
        if self.learns_from not in get_args(Material):
            raise ValueError(f"card {self.name!r}: learns_from must be one of {get_args(Material)}")
        for name in self.presets:
            check_name(name, "preset")
            if not isinstance(self.presets[name], Mapping):
                raise ValueError(f"card {self.name!r}: preset {name!r} must map options to values")
        if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", self.model):
            raise ValueError(f"card {self.name!r}: model must read 'package.module:Class'")

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
        )
