"""An installed distribution and what holds for it: names, metadata, the wheel, what imports do.

Imports are watched in a process that has imported nothing yet (`import_probe`).
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement

from zoo.catalog.card import check_name
from zoo.catalog.plugins import Plugin, installed_plugins
from zoo.catalog.registry import CORE, normalised, reserved_names
from zoo.testing import import_probe
from zoo.testing.check import Check, Finding, PrerequisiteFailed, Skip, line_containing, python_path

EXPECTED = "[tool.zoo.expected-failures"
BUILD_SECONDS = 300
NOT_BUILT = {".venv", "venv", ".tox", ".nox", "runs", "exports"}  # large; beside any plugin
LITTER = ("__pycache__", ".*", "*.pyc", "*~", "*.orig", "*.rej", "Thumbs.db")
IMPORT_SECONDS = 60  # for all of a distribution, torch included
MOST_COMPUTING = 0.1  # seconds for the modules that every command imports
MOST_WAITING = 0.5  # seconds likewise, on the clock
Event = dict[str, str]


@dataclass(frozen=True)
class Package:
    """One installed distribution."""

    name: str
    plugins: Sequence[Plugin]  # its entry points

    @classmethod
    def called(cls, name: str) -> Package:
        """Return the installed distribution of that name."""
        return cls(name, [each for each in installed_plugins() if each.distribution == name])

    @property
    def folder(self) -> Path | None:
        """Where its code lies; None where it cannot be found."""
        return folder_of(self.plugins[0].module) if self.plugins else None

    @property
    def metadata(self) -> Distribution | None:
        """What is known of the installed distribution."""
        try:
            return distribution(self.name)
        except PackageNotFoundError:
            return None

    @property
    def project(self) -> Path | None:
        """The folder it was installed from, where that is on this machine."""
        text = self.metadata.read_text("direct_url.json") if self.metadata else None
        facts = json.loads(text) if text else {}
        url = urlsplit(facts.get("url", ""))
        path = Path(unquote(url.path))
        is_here = url.scheme == "file" and "dir_info" in facts and path.is_dir()
        return path if is_here else None

    @property
    def project_file(self) -> Mapping[str, Any]:
        """What ``pyproject.toml`` says, where it can be found; `PrerequisiteFailed` if damaged."""
        path = self.project / "pyproject.toml" if self.project else None
        if path is None or not path.is_file():
            return {}
        try:
            return tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            found = Finding(f"it cannot be read: {problem}", line_containing(path))
            raise PrerequisiteFailed("static/project-file") from found

    @property
    def all_expected(self) -> Mapping[str, Mapping[str, str]]:
        """The checks that the author declares to fail, with the reasons.

        They stand in ``[tool.zoo.expected-failures.NAME]`` of ``pyproject.toml``, where NAME is a
        model or the distribution, here as installers compare it. `PrerequisiteFailed` if they
        cannot be read, or are no such tables.
        """
        tables: Any = self.project_file
        for key in ("tool", "zoo", "expected-failures"):
            tables = tables.get(key, {}) if isinstance(tables, dict) else None
        if not _is_of(dict, tables) or not all(_is_of(str, each) for each in tables.values()):
            found = Finding(
                f"{EXPECTED}.NAME] must be a table of checks, each with the reason in quotes",
                self.line_of_metadata(EXPECTED, "expected-failures"),
            )
            raise PrerequisiteFailed("static/project-file") from found
        return {normalised(name): checks for name, checks in tables.items()}

    def line_of_metadata(self, *words: str) -> str:
        """Return where the metadata is written that holds one of the words: file and line."""
        if self.project and (self.project / "pyproject.toml").is_file():
            return line_containing(self.project / "pyproject.toml", *words)
        files = (self.metadata.files if self.metadata else None) or []
        paths = [Path(str(each.locate())) for each in files if each.name == "METADATA"]
        return line_containing(paths[0], *words) if paths else f"the metadata of {self.name}"

    def line_of_card(self, name: str, *words: str) -> str:
        """Return where a card or a data set stands, or some of its words: file and line."""
        for plugin in self.plugins:
            spec = importlib.util.find_spec(plugin.module.partition(":")[0])
            if spec and spec.origin and name in names_of(plugin):
                return line_containing(
                    Path(spec.origin), *words, f'"{name}"', f"'{name}'", "zoo_models"
                )
        return ""


def names_of(plugin: Plugin) -> list[str]:
    """Return the names of a plugin's models and data sets."""
    return [*(card.name for card in plugin.models), *(each.name for each in plugin.datasets)]


def folder_of(module: str) -> Path | None:
    """Return where the top package of a module lies, found without importing it.

    Of a module that stands alone, it is the file.
    """
    top = module.partition(":")[0].partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(os.path.abspath(spec.origin))  # noqa: PTH100 - as in tracebacks: links stay links
    return path.parent if path.name == "__init__.py" else path


