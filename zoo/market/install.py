"""Installing a plugin by pip or uv: wheels only, nothing else changed, checked in a fresh process.

`--only-binary :all:` keeps pip from building what it finds in an index, but not what a requirement
names by URL: of that, pip runs the build. So `resolve` follows the requirements by metadata alone
before pip may install anything. The versions that it finds become pip's constraints, and the hash
of the plugin's wheel stands in its URL. pip's `--require-hashes` is not used for the rest: an index
of your own need not give hashes, and pip's report then has none.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Collection, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from zoo.catalog.registry import CORE, in_a_clone, normalised
from zoo.errors import PluginError, UsageError, ZooError
from zoo.messages import Log

ROUNDS = 30  # of asking pip, one for each step from the plugin to what needs nothing more
SHOWN_LINES = ("Downloading", "Installing", "Successfully", "Installed", "Resolved", " + ")
CHECK_SECONDS = 120  # for discovery, which on a cold disk and with many plugins takes seconds


def installer_command(requirement: str) -> list[str]:
    """Return the beginning of the command that installs into this environment.

    A refusal names the command that installs `requirement` elsewhere.

    Raises:
        ZooError: another tool manages the environment, it cannot be written to, or there is
            neither pip nor uv.
    """
    _refuse_foreign_management(shlex.quote(requirement))
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-P", "-m", "pip"]  # -P: not a pip.py of the working directory
        return [*pip, "install", "--disable-pip-version-check", "--no-input"]
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    raise ZooError(
        f"neither pip nor uv is there to install into {sys.prefix}",
        hint=f"{sys.executable} -m ensurepip",
        code="cannot-install",
    )


def uninstall_command(distribution: str) -> str:
    """Return what to type to remove a distribution from this environment."""
    if importlib.util.find_spec("pip") or not shutil.which("uv"):
        return f"pip uninstall {distribution}"
    return f"uv pip uninstall {distribution} --python {shlex.quote(sys.executable)}"


def _refuse_foreign_management(requirement: str) -> None:
    prefix = Path(sys.prefix)
    new = in_a_clone(f"python3 -m venv zoo-env && zoo-env/bin/pip install . {requirement}")
    if (prefix / "pipx_metadata.json").exists():
        raise _managed("pipx", f"pipx inject {CORE} {requirement}")
    if (prefix / "uv-receipt.toml").exists():
        raise _managed("uv tool", in_a_clone(f"uv tool install . --with {requirement}"))
    if (prefix / "conda-meta").is_dir() and (prefix / "condabin").is_dir():
        inside = f"conda run -n zoo pip install . {requirement}"
        hint = in_a_clone(f"conda create -n zoo python pip && {inside}")
        raise _managed("conda itself, as its base environment", hint)
    marker = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"  # PEP 668
    if sys.prefix == sys.base_prefix and marker.exists():
        raise _managed(f"the system ({marker})", new)
    site = sysconfig.get_path("purelib")
    if not os.access(site, os.W_OK):
        raise ZooError(f"no permission to install into {site}", hint=new, code="cannot-install")


def _managed(manager: str, hint: str) -> ZooError:
    return ZooError(
        f"the environment {sys.prefix} is managed by {manager}", hint=hint, code="cannot-install"
    )


class ResolutionError(Exception):
    """Pip could not resolve the requirements; the message is what it printed."""


def resolve(command: Sequence[str], target: str, folder: Path, *, listed: Collection[str]) -> str:
    """Return the versions that a plugin and what it needs would have, as constraints.

    Pip is asked what it would do with a wheel's URL or a requirement, and does nothing.

    Raises:
        ResolutionError: pip finds no versions that fit.
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
    raise ResolutionError(f"error: more than {ROUNDS} steps of requirements")


