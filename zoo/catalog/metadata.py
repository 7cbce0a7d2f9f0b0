"""What the metadata of an installed distribution says, read before any of its code runs.

`importlib.metadata` parses the whole text as an e-mail, once for each question; here the few lines
that matter are read once.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution

from zoo.catalog.known import normalised

CORE = "zoo-core"
PLAIN_VERSION = re.compile(r"\d+(?:\.\d+)*")
PLAIN_BOUND = re.compile(r"(>=|<=|>|<)\s*(\d+(?:\.\d+)*)")
REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?")


@dataclass(frozen=True)
class Metadata:
    """What matters of a distribution's metadata.

    Args:
        name: of the distribution; empty where its metadata is lost.
        version: of the distribution; empty likewise.
        needs: its requirements of zoo-core, as they stand.
    """

    name: str = ""
    version: str = ""
    needs: tuple[str, ...] = ()


def read_metadata(distribution: Distribution) -> Metadata:
    """Read name, version and the requirements of zoo-core."""
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
    name = version = ""
    needs = []
    for line in text.splitlines():
        if not line:  # a description follows
            break
        key, _, value = line.partition(": ")
        if key == "Name":
            name = value.strip()
        elif key == "Version":
            version = value.strip()
        elif key == "Requires-Dist" and _is_for_core(value):
            needs.append(value)
    return Metadata(name, version, tuple(needs))


@functools.cache
def unmet(requirement: str, version: str) -> str:
    """Return the range of versions that a requirement of zoo-core asks for, if `version` is not in.

    Returns:
        Such as ``">=0.2,<0.3"``; empty where the requirement is met or does not apply here.
    """
    plain = _is_plainly_met(requirement, version)
    if plain:
        return ""
    # Only here, because it takes longer to import than twenty plugins.
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        asked = Requirement(requirement)
    except InvalidRequirement:
        return requirement.strip()[:80]
    applies = asked.marker is None or asked.marker.evaluate({"extra": ""})
    if not applies or asked.specifier.contains(version, prereleases=True):
        return ""
    return str(asked.specifier)


def _is_for_core(requirement: str) -> bool:
    found = REQUIREMENT.match(requirement)
    return found is not None and normalised(found[1]) == CORE


def _is_plainly_met(requirement: str, version: str) -> bool:
    """Whether bounds of plain numbers are met; what is written in another way is not judged."""
    found = REQUIREMENT.fullmatch(requirement)
    if found is None or not PLAIN_VERSION.fullmatch(version):
        return False
    bounds = [
        PLAIN_BOUND.fullmatch(bound.strip()) for bound in found[2].split(",") if bound.strip()
    ]
    return all(bound is not None and _holds(version, *bound.groups()) for bound in bounds)


def _holds(version: str, sign: str, bound: str) -> bool:
    ours, theirs = _numbers(version), _numbers(bound)
    order: Mapping[str, bool] = {
        ">=": ours >= theirs, "<=": ours <= theirs, ">": ours > theirs, "<": ours < theirs,
    }  # fmt: skip
    return order[sign]


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in version.split(".")]
    while numbers and not numbers[-1]:  # 0.1 and 0.1.0 are one version
        numbers.pop()
    return tuple(numbers)
