"""Wheels, registries and throwaway environments for tests that install."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zoo
from tests.installing import CARD

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def write_wheel(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    source: str = "",
    requires: Sequence[str] = (),
    is_plugin: bool = True,
) -> Path:
    """Write the wheel of a distribution with one module; a plugin with a card, unless told."""
    module = name.replace("-", "_")
    about = f"{module}-{version}.dist-info"
    files = {
        f"{module}/__init__.py": source or CARD.format(model=f"{name}-model", module=module),
        f"{about}/METADATA": METADATA.format(name=name, version=version)
        + "".join(f"Requires-Dist: {each}\n" for each in requires),
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    if is_plugin:
        files[f"{about}/entry_points.txt"] = f"[zoo]\n{module} = {module}\n"
    record = [*(f"{path},,\n" for path in files), f"{about}/RECORD,,\n"]
    files[f"{about}/RECORD"] = "".join(record)
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def release(wheel: Path, url: str = "", **other: str) -> dict[str, str]:
    """Return the entry of a wheel in a registry's list of releases."""
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    version = wheel.name.split("-")[1]
    return {"version": version, "wheel": url or wheel.as_uri(), "sha256": sha256, **other}


def registry_text(plugins: Mapping[str, Sequence[Mapping[str, str]]], **other: Any) -> str:
    """Return a registry that lists plugins with their releases."""
    text = "schema = 1\n"
    for name, releases in plugins.items():
        row = {"summary": f"what {name} is", "licence": "MIT", "tier": "reviewed",
               "models": [f"{name}-model"], **other}  # fmt: skip
        text += f'[plugin."{name}"]\n'
        text += "".join(f"{key} = {json.dumps(value)}\n" for key, value in row.items())
        inside = [
            ", ".join(f"{key} = {json.dumps(value)}" for key, value in each.items())
            for each in releases
        ]
        text += f"releases = [{', '.join(f'{{ {each} }}' for each in inside)}]\n"
    return text


@dataclass
class Environment:
    """An environment of its own, which sees this zoo-core and what it needs."""

    python: Path
    variables: dict[str, str]

    def zoo(self, *words: str, code: int = 0, **variables: str) -> tuple[str, str]:
        """Run ``zoo`` in it and return stdout and stderr, which is short where it fails."""
        done = subprocess.run(
            [str(self.python), "-m", "zoo", *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, **self.variables, **variables},
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        if code:
            said = done.stderr[done.stderr.index("error: ") :]
            assert len(said.splitlines()) <= 6, said
        return done.stdout, done.stderr

    def refused(self, *words: str, code: int, error: str, **variables: str) -> str:
        """Run what must fail, with an exit code and the code of ``--json``; return what it says."""
        out, err = self.zoo(*words, "--json", code=code, **variables)
        assert json.loads(out)["error"]["code"] == error, err
        return err[err.index("error: ") :]

    def version(self, distribution: str) -> str:
        """Return the version of what is installed in it, or an empty string."""
        lookup = (
            "import sys; from importlib.metadata import distributions\n"
            "print(*{d.version for d in distributions() if d.name == sys.argv[1]})"
        )
        done = subprocess.run(
            [str(self.python), "-c", lookup, distribution],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout.strip()


def make_environment(folder: Path, site: Path | None = None) -> Environment:
    """Make an environment that sees the packages of this one, or those of another folder."""
    make = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(make, check=True, timeout=60)
    (own,) = folder.glob("lib/python*/site-packages")
    see(own, site or Path(sysconfig.get_path("purelib")))
    return Environment(folder / "bin" / "python", offline())


def see(own: Path, site: Path) -> None:
    """Let a folder of packages see another one, and this zoo-core."""
    core = Path(zoo.__file__).parents[1]
    (own / "seen.pth").write_text(f"{core}\nimport site; site.addsitedir({str(site)!r})\n")


def offline() -> dict[str, str]:
    """Return variables under which pip asks no index and reads no configuration."""
    return {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "",
            "UV_OFFLINE": "1"}  # fmt: skip


def farm(folder: Path, source: Path, *leave_out: str) -> Path:
    """Make a folder with links to everything in another one, but for names that begin so."""
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if not path.name.startswith(leave_out):
            (folder / path.name).symlink_to(path)
    return folder
