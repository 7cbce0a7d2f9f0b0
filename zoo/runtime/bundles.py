"""Which graph is meant: a file, or the one in a folder that leads to a domain."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.ports import as_word
from zoo.runtime.description import translates_to
from zoo.runtime.session import Session, open_session

MANIFEST = "manifest.json"  # lists the files of an export with their hashes


def open_graph(path: Path, to: str | None = None) -> Session:
    """Open an exported file, or the one in a folder whose pictures are of the domain `to`.

    Args:
        path: an ``.onnx`` file, or a folder that ``zoo export`` wrote.
        to: a domain, such as ``"zebra"``, in capitals or not.

    Raises:
        UsageError: no graph leads to the domain, several do, or a folder needs one.
        NotFoundError: there is no such file, it is damaged, or a manifest beside it lists another.
        PluginError: onnxruntime is not installed.
    """
    if not path.is_dir():
        session = open_session(path)
        _check_manifest(path)
        if to is not None and not _leads_to(session, to):
            raise _unknown(path, to, [translates_to(session.description.signature)])
        return session
    files = sorted(path.glob("*.onnx"))
    if not files:
        return open_session(path)  # says what to do with a folder
    sessions = _usable(files)
    domains = sorted({translates_to(session.description.signature) for session in sessions} - {""})
    if to is None:
        if domains:
            raise UsageError(
                f"{path} is a folder with graphs to {' and to '.join(domains)}; which one?",
                hint=f"zoo run {path} --to {domains[0]} photos/",
            )
        return open_session(path)  # as above
    found = [session for session in sessions if _leads_to(session, to)]
    if not found:
        raise _unknown(path, to, domains)
    if len(found) > 1:
        names = ", ".join(session.path.name for session in found)
        raise UsageError(
            f"{path} holds several graphs to {to}: {names}", hint=f"zoo run {found[0].path}"
        )
    _check_manifest(found[0].path)
    return found[0]


def _check_manifest(path: Path) -> None:
    """Hold a file against the manifest beside it, where there is one that lists it.

    Raises:
        NotFoundError: the file is not the one that was exported.
    """
    try:
        manifest = json.loads((path.parent / MANIFEST).read_text(encoding="utf-8"))
        told = {entry["file"]: entry["sha256"] for entry in manifest["files"].values()}
        expected = told.get(path.name)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return  # there is none, or it is another program's
    if expected is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise NotFoundError(
            f"{path} is not the file that {MANIFEST} beside it lists",
            cause=f"its sha256 is {found[:12]}…, not {str(expected)[:12]}…: damaged, or exchanged",
            hint="zoo export MODEL --onnx, or the file alone in another folder",
        )


def _usable(files: list[Path]) -> list[Session]:
    """Open those that are the zoo's; a folder may hold others too.

    Raises:
        NotFoundError: all of them are damaged or another's.
    """
    sessions: list[Session] = []
    problems: list[NotFoundError] = []
    for file in files:
        try:
            sessions.append(open_session(file))
        except NotFoundError as problem:
            problems.append(problem)
    if problems and not sessions:
        raise problems[0]
    return sessions


def _leads_to(session: Session, to: str) -> bool:
    domain = translates_to(session.description.signature)
    return bool(to) and (domain.casefold() == to.casefold() or domain == as_word(to))


def _unknown(path: Path, to: str, domains: list[str]) -> UsageError:
    known = [domain for domain in domains if domain]
    near = did_you_mean(to, known)
    return UsageError(
        f"{path} does not translate to {to[:40]!r}.{near}",
        hint=f"--to {' or --to '.join(known)}" if known else "leave --to out",
    )
