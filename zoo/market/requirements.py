"""What pip would bring beside a plugin, read before pip may do anything with it.

`--only-binary :all:` keeps pip from building what it finds in an index, but not what a requirement
names by URL: of that, pip runs the build. So the requirements are followed here, by metadata alone.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement

from zoo.catalog.registry import normalised
from zoo.errors import ZooError

ROUNDS = 30  # of asking pip, one for each step from the plugin to what needs nothing more


class UnansweredError(Exception):
    """Pip could not say what it would install; carries what it printed."""


def follow(command: Sequence[str], target: str, folder: Path, *, listed: Collection[str]) -> str:
    """Return the versions that a plugin and what it needs would have, as constraints.

    Args:
        command: pip's, with its constraints; pip is asked what it would do, and does nothing.
        target: a wheel's URL, or a requirement.
        folder: where pip may leave its report.
        listed: plugins that must not come from an index.

    Raises:
        UnansweredError: pip finds no versions that fit.
        ZooError: something is needed from a URL, or a listed plugin from the index.
    """
    asked = {target: None}  # in the order in which they were met
    for _ in range(ROUNDS):
        found = _ask(command, list(asked), folder / "report.json")
        before = len(asked)
        for item in found:
            about = item["metadata"]
            needs = about.get("requires_dist", ())
            new = required(about["name"], needs, item.get("requested_extras", ()), listed)
            asked |= dict.fromkeys(new)
        if len(asked) == before:
            return "".join(
                f"{item['metadata']['name']}=={item['metadata']['version']}\n"
                for item in found
                if not item["is_direct"]  # the wheel itself, which its sha256 pins
            )
    raise UnansweredError(f"error: more than {ROUNDS} steps of requirements")


def required(
    name: str, needs: Iterable[str], extras: Iterable[str], listed: Collection[str]
) -> list[str]:
    """Return those requirements of a distribution that apply and are not installed.

    Args:
        name: of the distribution.
        needs: its requirements.
        extras: of the distribution, that are wanted.
        listed: plugins that must not come from an index.

    Raises:
        ZooError: one names a URL, or is a listed plugin, or cannot be read.
    """
    found = []
    for text in needs:
        try:
            need = Requirement(text)
            applies = need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            )
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName) as problem:
            raise ZooError(
                f"{name} needs what cannot be read: {text[:80]!r}",
                cause=" ".join(str(problem).split())[:200],
                hint="tell its authors; nothing was installed",
            ) from None
        if not applies:
            continue
        if need.url:
            raise ZooError(
                f"{name} needs {need.name} from {need.url[:200]}, which no index vouches for",
                cause="only wheels of your package index are installed beside a plugin",
                hint=f"install {need.name} yourself first, then drop that URL from {name}",
            )
        found += _missing(name, need, listed)
    return found


def _missing(name: str, need: Requirement, listed: Collection[str]) -> list[str]:
    """Return a requirement, or what its extras need where it is installed itself."""
    try:
        needs = metadata.requires(need.name) or ()
    except metadata.PackageNotFoundError:
        if normalised(need.name) in listed:
            raise ZooError(
                f"{name} needs the plugin {normalised(need.name)}, which is not installed",
                cause="a listed plugin never comes from the package index",
                hint=f"zoo plugins install {normalised(need.name)}",
            ) from None
        need.marker = None  # it applies
        return [str(need)]
    if not need.extras:
        return []
    optional = [each for each in needs if "extra" in each]
    return required(need.name, optional, sorted(need.extras), listed)


def _ask(command: Sequence[str], targets: Sequence[str], report: Path) -> list[dict[str, Any]]:
    """Return what pip would install for some targets, without what they need."""
    words = [*command, "--dry-run", "--no-deps", "--ignore-installed", "--report", str(report)]
    done = subprocess.run(
        [*words, "--", *targets],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise UnansweredError(done.stdout)
    found: list[dict[str, Any]] = json.loads(report.read_text("utf-8"))["install"]
    return found
