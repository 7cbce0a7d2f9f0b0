"""Finds the exported graph to run: a file, or the graph in a folder that translates to a domain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.identity import Description
from zoo.manifest import check_listed
from zoo.ports import as_word, has_dynamic_size, translates_to
from zoo.runtime.session import Session, open_session
from zoo.runtime.summary import read_summary

Open = Callable[[Path], Session]


class Described(NamedTuple):
    """A file and its description."""

    path: Path
    description: Description


def open_graph(path: Path, to: str | None = None, opened: Open = open_session) -> Session:
    """Open an exported file, or the one in a folder whose pictures are of the domain `to`.

    Of several files of one graph, that is the plain one: of float32 numbers, any batch and size.

    Args:
        path: an ``.onnx`` file, or a folder that ``zoo export`` wrote.
        to: a domain, such as ``"zebra"``, in capitals or not.
        opened: opens the file.

    Raises:
        UsageError: no graph translates to the domain, several do, or a folder needs one.
        NotFoundError: there is no such file, it is damaged, or a manifest beside it lists another.
        PluginError: onnxruntime is not installed, or cannot do what is wished for.
    """
    if not path.is_dir():
        if path.is_file():
            check_listed(path)
        session = opened(path)
        if to is not None and not _translates_to(session.description, to):
            raise _unknown(path, to, [_target(session.description)])
        return session
    files = sorted(path.glob("*.onnx"))
    if not files:
        return opened(path)  # says what to do with a folder
    described = _usable(files)
    domains = sorted({_target(description) for _, description in described} - {""})
    if to is None:
        if domains:
            raise UsageError(
                f"{path} is a folder with graphs to {' and to '.join(domains)}; which one?",
                hint=f"zoo run {path} --to {domains[0]} photos/",
            )
        return opened(path)  # as above
    found = [each for each in described if _translates_to(each.description, to)]
    if not found:
        raise _unknown(path, to, domains)
    chosen, note = _choose(path, to, found)
    session = opened(chosen)
    return replace(session, notes=(*note, *session.notes))


def _choose(folder: Path, to: str, found: Sequence[Described]) -> tuple[Path, tuple[str, ...]]:
    """Return the file to take of one graph, and a note where that one is not plain.

    Raises:
        UsageError: they are of several graphs.
    """
    if len({(each.description.identity.model, each.description.graph) for each in found}) > 1:
        names = ", ".join(each.path.name for each in found)
        raise UsageError(
            f"{folder} holds several graphs to {to}: {names}", hint=f"zoo run {found[0].path}"
        )
    plain = [each for each in found if _is_plain(each.description)]
    if not plain:
        return found[0].path, (f"using {found[0].path}",)
    # a name says what is not the default, so the shortest is the most usual one
    least = min(plain, key=lambda each: (_fixed_sizes(each.description), len(each.path.name)))
    return least.path, ()


def _is_plain(description: Description) -> bool:
    ports = (*description.signature.inputs, *description.signature.outputs)
    return description.precision == "float32" and not any(
        port.dtype == "uint8" or port.layout == "NHWC" for port in ports
    )


def _fixed_sizes(description: Description) -> tuple[bool, bool]:
    """Return whether a graph takes one batch size only, and whether one picture size only."""
    inputs = description.signature.inputs
    return isinstance(inputs[0].shape[0], int), not any(map(has_dynamic_size, inputs))


def _target(description: Description) -> str:
    """Return the domain that a graph translates to; empty if it is the domain of an input."""
    signature = description.signature
    own = {port.domain for port in signature.inputs if port.domain}
    return "" if own & {port.domain for port in signature.outputs} else translates_to(signature)


def _usable(files: Sequence[Path]) -> list[Described]:
    """Return the files that zoo wrote, with their descriptions; a folder may hold others too.

    Raises:
        NotFoundError: one of an export is damaged, or all are or are another's.
    """
    described = []
    for file in files:
        check_listed(file)
        try:
            summary = read_summary(file)
        except NotFoundError:  # another program's
            continue
        if summary.description and not summary.refused:
            described.append(Described(file, summary.description))
    if not described:
        open_session(files[0])  # says what is wrong with it
    return described


def _translates_to(description: Description, to: str) -> bool:
    domain = _target(description)
    return bool(to) and (domain.casefold() == to.casefold() or domain == as_word(to))


def _unknown(path: Path, to: str, domains: list[str]) -> UsageError:
    known = [domain for domain in domains if domain]
    near = did_you_mean(to, known)
    return UsageError(
        f"{path} does not translate to {to[:40]!r}.{near}",
        hint=f"--to {' or --to '.join(known)}" if known else "leave --to out",
    )