def _is_of(kind: type, table: object) -> bool:
    return isinstance(table, dict) and all(isinstance(each, kind) for each in table.values())


def names(package: Package) -> None:
    """The distribution is named as the zoo names things."""
    try:
        check_name(package.name, "distribution")
    except ValueError as problem:
        raise Finding(str(problem), package.line_of_metadata("name =", "Name:")) from None


def reserved(package: Package) -> None:
    """No model and no data set takes a name that belongs to the zoo, or to another plugin here."""
    owners = {
        name: plugin.distribution
        for plugin in installed_plugins()
        for name in names_of(plugin)
        if normalised(plugin.distribution) != normalised(package.name)
    }
    owners |= reserved_names()
    for plugin in package.plugins:
        for name in names_of(plugin):
            owner = owners.get(name, package.name)
            if normalised(owner) != normalised(package.name):
                raise Finding(f"the name {name!r} belongs to {owner}", package.line_of_card(name))


def core_version(package: Package) -> None:
    """The metadata require zoo-core between two bounds, so that no later zoo breaks the plugin."""
    required = (package.metadata.requires if package.metadata else None) or []
    found = [each for each in map(_requirement, required) if each and _is_core(each)]
    if not found:
        raise Finding(
            f"it does not require {CORE}", package.line_of_metadata("dependencies", "Name:")
        )
    operators = {each.operator for requirement in found for each in requirement.specifier}
    both = operators & {"==", "~=", "==="}
    low, high = both or operators & {">=", ">"}, both or operators & {"<", "<="}
    if not (low and high):
        missing = "above" if low else "below" if high else "below or above"
        raise Finding(
            f"{str(found[0])!r} has no bound {missing}; {CORE}>=0.1,<0.2 has both",
            package.line_of_metadata(CORE),
        )


def wheel(package: Package) -> None:
    """The project builds as a wheel that holds every file of the plugin."""
    if package.project is None:
        raise Skip("it was not installed from a folder on this machine")
    backend = package.project_file.get("build-system", {}).get("build-backend", "setuptools")
    if importlib.util.find_spec(backend.partition(".")[0]) is None:
        raise Skip(f"what builds it, {backend}, is not installed here")
    if importlib.util.find_spec("pip") is None:
        raise Skip("pip, which builds wheels, is not installed here")
    held = _files_in_wheel(package.project)
    for plugin in package.plugins:
        folder = folder_of(plugin.module)
        if folder is None or not folder.is_relative_to(package.project):
            continue
        for file in [folder] if folder.is_file() else _files(folder):
            name = file.relative_to(folder.parent).as_posix()
            if name not in held:
                words = ("packages", "[tool.hatch", "[tool.setuptools", "[build-system]")
                raise Finding(f"the wheel lacks {name}", package.line_of_metadata(*words))


def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _is_core(requirement: Requirement) -> bool:
    """Whether it asks for zoo-core always, and not only as an extra."""
    return normalised(requirement.name) == CORE and "extra" not in str(requirement.marker)


def _files(folder: Path) -> list[Path]:
    """Return the files of a package, without what editors and other programs leave there."""

    def is_litter(name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in LITTER)

    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in paths if not any(map(is_litter, path.relative_to(folder).parts))]


def _not_copied(project: Path, folder: str, names: list[str]) -> list[str]:
    """Return what the build of a project does without; a package may be called as it likes."""
    left_out = {"__pycache__"}
    if Path(folder) == project:
        left_out |= {name for name in NOT_BUILT if not Path(folder, name, "__init__.py").exists()}
    return [name for name in names if name in left_out]


@functools.cache
def _files_in_wheel(project: Path) -> frozenset[str]:
    """Build a wheel of a copy of the project, which stays as it is; return what it holds."""
    with TemporaryDirectory() as folder:
        copy = shutil.copytree(project, Path(folder, "project"), symlinks=True,
                               ignore=functools.partial(_not_copied, project))  # fmt: skip
        words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
                 "--no-build-isolation", "--disable-pip-version-check",
                 "--wheel-dir", folder, str(copy)]  # fmt: skip
        done = subprocess.run(words, capture_output=True, text=True, check=False,
                              timeout=BUILD_SECONDS, env=os.environ)  # fmt: skip
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            errors = [line.strip() for line in done.stderr.splitlines() if "Error" in line]
            raise Finding(
                f"the wheel cannot be built: {(errors or [done.stderr.strip()[-200:]])[-1][:300]}",
                f"{project / 'pyproject.toml'}, line 1",
            )
        with zipfile.ZipFile(wheels[0]) as archive:
            return frozenset(archive.namelist())


def loads(package: Package) -> None:
    """Every entry point is imported without an error and provides models or data sets."""
    for event in _events(package, "error", stage="card"):
        raise Finding(event["what"], event["where"])
    for plugin in package.plugins:
        if plugin.trouble or plugin.left_out:
            raise Finding(plugin.trouble or f"it is not loaded: {plugin.left_out}")


