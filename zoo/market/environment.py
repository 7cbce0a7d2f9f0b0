"""The environment that runs the zoo: who installs into it, and whether we may."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from zoo.catalog.registry import CORE, in_a_clone
from zoo.errors import ZooError


def installer(requirement: str) -> list[str]:
    """Return the beginning of the command that installs into this environment.

    Args:
        requirement: what is to be installed, for the command that a refusal names.

    Raises:
        ZooError: somebody else manages the environment, it cannot be written to, or there is
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
    )


def removal(distribution: str) -> str:
    """Return what to type to remove a distribution from this environment."""
    if importlib.util.find_spec("pip") or not shutil.which("uv"):
        return f"pip uninstall {distribution}"
    return f"uv pip uninstall {distribution} --python {shlex.quote(sys.executable)}"


def is_pip(command: Sequence[str]) -> bool:
    """Whether what `installer` returned is pip, and not uv."""
    return command[0] == sys.executable


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
        raise ZooError(f"no permission to install into {site}", hint=new)


def _managed(manager: str, hint: str) -> ZooError:
    return ZooError(f"the environment {sys.prefix} is managed by {manager}", hint=hint)
