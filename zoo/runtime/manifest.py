"""``manifest.json``: which files an export wrote, with hashes and what they say of themselves."""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Required, TypedDict

from zoo.atomic import MANIFEST, MAX_MANIFEST_BYTES, sha256_of
from zoo.records import read_json

FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,250}\.onnx")

Facts = dict[str, Any]  # of one file: its name, bytes, sha256


class _Facts(TypedDict):
    file: str
    bytes: int
    sha256: str


class _Entry(TypedDict, total=False):
    file: Required[str]
    bytes: int
    sha256: Required[str]
    reference: _Facts
    description: dict[str, Any]


class _Manifest(TypedDict, total=False):
    schema: int
    model: str
    distribution: str
    weights: _Facts | None
    files: Required[dict[str, _Entry]]


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Return the manifest of a folder, whose ``files`` are facts by graph and form.

    Every file that it lists is called like one: nothing else becomes a path.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, or another program's.
    """
    path = folder / MANIFEST
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_MANIFEST_BYTES:
            raise ValueError("it is no regular file, or too large")
        manifest = read_json(path, _Manifest, most_bytes=MAX_MANIFEST_BYTES)
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise ValueError(problem.strerror or str(problem)) from None
    for entry in manifest["files"].values():
        if not FILE_NAME.fullmatch(entry["file"]):
            raise ValueError(f"it lists {entry['file'][:100]!r}")
    return manifest


def entry_of(path: Path) -> Facts | None:
    """Return what the manifest beside a file says of it; None where it says nothing."""
    try:
        files = read_manifest(path.parent)["files"]
    except (OSError, ValueError):
        return None
    return next((entry for entry in files.values() if entry["file"] == path.name), None)


def facts_of(path: Path) -> Facts:
    """Return a file's name, bytes and sha256.

    Raises:
        OSError: it cannot be read.
    """
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