def light(package: Package) -> None:
    """The module of the cards imports neither torch nor anything else that is slow."""
    message = "{} is imported with the cards; only the model's own file may do so"
    _refuse_events(package, "heavy", message)


def quick(package: Package) -> None:
    """The module of the cards is imported within half a second, a tenth of it computing."""
    if _events(package, "heavy"):
        raise PrerequisiteFailed("import/light")
    tries = [_import_report(package)]
    if _is_slow(tries[0]):  # perhaps the machine was busy
        tries.append(_import_in_new_process(_modules(package), (), python_path()))
    if all(map(_is_slow, tries)):
        computing, waiting = (min(each[key] for each in tries) for key in ("computing", "waiting"))
        raise Finding(
            f"importing the cards took {waiting:.2f} s, {computing:.2f} s of them computing",
            _first_line(package),
        )


def silent(package: Package) -> None:
    """Importing the cards and the models prints nothing."""
    _refuse_events(package, "output", "importing it prints {!r}")
    printed = _import_report(package)["printed"]
    if printed:
        message = f"importing it prints {printed!r}, though not through Python"
        raise Finding(message, _first_line(package))


def offline(package: Package) -> None:
    """Importing the cards and the models does not reach for the network."""
    _refuse_events(package, "network", "importing it reaches for the network ({})")


def writes_nothing(package: Package) -> None:
    """Importing the cards and the models writes no file and starts no process."""
    _refuse_events(package, "file", "importing it writes {}")
    _refuse_events(package, "process", "importing it starts a process ({})")


def leaves_state(package: Package) -> None:
    """Importing a model leaves generators, warnings, streams, signals, threads as they were."""
    _refuse_events(package, "state", "importing it changes {}")


def _refuse_events(package: Package, kind: str, message: str) -> None:
    for event in _events(package, kind):
        raise Finding(message.format(event["what"]), event["where"] or _first_line(package))


def _events(package: Package, kind: str, stage: str = "") -> list[Event]:
    return [each for each in _import_report(package)["events"]
            if each["kind"] == kind and stage in {"", each["stage"]}]  # fmt: skip


def _first_line(package: Package) -> str:
    folder = package.folder
    if folder is None:
        return ""
    return line_containing(folder if folder.is_file() else folder / "__init__.py")


def _import_report(package: Package) -> dict[str, Any]:
    models = {card.model.partition(":")[0] for each in package.plugins for card in each.models}
    return _import_once(_modules(package), tuple(sorted(models)), python_path())


def _modules(package: Package) -> tuple[str, ...]:
    return tuple(sorted({each.module.partition(":")[0] for each in package.plugins}))


def _is_slow(found: dict[str, Any]) -> bool:
    return bool(found["computing"] > MOST_COMPUTING or found["waiting"] > MOST_WAITING)


def _import_in_new_process(
    modules: Sequence[str], models: Sequence[str], path: str
) -> dict[str, Any]:
    """Import modules in a process that has imported nothing yet, away from the user's files."""
    found_at = {folder for each in (*modules, *models) if (folder := folder_of(each))}
    folders = sorted(f"{each}{os.sep}" if each.is_dir() else str(each) for each in found_at)
    with TemporaryDirectory() as home:
        result = Path(home, "result.json")
        task = {"modules": modules, "models": models, "folders": folders, "result": str(result)}
        environment = {**os.environ, "PYTHONPATH": path, "HOME": home, "USERPROFILE": home}
        words = [sys.executable, "-P", str(import_probe.__file__), json.dumps(task)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=home,
                                  timeout=IMPORT_SECONDS, env=environment,
                                  stdin=subprocess.DEVNULL)  # fmt: skip
            ended = f"importing it ended the process with code {done.returncode}"
            printed = (done.stdout + done.stderr).strip()[:200]
        except subprocess.TimeoutExpired:
            ended, printed = f"importing it did not end within {IMPORT_SECONDS} s", ""
            done = None
        found: dict[str, Any] = {"events": [], "computing": 0.0, "waiting": 0.0}
        if result.exists():
            found = json.loads(result.read_text())
    if done is None or "done" not in found:
        where = line_containing(Path(folders[0]) / "__init__.py") if folders else ""
        event = {"stage": "card", "kind": "error", "what": ended, "where": where}
        found["events"].insert(0, event)
    return {**found, "printed": printed if "done" in found else ""}


_import_once = functools.cache(_import_in_new_process)

IMPORT_CHECKS = [
    Check("import", each)
    for each in (loads, light, quick, silent, offline, writes_nothing, leaves_state)
]
PACKAGE_CHECKS = [
    *(Check("static", each) for each in (names, reserved, core_version, wheel)),
    *IMPORT_CHECKS,
]