def required(
    name: str, needs: Iterable[str], extras: Iterable[str], listed: Collection[str]
) -> list[str]:
    """Return those requirements of a distribution that apply and are not installed.

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
                code="cannot-install",
            ) from None
        if not applies:
            continue
        if need.url:
            raise ZooError(
                f"{name} needs {need.name} from {need.url[:200]}, which no index vouches for",
                cause="only wheels of your package index are installed beside a plugin",
                hint=f"install {need.name} yourself first, then drop that URL from {name}",
                code="cannot-install",
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
                code="cannot-install",
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
    code, lines = _run([*words, "--", *targets], None)
    if code:
        raise ResolutionError("\n".join(lines))
    found: list[dict[str, Any]] = json.loads(report.read_text("utf-8"))["install"]
    return found


def installed_version(distribution: str) -> str | None:
    """Return the version of a distribution that is installed, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def refuse_non_plugins(distribution: str) -> None:
    """Refuse to install over what is installed and is no plugin, such as numpy.

    Raises:
        UsageError: it is such a package.
    """
    try:
        entries = metadata.distribution(distribution).entry_points
        is_other = not any(entry.group == "zoo" for entry in entries)
    except metadata.PackageNotFoundError:
        return
    except Exception:  # entry points that cannot be read
        is_other = True
    if is_other:
        raise UsageError(
            f"{distribution} is installed and is no plugin, so it is not installed over",
            hint=f"{uninstall_command(distribution)}, if it may go",
            code="not-a-plugin",
        )


def run_installer(
    command: Sequence[str], target: str, distribution: str, log: Log, listed: Collection[str]
) -> None:
    """Install one thing, and what it needs beside it.

    What is installed already keeps its version, except for the plugin itself: a plugin may add
    to an environment, not rearrange it. Nothing comes from a URL that a requirement names, and
    no listed plugin comes from an index. (What uv installs is not followed here: uv itself
    refuses URLs of requirements and builds nothing.)

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
            if command[0] == sys.executable:  # pip, and not uv
                log(f"  reading what {distribution} needs")
                chosen = resolve(bound, target, Path(folder), listed={*listed} - {distribution})
                kept.write_text(constraints + chosen, "utf-8")
            code, lines = _run([*bound, target], log)
        except ResolutionError as problem:
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
            code="cannot-install",
        )


def _run(words: Sequence[str], log: Log | None) -> tuple[int, list[str]]:
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
            if log and line.startswith(SHOWN_LINES):
                log(f"  {line.strip()}")
    return process.returncode, lines


def check_installed(distribution: str) -> dict[str, Any]:
    """Return the plugin's row of `zoo plugins list`, asked of a fresh process.

    Raises:
        PluginError: the distribution brings no plugin.
        ZooError: the process failed.
    """
    words = [sys.executable, "-P", "-m", "zoo", "plugins", "list", "--json"]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=CHECK_SECONDS, check=True
        )
        rows = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError) as problem:
        raise ZooError(
            f"{distribution} is installed, but looking at it failed: {type(problem).__name__}",
            hint="zoo plugins list",
            code="cannot-install",
        ) from None
    for row in rows:
        if normalised(row["distribution"]) == normalised(distribution):
            return dict(row)
    raise PluginError(
        f"{distribution} is installed, but brings no plugin: it has no entry point 'zoo'",
        hint=uninstall_command(distribution),
        code="not-a-plugin",
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
            continue  # a damaged installation of something else, which pip handles itself
        if name != leave_out:
            lines.add(f"{name}=={version}\n")
            absent.discard(name)
    return "".join(sorted(lines | {f"{name}<0\n" for name in absent}))


def _cause(lines: Sequence[str]) -> str:
    """Return what the installer gives as the reason, in one line."""
    signs = ("error:", "depends on", "(constraint)", "because", "╰─▶", "no such option")
    found = [line.strip() for line in lines if any(sign in line.lower() for sign in signs)]
    plain = [line.removeprefix("ERROR: ") for line in found if "ResolutionImpossible" not in line]
    return "; ".join(plain)[:600]
