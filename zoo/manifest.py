"""``manifest.json``, beside an export or a checkpoint: its files with sizes and hashes."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from pathlib import Path
from typing import Any

from zoo.errors import NotFoundError
from zoo.identity import ExportedFile, FileFacts, Manifest, from_plain
from zoo.records import read_json

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 2**26
FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,250}\.onnx")
PAGE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,250}\.html")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder of exported files.

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
        manifest = from_plain(read_json(path, dict[str, Any]), Manifest)
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise ValueError(problem.strerror or str(problem)) from None
    for entry in manifest.files.values():
        if not FILE_NAME.fullmatch(entry.file):
            raise ValueError(f"it lists {entry.file[:100]!r}")
    if manifest.page and not PAGE_NAME.fullmatch(manifest.page.file):
        raise ValueError(f"it lists {manifest.page.file[:100]!r}")
    return manifest


def entry_of(path: Path) -> ExportedFile | None:
    """Return what the manifest beside an exported file says of it; None where none lists it.

    Raises:
        NotFoundError: the manifest is damaged.
    """
    if _listed_sha256(path) is None:
        return None
    try:
        files = read_manifest(path.parent).files.values()
    except (OSError, ValueError) as problem:
        raise NotFoundError(
            f"what {path.parent / MANIFEST} says of {path.name} cannot be used",
            cause=str(problem)[:300],
            hint="zoo export MODEL --onnx",
            code="damaged-manifest",
        ) from None
    return next((entry for entry in files if entry.file == path.name), None)


def check_listed(path: Path) -> None:
    """Compare a file with the manifest beside it, where there is one that lists it.

    Everything that opens weights or exported files calls this first.

    Raises:
        NotFoundError: the file is not the one that was listed, or the manifest is damaged.
    """
    expected = _listed_sha256(path)
    if expected is None or not path.is_file():
        return
    try:
        found = sha256_of(path)
    except OSError as problem:
        raise NotFoundError(f"cannot read {path}: {problem.strerror}", code="cannot-read") from None
    if found != expected:
        raise NotFoundError(
            f"{path} is not the file that {MANIFEST} beside it lists",
            cause=f"its sha256 is {found[:12]}…, not {expected[:12]}…: damaged, or exchanged",
            hint=_another_than(path),
            code="hash-mismatch",
        )


def _listed_sha256(path: Path) -> str | None:
    """Return the sha256 under which a manifest beside a file lists it; None where none does."""
    manifest = path.parent / MANIFEST
    try:
        status = manifest.stat()
    except OSError:
        return None
    try:
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_MANIFEST_BYTES:
            raise ValueError("it is no regular file, or too large")
        content = json.loads(manifest.read_text(encoding="utf-8"))
        listed = _listing(content).get(path.name)
        if listed is None and path.parent.name.startswith("step-"):
            raise ValueError(f"it does not list {path.name}")
    except (OSError, ValueError, RecursionError) as problem:
        raise NotFoundError(
            f"{manifest} is damaged, so that {path.name} cannot be compared with it",
            cause=" ".join(str(problem).split())[:200] or type(problem).__name__,
            hint=_another_than(path),
            code="damaged-manifest",
        ) from None
    return listed


def _listing(manifest: object) -> dict[str, str]:
    """Return the sha256 of each file that a manifest lists; nothing of another program's."""
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict):
        return {}
    assert isinstance(manifest, dict)
    entries = [*files.items(), *(("", manifest.get(each)) for each in ("weights", "page"))]
    return {
        str(facts.get("file", name)): facts["sha256"]
        for name, facts in entries
        if isinstance(facts, dict) and isinstance(facts.get("sha256"), str)
    }


def _another_than(path: Path) -> str:
    """Return what to use in place of a damaged file: another checkpoint, or a new export."""
    others = sorted(path.parent.parent.glob(f"step-*/{path.name}"), reverse=True)
    whole = next((other for other in others if other.parent != path.parent), None)
    if whole is not None:
        return f"another checkpoint of the run, {whole}"
    if path.parent.name.startswith("step-"):
        return f"zoo train --resume {path.parents[2].name}, which begins anew without a checkpoint"
    return "zoo export again, or the file alone in another folder"


def facts_of(path: Path) -> FileFacts:
    """Return a file's name, bytes and sha256.

    Raises:
        OSError: it cannot be read.
    """
    return FileFacts(file=path.name, bytes=path.stat().st_size, sha256=sha256_of(path))


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
