"""A distribution that is being checked: its metadata, its files, and the project behind them."""

from __future__ import annotations

import importlib.util
import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from zoo.catalog.plugins import Plugin, installed
from zoo.catalog.registry import normalised
from zoo.testing.check import Finding, Obstacle
from zoo.testing.places import line_with

EXPECTED = "[tool.zoo.expected-failures"


@dataclass(frozen=True)
class Package:
    """One installed distribution.

    Args:
        name: of the distribution.
        plugins: its entry points.
    """

    name: str
    plugins: Sequence[Plugin]

    @classmethod
    def called(cls, name: str) -> Package:
        """Return the installed distribution of that name."""
        return cls(name, [each for each in installed() if each.distribution == name])

    @property
    def folder(self) -> Path | None:
        """Where its code lies; None where it cannot be found."""
        return folder_of(self.plugins[0].module) if self.plugins else None

    @property
    def metadata(self) -> Distribution | None:
        """What is known of the installed distribution."""
        try:
            return distribution(self.name)
        except PackageNotFoundError:
            return None

    @property
    def project(self) -> Path | None:
        """The folder it was installed from, where that is on this machine."""
        text = self.metadata.read_text("direct_url.json") if self.metadata else None
        facts = json.loads(text) if text else {}
        url = urlsplit(facts.get("url", ""))
        path = Path(unquote(url.path))
        is_here = url.scheme == "file" and "dir_info" in facts and path.is_dir()
        return path if is_here else None

    @property
    def project_file(self) -> Mapping[str, Any]:
        """What ``pyproject.toml`` says, where it can be found.

        Raises:
            Obstacle: it cannot be read.
        """
        path = self.project / "pyproject.toml" if self.project else None
        if path is None or not path.is_file():
            return {}
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            found = Finding(f"it cannot be read: {problem}", line_with(path))
            raise Obstacle("static/project-file") from found

    @property
    def all_expected(self) -> Mapping[str, Mapping[str, str]]:
        """The checks that the author declares to fail, with the reasons.

        They stand in ``[tool.zoo.expected-failures.NAME]`` of ``pyproject.toml``, where NAME is a
        model or the distribution, here as installers compare it.

        Raises:
            Obstacle: the file cannot be read, or they are no such tables.
        """
        tables: Any = self.project_file
        for key in ("tool", "zoo", "expected-failures"):
            tables = tables.get(key, {}) if isinstance(tables, dict) else None
        if not isinstance(tables, dict) or not all(map(_is_of_reasons, tables.values())):
            found = Finding(
                f"{EXPECTED}.NAME] must be a table of checks, each with the reason in quotes",
                self.line_of_metadata(EXPECTED, "expected-failures"),
            )
            raise Obstacle("static/project-file") from found
        return {normalised(name): checks for name, checks in tables.items()}

    def line_of_metadata(self, *words: str) -> str:
        """Return where the metadata is written that holds one of the words: file and line."""
        if self.project and (self.project / "pyproject.toml").is_file():
            return line_with(self.project / "pyproject.toml", *words)
        files = (self.metadata.files if self.metadata else None) or []
        paths = [Path(str(each.locate())) for each in files if each.name == "METADATA"]
        return line_with(paths[0], *words) if paths else f"the metadata of {self.name}"

    def line_of_card(self, name: str, *words: str) -> str:
        """Return where a card or a data set stands, or some of its words: file and line."""
        for plugin in self.plugins:
            spec = importlib.util.find_spec(plugin.module.partition(":")[0])
            if spec and spec.origin and any(each.name == name for each in _provided(plugin)):
                return line_with(Path(spec.origin), *words, f'"{name}"', f"'{name}'", "zoo_models")
        return ""


def folder_of(module: str) -> Path | None:
    """Return where the top package of a module lies, found without importing it.

    Of a module that stands alone, it is the file.
    """
    top = module.partition(":")[0].partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(os.path.abspath(spec.origin))  # noqa: PTH100 - as in tracebacks: links stay links
    return path.parent if path.name == "__init__.py" else path


def _is_of_reasons(checks: object) -> bool:
    return isinstance(checks, dict) and all(isinstance(each, str) for each in checks.values())


def _provided(plugin: Plugin) -> Sequence[Any]:
    return (*plugin.models, *plugin.datasets)
