"""Installing a plugin: wheels only, nothing else changed, and looked at in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.utils import InvalidName, canonicalize_name
from packaging.version import InvalidVersion, Version

from zoo.catalog.known import normalised
from zoo.errors import PluginError, ZooError

WORTH_TELLING = ("Downloading", "Installing", "Successfully", "Installed", "Resolved", " + ")
LOOK_SECONDS = 120  # for discovery, which on a cold disk and with many plugins takes seconds

Tell = Callable[[str], None]


def installed_version(distribution: str) -> str | None:
    """Return the version of a distribution that is installed, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def run_installer(command: Sequence[str], target: str, distribution: str, tell: Tell) -> None:
    """Install one thing, and what it needs beside it.

    What is installed already keeps its version, except for the plugin itself: a plugin may add
    to an environment, not rearrange it.

    Args:
        command: what `environment.installer` returned.
        target: a wheel's path, or a requirement to look up in the installer's index.
        distribution: the plugin's.
        tell: told of downloads and of what was installed.

    Raises:
        ZooError: the installer failed. It has then left the environment as it was.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "kept.txt")
        kept.write_text(_constraints(distribution), "utf-8")
        words = [*command, "--only-binary", ":all:"]
        process = subprocess.Popen(
            [*words, "-c", str(kept), target],
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
        code = process.returncode
    if code:
        raise ZooError(
            f"{distribution} could not be installed; the environment is as it was",
            cause=_cause(lines) or f"the installer ended with {code}",
            hint=" ".join([*words, target]) + ", which may change other packages",
        )


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
        if normalised(row["distribution"]) == distribution:
            return dict(row)
    raise PluginError(
        f"{distribution} is installed, but brings no plugin: it has no entry point 'zoo'",
        hint=f"pip uninstall {distribution}",
    )


def _constraints(leave_out: str) -> str:
    lines = set()
    for each in metadata.distributions():
        try:
            name = canonicalize_name(each.name, validate=True)
            version = Version(metadata.version(name))
        except (InvalidName, InvalidVersion, TypeError, metadata.PackageNotFoundError):
            continue  # a damaged installation of something else, which pip will judge for itself
        if name != leave_out:
            lines.add(f"{name}=={version}\n")
    return "".join(sorted(lines))


def _cause(lines: Sequence[str]) -> str:
    """Return what the installer gives as the reason, in one line."""
    telling = ("error:", "depends on", "(constraint)", "because", "╰─▶")
    found = [line.strip() for line in lines if any(word in line.lower() for word in telling)]
    plain = [line.removeprefix("ERROR: ") for line in found if "ResolutionImpossible" not in line]
    return "; ".join(plain)[:600]
