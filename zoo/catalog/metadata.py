"""What the metadata of an installed distribution says, read before any of its code runs.

What is broken of one distribution is reported in its own row and keeps no other from being read.
`importlib.metadata` cannot do that: one byte that is not UTF-8 ends its reading of everything.
"""

from __future__ import annotations

import email
import functools
import re
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import PurePath

from zoo.catalog.registry import CORE, normalised

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?")
PLAIN_VERSION = re.compile(r"\d{1,9}(?:\.\d{1,9})*")
PLAIN_BOUND = re.compile(rf"(>=|<)\s*({PLAIN_VERSION.pattern})")


@dataclass(frozen=True)
class Metadata:
    """What matters of an installed distribution.

    Args:
        name: of the distribution; empty where its metadata is lost.
        version: of the distribution; empty likewise.
        requirements: of zoo-core, as they stand.
        entries: its entry points of a group; none where they cannot be read.
        trouble: what is wrong with its metadata; empty when nothing is.
    """

    name: str = ""
    version: str = ""
    requirements: tuple[str, ...] = ()
    entries: tuple[EntryPoint, ...] = ()
    trouble: str = ""


def declared(group: str) -> list[Metadata]:
    """Return every installed distribution that has entry points of a group.

    Of one that several folders of the path hold, the first is meant, as where Python imports it.
    """
    places: dict[str, PurePath] = {}
    found: dict[str, Metadata] = {}
    for distribution in distributions():
        place = PurePath(str(getattr(distribution, "_path", "")))
        project = _project(distribution, place)
        first = places.setdefault(project, place)
        if first is place:
            one = _declared(distribution, project, group)
            if one:
                found[project] = one
        elif first != place and first.parent == place.parent and project in found:
            twice = f"is installed twice in one folder: {first.name} and {place.name}"
            found[project] = replace(found[project], trouble=twice)
    return list(found.values())


def read_metadata(distribution: Distribution) -> Metadata:
    """Read name, version and the requirements of zoo-core.

    As for installers, the first of several names holds, and what follows an empty line or one that
    is no header is the description.
    """
    text = _text(distribution, "METADATA") or _text(distribution, "PKG-INFO")
    headers = email.message_from_string(text.partition("\n\n")[0])
    name = str(headers.get("name", "")).strip()
    requirements = [str(each).strip() for each in headers.get_all("requires-dist", ())]
    return Metadata(
        name if NAME.fullmatch(name) else "",
        str(headers.get("version", "")).strip()[:80],
        tuple(each for each in requirements if _is_for_core(each)),
    )


@functools.cache
def unmet(requirement: str, version: str) -> str:
    """Return the range of versions that a requirement of zoo-core asks for, if `version` is not in.

    Returns:
        Such as ``">=0.2,<0.3"``; empty where the requirement is met or does not apply here.
    """
    if _is_plainly_met(requirement, version):
        return ""
    from packaging.requirements import Requirement

    try:
        asked = Requirement(requirement)
        applies = asked.marker is None or asked.marker.evaluate({"extra": ""})
        if not applies or asked.specifier.contains(version, prereleases=True):
            return ""
    except (ValueError, RecursionError):  # also a marker or a number that cannot be evaluated
        return requirement.strip()[:80]
    return str(asked.specifier)


def _project(distribution: Distribution, place: PurePath) -> str:
    """Return what a distribution is called by the folder of its metadata, normalised."""
    if place.suffix in {".dist-info", ".egg-info"}:
        return normalised(place.stem.partition("-")[0])
    try:
        return normalised(distribution.name)  # of a kind that is rare
    except Exception:  # the parser and foreign finders may raise anything
        return ""


def _declared(distribution: Distribution, project: str, group: str) -> Metadata | None:
    try:
        entries = tuple(each for each in distribution.entry_points if each.group == group)
        if not entries:
            return None
    except Exception as problem:  # one broken file must not stop every command
        trouble = f"its entry points cannot be read: {_line(problem)}"
        return Metadata(project, trouble=trouble) if _mentions(distribution, group) else None
    try:
        about = replace(read_metadata(distribution), entries=entries)
    except Exception as problem:  # likewise
        return Metadata(entries=entries, trouble=f"its metadata cannot be read: {_line(problem)}")
    if not about.name:
        trouble = f"its metadata gives no name; it is installed as {project}"
        return replace(about, trouble=trouble)
    if normalised(about.name) != project:
        trouble = f"its metadata calls it {about.name}, but it is installed as {project}"
        return replace(about, name="", trouble=trouble)
    return about


def _mentions(distribution: Distribution, group: str) -> bool:
    try:
        lines = _text(distribution, "entry_points.txt").splitlines()
    except Exception:  # what cannot be read at all says nothing of plugins
        return False
    return f"[{group}]" in (line.strip() for line in lines)


def _text(distribution: Distribution, file: str) -> str:
    """Return a file of the metadata; what is not UTF-8 in it becomes a question mark."""
    try:
        return distribution.read_text(file) or ""
    except UnicodeDecodeError as problem:
        text = bytes(problem.object).decode("utf-8", "replace")
        return text.replace("\r\n", "\n").replace("\r", "\n")


def _line(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:120]}"


def _is_for_core(requirement: str) -> bool:
    found = REQUIREMENT.match(requirement)
    return found is not None and normalised(found[1]) == CORE


def _is_plainly_met(requirement: str, version: str) -> bool:
    """Whether bounds such as ``>=0.1,<0.2`` are met; False for what is written otherwise.

    Nearly every plugin has such bounds, and `packaging` takes 18 ms of each command to import.
    """
    found = REQUIREMENT.fullmatch(requirement)
    if found is None or not PLAIN_VERSION.fullmatch(version):
        return False
    for bound in filter(None, map(str.strip, found[2].split(","))):
        match = PLAIN_BOUND.fullmatch(bound)
        if match is None or (_numbers(version) >= _numbers(match[2])) != (match[1] == ">="):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    numbers = re.sub(r"(\.0+)+$", "", version)  # 0.1 and 0.1.0 are one version
    return tuple(map(int, numbers.split(".")))
