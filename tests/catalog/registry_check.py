"""The strict reading of a registry file, for those who edit ``registry.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.catalog.registry import KINDS, LIST_KEYS, PLAIN_KEYS, load_registry

ROW_KEYS = {
    "dataset": {"summary", "layout", "licence", "mirrors", "files", *PLAIN_KEYS, *LIST_KEYS},
    "weights": {"model", "summary", "licence", "recipe", "trained", "file"},
    "plugin": {"summary", "licence", "tier", "models", "repository", "releases"},
}
FILE_KEYS = {"name", "bytes", "sha256", "urls"}
RELEASE_KEYS = {"version", "requires-core", "wheel", "sha256"}


def check_registry(path: Path) -> list[str]:
    """Return everything that is wrong with a catalogue file, one line each; empty when all is well.

    Unlike `load_registry`, this also minds keys that nobody knows.
    """
    try:
        registry = load_registry(path, str(path))
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        return [str(problem)]
    unknown = [f"unknown key {key!r}" for key in table.keys() - {"schema", *ROW_KEYS}]
    for section, keys in ROW_KEYS.items():
        for name, row in table.get(section, {}).items():
            if isinstance(row, dict):
                where = f"{KINDS[section]} {name!r}"
                unknown += [f"{where}: unknown key {key!r}" for key in row.keys() - keys]
                unknown += [f"{where}: unknown key {each}" for each in _unknown_inside(row)]
    return [*registry.troubles, *sorted(unknown)]


def _unknown_inside(row: Mapping[str, Any]) -> set[str]:
    """Return the keys that nobody knows of a row's files and releases."""
    found = set()
    for section, keys, kind in (
        ("file", FILE_KEYS, "file"),
        ("files", FILE_KEYS, "file"),
        ("releases", RELEASE_KEYS, "release"),
    ):
        value = row.get(section)
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, dict):
                found |= {f"{key!r} of a {kind}" for key in entry.keys() - keys}
    return found
