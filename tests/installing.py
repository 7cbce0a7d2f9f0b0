"""Plugins that tests write, build and install for real, into a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STRANGER = Path(__file__).parent / "stranger"

SITE = "site"  # folder of what is installed: plugins, which take the place of nothing

PROJECT_FILE = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"
dependencies = [{needs}]

[project.entry-points.zoo]
{module} = "{module}"

[tool.hatch.build.targets.wheel]
packages = ["{module}"]
"""

CARD = """
import zoo

CARD = zoo.Card(
    name="{model}",
    summary="a model of a test",
    task="generation",
    model="{module}.model:Missing",
    paper=zoo.Paper("A Paper", "Somebody", 2026, "https://example.org"),
)

@zoo.hookimpl
def zoo_models():
    return [CARD]
"""


def install(
    folder: Path,
    plugins: dict[str, str | dict[str, str]],
    *,
    version: str = "1.0",
    needs: dict[str, str] | None = None,
) -> dict[str, str]:
    """Build and install one distribution a name, of one source or of several files.

    Args:
        folder: where the projects and what is installed of them lie.
        plugins: the sources.
        version: of them all.
        needs: what a plugin says that it depends on, such as ``"zoo-core>=9"``.

    Returns:
        Environment variables under which Python finds them.
    """
    projects = []
    for name, source in plugins.items():
        module = name.replace("-", "_")
        package = folder / "projects" / name / module
        package.mkdir(parents=True)
        files = {"__init__.py": source} if isinstance(source, str) else source
        for file, text in files.items():
            (package / file).write_text(text)
        needed = f'"{needs[name]}"' if needs and name in needs else ""
        toml = PROJECT_FILE.format(name=name, module=module, version=version, needs=needed)
        (package.parent / "pyproject.toml").write_text(toml)
        projects.append(str(package.parent))
    site = folder / SITE
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), *projects], check=True, timeout=120)
    return {"PYTHONPATH": str(site)}


def install_stranger(folder: Path, source: Path = STRANGER) -> dict[str, str]:
    """Build the plugin in ``tests/stranger``, or a copy, as a wheel and install it from there.

    Returns:
        Environment variables under which Python finds it.
    """
    pip = [sys.executable, "-m", "pip", "--quiet"]
    offline = ["--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", *offline, "-w", folder, source], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", *offline, "--target", folder / SITE, wheel], check=True)
    places = [str(folder / SITE), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, places))}
