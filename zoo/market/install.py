"""Installing a plugin: wheels only, nothing else changed, and looked at in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import Version

from zoo.catalog.registry import normalised
from zoo.errors import PluginError, UsageError, ZooError
from zoo.market.environment import is_pip, removal
from zoo.market.requirements import UnansweredError, follow

WORTH_TELLING = ("Downloading", "Installing", "Successfully", "Installed", "Resolved", " + ")
LOOK_SECONDS = 120  # for discovery, which on a cold disk and with many plugins takes seconds

Tell = Callable[[str], None]


def installed_version(distribution: str) -> str | None:
    """Return the version of a distribution that is installed, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def refuse_other_packages(distribution: str) -> None:
    """Refuse to install over what is installed and is no plugin, such as numpy.

    Raises:
        UsageError: it is such a package.
    """
    try:
        entries = metadata.distribution(distribution).entry_points
        is_other = not any(entry.group == "zoo" for entry in entries)
    except metadata.PackageNotFoundError:
        return
    except Exception:  # entry points that nobody can read
        is_other = True
    if is_other:
        raise UsageError(
            f"{distribution} is installed and is no plugin, so it is not installed over",
            hint=f"{removal(distribution)}, if it may go",
        )


def run_installer(
    command: Sequence[str], target: str, distribution: str, tell: Tell, listed: Collection[str]
) -> None:
    """Install one thing, and what it needs beside it.

    What is installed already keeps its version, except for the plugin itself: a plugin may add
    to an environment, not rearrange it. Nothing comes from a URL that a requirement names, and
    no listed plugin comes from an index. (What uv installs is not followed here: uv itself
    refuses URLs of requirements and builds nothing.)

    Args:
        command: what `environment.installer` returned.
        target: a wheel's URL with its sha256, or a requirement to look up in the index.
        distribution: the plugin's.
        tell: told of downloads and of what was installed.
        listed: the plugins of the registries.

    Raises:
        ZooError: the installer failed, or something needed is refused. It has then left the
            environment as it was.
    """
    words = [*command, "--only-binary", ":all:"]
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "kept.txt")
        constraints = _constraints(distribution, listed)
        kept.write_text(constraints, "utf-8")
        bound = [*words, "-c", str(kept)]
        try:
            if is_pip(command):
                tell(f"  reading what {distribution} needs")
                chosen = follow(bound, target, Path(folder), listed={*listed} - {distribution})
                kept.write_text(constraints + chosen, "utf-8")
            code, lines = _run([*bound, target], tell)
        except UnansweredError as problem:
            code, lines = 1, str(problem).splitlines()
    if code:
        cause = _cause(lines)
        hint = " ".join([*words, target]) + ", which may change other packages"
        for name in listed:
            if f"{name}<0" in cause:  # how `_constraints` keeps it from coming from the index
                hint = f"zoo plugins install {name}"
        raise ZooError(
            f"{distribution} could not be installed; the environment is as it was",
            cause=cause or f"the installer ended with {code}",
            hint=hint,
        )


def _run(words: Sequence[str], tell: Tell) -> tuple[int, list[str]]:
    """Run the installer; return its exit code and what it printed."""
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    lines = []
    with process:
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith(WORTH_TELLING):
                tell(f"  {line.strip()}")
    return process.returncode, lines


def look(distribution: str) -> dict[str, Any]:
    """Return the plugin's row of `zoo plugins list`, asked of a fresh process.

    Raises:
        PluginError: the distribution brings no plugin.
        ZooError: the process failed.
    """
    words = [sys.executable, "-P", "-m", "zoo", "plugins", "list", "--json"]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=LOOK_SECONDS, check=True
        )
        rows = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError) as problem:
        raise ZooError(
            f"{distribution} is installed, but looking at it failed: {type(problem).__name__}",
            hint="zoo plugins list",
        ) from None
    for row in rows:
        if normalised(row["distribution"]) == normalised(distribution):
            return dict(row)
    raise PluginError(
        f"{distribution} is installed, but brings no plugin: it has no entry point 'zoo'",
        hint=removal(distribution),
    )


def _constraints(leave_out: str, listed: Collection[str]) -> str:
    """Return the versions of what is installed, and none for listed plugins that are not."""
    lines = set()
    absent = {*listed} - {leave_out}
    for each in metadata.distributions():
        try:
            name = canonicalize_name(each.name, validate=True)
            version = Version(metadata.version(name))
        except (ValueError, TypeError, metadata.PackageNotFoundError):
            continue  # a damaged installation of something else, which pip will judge for itself
        if name != leave_out:
            lines.add(f"{name}=={version}\n")
            absent.discard(name)
    return "".join(sorted(lines | {f"{name}<0\n" for name in absent}))


def _cause(lines: Sequence[str]) -> str:
    """Return what the installer gives as the reason, in one line."""
    telling = ("error:", "depends on", "(constraint)", "because", "╰─▶", "no such option")
    found = [line.strip() for line in lines if any(word in line.lower() for word in telling)]
    plain = [line.removeprefix("ERROR: ") for line in found if "ResolutionImpossible" not in line]
    return "; ".join(plain)[:600]
