"""Finds the exported graph to run: a file, or the one in a folder that is meant."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from zoo.errors import NotFoundError, UsageError, did_you_mean
from zoo.identity import Description
from zoo.manifest import check_listed
from zoo.ports import has_dynamic_size, slugify, translates_to
from zoo.runtime.session import Session, open_session
from zoo.runtime.summary import read_summary

Open = Callable[[Path], Session]
MAX_COMMANDS = 5  # that an error shows


class Described(NamedTuple):
    """A file and its description."""

    path: Path
    description: Description


def open_graph(path: Path, to: str | None = None, opened: Open = open_session) -> Session:
    """Open an exported file, or the one graph in a folder, or the one that translates to `to`.

    Of several files of one graph, that is the plain one: of float32 numbers, any batch and size.

    Args:
        path: an ``.onnx`` file, or a folder that ``zoo export`` wrote.
        to: a domain, such as ``"zebra"``, in capitals or not.
        opened: opens the file.

    Raises:
        UsageError: no graph translates to the domain, or a folder holds several that may be meant.
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
    found = [each for each in described if to is None or _translates_to(each.description, to)]
    if not found:
        domains = sorted({_target(each.description) for each in described} - {""})
        raise _unknown(path, str(to), domains)
    graphs: dict[tuple[str, str], list[Described]] = {}
    for each in found:
        key = each.description.identity.model, each.description.graph
        graphs.setdefault(key, []).append(each)
    if len(graphs) > 1:
        raise _which(path, to, [_plainest(variants) for variants in graphs.values()])
    chosen = _plainest(found)
    session = opened(chosen.path)
    if to is not None and _is_plain(chosen.description):
        return session
    return replace(session, notes=(f"using {chosen.path}", *session.notes))


def plain_graphs(path: Path) -> list[Described]:
    """Return the plain file of each graph in a folder, or one file alone, with its description.

    Args:
        path: an ``.onnx`` file, or a folder that ``zoo export`` wrote.

    Raises:
        UsageError: a folder holds files of several models, or of several weights of one.
        NotFoundError: there is no such file, it is damaged, or a manifest beside it lists another.
    """
    described = _usable(sorted(path.glob("*.onnx")) if path.is_dir() else [path])
    if len({each.description.weights_sha256 for each in described}) > 1:
        names = sorted({each.description.identity.model for each in described})
        raise UsageError(
            f"{path} holds files of several weights",
            cause=f"they are of {', '.join(names)}",
            hint="a folder of one export, or one file",
            code="which-graph",
        )
    graphs: dict[str, list[Described]] = {}
    for each in described:
        graphs.setdefault(each.description.graph, []).append(each)
    return [_plainest(variants) for variants in graphs.values()]


def _which(folder: Path, to: str | None, graphs: Sequence[Described]) -> UsageError:
    """Return the error for a folder with several graphs, with the command that runs each."""
    targets = Counter(_target(each.description) for each in graphs)
    commands = []
    for each in graphs:
        target = _target(each.description)
        needs = each.description.signature.required
        words = ["photos/" if port.is_picture else "numbers.npz" for port in needs[:1]]
        if target and targets[target] == 1:
            commands.append(shlex.join(["zoo", "run", str(folder), "--to", target, *words]))
        else:
            commands.append(shlex.join(["zoo", "run", str(each.path), *words]))
    if len(commands) > MAX_COMMANDS:
        more = len(commands) - MAX_COMMANDS + 1
        commands[MAX_COMMANDS - 1 :] = [
            f"and {more} more: {shlex.join(['zoo', 'show', str(folder)])}"
        ]
    which = f" to {to[:40]}" if to else ""
    return UsageError(
        f"{folder} holds {len(graphs)} graphs{which}; which one?",
        hint="\n       ".join(commands),
        code="which-graph",
    )


def _plainest(found: Sequence[Described]) -> Described:
    """Return the file to take of one graph: the plain one, else the first."""
    plain = [each for each in found if _is_plain(each.description)]
    # a name says what is not the default, so the shortest is the most usual one
    return min(
        plain or found[:1], key=lambda each: (_fixed_sizes(each.description), len(each.path.name))
    )


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
    return bool(to) and (domain.casefold() == to.casefold() or domain == slugify(to))


def _unknown(path: Path, to: str, domains: list[str]) -> UsageError:
    known = [domain for domain in domains if domain]
    near = did_you_mean(to, known)
    return UsageError(
        f"{path} does not translate to {to[:40]!r}.{near}",
        hint=f"--to {' or --to '.join(known)}" if known else "leave --to out",
        code="bad-value",
    )
